"""People who order, drive and are helped."""
