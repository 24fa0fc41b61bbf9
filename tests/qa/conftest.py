"""Fixtures of the gate's proof: stores of both kinds, and a connection round the code."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import make_url

from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from tests.contracts.conftest import world as world  # one world in each kind of store
from tests.contracts.store_world import World
from tests.qa.rows import Rows
from tests.support.database import server_url


@pytest.fixture
async def rows(database_url: str) -> AsyncIterator[Rows]:
    """A connection as the owner, whom the locks bind too, in a transaction that is rolled back, with rows to copy."""
    store, reads = PostgresStore(server_url(database_url)), Reads.connect(server_url(database_url))
    world = await World(store).seed(reads)
    url = make_url(database_url).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    transaction = connection.transaction()
    await transaction.start()
    yield await Rows.over(connection, world)
    await transaction.rollback()
    await connection.close()
    await reads.close()
    await store.close()
