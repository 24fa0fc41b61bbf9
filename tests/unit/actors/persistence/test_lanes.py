"""Whoever hangs, refuses or breaks holds up nobody else, and what is not taken is not forgotten."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from actors.config import Limits
from actors.persistence.carriers.options import usual
from actors.persistence.carriers.registry import carriers
from actors.persistence.relay import Relay
from domain.orders.lifecycle import OrderStatus
from domain.orders.records import Answer, OutboxEvent
from domain.ports import Channel, EventsRefused, PaymentResult, RefundState, VendorError
from domain.region.messages import Attached, TaskOpened
from tests.support.shells import Broken, HandClock, until
from tests.support.story import Story

AT_ONCE_S = 2.0  # nobody is held up longer by what is not theirs
OTHER = "tx-hou"
ALL = list(range(1, 12))  # numbers of the events of an order that was delivered and closed


class Town:
    """Orders of two markets in one outbox, and receivers that hang, refuse or break where a test says so."""

    def __init__(self, **limits: Any) -> None:
        self.story = Story()
        self.store = self.story.store
        self.told: dict[str, list[str]] = defaultdict(list)  # region -> orders
        self.bus: dict[str, list[OutboxEvent]] = defaultdict(list)
        self.asked: list[str] = []  # of the vendor
        self.hangs: set[str] = set()  # regions, streams (bus:...) and orders that never answer
        self.breaks: set[str] = set()  # that raise
        self.refuses: set[str] = set()  # that say no
        self.replies: dict[str, Answer] = {}  # order -> what its region says
        bounds: dict[str, Any] = {"outbox_retry_s": 0.005, "outbox_rest_s": 0.02, "outbox_pace_s": 0.0}
        bounds |= {"outbox_deadline_s": 30.0, "vendor_timeout_s": 30.0, "outbox_backoff_s": 0.05}
        self.relay = Relay(
            self.store,
            carriers(
                self.store,
                Limits(**bounds | limits),
                bus=self,
                payment=self,
                tell_region=self.tell,
                clock=HandClock(hand=[self.story.now]),
            ),
            lease_s=5.0,
        )

    async def meets(self, who: str) -> None:
        if who in self.hangs:
            await asyncio.Event().wait()
        if who in self.breaks:
            raise Broken

    async def tell(self, region_id: str, opened: list[TaskOpened]) -> Sequence[Answer | Attached | None]:
        await self.meets(region_id)
        self.told[region_id] += [one.order.order_id for one in opened]
        return [self.replies.get(one.order.order_id, Answer()) for one in opened]

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        for event in events:
            await self.meets(f"bus:{event.region_id}")
            await self.meets(f"{event.aggregate_id}/{event.payload['seq']}")
        bad = {e.event_id: "no" for e in events if f"bus:{e.aggregate_id}/{e.payload['seq']}" in self.refuses}
        held = {e.aggregate_id: e.event_id for e in events if e.event_id in bad}
        self.bus[events[0].region_id] += [
            e for e in events if e.aggregate_id not in held or e.event_id < held[e.aggregate_id]
        ]
        if bad:
            raise EventsRefused(bad)

    async def authorize(self, **_: Any) -> PaymentResult:
        raise AssertionError

    async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult:
        order_id = request_id.partition(":")[2]
        self.asked.append(order_id)
        await self.meets(order_id)
        return PaymentResult(order_id not in self.refuses, vendor_ref)

    async def void(self, *, request_id: str, vendor_ref: str) -> PaymentResult:
        return await self.capture(request_id=request_id, vendor_ref=vendor_ref, amount_cents=0)

    async def release(self, *, request_id: str) -> PaymentResult:
        raise AssertionError("nothing was abandoned here")

    async def refund(self, **_: Any) -> RefundState:
        raise AssertionError("nothing is given back here")

    async def refund_state(self, **_: Any) -> RefundState | None:
        return None

    def move(self, channel: Channel, *orders: str) -> None:
        """Let the events of these orders be the other market's."""
        waiting = self.store.outbox[channel]
        for event_id, event in waiting.items():
            if event.aggregate_id in orders:
                waiting[event_id] = replace(event, region_id=OTHER)

    def delivered(self, count: int) -> list[str]:
        """So many orders whose settlements wait."""
        orders = []
        for _ in range(count):
            self.story.delivered()
            orders.append(f"order-{len(self.store.orders)}")
        return orders

    def status(self, order_id: str) -> OrderStatus:
        return self.store.orders[order_id].status

    def seqs(self, order_id: str) -> list[int]:
        """Numbers of the order's events on the bus, as they came."""
        return [
            event.payload["seq"]
            for one in self.bus.values()
            for event in one
            if event.aggregate_id == order_id
        ]


@pytest.fixture
async def make() -> AsyncIterator[Any]:
    towns: list[Town] = []

    def one(**limits: Any) -> Town:
        towns.append(Town(**limits))
        return towns[-1]

    yield one
    for town in towns:
        async with asyncio.timeout(AT_ONCE_S):
            await town.relay.stop()


async def soon(condition: Any) -> None:
    async with asyncio.timeout(AT_ONCE_S):
        await until(condition)


# -- who hangs ----------------------------------------------------------------------------------------------------


async def test_a_frozen_region_holds_up_no_other(make: Any) -> None:
    town = make()
    town.story.order()
    town.hangs.add("tx-dfw")
    town.relay.start()
    await soon(lambda: town.relay._lanes[Channel.TASKS].closed())
    for _ in range(3):
        town.story.order()
    town.move(Channel.TASKS, "order-2", "order-3", "order-4")
    town.relay.wake()
    await soon(lambda: town.told[OTHER] == ["order-2", "order-3", "order-4"])
    assert town.told["tx-dfw"] == []


async def test_a_region_that_thaws_or_is_replaced_is_told(make: Any) -> None:
    town = make(outbox_deadline_s=0.02)
    town.story.order()
    town.hangs.add("tx-dfw")
    with capture_logs() as logs:
        town.relay.start()
        await soon(lambda: any(line["event"] == "relay.unanswered" for line in logs))
    town.hangs.clear()
    await soon(lambda: town.told["tx-dfw"] == ["order-1"])
    await soon(lambda: not town.store.outbox[Channel.TASKS])


async def test_a_frozen_region_is_asked_less_and_less_often(make: Any) -> None:
    town = make(outbox_retry_s=0.001, outbox_rest_s=3600.0, outbox_deadline_s=0.001)
    town.story.order()
    town.hangs.add("tx-dfw")
    with capture_logs() as logs:
        town.relay.start()
        await soon(lambda: len(logs) >= 5)
    lane = town.relay._lanes[Channel.TASKS]._lanes["tx-dfw"]
    assert lane.rests_until_s - asyncio.get_running_loop().time() <= 0.001 * 2**lane.failures
    assert lane.failures >= 4


async def test_a_frozen_stream_holds_up_no_other_and_no_task_or_settlement(make: Any) -> None:
    town = make()
    [one, two] = town.delivered(2)
    town.hangs.add("bus:tx-dfw")
    town.move(Channel.BUS, two)
    town.relay.start()
    await soon(lambda: town.status(one) is town.status(two) is OrderStatus.CLOSED)
    await soon(lambda: town.seqs(two) == ALL[:-1])  # it is closed in its own market
    assert town.told["tx-dfw"] == [one, two]
    assert town.seqs(one) == []


async def test_a_settlement_that_hangs_holds_up_no_other(make: Any) -> None:
    town = make()
    [first] = town.delivered(1)
    town.hangs.add(first)
    town.relay.start()
    await soon(lambda: town.asked == [first])
    for order_id in town.delivered(3):
        town.relay.wake()
        await soon(lambda order_id=order_id: town.status(order_id) is OrderStatus.CLOSED)
    assert town.asked.count(first) == 1  # once at a time
    assert town.status(first) is OrderStatus.DELIVERED


async def test_a_vendor_that_hangs_is_given_up_on_in_time_and_asked_again(make: Any) -> None:
    town = make(vendor_timeout_s=0.02)
    [order_id] = town.delivered(1)
    town.hangs.add(order_id)
    town.relay.start()
    await soon(lambda: len(town.asked) >= 2)
    town.hangs.clear()
    await soon(lambda: town.status(order_id) is OrderStatus.CLOSED)


async def test_a_pile_of_one_market_leaves_room_for_the_other(make: Any) -> None:
    """More hang than go out at a time, new ones and such as were tried."""
    town = make(outbox_batch=3)
    pile = town.delivered(8)
    town.hangs |= set(pile)
    town.relay.start()
    await soon(lambda: len(town.asked) == 3)
    [other] = town.delivered(1)
    town.move(Channel.PAYMENTS, other)
    town.relay.wake()
    await soon(lambda: town.status(other) is OrderStatus.CLOSED)
    assert len(town.asked) == 4


# -- who refuses --------------------------------------------------------------------------------------------------


async def test_settlements_that_the_vendor_refuses_do_not_stop_the_others(make: Any) -> None:
    town = make(outbox_batch=5, outbox_tries=1000)
    bad = town.delivered(20)
    town.refuses |= set(bad)
    town.relay.start()
    await soon(lambda: set(town.asked) == set(bad))
    [good] = town.delivered(1)
    town.relay.wake()
    await soon(lambda: town.status(good) is OrderStatus.CLOSED)
    assert not town.store.dead_letters


async def test_what_is_refused_again_and_again_is_a_dead_letter_and_kept(make: Any) -> None:
    town = make(outbox_tries=4)
    [order_id] = town.delivered(1)
    town.refuses.add(order_id)
    with capture_logs() as logs:
        town.relay.start()
        await soon(lambda: bool(town.store.dead_letters))
    assert town.asked == [order_id] * 4
    [(event_id, reason)] = town.store.dead_letters.items()
    assert reason == "the vendor refused the capture"
    assert event_id in town.store.outbox[Channel.PAYMENTS]
    [line] = [line for line in logs if line["event"] == "relay.dead_letter"]
    assert line == dict(line) | {
        "log_level": "error",
        "channel": Channel.PAYMENTS,
        "event_id": event_id,
        "order_id": order_id,
        "tries": 4,
        "reason": reason,
    }
    assert town.relay.outcomes[Channel.PAYMENTS, "dead"] == 1
    assert town.relay.outcomes[Channel.PAYMENTS, "refused"] == 3


async def test_tries_come_after_waits_that_double_up_to_a_limit() -> None:
    options = usual(Limits(outbox_retry_s=1.0, outbox_backoff_s=300.0))
    assert [options.wait_s(tries) for tries in range(1, 12)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


async def test_while_nobody_answers_nothing_becomes_a_dead_letter(make: Any) -> None:
    """The vendor is down for hours: all of it is settled when it is back."""
    town = make(outbox_tries=3, outbox_backoff_s=0.01)
    orders = town.delivered(3)
    town.breaks |= set(orders)
    town.relay.start()
    await soon(lambda: len(town.asked) > 5 * 3 * len(orders))
    assert not town.store.dead_letters
    town.breaks.clear()
    await soon(lambda: all(town.status(order_id) is OrderStatus.CLOSED for order_id in orders))


async def test_what_fails_while_others_are_answered_is_a_dead_letter_in_the_end(make: Any) -> None:
    town = make(outbox_tries=3, outbox_retry_s=0.02)
    [bad] = town.delivered(1)
    town.breaks.add(bad)
    town.relay.start()
    while not town.store.dead_letters:
        [good] = town.delivered(1)
        town.relay.wake()
        await soon(lambda good=good: town.status(good) is OrderStatus.CLOSED)
        assert town.asked.count(bad) <= 50
    assert list(town.store.dead_letters.values()) == ["Broken"]


async def test_an_order_that_is_not_closed_is_told_of_and_not_dropped(make: Any) -> None:
    town = make(outbox_tries=2)
    [order_id] = town.delivered(1)
    [(event_id, event)] = town.store.outbox[Channel.PAYMENTS].items()
    town.store.outbox[Channel.PAYMENTS][event_id] = replace(event, aggregate_id="nobody's")
    town.relay.start()
    await soon(lambda: bool(town.store.dead_letters))
    assert town.store.dead_letters == {event_id: "the order was not settled: NOT_FOUND"}
    assert town.status(order_id) is OrderStatus.DELIVERED


async def test_an_order_that_was_closed_before_is_closed(make: Any) -> None:
    """The mark was lost after the order was closed, and the answer is forgotten by now."""
    town = make()
    [order_id] = town.delivered(1)
    settle = dict(town.store.outbox[Channel.PAYMENTS])
    town.relay.start()
    await soon(lambda: town.status(order_id) is OrderStatus.CLOSED)
    await soon(lambda: not town.store.outbox[Channel.PAYMENTS])
    town.store.answers.clear()
    town.store.outbox[Channel.PAYMENTS] |= settle
    town.relay.wake()
    await soon(lambda: not town.store.outbox[Channel.PAYMENTS])
    assert [entry.type for entry in town.store.dossier(order_id)].count("ORDER_CLOSED") == 1


async def test_a_task_that_its_region_refuses_is_told_again_and_then_to_a_person(make: Any) -> None:
    town = make(outbox_tries=3)
    town.story.order()
    town.story.order()
    town.replies["order-1"] = Answer("INTERNAL_ERROR")
    town.relay.start()
    await soon(lambda: bool(town.store.dead_letters))
    assert town.told["tx-dfw"].count("order-1") == 3
    assert town.told["tx-dfw"].count("order-2") == 1
    assert list(town.store.dead_letters.values()) == ["INTERNAL_ERROR"]


@pytest.mark.parametrize("channel", [Channel.TASKS, Channel.PAYMENTS])
async def test_what_cannot_be_read_is_a_dead_letter_at_once_and_alone(make: Any, channel: Channel) -> None:
    town = make()
    town.delivered(2)
    waiting = town.store.outbox[channel]
    first = min(waiting)
    waiting[first] = replace(waiting[first], payload={"status": "NO SUCH", "task": 3})
    town.relay.start()
    await soon(lambda: bool(town.store.dead_letters) and list(waiting) == [first])
    assert town.store.dead_letters == {first: "unreadable: ValidationError"}


async def test_what_the_store_could_not_read_takes_nobody_along(make: Any) -> None:
    town = make()
    town.delivered(2)
    for channel in Channel:
        waiting = town.store.outbox[channel]
        waiting[min(waiting)] = replace(waiting[min(waiting)], payload={}, fault="unreadable: DecodeError")
    town.relay.start()
    await soon(lambda: len(town.store.dead_letters) == 3 and town.status("order-2") is OrderStatus.CLOSED)
    await soon(lambda: 11 in town.seqs("order-2"))
    assert town.seqs("order-1") == []


# -- the bus ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["refused", "breaks"])
async def test_one_bad_event_stops_neither_its_batch_nor_is_it_overtaken_on_its_order(
    make: Any, how: str
) -> None:
    town = make(outbox_tries=5, outbox_retry_s=0.01, outbox_backoff_s=0.01)
    town.delivered(3)
    if how == "refused":
        town.refuses.add("bus:order-2/4")
    else:
        town.breaks.add("order-2/4")
    town.relay.start()
    await soon(lambda: 11 in town.seqs("order-1") and 11 in town.seqs("order-3"))
    assert town.seqs("order-2") == [1, 2, 3]
    await soon(lambda: bool(town.store.dead_letters) or how == "breaks")
    assert town.seqs("order-2") == [1, 2, 3]  # also when nobody tries any more: a person decides
    if how == "refused":
        [event_id] = town.store.dead_letters
        town.refuses.clear()
        again = town.store._not_taken[event_id]
        town.store._not_taken[event_id] = replace(again, next_s=0.0)  # as an operator has it tried again
    town.breaks.clear()
    await soon(lambda: town.seqs("order-2") == ALL)
    for order_id in ("order-1", "order-3"):
        assert town.seqs(order_id) == ALL


async def test_a_bus_that_takes_nothing_is_asked_for_a_few_only(make: Any) -> None:
    town = make(outbox_rest_s=3600.0, outbox_retry_s=3600.0)
    town.delivered(5)
    town.breaks.add("bus:tx-dfw")
    calls = 0
    publish = town.publish

    async def counted(events: Sequence[OutboxEvent]) -> None:
        nonlocal calls
        calls += 1
        await publish(events)

    town.publish = counted
    with capture_logs() as logs:
        town.relay.start()
        await soon(lambda: any(line["event"] == "relay.unanswered" for line in logs))
    assert calls == 4  # all of them, then three alone
    assert not town.store._not_taken


async def test_a_vendor_error_in_words_reaches_no_log_and_no_row(make: Any) -> None:
    town = make(outbox_tries=1)

    async def capture(**_: Any) -> PaymentResult:
        raise VendorError("card of Ann Example, 12 Elm Street")

    town.capture = capture
    town.delivered(1)
    with capture_logs() as logs:
        town.relay.start()
        await soon(lambda: any(line["event"] == "relay.not_taken" for line in logs))
    assert "Elm" not in str(logs)
