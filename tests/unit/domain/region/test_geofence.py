"""Stories of steps near and far: who is where a step belongs, what may be said instead, and what stays of it."""

from __future__ import annotations

from typing import Any

import pytest

from domain.orders.lifecycle import OrderStatus, TaskStatus
from domain.orders.reasons import OverrideReason, RefuseReason
from domain.orders.records import Answer
from domain.region.messages import (
    Accept,
    Action,
    Arrive,
    ConfirmReturn,
    Deliver,
    Device,
    Here,
    Pickup,
    Refuse,
)
from domain.region.policy import Geofence
from tests.support.build import DOOR_AT, STORE_AT, at, id_check
from tests.support.story import Story

FENCE = Geofence()
WHY = OverrideReason.GPS_WRONG


def fenced(**changes: float) -> Story:
    return Story(geofence=Geofence(**changes))


def step(story: Story, action: Action, here: Here | None = None, device: Device | None = None) -> Answer:
    return story.ask("ann", action, here=here, device=device)


def payload(story: Story, n: int = -1) -> dict[str, Any]:
    return story.store.dossier("order-1")[n].payload


def test_every_step_is_taken_where_it_belongs() -> None:
    story = fenced()
    story.drive("ann", at(0.1))
    task_id = story.order()
    story.look()
    story.do("ann", Accept(offer_id=story.offer_to("ann").offer_id))
    story.drive("ann", at(2))
    far = step(story, Arrive(task_id))
    assert (far.code, far.detail) == ("TOO_FAR", "You are 2000 m away, and this is done within 250 m.")
    assert story.task(task_id).status is TaskStatus.ASSIGNED
    story.drive("ann", at(0.2))
    story.do("ann", Arrive(task_id), Pickup(task_id))
    assert step(story, Arrive(task_id)).code == "TOO_FAR"
    story.drive("ann", at(0.1, of=DOOR_AT))
    story.do("ann", Arrive(task_id))
    story.drive("ann", at(1, of=DOOR_AT))
    assert step(story, id_check()).code == "TOO_FAR"
    assert story.store.checks == {}
    story.drive("ann", DOOR_AT)
    story.do("ann", id_check())
    story.drive("ann", at(1, of=DOOR_AT))
    assert step(story, Deliver("order-1")).code == "TOO_FAR"
    assert story.store.orders["order-1"].status is OrderStatus.ID_VERIFIED
    story.drive("ann", DOOR_AT)
    story.do("ann", Deliver("order-1"))


def test_what_cannot_be_done_is_told_before_where() -> None:
    story = fenced()
    task_id = story.assigned()
    story.drive("ann", at(5))
    assert step(story, Pickup(task_id)).code == "WRONG_STATE"
    assert step(story, Deliver("order-1")).code == "WRONG_STATE"


def test_goods_are_refused_anywhere_and_come_back_to_the_store() -> None:
    story = fenced()
    task_id = story.assigned()
    story.do("ann", Arrive(task_id), Pickup(task_id))
    story.drive("ann", DOOR_AT)
    story.do("ann", Arrive(task_id))
    story.drive("ann", at(3, of=DOOR_AT))
    story.do("ann", Refuse("order-1", RefuseReason.UNSAFE))
    [back] = story.region.state.holdings.of("ann")
    assert step(story, Arrive(back)).code == "TOO_FAR"
    story.drive("ann", STORE_AT)
    story.do("ann", Arrive(back))
    story.drive("ann", at(1))
    assert step(story, ConfirmReturn(back)).code == "TOO_FAR"
    assert step(story, ConfirmReturn(back), Here(override=WHY)).code is None


def test_a_reason_lets_a_step_through_and_stays() -> None:
    story = fenced()
    task_id = story.assigned()
    story.drive("ann", at(2))
    assert step(story, Arrive(task_id), Here(override=WHY)).code is None
    told = payload(story)
    assert (told["override"], told["distance_m"]) == ("GPS_WRONG", 2000)
    assert any("2000 m away" in text for _, text in story.region.state.decisions)
    row = story.region.state.fleet.row("ann")
    assert story.region.state.fleet.overrides[row] == 1
    # Who is near needs none, and it is not counted.
    story.drive("ann", STORE_AT)
    assert step(story, Pickup(task_id), Here(override=WHY)).code is None
    assert "override" not in payload(story)
    assert story.region.state.fleet.overrides[row] == 1


def test_text_is_no_reason() -> None:
    story = fenced()
    task_id = story.assigned()
    story.drive("ann", at(2))
    here = Here(override="I was there, really")  # type: ignore[arg-type]
    assert step(story, Arrive(task_id), here).code == "INVALID_REQUEST"
    assert story.task(task_id).status is TaskStatus.ASSIGNED


def test_an_old_position_says_nothing() -> None:
    story = fenced(position_age_s=60)
    task_id = story.assigned()
    story.silence("ann")
    story.wait(50)
    story.do("ann", Arrive(task_id))
    story.wait(20)
    unknown = step(story, Pickup(task_id))
    assert (unknown.code, "not known where you are" in unknown.detail) == ("TOO_FAR", True)
    assert step(story, Pickup(task_id), Here(override=WHY)).code is None


def test_after_a_restart_the_device_tells_where() -> None:
    story = fenced()
    task_id = story.assigned()
    story.restart()
    assert step(story, Arrive(task_id)).code == "TOO_FAR"
    assert step(story, Arrive(task_id), Here(*at(1))).code == "TOO_FAR"
    assert step(story, Arrive(task_id), Here(*at(0.1))).code is None
    assert payload(story)["device_distance_m"] == 100


@pytest.mark.parametrize("nowhere", [(0.0, 0.0), (float("nan"), -96.8)])
def test_a_place_that_is_none_is_not_believed(nowhere: tuple[float, float]) -> None:
    story = fenced()
    task_id = story.assigned()
    story.restart()
    assert step(story, Arrive(task_id), Here(*nowhere)).code == "TOO_FAR"


def test_a_device_cannot_be_where_nobody_could_have_come() -> None:
    story = fenced()
    task_id = story.assigned()
    story.do("ann", Arrive(task_id), Pickup(task_id))
    # Some 4 km from where she was seen a moment ago.
    assert step(story, Arrive(task_id), Here(*DOOR_AT)).code == "TOO_FAR"
    story.silence("ann")
    story.wait(80)
    assert step(story, Arrive(task_id), Here(*DOOR_AT)).code is None


def test_what_was_done_out_of_reach_is_judged_by_where_it_was_done() -> None:
    story = fenced()
    task_id = story.assigned()
    story.silence("ann")
    story.wait(400)
    # Back in reach, long after she took the goods, and far from the store by now.
    there, then = Here(*STORE_AT), story.now
    story.drive("ann", DOOR_AT)
    assert step(story, Arrive(task_id), there, Device(then - 300_000, 1)).code is None
    assert step(story, Pickup(task_id), there, Device(then - 200_000, 2)).code is None
    assert step(story, Arrive(task_id), None, Device(then, 3)).code is None


def test_how_long_a_driver_stays_is_on_record() -> None:
    story = Story()
    task_id = story.assigned()
    story.do("ann", Arrive(task_id))
    story.wait(90)
    story.do("ann", Pickup(task_id))
    assert payload(story)["stayed_ms"] == 90_000
    assert story.task(task_id).arrived_ms is None
    story.do("ann", Arrive(task_id))
    story.restart()
    story.wait(30)
    story.do("ann", id_check())
    assert "stayed_ms" not in payload(story)
    story.wait(30)
    story.do("ann", Deliver("order-1"))
    assert payload(story)["stayed_ms"] == 60_000
