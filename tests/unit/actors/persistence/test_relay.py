"""What was committed is carried out of the house at least once, whichever of its receivers is down."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from actors.config import Limits
from actors.persistence.carriers.registry import carriers
from actors.persistence.relay import Relay
from domain.orders.lifecycle import OrderStatus, Role
from domain.orders.reasons import RefuseReason
from domain.ports import Channel, PaymentResult
from domain.region.messages import Arrive, Cancel, ConfirmReturn, Refuse, TaskOpened
from tests.support.shells import Broken, Bus, HandClock, Payments, until
from tests.support.story import Story


class World:
    """A store with a life of orders in it, and a relay from it to recorders."""

    def __init__(self) -> None:
        self.story = Story()
        self.bus, self.payments = Bus(), Payments()
        self.told: list[TaskOpened] = []
        self.region_down = False
        self.relay = Relay(
            self.story.store,
            carriers(
                self.story.store,
                Limits(outbox_retry_s=0.01),
                bus=self.bus,
                payment=self.payments,
                tell_region=self.tell,
                clock=HandClock(hand=[self.story.now]),
            ),
            lease_s=5.0,
        )

    async def tell(self, region_id: str, opened: list[TaskOpened]) -> None:
        if self.region_down:
            raise Broken
        self.told += opened

    async def waiting(self, channel: Channel) -> int:
        return len(await self.story.store.outbox_batch(channel, 1000))

    def status(self, n: int = 1) -> OrderStatus:
        return self.story.store.orders[f"order-{n}"].status


@pytest.fixture
async def world() -> AsyncIterator[World]:
    one = World()
    yield one
    await one.relay.stop()


async def test_every_dossier_event_is_published_in_order_and_marked(world: World) -> None:
    world.story.delivered()
    world.relay.start()
    expected = [f"order.{entry.type.lower()}" for entry in world.story.store.dossier("order-1")]
    await until(lambda: len(world.bus.events) > len(expected))  # the closing comes with the settlement
    assert [event.topic for event in world.bus.events][: len(expected)] == expected
    ids = [event.event_id for event in world.bus.events]
    assert ids == sorted(set(ids))
    await until(lambda: not world.story.store.outbox[Channel.BUS])


async def test_the_region_is_told_of_its_tasks_as_they_were_opened(world: World) -> None:
    world.story.order()
    world.story.order()
    world.relay.start()
    await until(lambda: len(world.told) == 2)
    assert world.told == [world.story.opened["task-1"], world.story.opened["task-2"]]
    await until(lambda: not world.story.store.outbox[Channel.TASKS])


async def test_a_bus_that_is_down_holds_up_neither_tasks_nor_settlement(world: World) -> None:
    world.bus.down = True
    world.story.delivered()
    world.relay.start()
    await until(lambda: world.status() is OrderStatus.CLOSED)
    assert len(world.told) == 1
    assert world.bus.events == []
    count = await world.waiting(Channel.BUS)
    assert count > 0
    world.bus.down = False
    await until(lambda: len(world.bus.events) == count)


async def test_a_region_that_is_down_is_told_later_and_holds_up_no_settlement(world: World) -> None:
    world.region_down = True
    world.story.delivered()
    world.relay.start()
    await until(lambda: world.status() is OrderStatus.CLOSED)
    assert world.told == []
    world.region_down = False
    await until(lambda: len(world.told) == 1)


async def test_what_could_not_be_marked_is_carried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.story.order()
    done, failures = world.story.store.outbox_done, [Broken(), Broken()]

    async def sometimes(event_ids: list[int]) -> None:
        if failures:
            raise failures.pop()
        await done(event_ids)

    monkeypatch.setattr(world.story.store, "outbox_done", sometimes)
    world.relay.start()
    await until(lambda: not any(world.story.store.outbox.values()))
    published = {event.event_id for event in world.bus.events}
    assert len(published) == len(world.story.store.dossier("order-1"))
    assert {opened.task.task_id for opened in world.told} == {"task-1"}
    assert len(world.told) + len(world.bus.events) > 1 + len(published)


async def test_delivery_captures_the_payment_once_and_closes_the_order(world: World) -> None:
    world.story.delivered()
    world.relay.start()
    await until(lambda: world.status() is OrderStatus.CLOSED)
    total_cents = world.story.store.orders["order-1"].total_cents
    assert world.payments.asked == [(f"capture {total_cents}", "pay-1")]
    assert world.story.store.dossier("order-1")[-1].type == "ORDER_CLOSED"


@pytest.mark.parametrize("how", ["cancelled", "returned"])
async def test_an_order_that_ends_otherwise_has_its_payment_voided(world: World, how: str) -> None:
    if how == "cancelled":
        world.story.order()
        world.story.do("cara", Cancel("order-1"), role=Role.CUSTOMER)
    else:
        world.story.at_door()
        world.story.do("ann", Refuse("order-1", RefuseReason.NOBODY_HOME))
        [back] = world.story.region.state.holdings.by_driver["ann"]
        world.story.do("ann", Arrive(back), ConfirmReturn(back))
    world.relay.start()
    await until(lambda: not world.story.store.outbox[Channel.PAYMENTS])
    assert world.payments.asked == [("void", "pay-1")]


async def test_the_next_life_of_an_actor_has_its_leases_at_once_and_a_twin_has_them_no_more(
    world: World,
) -> None:
    """Each process has a name of its own for leases, so that one that comes back from the dead does not lead beside it;
    another server's actor of the same name is not its heir."""
    store = world.story.store

    def relay(holder: str, heir_of: str) -> tuple[Relay, Bus]:
        bus = Bus()
        one = Relay(
            store,
            carriers(
                store,
                Limits(outbox_retry_s=0.01, outbox_pace_s=0.0),
                bus=bus,
                payment=Payments(),
                tell_region=world.tell,
                clock=HandClock(hand=[world.story.now]),
            ),
            lease_s=0.02,
            holder=holder,
            heir_of=heir_of,
        )
        return one, bus

    (first, _), (second, there), (other, nothing) = (
        relay("server/persistence:0/one", "server/persistence:0"),
        relay("server/persistence:0/two", "server/persistence:0"),
        relay("another/persistence:0/one", "another/persistence:0"),
    )
    try:
        first.start()
        await until(lambda: len(store._leases) == len(Channel))
        for loop in first._loops:  # frozen, and Ray takes it for dead
            loop.cancel()
        second.start()
        await until(lambda: list(store._leases.values()) == ["server/persistence:0/two"] * len(Channel))
        other.start()

        first._leases.clear()  # when it wakes up, what it knew of is over
        assert not await first._leads(Channel.BUS)
        world.story.order()
        await until(lambda: not store.outbox[Channel.BUS])
        assert there.events
        assert not nothing.events
        assert not other._leases
    finally:
        for one in (first, second, other):
            await one.stop()


async def test_an_order_is_not_closed_while_its_payment_cannot_be_captured(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    outcomes: list[PaymentResult | Broken] = [
        PaymentResult(False, "pay-1"),
        Broken(),
        PaymentResult(True, "pay-1"),
    ]

    async def capture(**_: object) -> PaymentResult:
        nonlocal tries
        assert world.status() is OrderStatus.DELIVERED
        outcome = outcomes[tries]
        tries += 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(world.payments, "capture", capture)
    world.story.delivered()
    world.relay.start()
    await until(lambda: world.status() is OrderStatus.CLOSED)
    assert tries == 3
