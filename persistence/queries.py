"""What all read queries share: a connection of the pool for each."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Executable, Table
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine

from persistence import tables


class Queries:
    """Each query on its own connection, without a transaction round it: one round trip instead of three."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def _all(self, query: Executable) -> Sequence[RowMapping]:
        async with self._reading.connect() as connection:
            return (await connection.execute(query)).mappings().all()

    async def _one(self, query: Executable) -> RowMapping | None:
        async with self._reading.connect() as connection:
            return (await connection.execute(query)).mappings().first()


def table_of(model: type[tables.Base]) -> Table:
    """The table of a model."""
    table = model.__table__
    assert isinstance(table, Table)
    return table
