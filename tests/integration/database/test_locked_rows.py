"""Somebody has a row locked (`BEGIN; SELECT ... FOR UPDATE` in psql and then lunch): what is not about it goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from domain.errors import StoreBusy
from domain.orders.lifecycle import OrderStatus
from domain.orders.records import Answer, Done, Fenced, Held
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from tests.contracts.store_world import REGION, World
from tests.support.database import server_url
from tests.support.marketplace import marketplace_of, set_hours

pytestmark = pytest.mark.integration

HELD_UP_S = 2.0  # others, at most


@pytest.fixture
async def world(fresh_database_url: str) -> AsyncIterator[World]:
    url = server_url(fresh_database_url)
    store, reads = PostgresStore(url), Reads.connect(url)
    world = await World(store).seed(reads)
    world.owner_url = fresh_database_url
    await world.open()
    yield world
    await reads.close()
    await store.close()


@asynccontextmanager
async def locked(world: World, table: str, key: str, value: str, name: str = "psql") -> AsyncIterator[None]:
    """The row is locked by somebody else for the time of the context."""
    assert world.owner_url is not None
    connection = await asyncpg.connect(world.owner_url, server_settings={"application_name": name})
    try:
        async with connection.transaction():
            assert await connection.fetch(f"SELECT 1 FROM {table} WHERE {key}::text = $1 FOR UPDATE", value)
            yield
    finally:
        await connection.close()


async def status(world: World, order_id: str) -> str:
    found = await world.status(order_id)
    assert found is not None
    return found[0]


async def test_a_locked_order_holds_up_its_own_command_alone(world: World) -> None:
    mine, others = await world.draft(), [await world.draft() for _ in range(5)]
    stuck = world.age(mine)
    async with locked(world, "orders", "order_id", mine):
        started_s = time.monotonic()
        outcomes = await world.append(*map(world.age, others[:3]), stuck, *map(world.age, others[3:]))
        assert time.monotonic() - started_s < HELD_UP_S
        assert [type(outcome) for outcome in outcomes] == [Done, Done, Done, Held, Done, Done]
        for order_id in others:
            assert (await status(world, order_id)) == "AGE_VERIFIED"
        # Known by now: nobody waits for it once more.
        started_s = time.monotonic()
        again = await world.append(stuck, world.create())
        assert time.monotonic() - started_s < 0.45
        assert [type(outcome) for outcome in again] == [Held, Done]
    assert [type(outcome) for outcome in await world.append(stuck)] == [Done]
    assert (await status(world, mine)) == OrderStatus.AGE_VERIFIED


async def test_records_of_a_region_go_round_a_locked_order(world: World) -> None:
    """Those of the locked order wait, with what rests on them, in their order; all others are durable."""
    tasks = [await world.confirmed() for _ in range(3)]
    opens = [world.offered(task, driver_id=_driver(n)) for n, task in enumerate(tasks)]
    assert await world.append(world.records(*(record for record, _, _ in opens))) == [Done(Answer())]
    taken = [world.taken(task, offer) for _, task, offer in opens]
    records = [record for record, _, _ in taken]
    released, _ = world.released(taken[1][1])  # rests on the second
    async with locked(world, "orders", "order_id", tasks[1].order_id):
        started_s = time.monotonic()
        outcome = await world.append(world.records(*records, released))
        assert time.monotonic() - started_s < HELD_UP_S
        assert outcome == [Held((records[1].record_id, released.record_id))]
        assert [(await status(world, task.order_id)) for task in tasks] == [
            "ASSIGNED",
            "CONFIRMED",
            "ASSIGNED",
        ]
        rest = world.records(records[1], released)
        started_s = time.monotonic()
        assert await world.append(rest) == outcome
        assert time.monotonic() - started_s < 0.45
        assert await world.append(world.records(records[1], epoch=world.epoch - 1)) == [Fenced(world.epoch)]
    assert await world.append(rest) == [Done(Answer())]
    assert (await status(world, tasks[1].order_id)) == "CONFIRMED"


@pytest.mark.parametrize("table", ["tasks", "offers"])
async def test_any_other_locked_row_is_gone_round_too(world: World, table: str) -> None:
    tasks = [await world.confirmed() for _ in range(3)]
    opens = [world.offered(task, driver_id=_driver(n)) for n, task in enumerate(tasks)]
    await world.append(world.records(*(record for record, _, _ in opens)))
    records = [world.taken(task, offer)[0] for _, task, offer in opens]
    value = tasks[1].task_id if table == "tasks" else opens[1][2].offer_id
    async with locked(world, table, f"{table[:-1]}_id", value):
        started_s = time.monotonic()
        assert await world.append(world.records(*records)) == [Held((records[1].record_id,))]
        assert time.monotonic() - started_s < HELD_UP_S
    assert await world.append(world.records(records[1])) == [Done(Answer())]


async def test_a_locked_fence_holds_up_no_other_region_and_no_order(world: World) -> None:
    task, order_id = await world.confirmed(), await world.draft()
    record, _, _ = world.offered(task)
    async with locked(world, "regions", "region_id", REGION):
        started_s = time.monotonic()
        outcomes = await world.append(world.records(record), world.age(order_id))
        assert time.monotonic() - started_s < HELD_UP_S
        assert [type(outcome) for outcome in outcomes] == [Held, Done]
    assert await world.append(world.records(record)) == [Done(Answer())]


async def test_a_locked_store_holds_up_its_own_orders_alone(world: World) -> None:
    order_id = await world.draft()
    await world.append(world.age(order_id), world.pay(order_id))
    another = await world.draft()
    async with locked(world, "stores", "store_id", world.store_id):
        started_s = time.monotonic()
        outcomes = await world.append(world.accept(order_id), world.age(another))
        assert time.monotonic() - started_s < HELD_UP_S
        assert [type(outcome) for outcome in outcomes] == [Held, Done]
        assert world.reads is not None
        with pytest.raises(StoreBusy):
            await set_hours(marketplace_of(world.reads), world.store_id, ())


async def test_a_refusal_is_still_told_while_a_row_is_locked(world: World) -> None:
    mine, other = await world.draft(), await world.draft()
    async with locked(world, "orders", "order_id", mine):
        bad = world.create(order_id=other)  # there is one already
        outcomes = await world.append(world.age(mine), bad, world.age(other))
    assert [type(outcome) for outcome in outcomes] == [Held, Done, Done]
    assert isinstance(outcomes[1], Done)
    assert outcomes[1].answer.code == "INTERNAL_CONFLICT"


# -- a frozen process -------------------------------------------------------------------------------------------------


async def test_a_frozen_processes_open_transaction_is_ended_when_its_region_starts(world: World) -> None:
    """As of a persistence actor that was stopped between two statements of an append."""
    assert isinstance(world.store, PostgresStore)
    frozen = await asyncpg.connect(
        world.store.engine.url.set(drivername="postgresql").render_as_string(False),
        server_settings={"application_name": "doorstep persistence:0"},
    )
    await frozen.execute("BEGIN")
    await frozen.execute(f"SELECT epoch FROM regions WHERE region_id = '{REGION}' FOR SHARE")
    started_s = time.monotonic()
    image = await world.store.open_region(REGION, world.now_ms)
    assert time.monotonic() - started_s < HELD_UP_S
    assert image.epoch == world.epoch + 1
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await frozen.execute("COMMIT")
    frozen.terminate()


async def test_a_persons_session_is_left_alone(world: World) -> None:
    async with locked(world, "regions", "region_id", REGION):
        started_s = time.monotonic()
        with pytest.raises(asyncpg.LockNotAvailableError):
            await world.store.open_region(REGION, world.now_ms)
        assert time.monotonic() - started_s < HELD_UP_S
    assert (await world.store.open_region(REGION, world.now_ms)).epoch == world.epoch + 1


async def test_a_transaction_that_stands_idle_is_ended_by_the_server(fresh_database_url: str) -> None:
    store = PostgresStore(fresh_database_url, idle_timeout_s=0.2, lock_timeout_s=0.3, name="doorstep test")
    async with store.engine.connect() as connection:
        for name, value in (
            ("idle_in_transaction_session_timeout", "200ms"),
            ("lock_timeout", "300ms"),
            ("application_name", "doorstep test"),
            ("tcp_keepalives_idle", "10"),
        ):
            shown = (await connection.exec_driver_sql(f"SHOW {name}")).scalar()
            assert shown in (value, "0"), name  # keepalives are 0 on a Unix socket
    await store.close()


def _driver(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


async def test_many_locked_rows_are_not_waited_for_one_by_one(world: World) -> None:
    tasks = [await world.confirmed() for _ in range(40)]
    opens = [world.offered(task, driver_id=_driver(n)) for n, task in enumerate(tasks)]
    await world.append(world.records(*(record for record, _, _ in opens)))
    records = [world.taken(task, offer)[0] for _, task, offer in opens]
    assert world.owner_url is not None
    rival = await asyncpg.connect(world.owner_url)
    try:
        async with rival.transaction():
            await rival.execute("SELECT 1 FROM tasks FOR UPDATE")
            started_s = time.monotonic()
            outcomes = await asyncio.gather(
                world.append(world.records(*records)), world.append(world.create())
            )
            assert time.monotonic() - started_s < HELD_UP_S
            assert outcomes[0] == [Held(tuple(record.record_id for record in records))]
            assert isinstance(outcomes[1][0], Done)
    finally:
        await rival.close()
