"""Several relays over one outbox: one hands a channel on at a time, and another takes over when it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.config import Limits
from actors.persistence.carriers.registry import carriers
from actors.persistence.relay import Relay
from domain.ports import Channel
from domain.region.messages import TaskOpened
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from tests.contracts.store_world import World
from tests.integration.live import until as eventually
from tests.support.database import as_owner, server_url
from tests.support.shells import Broken, Bus, HandClock, Payments, until

pytestmark = pytest.mark.integration

LEASE_S = 60.0  # none ends in a test but those that are made to
SHORT_S = 0.5


@pytest.fixture
async def stores(fresh_database_url: str) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """Two stores as two processes would have them."""
    url = server_url(fresh_database_url)
    one, two = PostgresStore(url), PostgresStore(url)
    yield one, two
    await one.close()
    await two.close()


@pytest.fixture
async def world(fresh_database_url: str, stores: tuple[PostgresStore, PostgresStore]) -> AsyncIterator[World]:
    reads = Reads.connect(server_url(fresh_database_url))
    yield await World(stores[0]).seed(reads)
    await reads.close()


class Desk:
    """A relay with what it has handed on."""

    def __init__(self, store: PostgresStore, holder: str, *, others: list[Desk], down: str = "") -> None:
        self.bus, self.told = Bus(), list[TaskOpened]()
        self.down = down  # a region that is not there

        async def tell(region_id: str, opened: list[TaskOpened]) -> None:
            if region_id == self.down:
                raise Broken
            self.told += opened

        def wake_others() -> None:
            for other in others:
                other.relay.look()

        self.relay = Relay(
            store,
            carriers(
                store,
                Limits(outbox_retry_s=0.05, outbox_batch=3),
                bus=self.bus,
                payment=Payments(),
                tell_region=tell,
                clock=HandClock(hand=[0]),
            ),
            lease_s=LEASE_S,
            holder=holder,
            wake_others=wake_others,
        )


async def test_a_lease_is_one_holders_until_it_ends_or_is_given_back(
    stores: tuple[PostgresStore, PostgresStore],
) -> None:
    one, two = stores
    assert await one.lease("work", "a", 60)
    assert await one.lease("work", "a", 60)  # renewed
    assert not await two.lease("work", "b", 60)
    assert await two.lease("other work", "b", 60)
    await one.release("a")
    assert await two.lease("work", "b", 0.0)
    assert await one.lease("work", "a", 60)  # b's was over at once
    asked = await asyncio.gather(*(stores[n % 2].lease("race", f"h{n}", 60) for n in range(12)))
    assert sum(asked) == 1


async def test_two_relays_hand_everything_on_once(
    world: World, stores: tuple[PostgresStore, PostgresStore]
) -> None:
    desks: list[Desk] = []
    desks += [Desk(store, f"persistence:{n}", others=desks) for n, store in enumerate(stores)]
    for desk in desks:
        desk.relay.start()
    try:
        tasks = []
        for n in range(6):
            tasks.append(await world.confirmed())
            desks[n % 2].relay.wake()
        await until(lambda: sum(len(desk.bus.events) for desk in desks) >= 24)
        await until(lambda: sum(len(desk.told) for desk in desks) >= 6)

        async def all_marked() -> bool:
            return not [event for channel in Channel for event in await world.waiting(channel)]

        await eventually(all_marked)
    finally:
        for desk in desks:
            await desk.relay.stop()
    published = [event.event_id for desk in desks for event in desk.bus.events]
    assert sorted(published) == sorted(set(published))
    assert len(published) == 24
    told = [opened.task.task_id for desk in desks for opened in desk.told]
    assert sorted(told) == sorted(task.task_id for task in tasks)


async def test_the_other_takes_over_from_one_that_is_gone(
    world: World, stores: tuple[PostgresStore, PostgresStore]
) -> None:
    assert await stores[1].lease("outbox:bus", "dead", SHORT_S)
    desk = Desk(stores[0], "persistence:0", others=[])
    await world.draft()
    desk.relay.start()
    try:
        await until(lambda: len(desk.bus.events) == 1)
    finally:
        await desk.relay.stop()
    assert await stores[1].lease(
        "outbox:bus", "another", 60
    )  # stopped in good order, it gave its leases back


async def test_a_region_that_is_down_holds_up_no_other(
    world: World, stores: tuple[PostgresStore, PostgresStore], fresh_database_url: str
) -> None:
    """More of its tasks wait than a batch takes, and all are older."""
    for _ in range(7):
        await world.confirmed()
    await world.confirmed()
    other = await move_to_another_region(fresh_database_url)
    desk = Desk(stores[0], "persistence:0", others=[], down="tx-dfw")
    desk.relay.start()
    try:
        await until(lambda: len(desk.told) == 1)
        assert desk.told[0].task.task_id == other
        desk.down = ""
        await until(lambda: len(desk.told) == 8)
    finally:
        await desk.relay.stop()


async def move_to_another_region(owner_url: str) -> str:
    """Let the newest event be another region's."""
    task_id = await as_owner(
        owner_url,
        "UPDATE outbox SET region_id = 'tx-hou' WHERE event_id = (SELECT max(event_id) FROM outbox"
        " WHERE channel = 'tasks') RETURNING payload #>> '{task,task_id}'",
    )
    return str(task_id)
