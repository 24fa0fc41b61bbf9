"""A whole market at full size, on one machine with its load."""
