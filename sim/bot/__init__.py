"""One driver's app without I/O."""
