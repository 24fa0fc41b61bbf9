"""A driver who accepts and vanishes: the task goes to others, until the goods are in the car."""

from __future__ import annotations

import pytest

from domain.orders.dossier import verify
from domain.orders.lifecycle import OrderEvent, OrderStatus, Role, TaskStatus
from domain.orders.reasons import RefuseReason
from domain.orders.records import Answer
from domain.protocol import TaskCancelled
from domain.region.messages import Accept, Arrive, Pickup, PlanReady, Refuse, Tick
from domain.region.policy import RegionPolicy
from domain.solve import Assignment, Plan
from tests.support.build import STORE_AT, ask, at, seen
from tests.support.story import Story

LOST_S = RegionPolicy().driver_lost_s


def vanished(steps: int = 0) -> Story:
    """Ann has accepted task-1, arrived and picked up as far as `steps` say, and is not heard of from now on."""
    story = Story()
    task_id = story.assigned()
    for action in (Arrive(task_id), Pickup(task_id), Arrive(task_id))[:steps]:
        story.do("ann", action)
    story.silence("ann")
    return story


@pytest.mark.parametrize("steps", [0, 1])
def test_what_is_not_picked_up_is_taken_away_at_the_very_moment(steps: int) -> None:
    story = vanished(steps)
    story.wait(LOST_S - 0.001)
    assert story.task("task-1").driver_id == "ann"
    assert story.region.next_deadline() == story.now + 1
    story.wait(0.001)
    task = story.task("task-1")
    assert (task.status, task.driver_id, task.offer_id) == (TaskStatus.OPEN, None, None)
    assert story.store.orders["order-1"].status is OrderStatus.CONFIRMED
    [released] = [entry for entry in story.store.dossier("order-1") if entry.type == str(OrderEvent.RELEASED)]
    assert released.actor == f"{Role.SYSTEM}:{story.region.id}"
    assert released.payload == {"driver_id": "ann", "task_id": "task-1", "reason": "DRIVER_LOST"}
    assert verify(story.store.dossier("order-1")).ok
    told = story.frames("ann")[-1]
    assert isinstance(told, TaskCancelled)
    assert (told.task_id, told.reason) == ("task-1", "DRIVER_LOST")
    assert "not heard of for 10 min" in story.region.state.decisions[0][1]
    assert story.region.state.holdings.by_driver == {}


@pytest.mark.parametrize("steps", [2, 3])
def test_goods_in_the_car_stay_the_drivers(steps: int) -> None:
    story = vanished(steps)
    story.wait(10 * LOST_S)
    assert story.task("task-1").driver_id == "ann"
    assert story.region.next_deadline() is None


def test_a_return_stays_the_drivers() -> None:
    story = Story()
    story.at_door()
    story.do("ann", Refuse("order-1", RefuseReason.NOBODY_HOME))
    story.silence("ann")
    story.wait(10 * LOST_S)
    assert len(story.region.state.holdings.by_driver["ann"]) == 1


def test_it_is_offered_to_others_and_brought() -> None:
    story = vanished(1)
    story.wait(LOST_S - 10)
    story.drive("bob", at(2))
    story.wait(11)
    story.do("bob", Accept(offer_id=story.offer_to("bob").offer_id))
    story.do("bob", Arrive("task-1"), Pickup("task-1"))
    assert story.task("task-1").driver_id == "bob"
    assert story.region.state.counters["offers_accepted"] == 2


@pytest.mark.parametrize("then", ["open", "taken"])
def test_who_comes_back_too_late_has_it_no_more(then: str) -> None:
    story = Story()
    accept = ask(Accept(offer_id=story.offered()), key="accept")
    accepted = story.step(accept).reply
    assert isinstance(accepted, Answer)
    story.silence("ann")
    if then == "taken":
        story.wait(LOST_S - 10)
        story.drive("bob", at(2))
        story.wait(11)
        story.do("bob", Accept(offer_id=story.offer_to("bob").offer_id))
    else:
        story.wait(LOST_S)
    late = story.ask("ann", Arrive("task-1"))
    assert late.code == "NOT_TASK_HOLDER"
    assert story.attach("ann").snapshot.tasks == ()
    # What was answered stays answered, and gives nothing back.
    assert story.step(accept).reply == accepted
    assert story.ask("ann", Arrive("task-1")).code == "NOT_TASK_HOLDER"
    assert story.ask("ann", Accept(task_id="task-1")).code in ("OFFER_EXPIRED", "OFFER_TAKEN")


def test_an_arrival_just_in_time_is_a_sign_of_life() -> None:
    """A phone may have lost its position and still say what its driver does."""
    story = vanished()
    story.wait(LOST_S - 1)
    story.do("ann", Arrive("task-1"))
    story.wait(LOST_S - 1)
    assert story.task("task-1").driver_id == "ann"
    story.wait(1)
    assert story.task("task-1").driver_id is None


def test_a_refused_request_is_no_sign_of_life() -> None:
    story = vanished()
    story.wait(LOST_S - 1)
    assert story.ask("ann", Pickup("task-1")).code == "WRONG_STATE"
    story.wait(1)
    assert story.task("task-1").driver_id is None


def test_a_ping_moves_the_moment() -> None:
    story = vanished()
    story.wait(LOST_S - 1)
    story.ping(["ann"])
    story.wait(LOST_S - 0.001)
    assert story.task("task-1").driver_id == "ann"
    assert story.region.next_deadline() == story.now + 1
    story.wait(0.001)
    assert story.task("task-1").driver_id is None


def test_pings_cost_one_look_in_a_driver_lost_s() -> None:
    story = Story()
    story.assigned()
    looks = 0
    end = story.now + 10 * round(LOST_S * 1000)
    while (deadline := story.region.next_deadline()) is not None and deadline < end:
        while story.now + 20_000 < deadline:
            story.now += 20_000
            story.ping(["ann"])
        story.now = deadline
        story.step(Tick())
        looks += 1
    assert looks <= 11
    assert story.task("task-1").driver_id == "ann"


def test_who_is_off_duty_and_pings_is_not_lost() -> None:
    story = Story()
    task_id = story.assigned()
    story.drive("ann", on=False)
    for n in range(100):
        story.wait(20)
        story.step(seen({"ann": STORE_AT}, session=story.session, seq=1000 + n, on=False))
    assert story.task(task_id).driver_id == "ann"
    story.wait(LOST_S)
    assert story.task(task_id).driver_id is None


def test_the_lost_driver_is_offered_nothing_until_heard_of_and_that_task_after_the_cool_down() -> None:
    story = vanished()
    story.wait(LOST_S + 60)
    story.order()
    story.wait(60)
    assert story.region.state.offers.live == {}
    story.ping(["ann"])
    story.silent.clear()
    story.wait(3)
    # The older one first: the cool-down is long over, and there is nobody else for it.
    assert story.offer_to("ann").task_ids == ("task-1",)


def test_that_task_is_not_hers_again_at_once() -> None:
    story = vanished()
    story.wait(LOST_S)
    story.drive("ann")
    story.wait(59)
    assert story.region.state.offers.live == {}
    story.wait(4)
    assert story.offer_to("ann").task_ids == ("task-1",)


def test_only_what_is_not_picked_up_of_several_tasks() -> None:
    story = Story(solving=False)
    story.drive("ann")
    story.order()
    story.order()
    story.look()
    plan_both(story)
    story.do("ann", Accept(offer_id=story.offer_to("ann").offer_id))
    story.do("ann", Arrive("task-2"), Pickup("task-2"))
    story.silence("ann")
    story.wait(LOST_S)
    assert story.region.state.holdings.by_driver == {"ann": {"task-2"}}
    assert list(story.region.state.open) == ["task-1"]
    story.drive("ann")
    story.do("ann", Arrive("task-2"))
    assert story.ask("ann", Arrive("task-1")).code == "NOT_TASK_HOLDER"


def plan_both(story: Story) -> None:
    """One offer of both tasks to Ann."""
    request = story.solves[-1]
    both = Assignment(task_ids=("task-1", "task-2"), driver_id="ann", cost=1.0, features={})
    story.step(PlanReady(Plan(request_id=request.request_id, assignments=(both,))))


def test_a_restart_of_the_region_is_nobodys_silence() -> None:
    story = vanished()
    story.wait(LOST_S - 1)
    story.restart()
    assert story.region.next_deadline() == story.now + round(LOST_S * 1000)
    story.wait(LOST_S - 0.001)
    assert story.task("task-1").driver_id == "ann"
    story.wait(0.001)
    assert story.task("task-1").driver_id is None


def test_a_restart_after_the_release_knows_of_no_holder() -> None:
    story = vanished()
    story.wait(LOST_S)
    story.restart()
    assert story.region.state.holdings.by_driver == {}
    assert list(story.region.state.open) == ["task-1"]
    assert story.attach("ann").snapshot.tasks == ()


def test_two_are_lost_each_at_the_right_moment() -> None:
    story = Story()
    story.assigned("ann")
    story.silence("ann")
    story.wait(10)
    story.assigned("bob")
    story.silence("bob")
    story.wait(LOST_S - 10)
    assert story.region.state.holdings.by_driver == {"bob": {"task-2"}}
    story.wait(9)
    assert story.region.state.holdings.by_driver == {"bob": {"task-2"}}
    story.wait(1.3)
    assert story.region.state.holdings.by_driver == {}


def test_silence_is_never_shorter_than_what_keeps_offers_away() -> None:
    with pytest.raises(ValueError, match="driver_lost_s"):
        RegionPolicy(driver_stale_s=90.0, driver_lost_s=60.0)


def test_a_region_that_hears_no_gateway_holds_nobody_for_lost() -> None:
    story = vanished()
    for _ in range(3):
        story.now += round(LOST_S * 1000)
        story.step(Tick())
    assert story.task("task-1").driver_id == "ann"
    story.ping()  # a gateway is back and says so
    story.wait(LOST_S - 1)
    assert story.task("task-1").driver_id == "ann"
    story.wait(2)
    assert story.task("task-1").driver_id is None
