"""What an operator sees of events that nobody took, and does about them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from actors.config import Limits
from actors.persistence.carriers.registry import carriers
from actors.persistence.relay import Relay
from domain.orders.lifecycle import OrderStatus
from domain.orders.records import NotTaken
from domain.ports import Channel, PaymentResult
from doorstep.cli.outbox import drop_command, list_command, retry_command
from doorstep.settings.settings import Settings
from persistence.engine import driver_connection
from persistence.orders.postgres import PostgresStore
from persistence.outbox.backlog import backlog
from persistence.outbox.dead_letters import DeadLetters
from persistence.reads.reads import Reads
from tests.contracts.store_world import World
from tests.integration.live import until as eventually
from tests.support.database import server_url
from tests.support.shells import Bus, HandClock, Payments

pytestmark = pytest.mark.integration


@pytest.fixture
async def world(fresh_database_url: str) -> AsyncIterator[World]:
    url = server_url(fresh_database_url)
    store, reads = PostgresStore(url), Reads.connect(url)
    yield await World(store).seed(reads)
    await reads.close()
    await store.close()


@pytest.fixture
async def dead(fresh_database_url: str) -> AsyncIterator[DeadLetters]:
    one = DeadLetters.connect(server_url(fresh_database_url), statement_timeout_s=10, connect_timeout_s=10)
    yield one
    await one.close()


def store_of(world: World) -> PostgresStore:
    assert isinstance(world.store, PostgresStore)
    return world.store


async def bury(world: World, channel: Channel) -> list[int]:
    """Let everything that waits in the channel be dead letters."""
    ids = [event.event_id for event in await world.waiting(channel)]
    await world.store.outbox_not_taken([NotTaken(event_id=one, reason="no", again_s=None) for one in ids])
    return ids


async def test_dead_letters_are_shown_tried_again_and_given_up(world: World, dead: DeadLetters) -> None:
    task = await world.confirmed()
    [told], bus = await bury(world, Channel.TASKS), await bury(world, Channel.BUS)
    [letter] = await dead.oldest("tasks", 10)
    assert (letter.event_id, letter.aggregate_id, letter.reason) == (told, task.order_id, "no")
    assert (letter.channel, letter.topic, letter.attempts) == ("tasks", "task.opened", 1)
    assert [one.event_id for one in await dead.oldest(None, 100)] == sorted([told, *bus])
    told_of = await backlog(store_of(world).engine)
    assert (told_of.channels["tasks"].rows, told_of.channels["tasks"].dead) == (0, 1)
    assert told_of.channels["tasks"].oldest_ms is None
    assert await dead.retry([told], "bus") == 0  # not of that channel
    assert await dead.retry([told], None) == 1
    [again] = await world.waiting(Channel.TASKS)
    assert (again.event_id, again.attempts) == (told, 0)
    assert (await backlog(store_of(world).engine)).channels["tasks"].oldest_ms == again.at_ms
    # Given up, the first of the order lets the next one go, and none comes back.
    assert await dead.give_up(bus[:-1]) == len(bus) - 1
    assert await dead.retry(None, "bus") == 1
    assert [event.event_id for event in await world.waiting(Channel.BUS)] == bus[-1:]
    async with driver_connection(store_of(world).engine) as sql:
        assert await sql.fetchval("SELECT count(*) FROM outbox WHERE stage = 'DEAD'") == len(bus) - 1


async def test_the_command(
    world: World, fresh_database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = await world.confirmed()
    [told] = await bury(world, Channel.TASKS)
    settings, said = Settings(data_dir=tmp_path, database_url=server_url(fresh_database_url)), list[str]()
    assert await list_command(settings, said.append, channel="tasks", limit=100) == 0
    assert json.loads(capsys.readouterr().out)["aggregate_id"] == task.order_id
    for event_ids, every in (([], False), ([told], True)):
        assert await retry_command(settings, said.append, event_ids=event_ids, every=every, channel=None) == 1
    assert said[-1] == "Name the events, or say --all."
    assert await list_command(settings, said.append, channel="post", limit=100) == 1
    assert "bus, tasks, payments" in said[-1]
    assert await drop_command(settings, said.append, event_ids=[told + 1000]) == 1
    assert await retry_command(settings, said.append, event_ids=[], every=True, channel="tasks") == 0
    assert said[-1] == "1 events are tried again"


async def test_what_cannot_be_read_in_the_database_takes_no_neighbour_along(
    world: World, fresh_database_url: str
) -> None:
    """Text that is JSON to Postgres and none to us: half a character."""
    for _ in range(3):
        await world.confirmed()
    owner = await asyncpg.connect(fresh_database_url)
    await owner.execute(
        "INSERT INTO outbox (channel, topic, aggregate, aggregate_id, region_id, at_ms, payload)"
        """ VALUES ('bus', 'order.created', 'order', gen_random_uuid(), 'tx-dfw', 1, '{"a": "\\ud800"}')"""
    )
    await owner.close()
    await world.confirmed()
    events = await world.waiting(Channel.BUS)
    assert [event.fault for event in events] == [*[None] * 12, "unreadable: DecodeError", *[None] * 4]


async def test_refused_settlements_do_not_stop_the_next_and_heal_by_hand(
    world: World, dead: DeadLetters
) -> None:
    class Choosy(Payments):
        refuses = True

        async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult:
            await super().capture(request_id=request_id, vendor_ref=vendor_ref, amount_cents=amount_cents)
            return PaymentResult(not self.refuses, vendor_ref)

    async def tell(region_id: str, opened: object) -> None: ...

    await world.open()
    vendor = Choosy()
    relay = Relay(
        world.store,
        carriers(
            world.store,
            Limits(outbox_retry_s=0.02, outbox_pace_s=0.0, outbox_tries=3),
            bus=Bus(),
            payment=vendor,
            tell_region=tell,
            clock=HandClock(hand=[world.now_ms + 3_600_000]),
        ),
        lease_s=5.0,
    )

    async def delivered() -> str:
        task = await world.confirmed()
        records, at_door = world.to_door(task)
        await world.append(world.records(*records, *world.delivered(at_door)))
        relay.wake()
        return task.order_id

    bad = await delivered()
    relay.start()
    try:

        async def buried() -> bool:
            return bool(await dead.oldest("payments", 10))

        await eventually(buried)
        assert len(vendor.asked) == 3
        vendor.refuses = False
        good = await delivered()

        async def closed(order_id: str) -> bool:
            return (await world.status(order_id) or ("", 0))[0] == OrderStatus.CLOSED

        async def both() -> bool:
            return await closed(bad) and await closed(good)

        async def one() -> bool:
            return await closed(good)

        await eventually(one)
        assert not await closed(bad)
        assert await dead.retry(None, None) == 1
        relay.wake()
        await eventually(both)
    finally:
        await relay.stop()
