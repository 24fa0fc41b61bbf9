"""Stories of operators who step in: who may be given a task, what may be taken away, what becomes of lost goods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from domain.orders.dossier import verify
from domain.orders.lifecycle import OfferStatus, OrderStatus, Role, TaskStatus
from domain.orders.reasons import DispatchReason, RefuseReason, Resolution
from domain.orders.records import Answer
from domain.protocol import OfferRevoked, TaskAssigned, TaskCancelled
from domain.region.messages import (
    Accept,
    Action,
    Arrive,
    Assign,
    Pickup,
    PlanReady,
    Reassign,
    Refuse,
    Release,
    Resolve,
)
from domain.solve import Assignment, Plan
from tests.support.build import at, id_check, seen
from tests.support.story import Story

WHY = DispatchReason.BETTER_FIT
OPERATORS = (Role.DISPATCHER, Role.ADMIN)


def by_hand(story: Story, action: Action, role: Role = Role.DISPATCHER) -> Answer:
    return story.ask("dora", action, role, by="rest")


def facts(story: Story, order_id: str = "order-1") -> list[tuple[str, str, Any]]:
    """What the dossier says of who was given the task and why it was taken away."""
    return [
        (str(entry.type), entry.actor, entry.payload.get("reason") or entry.payload.get("outcome"))
        for entry in story.store.dossier(order_id)
        if "driver_id" in entry.payload
    ]


@pytest.mark.parametrize("role", OPERATORS)
def test_an_open_task_is_given_to_a_driver_who_is_told(role: Role) -> None:
    story = Story(solving=False)
    story.drive("ann", at(3))
    task_id = story.order()
    answer = by_hand(story, Assign(task_id, "ann", DispatchReason.NO_DRIVER), role)
    assert answer.code is None
    assert (answer.body["status"], answer.body["task"]["status"]) == ("ASSIGNED", "ASSIGNED")
    assert (story.task(task_id).status, story.task(task_id).driver_id) == (TaskStatus.ASSIGNED, "ann")
    [given] = [frame for frame in story.frames("ann") if isinstance(frame, TaskAssigned)]
    assert (given.task.task_id, given.task.dropoff.address) == (task_id, "1 Elm Street")
    assert facts(story) == [("TASK_ASSIGNED", f"{role}:dora", "NO_DRIVER")]
    # The offer log has it as what it is, and it counts neither for nor against the driver.
    [offer] = story.store.offers.values()
    assert (offer.status, offer.reason, offer.features) == (
        OfferStatus.ACCEPTED,
        "ASSIGNED",
        {"by_hand": 1.0},
    )
    row = story.region.state.fleet.row("ann")
    assert (story.region.state.fleet.offers[row], story.region.state.fleet.taken[row]) == (0, 0)
    story.do("ann", Arrive(task_id), Pickup(task_id), Arrive(task_id), id_check())
    assert verify(story.store.dossier("order-1")).ok


def test_what_is_offered_is_withdrawn_from_whoever_was_asked() -> None:
    story = Story()
    story.offered("ann")
    story.drive("bob", at(3))
    assert by_hand(story, Assign("task-1", "bob", WHY)).code is None
    [revoked] = [frame for frame in story.frames("ann") if isinstance(frame, OfferRevoked)]
    assert revoked.reason == "ASSIGNED"
    assert story.ask("ann", Accept(task_id="task-1")).code in ("OFFER_EXPIRED", "OFFER_TAKEN")
    assert story.task("task-1").driver_id == "bob"


def test_a_driver_who_is_asked_about_another_task_is_asked_no_more() -> None:
    story = Story()
    offer_id = story.offered("ann")
    second = story.order()
    assert by_hand(story, Assign(second, "ann", WHY)).code is None
    assert story.store.offers[offer_id].status is OfferStatus.REVOKED
    assert story.task("task-1").status is TaskStatus.OPEN


def test_of_a_bundle_one_task_is_given_away_and_the_others_are_open() -> None:
    story = Story(solving=False)
    task_ids = (story.order(), story.order())
    story.drive("ann")
    story.look()
    plan = Plan(
        request_id=story.solves[-1].request_id,
        assignments=(Assignment(driver_id="ann", task_ids=task_ids, cost=1.0, features={}),),
    )
    story.step(PlanReady(plan))
    story.drive("bob", at(2))
    assert by_hand(story, Assign(task_ids[0], "bob", WHY)).code is None
    assert story.task(task_ids[0]).driver_id == "bob"
    assert story.task(task_ids[1]).status is TaskStatus.OPEN
    assert story.region.state.offers.live == {}


def drive_away(story: Story) -> None:
    story.drive("bob", on=False)


def fall_silent(story: Story) -> None:
    story.silence("bob")
    story.wait(100)


def shift(story: Story, **ends: int) -> None:
    ping = seen({"bob": at(1)}, session=story.session, seq=90)
    story.step(replace(ping, **{name: np.array([ms], np.int64) for name, ms in ends.items()}))


def end_the_shift(story: Story) -> None:
    shift(story, until_ms=story.now + 1000)
    story.now += 1000


def begin_later(story: Story) -> None:
    shift(story, from_ms=story.now + 60_000)


def bring_something_back(story: Story) -> None:
    task_id = story.order(7)
    by_hand(story, Assign(task_id, "bob", WHY))
    story.do("bob", Arrive(task_id), Pickup(task_id), Arrive(task_id))
    story.do("bob", Refuse("order-7", RefuseReason.NOBODY_HOME))


def have_enough(story: Story) -> None:
    for n in range(10, 10 + story.policy.hold_limit):
        assert by_hand(story, Assign(story.order(n), "bob", WHY)).code is None


@pytest.mark.parametrize(
    "unfit",
    [drive_away, fall_silent, end_the_shift, begin_later, bring_something_back, have_enough],
)
def test_who_cannot_take_it_is_given_nothing(unfit: Any) -> None:
    story = Story(solving=False)
    story.drive("bob", at(1))
    unfit(story)
    task_id = story.order(1)
    before, records = len(story.pushes), len(story.records)
    assert by_hand(story, Assign(task_id, "bob", WHY)).code == "DRIVER_UNAVAILABLE"
    assert by_hand(story, Assign(task_id, "nobody", WHY)).code == "DRIVER_UNAVAILABLE"
    assert (len(story.pushes), len(story.records)) == (before, records)
    assert story.task(task_id).status is TaskStatus.OPEN


def test_a_task_goes_from_one_driver_to_another_until_the_goods_are_in_a_vehicle() -> None:
    story = Story()
    task_id = story.assigned("ann")
    story.drive("bob", at(2))
    assert by_hand(story, Assign(task_id, "bob", WHY)).code == "WRONG_STATE"
    assert by_hand(story, Reassign(task_id, "ann", WHY)).code == "WRONG_STATE"
    story.do("ann", Arrive(task_id))
    assert by_hand(story, Reassign(task_id, "bob", DispatchReason.DRIVER_DELAYED)).code is None
    assert story.task(task_id).driver_id == "bob"
    [gone] = [frame for frame in story.frames("ann") if isinstance(frame, TaskCancelled)]
    assert gone.reason == "REASSIGNED"
    assert story.ask("ann", Pickup(task_id)).code == "NOT_TASK_HOLDER"
    assert facts(story)[1:] == [
        ("TASK_RELEASED", "dispatcher:dora", "DRIVER_DELAYED"),
        ("TASK_ASSIGNED", "dispatcher:dora", "DRIVER_DELAYED"),
    ]
    story.do("bob", Arrive(task_id), Pickup(task_id))
    for action in (Reassign(task_id, "ann", WHY), Release(task_id, WHY)):
        assert by_hand(story, action).code == "WRONG_STATE"


def test_a_task_that_is_taken_away_is_offered_to_others_first() -> None:
    story = Story()
    task_id = story.assigned("ann")
    assert by_hand(story, Release(task_id, DispatchReason.DRIVER_ASKED)).code is None
    assert (story.task(task_id).status, story.task(task_id).driver_id) == (TaskStatus.OPEN, None)
    [gone] = [frame for frame in story.frames("ann") if isinstance(frame, TaskCancelled)]
    assert gone.reason == "RELEASED"
    story.drive("bob", at(4))
    story.look()
    assert story.offer_to("bob").task_ids == (task_id,)


RESOLVED = {
    Resolution.RETURNED_BY_OTHER: OrderStatus.RETURNED,
    Resolution.LOST: OrderStatus.WRITTEN_OFF,
    Resolution.BROKEN: OrderStatus.WRITTEN_OFF,
}


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("outcome", Resolution)
def test_goods_on_the_road_are_settled_and_never_as_delivered(outcome: Resolution, steps: int) -> None:
    story = Story(driver_lost_s=1e6)
    task_id = story.assigned("ann")
    resolve = Resolve(task_id, outcome, "incident:7")
    assert by_hand(story, resolve).code == "WRONG_STATE"
    story.do("ann", Arrive(task_id))
    assert by_hand(story, resolve).code == "WRONG_STATE"
    story.do("ann", Pickup(task_id))
    for action in (Arrive(task_id), id_check(), Refuse("order-1", RefuseReason.UNSAFE))[:steps]:
        story.do("ann", action)
    [held] = story.region.state.holdings.of("ann")
    resolve = Resolve(held, outcome, "incident:7")
    for role in (role for role in Role if role not in OPERATORS):
        assert by_hand(story, resolve, role).code == "FORBIDDEN"
    assert by_hand(story, Resolve(held, outcome, "Ann lost it")).code == "INVALID_REQUEST"
    assert by_hand(story, resolve).code is None
    assert story.store.orders["order-1"].status is RESOLVED[outcome]
    assert story.task(held).status is TaskStatus.FAILED
    [gone] = [frame for frame in story.frames("ann") if isinstance(frame, TaskCancelled)]
    assert (gone.task_id, gone.reason) == (held, "RESOLVED")
    assert facts(story)[-1][1:] == ("dispatcher:dora", str(outcome))
    assert story.store.dossier("order-1")[-1].payload["evidence_ref"] == "incident:7"
    assert verify(story.store.dossier("order-1")).ok
    # The driver is free again.
    story.order()
    story.look()
    assert story.offer_to("ann")


def test_a_repeat_gets_the_first_answer_and_does_nothing() -> None:
    story = Story(solving=False)
    story.drive("ann")
    task_id = story.order()
    first = story.ask("dora", Assign(task_id, "ann", WHY), Role.DISPATCHER, key="once")
    records = len(story.records)
    assert story.ask("dora", Assign(task_id, "ann", WHY), Role.DISPATCHER, key="once") == first
    assert len(story.records) == records


def test_a_new_life_knows_who_was_given_what() -> None:
    story = Story(solving=False)
    story.drive("ann")
    task_id = story.order()
    by_hand(story, Assign(task_id, "ann", WHY))
    counted = dict(story.region.state.counters)
    story.restart()
    assert story.region.state.holdings.of("ann") == {task_id}
    assert story.region.state.counters == counted


@pytest.mark.parametrize("role", [role for role in Role if role not in OPERATORS])
def test_nobody_else_gives_and_takes(role: Role) -> None:
    story = Story()
    task_id = story.assigned("ann")
    story.drive("bob")
    for action in (
        Assign(task_id, "bob", WHY),
        Reassign(task_id, "bob", WHY),
        Release(task_id, WHY),
        Resolve(task_id, Resolution.LOST, "x"),
    ):
        assert by_hand(story, action, role).code == "FORBIDDEN"


def test_what_operators_do_is_in_the_audit_log() -> None:
    story = Story(solving=False)
    story.drive("ann")
    task_id = story.order()
    by_hand(story, Assign(task_id, "ann", WHY))
    by_hand(story, Release(task_id, WHY))
    assert [(row.actor_id, row.action, row.aggregate_id) for row in story.store.audit] == [
        ("dora", "order.task_assigned", "order-1"),
        ("dora", "order.task_released", "order-1"),
    ]


def test_text_is_no_reason() -> None:
    story = Story(solving=False)
    story.drive("ann")
    message: Any = Assign(story.order(), "ann", "Ann is nice")  # type: ignore[arg-type]
    assert by_hand(story, message).code == "INVALID_REQUEST"
