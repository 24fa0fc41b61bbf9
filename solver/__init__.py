"""Pure computation over arrays. Another solver is one file here and one line in the registry (`solver/registry.py`)."""
