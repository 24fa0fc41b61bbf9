"""A region killed at any moment comes back from its records and knows what it must know."""

from __future__ import annotations

from domain.orders.lifecycle import Role, TaskStatus
from domain.orders.reasons import RefuseReason
from domain.protocol import Offer, OfferExpired, TaskCancelled, TaskUpdated
from domain.region.mailbox import SEQ_ROOM
from domain.region.messages import Accept, Arrive, Cancel, ConfirmReturn, Deliver, Pickup, Refuse, Reject
from tests.support.build import at, id_check
from tests.support.story import Story


def reborn(story: Story) -> list[str]:
    """Restart; the drivers' next pings bring what the region has to tell. The types of what Ann hears."""
    story.restart()
    count = len(story.frames("ann"))
    story.ping()
    return story.kinds("ann")[count:]


def test_open_tasks_are_offered() -> None:
    story = Story()
    story.order()
    story.restart()
    story.drive("ann")
    story.wait(3)
    assert story.offer_to("ann").task_ids == ("task-1",)


def test_a_live_offer_is_told_again_and_can_be_taken() -> None:
    story = Story()
    offer_id = story.offered()
    story.wait(10)
    assert reborn(story) == ["offer"]
    again = story.frames("ann")[-1]
    assert isinstance(again, Offer)
    assert (again.offer_id, again.ttl_s) == (offer_id, 20.0)
    assert again.seq == 2 * SEQ_ROOM + 1
    assert story.ask("bob", Accept(offer_id=offer_id)).code == "OFFER_TAKEN"
    story.do("ann", Accept(offer_id=offer_id))


def test_an_offer_that_ran_out_meanwhile_expires_at_once() -> None:
    story = Story()
    offer_id = story.offered()
    story.now += 45_000
    story.restart()
    assert (story.region.next_deadline() or 0) <= story.now
    assert story.ask("ann", Accept(offer_id=offer_id)).code == "OFFER_EXPIRED"
    story.drive("bob", at(2))
    story.wait(0.5)
    assert story.offer_to("bob").task_ids == ("task-1",)


def test_an_accepted_task_is_still_in_hand_and_is_told_again() -> None:
    story = Story()
    task_id = story.assigned()
    assert reborn(story) == ["task.updated"]
    story.order()
    story.wait(10)
    assert story.region.state.offers.live == {}  # the holder is busy
    story.do("ann", Arrive(task_id), Pickup(task_id), Arrive(task_id), id_check(), Deliver("order-1"))
    story.wait(3)
    assert story.offer_to("ann").task_ids == ("task-2",)


def test_a_repeated_accept_gets_its_first_answer() -> None:
    story = Story()
    offer_id = story.offered()
    first = story.ask("ann", Accept(offer_id=offer_id), key="k")
    story.restart()
    records = len(story.records)
    assert story.ask("ann", Accept(offer_id=offer_id), key="k") == first
    assert (
        story.ask("ann", Accept(offer_id=offer_id), key="k", fingerprint="x").code == "IDEMPOTENCY_KEY_REUSED"
    )
    assert story.ask("bob", Accept(offer_id=offer_id)).code == "OFFER_TAKEN"
    assert len(story.records) == records


def test_declines_are_remembered() -> None:
    story = Story()
    story.do("ann", Reject(offer_id=story.offered()))
    story.restart()
    story.drive("ann")
    story.wait(58)
    assert story.region.state.offers.live == {}
    story.drive("bob", at(8))
    story.wait(6)
    assert story.offer_to("bob").task_ids == ("task-1",)


def test_who_ignored_an_offer_is_still_left_alone() -> None:
    story = Story()
    story.offered()
    story.wait(30)
    assert reborn(story) == ["offer.expired"]
    assert isinstance(story.frames("ann")[-1], OfferExpired)
    story.order()
    story.wait(55)
    assert story.region.state.offers.live == {}


def test_a_cancelled_task_is_told_again_to_who_held_it() -> None:
    story = Story()
    task_id = story.assigned()
    story.do("cara", Cancel("order-1"), role=Role.CUSTOMER)
    assert "task.cancelled" in reborn(story)
    told = [frame for frame in story.frames("ann") if isinstance(frame, TaskCancelled)]
    assert {frame.task_id for frame in told} == {task_id}
    assert story.ask("ann", Arrive(task_id)).code == "NOT_FOUND"


def test_a_return_goes_on() -> None:
    story = Story()
    story.at_door()
    story.do("ann", Refuse("order-1", RefuseReason.NOBODY_HOME))
    [back] = story.region.state.holdings.by_driver["ann"]
    assert reborn(story) == ["task.updated"]
    frame = story.frames("ann")[-1]
    assert isinstance(frame, TaskUpdated)
    assert (frame.task.task_id, frame.task.kind) == (back, "RETURN")
    story.order()
    story.wait(5)
    assert story.region.state.offers.live == {}
    story.do("ann", Arrive(back), ConfirmReturn(back))
    assert story.task(back).status is TaskStatus.DONE


def test_at_the_door_a_passed_check_still_counts() -> None:
    story = Story()
    story.at_door()
    story.do("ann", id_check())
    story.restart()
    story.do("ann", Deliver("order-1"))
    assert story.task("task-1").status is TaskStatus.DONE


def test_a_task_that_ended_is_not_opened_by_a_late_repeat() -> None:
    story = Story()
    story.delivered()
    story.restart()
    story.step(story.opened["task-1"])
    assert story.region.state.jobs == {}


def test_counters_go_on() -> None:
    story = Story()
    story.delivered()
    story.offered()
    before = dict(story.region.state.counters)
    story.restart()
    assert story.region.state.counters == before


def test_ids_of_two_lives_never_meet() -> None:
    story = Story(decline_cooldown_s=0.0)
    for _ in range(3):
        story.do("ann", Reject(offer_id=story.offered()))
        story.restart()
        story.session.clear()
    ids = [record.record_id for record in story.records]
    ids += list(story.store.offers)
    assert len(set(ids)) == len(ids)


def test_tasks_are_served_oldest_first_after_a_restart_as_before() -> None:
    story = Story(solving=False)
    for _ in range(3):
        story.order()
        story.wait(1)
    assert list(story.region.state.open) == ["task-1", "task-2", "task-3"]
    story.restart()
    assert list(story.region.state.open) == ["task-1", "task-2", "task-3"]
