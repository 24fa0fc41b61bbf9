"""The city: an outside client that fills a running server."""
