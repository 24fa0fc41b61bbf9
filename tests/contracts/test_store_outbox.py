"""What waits in the outbox: fair to every market, patient with what is not taken, in order where that is promised."""

from __future__ import annotations

from typing import Any

from domain.orders.records import NotTaken, OutboxEvent
from domain.ports import Channel
from persistence.orders.memory import MemoryStore
from tests.contracts.store_world import REGION, World
from tests.support.database import as_owner

OTHER = "tx-hou"


def not_taken(event: OutboxEvent, again_s: float | None) -> NotTaken:
    return NotTaken(event_id=event.event_id, reason="no", again_s=again_s)


async def batch(world: World, channel: Channel, limit: int = 100, **options: Any) -> list[OutboxEvent]:
    return await world.store.outbox_batch(channel, limit, **options)


def orders(events: list[OutboxEvent]) -> list[str]:
    return [event.aggregate_id for event in events]


async def move(world: World, order_id: str, region_id: str) -> None:
    """Let the order's events be of another region."""
    if isinstance(world.store, MemoryStore):
        from msgspec.structs import replace

        for waiting in world.store.outbox.values():
            for event_id, event in list(waiting.items()):
                if event.aggregate_id == order_id:
                    waiting[event_id] = replace(event, region_id=region_id)
        return
    assert world.owner_url is not None
    statement = "UPDATE outbox SET region_id = $1 WHERE aggregate_id = $2"
    await as_owner(world.owner_url, statement, region_id, order_id)


async def tell(world: World, topic: str, aggregate_id: str) -> int:
    """Put an event of no market on the bus' channel; returns its id."""
    aggregate = topic.partition(".")[0]
    if isinstance(world.store, MemoryStore):
        event_id = max(max(waiting, default=0) for waiting in world.store.outbox.values()) + 1
        world.store.outbox[Channel.BUS][event_id] = OutboxEvent(
            event_id=event_id,
            topic=topic,
            aggregate=aggregate,
            aggregate_id=aggregate_id,
            region_id="",
            at_ms=1,
            payload={},
        )
        return event_id
    assert world.owner_url is not None
    statement = (
        "INSERT INTO outbox (channel, topic, aggregate, aggregate_id, region_id, at_ms, payload)"
        " VALUES ('bus', $1, $2, $3, '', 1, '{}') RETURNING event_id"
    )
    told = await as_owner(world.owner_url, statement, topic, aggregate, aggregate_id)
    assert isinstance(told, int)
    return told


async def test_no_regions_pile_fills_the_batch(world: World) -> None:
    here = [(await world.confirmed()).order_id for _ in range(5)]
    there = [(await world.confirmed()).order_id for _ in range(2)]
    for order_id in there:
        await move(world, order_id, OTHER)
    events = await batch(world, Channel.TASKS, 3)
    assert orders(events) == [*here[:3], *there]
    assert [event.event_id for event in events] == sorted(event.event_id for event in events)
    assert orders(await batch(world, Channel.TASKS, 3, without=[REGION])) == there
    assert orders(await batch(world, Channel.TASKS, 3, without=[OTHER])) == here[:3]
    assert await batch(world, Channel.TASKS, 3, without=[OTHER, REGION]) == []
    under_way = [event.event_id for event in events[:2]]
    assert orders(await batch(world, Channel.TASKS, 3, under_way=under_way)) == [*here[2:5], *there]


async def test_what_was_not_taken_comes_again_when_it_is_due_and_counts_its_tries(world: World) -> None:
    await world.confirmed()
    [event] = await batch(world, Channel.TASKS)
    assert event.attempts == 0
    await world.store.outbox_not_taken([not_taken(event, 0.0)])
    [again] = await batch(world, Channel.TASKS)
    assert (again.event_id, again.attempts, again.payload) == (event.event_id, 1, event.payload)
    await world.store.outbox_not_taken([not_taken(event, 3600.0)])
    assert await batch(world, Channel.TASKS) == []


async def test_a_dead_letter_is_kept_and_comes_no_more(world: World) -> None:
    await world.confirmed()
    [event] = await batch(world, Channel.TASKS)
    await world.store.outbox_not_taken([not_taken(event, None)])
    assert await batch(world, Channel.TASKS) == []
    if isinstance(world.store, MemoryStore):
        assert world.store.dead_letters == {event.event_id: "no"}


async def test_a_pile_that_was_tried_leaves_room_for_what_is_new(world: World) -> None:
    old = [(await world.confirmed()).order_id for _ in range(4)]
    await world.store.outbox_not_taken([not_taken(event, 0.0) for event in await batch(world, Channel.TASKS)])
    new = [(await world.confirmed()).order_id for _ in range(4)]
    assert orders(await batch(world, Channel.TASKS, 2)) == [*old[:2], *new[:2]]


async def test_on_the_bus_an_orders_later_events_wait_for_its_earlier_ones(world: World) -> None:
    one, two = (await world.confirmed()).order_id, (await world.confirmed()).order_id
    events = await batch(world, Channel.BUS)
    mine = [event for event in events if event.aggregate_id == one]
    await world.store.outbox_done([mine[0].event_id])
    for again_s in (3600.0, None):  # it waits, or it is a dead letter
        await world.store.outbox_not_taken([not_taken(mine[1], again_s)])
        assert set(orders(await batch(world, Channel.BUS))) == {two}
    await world.store.outbox_done([mine[1].event_id])
    left = [event.event_id for event in await batch(world, Channel.BUS) if event.aggregate_id == one]
    assert left == [event.event_id for event in mine[2:]]


async def test_on_the_bus_what_is_due_again_comes_before_the_rest_of_its_order(world: World) -> None:
    order_id = (await world.confirmed()).order_id
    first, *_ = await batch(world, Channel.BUS)
    await world.store.outbox_not_taken([not_taken(first, 0.0)])
    assert [event.event_id for event in await batch(world, Channel.BUS)] == [first.event_id]
    await world.store.outbox_done([first.event_id])
    assert order_id in orders(await batch(world, Channel.BUS))


async def test_on_the_bus_what_is_due_again_waits_for_what_came_before_and_is_not(world: World) -> None:
    """Both were refused in one batch, and the first alone once more."""
    order_id = (await world.confirmed()).order_id
    first, second, *_ = await batch(world, Channel.BUS)
    for again_s in (3600.0, None):
        await world.store.outbox_not_taken([not_taken(first, again_s), not_taken(second, 0.0)])
        assert await batch(world, Channel.BUS) == []
    await world.store.outbox_done([first.event_id])
    assert [event.event_id for event in await batch(world, Channel.BUS)] == [second.event_id]
    assert second.aggregate_id == order_id


async def test_other_channels_hold_nothing_back(world: World) -> None:
    """A hold that cannot be let go must not stop what the same order is to pay."""
    order_id = await world.draft()
    await world.append(world.age(order_id), world.pay(order_id), world.accept(order_id))
    [told] = await batch(world, Channel.TASKS)
    await world.store.outbox_not_taken([not_taken(told, None)])
    assert {event.aggregate_id for event in await batch(world, Channel.BUS)} == {order_id}


async def test_an_event_names_its_aggregate(world: World) -> None:
    order_id = (await world.confirmed()).order_id
    for channel in Channel:
        for event in await batch(world, channel):
            assert event.about == ("order", order_id)
            assert event.region_id == REGION


async def test_aggregates_and_markets_hold_nothing_of_each_other_back(world: World) -> None:
    """A merchant is of no market; that it has an order's id is its own matter."""
    order_id = (await world.confirmed()).order_id
    told = await batch(world, Channel.BUS)
    merchant = [await tell(world, f"merchant.{event}", order_id) for event in ("created", "renamed")]
    await world.store.outbox_not_taken([not_taken(told[0], 3600.0)])
    waiting = await batch(world, Channel.BUS, without=[REGION])
    assert [(event.about, event.region_id) for event in waiting] == 2 * [(("merchant", order_id), "")]
    assert [event.event_id for event in await batch(world, Channel.BUS)] == merchant
    await world.store.outbox_not_taken([not_taken(waiting[0], None)])
    assert await batch(world, Channel.BUS) == []
    assert await batch(world, Channel.BUS, without=[""]) == []
