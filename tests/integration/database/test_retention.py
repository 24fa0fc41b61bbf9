"""What is over is counted ahead, the offer log keeps as long as it is told to, and migrations find rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from alembic import command
from msgspec.structs import replace
from sqlalchemy import Connection, text

from domain.orders.lifecycle import OrderEvent, OrderStatus, TaskStatus
from domain.orders.records import Answer, Done, RecordRefused
from domain.solve import Explanation
from persistence.engine import create_plain_engine
from persistence.migrate import alembic_config, migrate
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads, last_event_ms
from tests.contracts.store_world import REGION, World, new_id
from tests.support.database import server_url

pytestmark = pytest.mark.integration


@pytest.fixture
async def world(fresh_database_url: str) -> AsyncIterator[World]:
    url = server_url(fresh_database_url)
    store, reads = PostgresStore(url), Reads.connect(url)
    world = await World(store).seed(reads)
    await world.open()
    yield world
    await reads.close()
    await store.close()


async def a_life(world: World) -> None:
    """Orders in all kinds of states, with offers that were explained, declined, taken, and one that is open."""
    why = Explanation(candidates=(), pruned={})
    first, second, third = [await world.confirmed() for _ in range(3)]
    record, task, offer = world.offered(first)
    explained = replace(record, offers=(replace(offer, explanation=why),))
    gone, task, _ = world.expired(task, offer)
    assert await world.append(world.records(explained, gone)) == [Done(Answer())]
    records, task = world.to_door(task)
    back, _ = world.sent_back(task)
    assert await world.append(world.records(*records, back)) == [Done(Answer())]
    records, task = world.to_door(second)
    assert await world.append(world.records(*records, *world.delivered(task))) == [Done(Answer())]
    record, _, _ = world.offered(third)
    assert await world.append(world.records(record)) == [Done(Answer())]


async def counters(world: World) -> dict[str, int]:
    return (await world.store.open_region(REGION, world.now_ms)).counters


async def test_totals_change_no_counter(world: World) -> None:
    """Whatever is counted ahead, in one go or in many, and however often."""
    await a_life(world)
    expected = await counters(world)
    assert (expected["orders"], expected["delivered"], expected["refused"], expected["offers_made"]) == (
        3,
        1,
        1,
        4,
    )
    start_ms = world.now_ms - 60_000
    for step in range(12):
        await world.store.retire(start_ms + step * 7_000, None, 100)
        assert await counters(world) == expected
        await world.store.retire(start_ms, None, 100)  # never goes back
    await world.open()
    await a_life(world)
    assert (await counters(world))["orders"] == 6


async def test_the_offer_log_forgets_what_is_old_counted_and_over(world: World) -> None:
    await a_life(world)
    before = await counters(world)
    sql = await asyncpg.connect(url_of(world))
    try:
        assert await world.store.retire(0, world.now_ms + 1, 100) == 0  # nothing is counted yet
        assert await world.store.retire(world.now_ms + 1, None, 100) == 0  # nothing is to be forgotten
        assert await world.store.retire(world.now_ms + 1, world.now_ms + 1, 1) == 1  # in bites
        assert await world.store.retire(world.now_ms + 1, world.now_ms + 1, 100) == 2
        assert await world.store.retire(world.now_ms + 1, world.now_ms + 1, 100) == 0
        assert [row["status"] for row in await sql.fetch("SELECT status FROM offers")] == ["OFFERED"]
        assert await sql.fetchval("SELECT count(*) FROM offer_explanations") == 0
        assert await sql.fetchval("SELECT count(*) FROM dossier_events") > 20  # which is for ever
    finally:
        await sql.close()
    assert await counters(world) == before


async def test_the_servers_clock_begins_after_the_last_event(world: World) -> None:
    assert await last_event_ms(url_of(world)) is None
    await a_life(world)
    assert await last_event_ms(url_of(world)) == world.now_ms
    task = await world.confirmed()
    assert await last_event_ms(url_of(world)) == world.now_ms
    # A fact of a region that nobody has asked for leaves no answer.
    record, _ = world.moved(task, None, OrderEvent.GOODS_READY, OrderStatus.CONFIRMED)
    assert await world.append(world.records(record)) == [Done(Answer())]
    assert await last_event_ms(url_of(world)) == world.now_ms


async def test_a_database_with_rows_is_migrated_and_keeps_its_locks(
    world: World, fresh_database_url: str
) -> None:
    """From the schema before this one, with rows of all kinds in it, there and back and there again."""
    await a_life(world)
    before = await counters(world)
    url = url_of(world)
    await world.store.close()  # type: ignore[attr-defined]
    engine = create_plain_engine(fresh_database_url)
    async with engine.begin() as connection:
        await connection.run_sync(down_to, "0005")
        assert (await connection.execute(text("SELECT count(*) FROM tasks"))).scalar_one() == 4
    await engine.dispose()
    await migrate(fresh_database_url, url)
    world.store = PostgresStore(url)
    try:
        assert await counters(world) == before
        await world.open()
        task = await world.confirmed()
        record, task, _ = world.offered(task)
        bad, _ = world.moved(task, TaskStatus.PICKED_UP, OrderEvent.PICKED_UP, OrderStatus.PICKED_UP)
        outcomes: list[Any] = await world.append(world.records(record, bad))
        assert outcomes == [RecordRefused(bad.record_id, "tasks_edge")]
        taken = replace(task, task_id=new_id(), status=TaskStatus.OPEN, offer_id=None)
        second = replace(record, record_id=new_id(), tasks=(taken,), offers=())
        assert await world.append(world.records(second)) == [
            RecordRefused(second.record_id, "uq_tasks_delivery")
        ]
    finally:
        await world.store.close()


def down_to(connection: Connection, revision: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.downgrade(config, revision)


def url_of(world: World) -> str:
    store = world.store
    assert isinstance(store, PostgresStore)
    return store.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
