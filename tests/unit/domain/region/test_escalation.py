"""What is done for a task that nobody takes: more drivers at once, and the first to accept has it."""

from __future__ import annotations

import pytest

from domain.errors import OfferExpired, OfferTaken
from domain.orders.lifecycle import OfferStatus, Role, TaskStatus
from domain.region.messages import Accept, Cancel, Reject
from domain.region.policy import Escalation, RegionPolicy
from tests.support.build import at
from tests.support.story import Story

TWO_AT_ONCE = (Escalation(after=0), Escalation(after=1, parallel=2, bump_cents=150, alert=True))


def asked_beside(drivers: int = 3) -> Story:
    """Task-1 was declined by Ann, who was nearest, and is offered to two others at once."""
    story = Story(escalation=TWO_AT_ONCE)
    story.drive("ann", at(0.1))
    for n in range(drivers - 1):
        story.drive(f"d{n}", at(1 + n))
    story.order()
    story.look()
    story.do("ann", Reject(offer_id=story.offer_to("ann").offer_id))
    story.look()
    return story


def test_the_next_best_are_asked_too_and_paid_more() -> None:
    story = asked_beside(4)
    assert set(story.region.state.offers.by_driver) == {"d0", "d1"}
    for offer in story.region.state.offers.live.values():
        assert offer.task_ids == ("task-1",)
        assert offer.features["bump_cents"] == 150
        assert offer.features["p_accept"] > 0
    assert any("needs somebody" in text for _, text in story.region.state.decisions)


@pytest.mark.parametrize(("winner", "loser"), [("d0", "d1"), ("d1", "d0")])
def test_the_first_to_accept_has_it_and_the_others_are_told(winner: str, loser: str) -> None:
    story = asked_beside()
    won, lost = story.offer_to(winner).offer_id, story.offer_to(loser).offer_id
    story.do(winner, Accept(offer_id=won))
    assert story.task("task-1").driver_id == winner
    assert story.task("task-1").offer_id == won
    assert story.store.offers[lost].status is OfferStatus.REVOKED
    assert story.store.offers[lost].reason == "TAKEN"
    assert "offer.revoked" in story.kinds(loser)
    assert story.ask(loser, Accept(offer_id=lost)).code in (OfferExpired.code, OfferTaken.code)
    assert story.region.state.offers.live == {} == story.region.state.offers.by_tasks


@pytest.mark.parametrize("first", ["d0", "d1"])
def test_the_task_is_open_again_when_the_last_of_them_has_declined(first: str) -> None:
    story = asked_beside()
    second = "d1" if first == "d0" else "d0"
    story.do(first, Reject(offer_id=story.offer_to(first).offer_id))
    assert story.task("task-1").status is TaskStatus.OFFERED
    assert story.task("task-1").offer_id == story.offer_to(second).offer_id
    story.do(second, Reject(offer_id=story.offer_to(second).offer_id))
    assert story.task("task-1").status is TaskStatus.OPEN


def test_one_may_accept_by_the_task_alone() -> None:
    story = asked_beside()
    story.do("d1", Accept(task_id="task-1"))
    assert story.task("task-1").driver_id == "d1"


def test_an_order_that_is_called_off_takes_all_its_offers_along() -> None:
    story = asked_beside()
    story.do("dora", Cancel("order-1"), role=Role.DISPATCHER)
    assert story.region.state.offers.live == {} == story.region.state.offers.by_tasks
    assert story.task("task-1").status is TaskStatus.CANCELLED
    assert {story.kinds(name)[-1] for name in ("d0", "d1")} == {"offer.revoked"}


def test_both_let_it_expire() -> None:
    story = asked_beside()
    story.wait(story.policy.offer_ttl_s)
    assert {offer.status for offer in story.store.offers.values()} == {
        OfferStatus.REJECTED,
        OfferStatus.EXPIRED,
    }
    assert story.region.state.jobs["task-1"].tries == 3


def test_a_new_life_of_the_region_knows_all_of_them() -> None:
    story = asked_beside()
    story.restart()
    assert sorted(story.region.state.offers.by_driver) == ["d0", "d1"]
    story.do("d1", Accept(task_id="task-1"))
    assert story.task("task-1").driver_id == "d1"
    assert story.region.state.offers.by_tasks == {}


@pytest.mark.parametrize("steps", [(), (1,), (0, 2, 1), (0, 0)])
def test_a_table_that_does_not_rise_is_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="escalation"):
        RegionPolicy(escalation=tuple(Escalation(after=after) for after in steps))


def test_the_first_offers_go_to_one_driver_each() -> None:
    story = Story()
    for n in range(4):
        story.drive(f"d{n}", at(n))
    story.order()
    story.look()
    assert len(story.region.state.offers.live) == 1
