"""Records of the marketplace and what decides on them. Pure."""
