"""Stories of tasks: the drive, the door, the way back, and orders that are called off."""

from __future__ import annotations

from typing import Any

import pytest

from domain.orders.dossier import verify
from domain.orders.lifecycle import OfferStatus, OrderStatus, Role, TaskKind, TaskStatus
from domain.orders.reasons import CancelReason, RefuseReason
from domain.orders.records import Answer
from domain.protocol import OfferRevoked, TaskCancelled, TaskUpdated
from domain.region.messages import (
    Accept,
    Action,
    Arrive,
    Cancel,
    ConfirmReturn,
    Deliver,
    GoodsReady,
    Pickup,
    Refuse,
    SubmitIdCheck,
)
from tests.support.build import ask, id_check
from tests.support.story import Story, put_order


def return_of(story: Story) -> str:
    [task_id] = story.region.state.holdings.by_driver["ann"]
    assert story.task(task_id).kind is TaskKind.RETURN
    return task_id


# -- the drive and the door -------------------------------------------------------------------------------------------


def test_from_the_offer_to_the_door_and_over() -> None:
    story = Story()
    task_id = story.assigned()
    steps: list[tuple[Action, TaskStatus, OrderStatus]] = [
        (Arrive(task_id), TaskStatus.AT_PICKUP, OrderStatus.ASSIGNED),
        (Pickup(task_id), TaskStatus.PICKED_UP, OrderStatus.PICKED_UP),
        (Arrive(task_id), TaskStatus.AT_DROPOFF, OrderStatus.AT_DOOR),
        (id_check(), TaskStatus.AT_DROPOFF, OrderStatus.ID_VERIFIED),
        (Deliver("order-1"), TaskStatus.DONE, OrderStatus.DELIVERED),
    ]
    for action, task_status, order_status in steps:
        answer = story.do("ann", action)
        assert story.task(task_id).status is task_status
        assert story.store.orders["order-1"].status is order_status
        assert (answer.body["status"], answer.body["task"]["status"]) == (order_status, task_status)
    assert story.region.state.jobs == {}
    assert story.region.state.holdings.by_driver == {}
    assert story.region.state.counters["delivered"] == 1
    assert verify(story.store.dossier("order-1")).ok
    [check] = story.store.checks.values()
    assert (check.driver_id, check.task_id, check.passed) == ("ann", task_id, True)
    # Free again: the next task comes.
    story.order()
    story.look()
    assert story.offer_to("ann")


def test_nothing_is_delivered_before_the_check() -> None:
    story = Story()
    task_id = story.assigned()
    for action in (Arrive(task_id), Pickup(task_id), Arrive(task_id)):
        assert story.ask("ann", Deliver("order-1")).code == "WRONG_STATE"
        story.do("ann", action)
    assert story.ask("ann", Deliver("order-1")).code == "WRONG_STATE"
    assert story.task(task_id).status is TaskStatus.AT_DROPOFF


def test_the_check_belongs_to_the_door() -> None:
    story = Story()
    task_id = story.assigned()
    for action in (Arrive(task_id), Pickup(task_id)):
        assert story.ask("ann", id_check()).code == "WRONG_STATE"
        assert story.ask("ann", Refuse("order-1", RefuseReason.NOBODY_HOME)).code == "WRONG_STATE"
        story.do("ann", action)
    assert story.store.checks == {}


def test_steps_out_of_turn_are_refused() -> None:
    story = Story()
    task_id = story.assigned()
    assert story.ask("ann", Pickup(task_id)).code == "WRONG_STATE"
    story.do("ann", Arrive(task_id))
    assert story.ask("ann", Arrive(task_id)).code == "WRONG_STATE"
    story.do("ann", Pickup(task_id), Arrive(task_id))
    assert story.ask("ann", Arrive(task_id)).code == "WRONG_STATE"
    assert story.ask("ann", ConfirmReturn(task_id)).code == "WRONG_STATE"
    story.do("ann", id_check())
    assert story.ask("ann", id_check()).code == "WRONG_STATE"


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.DRIVER])
def test_nobody_but_a_driver_acts_on_a_task(role: Role) -> None:
    story = Story()
    task_id = story.at_door()
    for action in (
        Arrive(task_id),
        Pickup(task_id),
        id_check(),
        Deliver("order-1"),
        Refuse("order-1", RefuseReason.NOBODY_HOME),
    ):
        assert story.ask("ann", action, role).code == "FORBIDDEN"


def test_nobody_but_the_holder_acts_on_a_task() -> None:
    story = Story()
    task_id = story.at_door()
    story.drive("bob")
    door: tuple[Action, ...] = (
        Arrive(task_id),
        Pickup(task_id),
        id_check(),
        Deliver("order-1"),
        Refuse("order-1", RefuseReason.NOBODY_HOME),
        ConfirmReturn(task_id),
    )
    for action in door:
        assert story.ask("bob", action).code == "NOT_TASK_HOLDER"
    story.do("ann", id_check())
    assert story.ask("bob", Deliver("order-1")).code == "NOT_TASK_HOLDER"


def test_an_offer_is_not_yet_a_task_in_hand() -> None:
    story = Story()
    story.offered()
    assert story.ask("ann", Arrive("task-1")).code == "NOT_TASK_HOLDER"
    assert story.ask("ann", Arrive("task-9")).code == "NOT_FOUND"
    assert story.ask("ann", Deliver("order-9")).code == "NOT_FOUND"


# -- refused at the door ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failing", "reason"),
    [
        (id_check(over_age=False), "UNDER_AGE"),
        (id_check(not_expired=False), "ID_EXPIRED"),
        (id_check(name_matches=False), "NAME_MISMATCH"),
        (id_check(sober=False), "INTOXICATED"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failed_check_sends_the_goods_back(failing: SubmitIdCheck, reason: str) -> None:
    story = Story()
    task_id = story.at_door()
    answer = story.do("ann", failing)
    assert (answer.body["passed"], answer.body["reason"]) == (False, reason)
    assert story.task(task_id).status is TaskStatus.FAILED
    assert story.store.orders["order-1"].status is OrderStatus.RETURNING
    [check] = story.store.checks.values()
    assert not check.passed
    back = story.task(return_of(story))
    assert (back.driver_id, back.status, back.offer_id) == ("ann", TaskStatus.PICKED_UP, None)
    assert (back.dropoff_lat, back.dropoff_lng) == (32.80, -96.80)
    assert (back.pickup_lat, back.pickup_lng) == (32.83, -96.83)
    assert answer.body["task"]["task_id"] == back.task_id
    pushed = story.frames("ann")[-1]
    assert isinstance(pushed, TaskUpdated)
    assert pushed.task.task_id == back.task_id
    types = [entry.type for entry in story.store.dossier("order-1")]
    assert types[-2:] == ["ID_CHECK_FAILED", "RETURN_INITIATED"]
    assert story.ask("ann", Deliver("order-1")).code == "WRONG_STATE"
    assert story.ask("ann", id_check()).code == "WRONG_STATE"


@pytest.mark.parametrize("checked", [False, True])
def test_the_holder_may_refuse_for_a_reason_before_and_after_the_check(checked: bool) -> None:
    story = Story()
    story.at_door()
    if checked:
        story.do("ann", id_check())
    answer = story.do("ann", Refuse("order-1", RefuseReason.NOBODY_HOME))
    assert answer.body["reason"] == "NOBODY_HOME"
    assert story.store.orders["order-1"].status is OrderStatus.RETURNING
    refused = [entry for entry in story.store.dossier("order-1") if entry.type == "REFUSED"]
    assert [entry.payload["reason"] for entry in refused] == ["NOBODY_HOME"]
    assert story.region.state.counters["refused"] == 1


def test_a_return_ends_when_it_is_confirmed_in_the_store() -> None:
    story = Story()
    story.at_door()
    story.do("ann", Refuse("order-1", RefuseReason.NOBODY_HOME))
    back = return_of(story)
    assert story.ask("ann", ConfirmReturn(back)).code == "WRONG_STATE"
    story.do("ann", Arrive(back))
    assert story.ask("bob", ConfirmReturn(back)).code == "NOT_TASK_HOLDER"
    answer = story.do("ann", ConfirmReturn(back))
    assert answer.body["status"] == "RETURNED"
    assert story.task(back).status is TaskStatus.DONE
    assert story.store.orders["order-1"].status is OrderStatus.RETURNED
    assert (story.region.state.jobs, story.region.state.by_order) == ({}, {})
    assert verify(story.store.dossier("order-1")).ok


def test_no_offer_until_the_return_is_confirmed() -> None:
    story = Story()
    story.at_door()
    story.do("ann", Refuse("order-1", RefuseReason.NOBODY_HOME))
    back = return_of(story)
    story.order()
    story.wait(30)
    assert story.region.state.offers.live == {}
    story.do("ann", Arrive(back))
    story.wait(30)
    assert story.region.state.offers.live == {}
    story.do("ann", ConfirmReturn(back))
    story.wait(3)
    assert story.offer_to("ann").task_ids == ("task-2",)


def test_a_return_cannot_be_called_off() -> None:
    story = Story()
    story.at_door()
    story.do("ann", Refuse("order-1", RefuseReason.NOBODY_HOME))
    for role, who in ((Role.CUSTOMER, "cara"), (Role.ADMIN, "ada")):
        assert story.ask(who, Cancel("order-1"), role).code == "WRONG_STATE"


# -- called off -------------------------------------------------------------------------------------------------------


def test_cancelling_before_anybody_was_asked() -> None:
    story = Story()
    story.order()
    answer = story.do("cara", Cancel("order-1", CancelReason.CHANGED_MIND), role=Role.CUSTOMER)
    assert answer.body["status"] == "CANCELLED"
    assert story.task("task-1").status is TaskStatus.CANCELLED
    assert story.store.dossier("order-1")[-1].payload == {"reason": "CHANGED_MIND"}
    story.drive("ann")
    story.wait(10)
    assert story.region.state.offers.live == {}


def test_cancelling_while_offered_revokes_the_offer_and_frees_the_driver() -> None:
    story = Story()
    offer_id = story.offered()
    story.do("cara", Cancel("order-1"), role=Role.CUSTOMER)
    assert story.store.offers[offer_id].status is OfferStatus.REVOKED
    revoked = story.frames("ann")[-1]
    assert isinstance(revoked, OfferRevoked)
    assert (revoked.offer_id, revoked.reason) == (offer_id, "ORDER_CANCELLED")
    assert story.ask("ann", Accept(offer_id=offer_id)).code == "OFFER_EXPIRED"
    story.order()
    story.wait(3)
    assert story.offer_to("ann").task_ids == ("task-2",)


@pytest.mark.parametrize("arrived", [False, True])
def test_cancelling_after_assignment_tells_the_holder_and_frees_them(arrived: bool) -> None:
    story = Story()
    task_id = story.assigned()
    if arrived:
        story.do("ann", Arrive(task_id))
    story.do("cara", Cancel("order-1"), role=Role.CUSTOMER)
    cancelled = story.frames("ann")[-1]
    assert isinstance(cancelled, TaskCancelled)
    assert cancelled.task_id == task_id
    assert story.region.state.holdings.by_driver == {}
    story.order()
    story.wait(3)
    assert story.offer_to("ann").task_ids == ("task-2",)


def test_after_pick_up_nobody_can_cancel() -> None:
    story = Story()
    task_id = story.assigned()
    story.do("ann", Arrive(task_id), Pickup(task_id))
    for role, who in ((Role.CUSTOMER, "cara"), (Role.DISPATCHER, "dan"), (Role.ADMIN, "ada")):
        assert story.ask(who, Cancel("order-1"), role).code == "WRONG_STATE"


def test_who_may_cancel() -> None:
    story = Story()
    story.assigned()
    assert story.ask("carl", Cancel("order-1"), Role.CUSTOMER).code == "NOT_FOUND"
    assert story.ask("max", Cancel("order-1"), Role.MERCHANT).code == "FORBIDDEN"
    assert story.ask("ann", Cancel("order-1"), Role.DRIVER).code == "FORBIDDEN"
    assert story.ask("cara", Cancel("order-9"), Role.CUSTOMER).code == "NOT_FOUND"
    assert story.task("task-1").status is TaskStatus.ASSIGNED
    story.do("dan", Cancel("order-1"), role=Role.DISPATCHER)


# -- the merchant -----------------------------------------------------------------------------------------------------


def test_goods_ready_moves_the_ready_time_and_tells_the_holder() -> None:
    story = Story()
    task_id = story.assigned()
    story.wait(60)
    story.do("max", GoodsReady("order-1"), role=Role.MERCHANT)
    assert story.task(task_id).ready_ms == story.now
    assert story.store.orders["order-1"].ready_ms == story.now
    assert isinstance(story.frames("ann")[-1], TaskUpdated)
    assert story.store.orders["order-1"].status is OrderStatus.ASSIGNED


def test_goods_ready_while_nobody_has_the_task() -> None:
    story = Story()
    story.order()
    story.do("max", GoodsReady("order-1"), role=Role.MERCHANT)
    assert story.task("task-1").ready_ms == story.now
    assert story.ask("mia", GoodsReady("order-1"), Role.MERCHANT).code == "NOT_FOUND"
    assert story.ask("cara", GoodsReady("order-1"), Role.CUSTOMER).code == "FORBIDDEN"


def test_goods_that_have_left_are_not_ready_again() -> None:
    story = Story()
    story.at_door()
    assert story.ask("max", GoodsReady("order-1"), Role.MERCHANT).code == "WRONG_STATE"


# -- being told of tasks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["open", "offered", "assigned", "cancelled", "delivered"])
def test_being_told_again_of_a_task_changes_nothing(stage: str) -> None:
    story = Story()
    if stage == "open":
        story.order()
    elif stage == "offered":
        story.offered()
    elif stage == "delivered":
        story.delivered()
    else:
        story.assigned()
        if stage == "cancelled":
            story.do("cara", Cancel("order-1"), role=Role.CUSTOMER)
    before, orders = story.task("task-1"), story.region.state.counters["orders"]
    ready = story.step(story.opened["task-1"])
    assert ready.reply is not None
    story.look()
    if stage != "open":
        assert story.task("task-1") == before
        assert "task-1" not in story.region.state.open
    assert story.region.state.counters["orders"] == orders


def test_goods_that_are_ready_stay_ready_however_often_it_is_said() -> None:
    story = Story()
    task_id = story.assigned()
    story.do("max", GoodsReady("order-1"), role=Role.MERCHANT)
    ready_ms = story.task(task_id).ready_ms
    story.wait(60)
    story.do("max", GoodsReady("order-1"), role=Role.MERCHANT)
    assert story.task(task_id).ready_ms == ready_ms


def test_a_return_confirmed_by_rest_shows_on_the_socket() -> None:
    story = Story()
    story.at_door()
    story.do("ann", Refuse("order-1", RefuseReason.NOBODY_HOME))
    [back] = story.region.state.holdings.by_driver["ann"]
    story.do("ann", Arrive(back))
    assert story.ask("ann", ConfirmReturn(back), by="rest").code is None
    last = story.frames("ann")[-1]
    assert isinstance(last, TaskUpdated)
    assert (last.task.task_id, last.task.status) == (back, "DONE")


def test_who_asked_before_the_region_was_told_is_not_turned_away_for_ever() -> None:
    story = Story()
    opened = put_order(story.store, 1, story.now)
    early = story.ask("cara", Cancel("order-1"), Role.CUSTOMER, key="k1")
    assert early.code == "NOT_FOUND"
    story.step(opened)
    assert story.ask("cara", Cancel("order-1"), Role.CUSTOMER, key="k1").code is None


@pytest.mark.parametrize("text", ["\x00", "\ud800"])
def test_what_no_database_keeps_is_refused_before_it_is_decided(text: str) -> None:
    story = Story()
    task_id = story.at_door()
    before = len(story.records)
    assert story.ask("ann", Refuse(f"order-1{text}", RefuseReason.NOBODY_HOME)).code == "INVALID_REQUEST"
    reply = story.step(ask(Refuse("order-1", RefuseReason.NOBODY_HOME), key=f"k{text}")).reply
    assert isinstance(reply, Answer)
    assert reply.code == "INVALID_REQUEST"
    assert len(story.records) == before
    assert story.region.state.jobs[task_id].task.status is TaskStatus.AT_DROPOFF


@pytest.mark.parametrize("text", ["", "nobody_home", "Jane Roe was drunk"])
def test_a_reason_is_one_of_its_list(text: str) -> None:
    story = Story()
    story.at_door()
    before = len(story.records)
    refuse: Any = Refuse("order-1", text)  # type: ignore[arg-type]
    cancel: Any = Cancel("order-1", text)  # type: ignore[arg-type]
    assert story.ask("ann", refuse).code == "INVALID_REQUEST"
    assert story.ask("dan", cancel, Role.DISPATCHER).code == "INVALID_REQUEST"
    assert len(story.records) == before
