"""What stands between a connection and the application: whole requests, and limits to each connection."""
