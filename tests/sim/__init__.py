"""The simulated world: that it finds what it should, the same way every time."""
