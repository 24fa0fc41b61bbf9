"""What people ask of a region, a file for each part of the work."""
