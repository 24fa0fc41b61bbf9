"""The gateway's read queries and small writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from sqlalchemy import text

from domain.errors import EmailTaken, NotFound, StoreUnavailable
from domain.marketplace.accounts import User
from domain.orders.lifecycle import Role
from persistence.engine import create_plain_engine, driver_connection, reached
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads, last_event_ms
from persistence.reads.views import Holder
from tests.contracts.store_world import World, new_id
from tests.support.database import server_url
from tests.support.marketplace import marketplace_of, put, set_disabled

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
    def person(email: str, role: Role = Role.CUSTOMER) -> User:
        return User(user_id=new_id(), email=email, password_hash="-", role=role, name="A", created_ms=5)

    writes = marketplace_of(reads)
    user, driver = person("ann@example.org"), person("d@example.org", Role.DRIVER)
    await put(writes, replace(user, email="Ann@Example.org"), driver)
    assert await reads.user(user.user_id) == user
    assert await reads.user_by_email("ANN@example.ORG") == user
    good = Holder(driver.user_id, Role.DRIVER, 1)
    other_role, other_version = Holder(user.user_id, Role.DRIVER, 1), Holder(driver.user_id, Role.DRIVER, 2)
    nobody = {Holder(new_id(), Role.DRIVER, 1), Holder("no-id", Role.DRIVER, 1)}
    assert await reads.revoked([good, other_role, other_version, *nobody]) == {
        other_role,
        other_version,
        *nobody,
    }
    assert await reads.revoked([good]) == set()
    await set_disabled(writes, driver.user_id, 7)
    disabled = await reads.user(driver.user_id)
    assert disabled is not None
    assert (disabled.disabled_ms, disabled.token_version) == (7, 2)
    assert await reads.revoked([good, other_version]) == {good, other_version}
    await set_disabled(writes, driver.user_id, None)
    assert await reads.revoked([Holder(driver.user_id, Role.DRIVER, 3), good]) == {good}
    with pytest.raises(NotFound):
        await set_disabled(writes, new_id(), 7)
    with pytest.raises(EmailTaken):
        await put(writes, person("ANN@EXAMPLE.ORG"))


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
    for ask in (
        reads.order(new_id()),
        reads.user(new_id()),
        reads.regions(),
        put(marketplace_of(reads), user),
    ):
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
