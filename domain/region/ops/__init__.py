"""What operators see of a region."""
