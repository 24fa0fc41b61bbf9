"""Places, distances, driving times, clocks and arrays."""
