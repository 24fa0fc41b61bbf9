"""The gateway's read queries and small writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from sqlalchemy import text

from domain.errors import EmailTaken, StoreUnavailable
from domain.orders.lifecycle import Role
from persistence.engine import create_plain_engine, driver_connection, reached
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads, User, last_event_ms
from persistence.reads.views import Holder
from tests.contracts.store_world import World, new_id
from tests.support.database import server_url

pytestmark = pytest.mark.integration


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


async def test_accounts(reads: Reads) -> None:
    user = await reads.create_user(
        email="Ann@Example.org", password_hash="-", role=Role.CUSTOMER, name="Ann", created_ms=5
    )
    assert user.email == "ann@example.org"
    assert await reads.user(user.user_id) == user
    assert await reads.user_by_email("ANN@example.ORG") == user
    assert await reads.user(new_id()) is None
    assert await reads.user("no-id") is None
    assert await reads.user_by_email("bob@example.org") is None
    await reads.add_user(replace(user, user_id=new_id(), email="Eve@Example.org"))
    driver = await reads.create_user(email="d", password_hash="-", role=Role.DRIVER, name="D")
    good = Holder(driver.user_id, Role.DRIVER, 1)
    other_role, other_version = Holder(user.user_id, Role.DRIVER, 1), Holder(driver.user_id, Role.DRIVER, 2)
    nobody = {Holder(new_id(), Role.DRIVER, 1), Holder("no-id", Role.DRIVER, 1)}
    assert await reads.revoked([good, other_role, other_version, *nobody]) == {
        other_role,
        other_version,
        *nobody,
    }
    assert await reads.revoked([good]) == set()
    disabled = await reads.set_disabled("D", 7)
    assert disabled is not None
    assert (disabled.disabled_ms, disabled.token_version) == (7, 2)
    assert await reads.revoked([good, other_version]) == {good, other_version}
    enabled = await reads.set_disabled("d", None)
    assert enabled is not None
    assert await reads.revoked([Holder(driver.user_id, Role.DRIVER, 3), good]) == {good}
    assert await reads.set_disabled("bob@example.org", 7) is None
    eve = await reads.user_by_email("eve@example.org")
    assert eve is not None
    assert eve.email == "eve@example.org"
    with pytest.raises(EmailTaken):
        await reads.create_user(email="ANN@EXAMPLE.ORG", password_hash="-", role=Role.DRIVER, name="B")


async def test_the_newest_time_in_the_data(reads: Reads, world: World, fresh_database_url: str) -> None:
    assert await last_event_ms(fresh_database_url) is None
    task = await world.confirmed()
    await world.open()
    made, _, _ = world.offered(task)
    await world.append(world.records(made))
    assert await reads.last_event_ms() == world.now_ms


async def test_a_database_that_is_away(unused_tcp_port: int) -> None:
    nobody = f"postgresql://someone@127.0.0.1:{unused_tcp_port}/nothing"
    reads = Reads.connect(nobody, connect_timeout_s=5)
    user = User(
        user_id=new_id(),
        email="a@example.org",
        password_hash="-",
        role=Role.CUSTOMER,
        name="Ann",
        created_ms=0,
    )
    for ask in (reads.order(new_id()), reads.user(new_id()), reads.regions(), reads.add_user(user)):
        with pytest.raises(StoreUnavailable) as refused:
            await ask
        assert refused.value.retry_after_s == 1
    await reads.close()


async def test_a_database_that_goes_away_or_is_too_slow(reads: Reads, fresh_database_url: str) -> None:
    slow = Reads.connect(fresh_database_url, pool_size=1, statement_timeout_s=0.3, connect_timeout_s=0.3)
    locker = create_plain_engine(fresh_database_url)
    async with locker.begin() as rival:
        await rival.execute(text("LOCK TABLE orders, stores"))
        for ask in (slow.order(new_id()), slow.stores()):
            with pytest.raises(StoreUnavailable):  # the statement's time limit
                await ask
        async with driver_connection(slow.engine):
            with pytest.raises(StoreUnavailable):  # nobody gave a connection back
                await slow.stores()
        waiting = [asyncio.create_task(reads.order(new_id())), asyncio.create_task(reads.stores())]
        ended = 0
        async with asyncio.timeout(5):
            while ended < len(waiting):
                async with locker.begin() as other:  # in one transaction it would look once
                    ended += (await other.execute(_END_WAITERS)).scalar_one()
        for cut_off in waiting:
            with pytest.raises(StoreUnavailable):
                await cut_off
    await locker.dispose()
    await slow.close()
    assert await reads.order(new_id()) is None


async def test_a_connection_that_is_cut_off_between_two_statements(
    reads: Reads, fresh_database_url: str
) -> None:
    rival = create_plain_engine(fresh_database_url)
    async with reads.engine.connect() as connection:
        pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        closed = asyncio.Event()
        driver.add_termination_listener(lambda _: closed.set())
        async with rival.begin() as other:
            await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        await asyncio.wait_for(closed.wait(), 5)
        with pytest.raises(StoreUnavailable), reached():
            await connection.execute(text("SELECT 1"))
    await rival.dispose()


_END_WAITERS = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
