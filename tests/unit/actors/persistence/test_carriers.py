"""Carriers are a registry, each with options of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from actors.config import Limits
from actors.persistence.carriers.options import CarrierOptions, rules, usual
from actors.persistence.carriers.regions import CALL_OFF, UNKNOWN_TRIES, ToRegions, of_regions
from actors.persistence.carriers.registry import CARRIERS, carriers
from actors.persistence.relay import Relay
from domain.orders.records import Answer, OutboxEvent
from domain.ports import Channel, EventsRefused
from domain.region.messages import TaskOpened
from persistence.orders.memory import MemoryStore
from tests.support.shells import Bus, HandClock, Payments, until
from tests.support.story import Story


def options(limits: Limits) -> dict[Channel, CarrierOptions]:
    async def tell(region_id: str, opened: list[TaskOpened]) -> None: ...

    made = carriers(
        MemoryStore(), limits, bus=Bus(), payment=Payments(), tell_region=tell, clock=HandClock(hand=[0])
    )
    return {channel: carrier.options for channel, carrier in made.items()}


def test_every_channel_has_a_carrier() -> None:
    assert set(CARRIERS) == set(Channel)


def test_options_are_the_settings_but_for_what_a_carrier_is_about() -> None:
    limits = Limits(outbox_pace_s=0.5, outbox_deadline_s=7.0, vendor_timeout_s=3.0)
    of = options(limits)
    assert of[Channel.BUS] == usual(limits)
    assert (of[Channel.TASKS].pace_s, of[Channel.TASKS].deadline_s) == (0.0, 7.0)  # a driver waits for it
    assert (of[Channel.PAYMENTS].pace_s, of[Channel.PAYMENTS].deadline_s) == (0.5, 3.0)


def test_a_rule_is_one_carriers() -> None:
    of = options(Limits(outbox_rules="bus.batch=500, payments.tries=40,payments.deadline_s=2.5"))
    assert (of[Channel.BUS].batch, of[Channel.TASKS].batch, of[Channel.PAYMENTS].batch) == (500, 200, 200)
    assert (of[Channel.BUS].tries, of[Channel.PAYMENTS].tries) == (16, 40)
    assert (of[Channel.TASKS].deadline_s, of[Channel.PAYMENTS].deadline_s) == (5.0, 2.5)
    assert rules("") == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("post.batch=5", "'post' is no carrier; there are bus, tasks, payments"),
        ("bus=5", "'' is no option; there are batch, pace_s"),
        ("bus.speed=5", "'speed' is no option"),
        ("bus.batch=many", "bus.batch is a number, and 'many' is none"),
        ("bus.batch=1.5", "bus.batch is a number, and '1.5' is none"),
        ("bus.batch", "bus.batch is a number, and '' is none"),
        ("bus.batch=1,bus.batch=2", "bus.batch is said twice"),
    ],
)
def test_a_rule_that_cannot_be_meant(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + sentence.replace(".", r"\.")):
        rules(text)


async def test_a_carrier_takes_as_much_and_tries_as_often_as_its_own_rules_say() -> None:
    """The bus takes nothing: its events are given up after two tries, a market's tasks are not concerned."""
    story, told, sizes = Story(), list[TaskOpened](), list[int]()

    class Full(Bus):
        async def publish(self, events: Sequence[OutboxEvent]) -> None:
            sizes.append(len(events))
            raise EventsRefused({event.event_id: "no" for event in events})

    async def tell(region_id: str, opened: list[TaskOpened]) -> None:
        told.extend(opened)

    for _ in range(3):
        story.order()
    limits = Limits(
        outbox_retry_s=0.005, outbox_backoff_s=0.01, outbox_rules="bus.batch=2,bus.tries=2,bus.pace_s=0"
    )
    made = carriers(
        story.store,
        limits,
        bus=Full(),
        payment=Payments(),
        tell_region=tell,
        clock=HandClock(hand=[story.now]),
    )
    relay = Relay(story.store, made, lease_s=5.0)
    relay.start()
    try:
        await until(lambda: len(story.store.dead_letters) >= 3)
        assert len(told) == 3
        assert max(sizes) <= 4  # two new ones, and two that were tried
    finally:
        await relay.stop()


@pytest.mark.parametrize(
    ("code", "attempts", "is_over"),
    [
        ("WRONG_STATE", 0, True),  # the goods are on the road
        ("NOT_FOUND", 0, False),  # the region may be about to hear of it
        ("NOT_FOUND", UNKNOWN_TRIES - 1, True),
        ("FORBIDDEN", UNKNOWN_TRIES, False),
        (None, 0, True),
    ],
)
async def test_what_cannot_be_called_off_any_more_is_over(
    code: str | None, attempts: int, is_over: bool
) -> None:
    async def tell(region_id: str, messages: list[Any]) -> Sequence[Answer]:
        return [Answer(code=code) for _ in messages]

    event = OutboxEvent(
        event_id=1,
        topic=CALL_OFF,
        aggregate="order",
        aggregate_id="order-1",
        region_id="tx-dfw",
        at_ms=0,
        payload={"order_id": "order-1", "by": "ada", "role": "admin"},
        attempts=attempts,
    )
    refused = await ToRegions(tell, of_regions(Limits())).carry([event])
    assert (not refused) is is_over
