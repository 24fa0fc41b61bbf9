"""Records of the marketplace: one file a resource, with its table and its statements."""
