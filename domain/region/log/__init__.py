"""What went into a region and what it decided, as bytes and as lines."""
