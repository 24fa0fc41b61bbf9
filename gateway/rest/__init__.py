"""The REST routes, one file for each kind of thing. Paths are written out in full, so that they can be searched for."""
