"""A store's hours in the database: what their column holds, who changes them, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import make_url, text

from domain.errors import NotFound, VersionMismatch
from domain.orders.hours import DAY_MIN, OPENINGS_LIMIT, Hours, Opening
from persistence.engine import create_plain_engine
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from tests.contracts.store_world import World, new_id
from tests.support.database import server_url
from tests.support.marketplace import marketplace_of, set_hours

pytestmark = pytest.mark.integration

WEEK = tuple(Opening(day, 10 * 60, 26 * 60) for day in range(7))


@pytest.fixture
async def reads(fresh_database_url: str) -> AsyncIterator[Reads]:
    reads = Reads.connect(server_url(fresh_database_url))
    yield reads
    await reads.close()


@pytest.fixture
async def world(fresh_database_url: str, reads: Reads) -> AsyncIterator[World]:
    store = PostgresStore(server_url(fresh_database_url))
    yield await World(store).seed(reads)
    await store.close()


async def test_hours_come_back_and_a_version_is_seen(reads: Reads, world: World) -> None:
    store = await reads.store(world.store_id)
    assert store is not None
    assert (store.hours, store.version) == (None, 1)
    for version, hours in enumerate((WEEK, (), None, (Opening(0, 0, DAY_MIN),)), 2):
        after = await set_hours(marketplace_of(reads), world.store_id, hours, (version - 1,))
        assert (after.hours, after.version) == (hours, version)
        assert await reads.store(world.store_id) == after
        assert await reads.stores(merchant_id=world.merchant_id) == [after]
    with pytest.raises(VersionMismatch, match="at version 5"):
        await set_hours(marketplace_of(reads), world.store_id, WEEK, (4,))
    # What was asked for is so already: a repeat after a lost answer.
    assert (
        await set_hours(marketplace_of(reads), world.store_id, (Opening(0, 0, DAY_MIN),), (4,))
    ).version == 5
    for nowhere in (new_id(), "no id"):
        with pytest.raises(NotFound):
            await set_hours(marketplace_of(reads), nowhere, WEEK, None)


async def test_two_who_saw_the_same_version_are_not_both_served(reads: Reads, world: World) -> None:
    others: list[Hours] = [(Opening(day, 0, 60),) for day in range(7)]
    outcomes = await asyncio.gather(
        *(set_hours(marketplace_of(reads), world.store_id, hours, (1,)) for hours in others),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, VersionMismatch) for outcome in outcomes) == 6
    store = await reads.store(world.store_id)
    assert store is not None
    assert store.version == 2


def opening(weekday: str = "0", opens: str = "600", closes: str = "1320") -> str:
    return f'{{"weekday": {weekday}, "opens_min": {opens}, "closes_min": {closes}}}'


@pytest.mark.parametrize(
    "hours",
    [
        f"[{opening('7')}]",
        f"[{opening('-1')}]",
        f"[{opening('1.5')}]",
        f"[{opening('null')}]",
        f"[{opening('true')}]",
        f"""[{opening('"0"')}]""",
        f"[{opening(opens='-1')}]",
        f"[{opening(opens='1440', closes='1500')}]",
        f"[{opening(opens='10.5')}]",
        f"[{opening(closes='600')}]",
        f"[{opening(closes='2041')}]",
        f"[{opening(closes='700.5')}]",
        '[{"weekday": 0, "opens_min": 600}]',
        "[[]]",
        "[1]",
        "[null]",
        f"[[{opening()}]]",
        f"[{opening()}, {opening('7')}]",
        f"[{', '.join([opening()] * (OPENINGS_LIMIT + 1))}]",
        "null",
        "{}",
        "7",
        opening(),
    ],
)
async def test_the_column_holds_openings_and_nothing_else(
    fresh_database_url: str, world: World, hours: str
) -> None:
    url = make_url(fresh_database_url).set(drivername="postgresql")
    sql = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        edges = f"[{opening('6', '1439', '2879')}, {opening(opens='0', closes='1')}]"
        most = f"[{', '.join([opening()] * OPENINGS_LIMIT)}]"
        for fine in (None, "[]", edges, most):
            await sql.execute("UPDATE stores SET hours = $1::jsonb", fine)
        # What is no list at all fails in the measuring of it.
        with pytest.raises((asyncpg.CheckViolationError, asyncpg.InvalidParameterValueError)) as refused:
            await sql.execute("UPDATE stores SET hours = $1::jsonb", hours)
        if isinstance(refused.value, asyncpg.CheckViolationError):
            assert refused.value.constraint_name == "ck_stores_hours"
    finally:
        await sql.close()


async def test_a_decision_waits_for_hours_that_are_being_changed(reads: Reads, world: World) -> None:
    order_id = await world.draft()
    await world.append(world.age(order_id), world.pay(order_id))
    rival = create_plain_engine(reads.engine.url.render_as_string(False))
    try:
        async with rival.begin() as closing:
            await closing.execute(text("UPDATE stores SET hours = '[]', version = 2"))
            accepting = asyncio.ensure_future(world.answer(world.accept(order_id)))
            done, _ = await asyncio.wait([accepting], timeout=0.1)
            assert not done
        assert (await accepting).code == "STORE_CLOSED"
    finally:
        await rival.dispose()


async def test_hours_wait_for_decisions_that_are_being_made(reads: Reads, world: World) -> None:
    rival = create_plain_engine(reads.engine.url.render_as_string(False))
    try:
        async with rival.begin() as deciding:
            await deciding.execute(text("SELECT hours FROM stores FOR SHARE"))
            changing = asyncio.ensure_future(set_hours(marketplace_of(reads), world.store_id, (), None))
            done, _ = await asyncio.wait([changing], timeout=0.1)
            assert not done
            # Another decision does not wait for the one who waits.
            assert (await world.answer(world.create())).code is None
        assert (await changing).version == 2
    finally:
        await rival.dispose()
