"""Records of the marketplace: one write path for all, one file a resource with its table and its statements, and a line
in the registry."""
