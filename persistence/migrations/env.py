"""Alembic's entry: runs on the connection that `persistence.migrate` hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from persistence.marketplace import registry  # noqa: F401 - the tables of the marketplace's resources
from persistence.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
