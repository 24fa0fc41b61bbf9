"""How long one thing takes."""
