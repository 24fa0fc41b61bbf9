"""The virtual city: drivers, customers, merchants and replays of real days."""
