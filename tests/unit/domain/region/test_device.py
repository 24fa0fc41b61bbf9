"""What a device says of an action: its time in the dossier, and the order in which its actions are taken."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.orders.dossier import verify
from domain.orders.lifecycle import TaskStatus
from domain.orders.reasons import RefuseReason
from domain.orders.records import Answer
from domain.region.device import taken_ms
from domain.region.log import journal
from domain.region.messages import (
    Accept,
    Action,
    Arrive,
    ConfirmReturn,
    Deliver,
    Device,
    Pickup,
    Refuse,
    Reject,
)
from tests.support import build
from tests.support.story import Story


def do(
    story: Story, action: Action, n: int | None = None, ago_s: float | None = None, who: str = "ann"
) -> Answer:
    at_ms = None if ago_s is None else story.now - round(ago_s * 1000)
    return story.ask(who, action, device=Device(at_ms, n))


def payload(story: Story, order_id: str = "order-1") -> dict[str, Any]:
    """Of the newest event in the order's dossier, by the device alone."""
    entries = story.store.dossiers[order_id]
    assert verify(entries).ok
    return {
        name: value for name, value in entries[-1].payload.items() if "device" in name or name == "late_ms"
    }


def test_the_dossier_has_the_devices_time_beside_the_servers() -> None:
    story = Story()
    task_id = story.assigned()
    story.wait(100)
    assert do(story, Arrive(task_id), n=4, ago_s=60).code is None
    entry = story.store.dossiers["order-1"][-1]
    assert entry.at_ms == story.now
    assert payload(story) == {"device_at_ms": story.now - 60_000, "late_ms": 60_000, "device_n": 4}


def test_nothing_is_noted_where_the_device_says_nothing() -> None:
    story = Story()
    story.do("ann", Arrive(story.assigned()))
    assert payload(story) == {}


@pytest.mark.parametrize(
    ("ago_s", "late_ms"),
    [(-3600, 0), (0, 0), (30, 30_000), (99, 99_000), (10**6, 100_000)],
)
def test_a_device_is_believed_within_what_can_be(ago_s: float, late_ms: int) -> None:
    story = Story()
    task_id = story.assigned()
    story.wait(100)
    do(story, Arrive(task_id), ago_s=ago_s)
    noted = payload(story)
    assert noted["late_ms"] == late_ms
    assert noted["device_at_ms"] == story.now - late_ms
    said_ms = noted.get("device_said_ms", noted["device_at_ms"])
    assert said_ms == story.now - round(ago_s * 1000)


def test_a_step_was_taken_no_sooner_than_the_one_before_it_by_the_same_clock() -> None:
    story = Story()
    task_id = story.assigned()
    story.wait(100)
    do(story, Arrive(task_id), n=1, ago_s=80)
    do(story, Pickup(task_id), n=2, ago_s=70)
    assert payload(story)["late_ms"] == 70_000  # though the server heard of the arrival just now
    do(story, Arrive(task_id), n=3, ago_s=90)
    assert payload(story)["late_ms"] == 70_000


@given(st.integers(-(2**53), 2**53), st.integers(0, 2**42), st.integers(0, 2**42))
def test_when_it_was_taken_is_never_ahead_nor_before_the_last_step(
    at_ms: int, last_ms: int, late_ms: int
) -> None:
    now_ms = last_ms + late_ms
    assert last_ms <= taken_ms(at_ms, last_ms, now_ms) <= now_ms
    if last_ms <= at_ms <= now_ms:
        assert taken_ms(at_ms, last_ms, now_ms) == at_ms


def test_an_older_action_comes_too_late_and_changes_nothing() -> None:
    story = Story()
    task_id = story.assigned()
    do(story, Arrive(task_id), n=5)
    for n in (4, 5):
        assert do(story, Pickup(task_id), n=n).code == "OUT_OF_ORDER"
    assert story.task(task_id).status is TaskStatus.AT_PICKUP
    assert do(story, Pickup(task_id), n=6).code is None


def test_a_refused_action_does_not_count() -> None:
    story = Story()
    task_id = story.assigned()
    assert do(story, Pickup(task_id), n=9).code == "WRONG_STATE"
    assert do(story, Arrive(task_id), n=8).code is None


def test_a_repeat_gets_its_answer_whatever_came_after_it() -> None:
    story = Story()
    task_id = story.assigned()
    first = story.ask("ann", Arrive(task_id), key="a", device=Device(None, 1))
    do(story, Pickup(task_id), n=2)
    assert story.ask("ann", Arrive(task_id), key="a", device=Device(None, 1)) == first
    assert story.task(task_id).status is TaskStatus.PICKED_UP


def test_an_action_without_a_number_neither_waits_nor_lets_an_older_one_in() -> None:
    story = Story()
    task_id = story.assigned()
    do(story, Arrive(task_id), n=5)
    assert do(story, Pickup(task_id), ago_s=1).code is None
    assert do(story, Arrive(task_id), n=5).code == "OUT_OF_ORDER"


def test_numbers_are_one_drivers_and_one_orders() -> None:
    story = Story()
    first = story.assigned("ann")
    do(story, Arrive(first), n=100)
    second = story.assigned("bob")
    assert do(story, Arrive(second), n=1, who="bob").code is None
    # Another's order is another's, whatever the number.
    assert do(story, Pickup(first), n=1, who="bob").code == "NOT_TASK_HOLDER"


def test_numbers_go_on_with_the_goods_that_go_back() -> None:
    story = Story()
    story.at_door()
    story.wait(50)
    do(story, Refuse("order-1", RefuseReason.NOBODY_HOME), n=7, ago_s=40)
    assert payload(story) == {}  # the newest event is the return's beginning, by the server
    [back] = story.region.state.holdings.by_driver["ann"]
    assert do(story, Arrive(back), n=6).code == "OUT_OF_ORDER"
    assert do(story, Arrive(back), n=8, ago_s=45).code is None
    assert payload(story)["late_ms"] == 40_000
    assert do(story, ConfirmReturn(back), n=9).code is None


def test_the_door_too() -> None:
    story = Story()
    story.at_door()
    story.wait(20)
    do(story, build.id_check("order-1"), n=1, ago_s=15)
    assert payload(story)["late_ms"] == 15_000
    assert do(story, Deliver("order-1"), n=1).code == "OUT_OF_ORDER"
    do(story, Deliver("order-1"), n=2, ago_s=10)
    assert payload(story)["late_ms"] == 10_000


def test_offers_by_their_task_and_by_their_id() -> None:
    story = Story()
    story.offered("ann")
    assert do(story, Accept(task_id="task-1"), n=3, ago_s=0).code is None
    assert payload(story)["device_n"] == 3
    assert do(story, Arrive("task-1"), n=2).code == "OUT_OF_ORDER"
    offer_id = story.offered("bob")
    assert do(story, Reject(offer_id=offer_id), n=1, who="bob").code is None


def test_a_log_of_before_can_be_read() -> None:
    ask = build.ask(Arrive("task-1"))
    entry = journal.encode(journal.Entry(1, ask, journal.FAILED))
    assert b"device" in entry
    plain = msgspec.msgpack.decode(entry)
    del plain[1]["device"]
    assert journal.decode(msgspec.msgpack.encode(plain)).message == ask
    with_device = build.ask(Arrive("task-1"), device=Device(5, 6))
    assert (
        journal.decode(journal.encode(journal.Entry(1, with_device, journal.FAILED))).message == with_device
    )
