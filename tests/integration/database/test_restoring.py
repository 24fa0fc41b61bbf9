"""Rows of a real database that somebody changed by hand, and the market that lives with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from domain.orders.lifecycle import TaskStatus
from domain.orders.records import Answer, Done, RegionRecords
from domain.region.messages import Tick
from domain.region.policy import RegionPolicy
from domain.region.restoring import is_mended, restored
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from tests.contracts.store_world import REGION, World
from tests.support.database import server_url

pytestmark = pytest.mark.integration


@pytest.fixture
async def world(fresh_database_url: str) -> AsyncIterator[World]:
    url = server_url(fresh_database_url)
    store, reads = PostgresStore(url), Reads.connect(url)
    yield await World(store).seed(reads)
    await reads.close()
    await store.close()


ByHand = Callable[..., Awaitable[None]]


@pytest.fixture
async def by_hand(fresh_database_url: str) -> AsyncIterator[ByHand]:
    """What the tables' owner does with the locks off."""
    owner = await asyncpg.connect(fresh_database_url)

    async def change(table: str, statement: str, *arguments: object) -> None:
        async with owner.transaction():
            await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            await owner.execute(statement, *arguments)
            await owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")

    yield change
    await owner.close()


async def test_an_offer_that_cannot_be_read_is_named_and_its_task_is_open_again(
    world: World, by_hand: ByHand
) -> None:
    task = await world.confirmed()
    await world.open()
    made, task, offer = world.offered(task)
    assert await world.append(world.records(made)) == [Done(Answer())]
    await by_hand("offers", """UPDATE offers SET features = '{"pickup_km": "far"}'""")
    image = await world.store.open_region(REGION, world.now_ms)
    [bad] = image.aside
    assert (bad.table, bad.row_id, bad.reason) == ("offers", offer.offer_id, "ValueError")
    region = restored(image, RegionPolicy(), world.now_ms)
    ready = region.step(world.now_ms, Tick())
    records = RegionRecords(REGION, image.epoch, tuple(ready.records))
    assert await world.append(records) == [Done(Answer())]
    row = await world.task(task.task_id)
    assert row is not None
    assert (row.status, row.offer_id) == (TaskStatus.OPEN, None)
    # Mended, it stands for nothing any more and is revoked.
    await by_hand("offers", "UPDATE offers SET features = '{}'")
    seen = await world.store.look_at_region(REGION, world.now_ms)
    assert seen.epoch == 0
    assert is_mended(bad, seen)
    image = await world.store.open_region(REGION, world.now_ms)
    assert image.aside == ()
    region = restored(image, RegionPolicy(), world.now_ms)
    assert [stray.offer_id for stray in region.state.strays] == [offer.offer_id]
    ready = region.step(world.now_ms, Tick())
    records = RegionRecords(REGION, image.epoch, tuple(ready.records))
    assert await world.append(records) == [Done(Answer())]
    assert (await world.store.look_at_region(REGION, world.now_ms)).offers == ()


async def test_a_task_with_a_time_that_cannot_be_told_stops_nobody_elses(
    world: World, by_hand: ByHand
) -> None:
    tasks = [await world.confirmed() for _ in range(3)]
    await by_hand("tasks", "UPDATE tasks SET due_ms = 9e18 WHERE task_id = $1", tasks[1].task_id)
    image = await world.store.open_region(REGION, world.now_ms)
    region = restored(image, RegionPolicy(), world.now_ms)
    assert [one.row_id for one in region.state.aside] == [tasks[1].task_id]
    assert set(region.state.jobs) == {tasks[0].task_id, tasks[2].task_id}
    assert not is_mended(region.state.aside[0], await world.store.look_at_region(REGION, world.now_ms))
    await by_hand(
        "tasks", "UPDATE tasks SET due_ms = $2 WHERE task_id = $1", tasks[1].task_id, tasks[1].due_ms
    )
    assert is_mended(region.state.aside[0], await world.store.look_at_region(REGION, world.now_ms))


async def test_an_answer_that_cannot_be_read_stops_nobody(world: World, by_hand: ByHand) -> None:
    task = await world.confirmed()
    await world.open()
    made, task, offer = world.offered(task)
    taken, _, _ = world.taken(task, offer)
    assert await world.append(world.records(made, taken)) == [Done(Answer())]
    await by_hand("idempotency", "INSERT INTO idempotency (scope, key, fingerprint, detail, body, region_id, at_ms)"
                  " VALUES ('s', 'bad', '', '', '{\"a\": \"\\ud800\"}', $1, 1)", REGION)  # fmt: skip
    image = await world.store.open_region(REGION, world.now_ms)
    assert [(one.table, one.row_id) for one in image.aside] == [("answers", "bad")]
    assert set(restored(image, RegionPolicy(), world.now_ms).state.jobs) == {task.task_id}
