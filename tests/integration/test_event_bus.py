"""Redis Streams: what one stream or one event has must not be the others' matter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import redis.asyncio as redis
from msgspec.structs import replace
from redis.exceptions import ResponseError

from actors.config import Limits
from actors.persistence.carriers.registry import carriers
from actors.persistence.relay import Relay
from domain.orders.records import OutboxEvent
from domain.ports import Channel, EventsRefused
from integrations.event_bus.redis_streams import GLOBAL, STREAM_PREFIX, RedisStreams, RedisStreamsOptions
from persistence.orders.memory import MemoryStore
from tests.support.shells import HandClock, Payments, until

pytestmark = pytest.mark.integration


class Town:
    """Two markets of this test's own on the session's Redis."""

    def __init__(self, redis_url: str) -> None:
        self.here, self.there = f"tx-{uuid4().hex}", f"tx-{uuid4().hex}"
        self.bus = RedisStreams(RedisStreamsOptions(redis_url=redis_url))
        self.client: Any = redis.from_url(redis_url, decode_responses=True)
        self.ids = 0

    def event(self, region_id: str, order_id: str = "order-1", payload: Any = None) -> OutboxEvent:
        self.ids += 1
        return OutboxEvent(
            event_id=self.ids,
            topic="order.created",
            aggregate="order",
            aggregate_id=order_id,
            region_id=region_id,
            at_ms=1,
            payload={"n": self.ids} if payload is None else payload,
        )

    async def stream(self, region_id: str) -> list[int]:
        return [int(entry["event_id"]) for _, entry in await self.client.xrange(STREAM_PREFIX + region_id)]

    async def spoil(self, region_id: str) -> None:
        """The stream's key holds something else."""
        await self.client.set(STREAM_PREFIX + region_id, "text")


@pytest.fixture
async def town(redis_url: str) -> AsyncIterator[Town]:
    one = Town(redis_url)
    yield one
    await one.client.delete(STREAM_PREFIX + one.here, STREAM_PREFIX + one.there)
    await one.client.aclose()
    await one.bus.close()


async def test_events_are_in_their_stream_in_order(town: Town) -> None:
    events = [town.event(town.here, f"order-{n % 3}") for n in range(20)]
    await town.bus.publish(events)
    assert await town.stream(town.here) == [event.event_id for event in events]


async def test_an_entry_names_its_aggregate(town: Town) -> None:
    await town.bus.publish([town.event(town.here)])
    [(_, entry)] = await town.client.xrange(STREAM_PREFIX + town.here)
    assert entry == {
        "event_id": "1",
        "topic": "order.created",
        "aggregate": "order",
        "aggregate_id": "order-1",
        "region_id": town.here,
        "at_ms": "1",
        "payload": '{"n":1}',
    }


async def test_what_concerns_no_market_has_a_stream_of_its_own(town: Town) -> None:
    merchant = replace(town.event(""), topic="merchant.created", aggregate="merchant", aggregate_id="m")
    await town.bus.publish([merchant])
    [(_, entry), *_] = await town.client.xrevrange(STREAM_PREFIX + GLOBAL, count=1)
    await town.client.delete(STREAM_PREFIX + GLOBAL)
    assert (entry["aggregate"], entry["aggregate_id"], entry["region_id"]) == ("merchant", "m", "")


async def test_a_key_of_another_type_raises_and_leaves_nothing_half_done(town: Town) -> None:
    await town.spoil(town.here)
    with pytest.raises(ResponseError):
        await town.bus.publish([town.event(town.here) for _ in range(3)])


async def test_an_event_that_cannot_be_written_holds_back_its_order_alone(town: Town) -> None:
    events = [
        town.event(town.here, "a"),
        town.event(town.here, "b", {"bad": object()}),
        town.event(town.here, "b"),
        town.event(town.here, "a"),
    ]
    with pytest.raises(EventsRefused) as caught:
        await town.bus.publish(events)
    assert list(caught.value.reasons) == [2]
    assert await town.stream(town.here) == [1, 4]


async def test_one_bad_key_stops_no_other_stream_and_heals(town: Town) -> None:
    store = MemoryStore()
    events = [town.event(region_id) for _ in range(4) for region_id in (town.here, town.there)]
    store.outbox[Channel.BUS] = {event.event_id: event for event in events}
    await town.spoil(town.here)

    async def tell(region_id: str, opened: object) -> None: ...

    limits = Limits(outbox_retry_s=0.01, outbox_rest_s=0.01, outbox_pace_s=0.0)
    relay = Relay(
        store,
        carriers(
            store, limits, bus=town.bus, payment=Payments(), tell_region=tell, clock=HandClock(hand=[0])
        ),
        lease_s=5.0,
    )
    relay.start()
    try:
        await until(lambda: len(store.outbox[Channel.BUS]) == 4)
        assert await town.stream(town.there) == [2, 4, 6, 8]
        assert not store.dead_letters
        await town.client.delete(STREAM_PREFIX + town.here)
        await until(lambda: not store.outbox[Channel.BUS])
        assert await town.stream(town.here) == [1, 3, 5, 7]
    finally:
        async with asyncio.timeout(5):
            await relay.stop()
