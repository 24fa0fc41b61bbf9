"""The Ray cluster: started or joined, watched, restarted in good order, and ended whole."""
