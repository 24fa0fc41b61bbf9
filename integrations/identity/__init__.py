"""Identity vendors: age at checkout and the ID check at the door."""
