"""A whole server with its people in one process, on virtual time, under faults."""
