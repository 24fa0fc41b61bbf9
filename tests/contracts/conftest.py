"""Fixtures of the contract suites."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from persistence.orders.memory import MemoryStore
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from tests.contracts.store_world import World
from tests.support.database import server_url


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A seeded store of each kind."""
    if request.param == "memory":
        yield await World(MemoryStore()).seed()
        return
    owner_url = request.getfixturevalue("fresh_database_url")
    url = server_url(owner_url)
    store, reads = PostgresStore(url), Reads.connect(url)
    world = await World(store).seed(reads)
    world.owner_url = owner_url
    yield world
    await reads.close()
    await store.close()
