"""BATCH: routes of several stops for a queue."""
