"""Records of the marketplace and what may become of them: frozen structs and pure decisions, one file a resource."""
