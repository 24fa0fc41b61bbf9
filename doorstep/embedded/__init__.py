"""A real Postgres and a real Redis from wheels, in the data folder."""
