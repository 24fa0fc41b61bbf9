"""How good plans are: beside optima, peers and published algorithms."""
