"""What all read queries share: a connection of the pool for each, and `StoreUnavailable` while there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import Executable, Select, Table
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import CompoundSelect
from sqlalchemy.sql.compiler import SQLCompiler

from persistence import tables
from persistence.engine import driver_connection, reached


class Fixed:
    """A query of which only the values of its `bindparam`s change, put into SQL once. For what each request asks:
    SQLAlchemy's executor takes 0.4 to 0.8 ms of processor time every time, the driver's connection a third of it.
    Values go in and rows come out as asyncpg has them; an id is a `UUID`."""

    def __init__(self, query: Select[Any] | CompoundSelect[Any]) -> None:
        compiled = query.compile(dialect=dialect())  # type: ignore[no-untyped-call]
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        self._places = [(name, compiled.params[name]) for name in compiled.positiontup or ()]

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The values in the order in which the SQL has them."""
        return [values.get(name, constant) for name, constant in self._places]


class Queries:
    """Each query on its own connection, without a transaction round it: one round trip instead of three."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def _all(self, query: Executable) -> Sequence[RowMapping]:
        with reached():
            async with self._reading.connect() as connection:
                return (await connection.execute(query)).mappings().all()

    async def _one(self, query: Executable) -> RowMapping | None:
        with reached():
            async with self._reading.connect() as connection:
                return (await connection.execute(query)).mappings().first()

    async def _rows(self, query: Fixed, **values: Any) -> list[asyncpg.Record]:
        with reached():
            async with driver_connection(self.engine) as connection:
                return await connection.fetch(query.sql, *query.arguments(values))

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[AsyncConnection]:
        with reached():
            async with self.engine.begin() as connection:
                yield connection


def table_of(model: type[tables.Base]) -> Table:
    """The table of a model."""
    table = model.__table__
    assert isinstance(table, Table)
    return table
