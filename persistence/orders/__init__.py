"""The hard state: the one append, opening a region, and the same store in memory for tests."""
