"""FAST: the plan of the moment."""
