"""Alembic migrations, run by `persistence.migrate`."""
