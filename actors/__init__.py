"""Thin Ray shells round the core. Plain classes here; they become remote in `actors/remote.py` alone."""
