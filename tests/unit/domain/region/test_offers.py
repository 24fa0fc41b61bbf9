"""Stories of offers: who is asked, who may take, and what happens when nobody does."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.orders.lifecycle import OfferStatus, OrderStatus, Role, TaskStatus
from domain.orders.reasons import DeclineReason
from domain.protocol import Offer, OfferAccepted, OfferExpired, OfferRevoked
from domain.region.messages import (
    Accept,
    Cancel,
    DispatchTick,
    ExpireOffers,
    OfferSeenBy,
    PlanReady,
    Reject,
    SolveFailed,
)
from domain.solve import Assignment, Plan
from solver.registry import solve
from tests.support.build import STORE_AT, at
from tests.support.story import Story


def test_a_task_is_offered_to_the_nearest_driver() -> None:
    story = Story()
    story.drive("far", at(6))
    story.drive("near", at(1))
    task_id = story.order()
    story.look()
    offer = story.offer_to("near")
    assert offer.task_ids == (task_id,)
    assert offer.expires_ms == story.now + 30_000
    assert offer.features["pickup_km"] == pytest.approx(1, rel=0.01)
    assert story.task(task_id).status is TaskStatus.OFFERED
    assert "far" not in story.region.state.offers.by_driver
    [frame] = story.frames("near")
    assert isinstance(frame, Offer)
    assert (frame.offer_id, frame.ttl_s) == (offer.offer_id, 30.0)
    assert [(stop.action, stop.task_id) for stop in frame.stops] == [
        ("pickup", task_id),
        ("dropoff", task_id),
    ]


def test_a_new_task_waits_for_company_and_no_longer_than_the_window() -> None:
    story = Story(solving=False)
    story.drive("ann")
    story.wait(10)
    story.order()
    assert story.solves == []
    story.wait(0.199)
    assert story.solves == []
    story.wait(0.001)
    assert len(story.solves) == 1


def test_a_task_that_found_nobody_is_looked_at_again_within_three_seconds() -> None:
    story = Story()
    task_id = story.order()
    story.look()
    story.drive("ann")
    story.wait(3)
    assert story.offer_to("ann").task_ids == (task_id,)


def test_acceptance_assigns() -> None:
    story = Story()
    offer_id = story.offered()
    story.wait(5)
    answer = story.ask("ann", Accept(offer_id=offer_id))
    assert answer.code is None
    assert answer.body["offer_id"] == offer_id
    assert story.task("task-1").status is TaskStatus.ASSIGNED
    assert story.task("task-1").driver_id == "ann"
    assert story.store.offers[offer_id].status is OfferStatus.ACCEPTED
    assert story.store.orders["order-1"].status is OrderStatus.ASSIGNED
    assert [entry.type for entry in story.store.dossier("order-1")][-1] == "TASK_ASSIGNED"
    assert story.kinds("ann") == ["offer"]  # the socket carries the answer itself


def test_acceptance_by_rest_names_the_task_and_is_pushed_to_the_socket() -> None:
    story = Story()
    offer_id = story.offered()
    assert story.ask("ann", Accept(task_id="task-1"), by="rest").code is None
    accepted = story.frames("ann")[-1]
    assert isinstance(accepted, OfferAccepted)
    assert accepted.offer_id == offer_id


def test_a_repeat_gets_the_first_answer_and_leaves_no_second_record() -> None:
    story = Story()
    offer_id = story.offered()
    first = story.ask("ann", Accept(offer_id=offer_id), key="k")
    records, dossier = len(story.records), story.store.dossier("order-1")
    story.wait(60)
    assert story.ask("ann", Accept(offer_id=offer_id), key="k") == first
    assert len(story.records) == records
    assert story.store.dossier("order-1") == dossier


def test_a_refusal_is_remembered_too() -> None:
    story = Story()
    story.drive("bob", at(9))
    offer_id = story.offered()
    refusal = story.ask("bob", Accept(offer_id=offer_id), key="k")
    assert story.ask("bob", Accept(offer_id=offer_id), key="k") == refusal


def test_the_same_id_for_another_request_is_refused() -> None:
    story = Story()
    offer_id = story.offered()
    first = story.ask("ann", Accept(offer_id=offer_id), key="k", fingerprint="one")
    assert (
        story.ask("ann", Reject(offer_id=offer_id), key="k", fingerprint="two").code
        == "IDEMPOTENCY_KEY_REUSED"
    )
    assert story.ask("ann", Accept(offer_id=offer_id), key="k", fingerprint="one") == first


def test_an_id_is_its_senders_own() -> None:
    story = Story()
    offer_id = story.offered()
    assert story.ask("bob", Accept(offer_id=offer_id), key="k").code == "OFFER_TAKEN"
    assert story.ask("ann", Accept(offer_id=offer_id), key="k").code is None


@pytest.mark.parametrize("who", ["ann", "bob"])
@pytest.mark.parametrize("by_task", [False, True])
def test_whoever_comes_second_finds_the_offer_taken(who: str, by_task: bool) -> None:
    story = Story()
    offer_id = story.offered()
    story.do("ann", Accept(offer_id=offer_id))
    records = len(story.records)
    late = Accept(task_id="task-1") if by_task else Accept(offer_id=offer_id)
    assert story.ask(who, late).code == "OFFER_TAKEN"
    assert len(story.records) == records


@pytest.mark.parametrize("by_task", [False, True])
def test_an_offer_is_for_its_driver_alone(by_task: bool) -> None:
    story = Story()
    offer_id = story.offered()
    action = Accept(task_id="task-1") if by_task else Accept(offer_id=offer_id)
    assert story.ask("bob", action).code == "OFFER_TAKEN"
    assert story.ask("bob", Reject(offer_id=offer_id)).code == "OFFER_TAKEN"
    assert story.offer_to("ann").offer_id == offer_id


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.DRIVER])
def test_only_drivers_take_offers(role: Role) -> None:
    story = Story()
    offer_id = story.offered()
    assert story.ask("ann", Accept(offer_id=offer_id), role).code == "FORBIDDEN"
    assert story.ask("ann", Reject(offer_id=offer_id), role).code == "FORBIDDEN"


def test_at_its_last_moment_an_offer_can_be_taken_and_then_no_more() -> None:
    for after_ms, code in ((29_999, None), (30_000, "OFFER_EXPIRED"), (31_000, "OFFER_EXPIRED")):
        story = Story()
        offer_id = story.offered()
        story.now += after_ms
        assert story.ask("ann", Accept(offer_id=offer_id)).code == code


def test_an_expired_offer_is_told_recorded_and_cannot_be_taken() -> None:
    story = Story()
    offer_id = story.offered()
    story.wait(30)
    assert story.store.offers[offer_id].status is OfferStatus.EXPIRED
    assert isinstance(story.frames("ann")[-1], OfferExpired)
    assert story.task("task-1").status is TaskStatus.OPEN
    assert story.task("task-1").offer_id is None
    assert story.ask("ann", Accept(offer_id=offer_id)).code == "OFFER_EXPIRED"
    assert story.ask("ann", Accept(task_id="task-1")).code == "OFFER_EXPIRED"


def test_what_nobody_ever_heard_of_is_no_open_offer() -> None:
    story = Story()
    assert story.ask("ann", Accept(offer_id="nope")).code == "OFFER_EXPIRED"
    assert story.ask("ann", Accept(task_id="nope")).code == "OFFER_EXPIRED"
    assert story.ask("ann", Accept()).code == "OFFER_EXPIRED"


@pytest.mark.parametrize("how", ["reject", "expire"])
def test_a_declined_task_goes_to_others_first(how: str) -> None:
    story = Story()
    story.drive("bob", at(9))
    offer_id = story.offered("ann")
    if how == "reject":
        assert story.ask("ann", Reject(offer_id=offer_id, reason=DeclineReason.TOO_FAR)).code is None
        assert story.store.offers[offer_id].reason == "TOO_FAR"
        assert story.store.offers[offer_id].status is OfferStatus.REJECTED
    else:
        story.wait(30)
    story.look()
    assert story.offer_to("bob").task_ids == ("task-1",)
    assert "ann" not in story.region.state.offers.by_driver


@pytest.mark.parametrize("how", ["reject", "expire"])
def test_a_lone_driver_who_declined_is_asked_again_after_the_cool_down_only(how: str) -> None:
    story = Story()
    offer_id = story.offered("ann")
    if how == "reject":
        story.do("ann", Reject(offer_id=offer_id))
    else:
        story.wait(30)
    story.wait(59.9)
    assert "ann" not in story.region.state.offers.by_driver
    story.wait(3.1)
    assert story.offer_to("ann").offer_id != offer_id


def test_who_declined_one_task_is_asked_for_another_at_once() -> None:
    story = Story()
    story.do("ann", Reject(offer_id=story.offered("ann")))
    task_id = story.order()
    story.look()
    assert story.offer_to("ann").task_ids == (task_id,)


def test_who_let_an_offer_expire_is_left_alone_for_a_while() -> None:
    story = Story()
    story.offered("ann")
    story.wait(30)
    story.order()
    story.wait(59)
    assert "ann" not in story.region.state.offers.by_driver


def test_after_the_cool_down_those_who_never_declined_still_come_first() -> None:
    story = Story()
    offer_id = story.offered("ann")
    story.do("ann", Reject(offer_id=offer_id))
    story.wait(59)
    story.drive("bob", at(8))
    story.wait(4)
    assert story.offer_to("bob").task_ids == ("task-1",)


def test_going_off_duty_revokes_the_offer() -> None:
    story = Story()
    offer_id = story.offered("ann")
    story.drive("ann", on=False)
    assert story.store.offers[offer_id].status is OfferStatus.REVOKED
    assert story.task("task-1").status is TaskStatus.OPEN
    revoked = story.frames("ann")[-1]
    assert isinstance(revoked, OfferRevoked)
    assert revoked.reason == "DRIVER_OFF_DUTY"
    assert story.ask("ann", Accept(offer_id=offer_id)).code == "OFFER_EXPIRED"
    story.wait(90)
    assert "ann" not in story.region.state.offers.by_driver
    # Revoking is no decline: back on duty, the same driver is asked at once.
    story.drive("ann")
    story.wait(3)
    assert story.offer_to("ann").task_ids == ("task-1",)


def test_a_driver_not_heard_of_gets_nothing() -> None:
    story = Story()
    story.drive("ann")
    del story.where["ann"]  # the pings end
    story.wait(90.1)
    story.order()
    story.wait(10)
    assert story.region.state.offers.live == {}
    story.drive("ann")
    story.wait(3)
    assert story.offer_to("ann")


def test_one_driver_one_offer() -> None:
    story = Story()
    story.drive("ann")
    for _ in range(3):
        story.order()
    story.wait(10)
    assert len(story.region.state.offers.live) == 1
    assert len(story.region.state.open) == 2


# -- plans are advice -------------------------------------------------------------------------------------------------


def overtaken(story: Story) -> Plan:
    """A plan for Ann that waits in a solver while the world goes on."""
    story.solving = False
    story.drive("ann")
    story.order()
    story.look()
    return solve(story.solves[-1])


def test_a_plan_for_a_driver_who_left_makes_no_offer() -> None:
    story = Story()
    plan = overtaken(story)
    story.drive("ann", on=False)
    story.step(PlanReady(plan))
    assert story.region.state.offers.live == {}
    assert story.task("task-1").status is TaskStatus.OPEN


def test_a_plan_for_a_cancelled_task_makes_no_offer() -> None:
    story = Story()
    plan = overtaken(story)
    story.do("cara", Cancel("order-1"), role=Role.CUSTOMER)
    story.step(PlanReady(plan))
    assert story.region.state.offers.live == {}
    assert story.task("task-1").status is TaskStatus.CANCELLED


def test_a_plan_that_names_a_driver_or_a_task_twice_makes_one_offer() -> None:
    story = Story()
    plan = overtaken(story)
    story.drive("bob")
    story.order()
    twice = tuple(
        Assignment(task_ids=(task_id,), driver_id=driver_id, cost=1.0, features={})
        for task_id, driver_id in (("task-1", "ann"), ("task-2", "ann"), ("task-1", "bob"), ("task-9", "bob"))
    )
    story.step(PlanReady(replace(plan, assignments=twice)))
    assert list(story.region.state.offers.by_driver) == ["ann"]


def test_a_plan_for_a_driver_nobody_knows_makes_no_offer() -> None:
    story = Story()
    plan = overtaken(story)
    stranger = Assignment(task_ids=("task-1",), driver_id="zoe", cost=1.0, features={})
    story.step(PlanReady(replace(plan, assignments=(stranger,))))
    assert story.region.state.offers.live == {}
    story.look()
    assert len(story.solves) == 2  # and the loop looks again soon


def test_a_plan_that_comes_after_it_was_given_up_is_ignored() -> None:
    story = Story(solve_timeout_s=60.0)
    plan = overtaken(story)
    story.wait(60)
    assert len(story.solves) == 2
    story.step(PlanReady(plan))
    assert story.region.state.offers.live == {}
    story.step(PlanReady(solve(story.solves[-1])))
    assert story.offer_to("ann")


def test_one_solve_at_a_time_and_another_after_a_failure() -> None:
    story = Story(solve_timeout_s=60.0)
    overtaken(story)
    story.order()
    story.wait(20)
    assert len(story.solves) == 1
    story.step(SolveFailed(request_id=story.solves[-1].request_id))
    story.wait(3)
    assert len(story.solves) == 2
    assert story.solves[-1].tasks.ids == ["task-1", "task-2"]


# -- operators --------------------------------------------------------------------------------------------------------


def test_operators_expire_so_many_and_the_deadline_the_rest() -> None:
    story = Story(fast_max_wait_s=3600.0)
    for name in ("ann", "bob", "cyd"):
        story.drive(name)
        story.order()
    story.look()
    story.now += 30_000
    answer = story.ask("ops", ExpireOffers(2), Role.SYSTEM)
    assert answer.body == {"expired": 2}
    assert len(story.region.state.offers.live) == 1
    story.wait(0.001)
    assert story.region.state.offers.live == {}


def test_operators_make_the_region_look_at_once() -> None:
    story = Story()
    story.drive("ann")
    story.order()
    answer = story.ask("ops", DispatchTick(), Role.SYSTEM)
    assert answer.body["open_tasks"] == 1
    assert story.offer_to("ann")
    assert story.ask("ann", DispatchTick()).code == "FORBIDDEN"
    assert story.ask("ann", ExpireOffers(1)).code == "FORBIDDEN"


def test_the_time_an_offer_was_seen_goes_into_the_log_with_its_outcome() -> None:
    story = Story()
    offer_id = story.offered()
    story.step(OfferSeenBy("bob", offer_id))
    story.now += 2000
    story.step(OfferSeenBy("ann", offer_id))
    seen_ms = story.now
    story.now += 2000
    story.step(OfferSeenBy("ann", offer_id))
    story.do("ann", Accept(offer_id=offer_id))
    assert story.store.offers[offer_id].seen_ms == seen_ms


def test_counters_tell_what_happened() -> None:
    story = Story()
    story.do("ann", Reject(offer_id=story.offered()))
    story.wait(63)
    story.do("ann", Accept(offer_id=story.offer_to("ann").offer_id))
    counters = story.region.state.counters
    assert (counters["orders"], counters["offers_made"]) == (1, 2)
    assert (counters["offers_rejected"], counters["offers_accepted"]) == (1, 1)
    assert story.where["ann"] == STORE_AT


def test_a_driver_who_comes_on_duty_opens_the_window() -> None:
    story = Story()
    story.order()
    story.wait(10)
    story.drive("ann")
    story.look()
    assert story.offer_to("ann").task_ids == ("task-1",)
