"""How long a task waits from its opening to the first plan that has it."""

from __future__ import annotations

from domain.orders.lifecycle import Role
from domain.region.messages import Cancel, PlanReady, Reject, SolveFailed
from solver.registry import solve
from tests.support.story import Story, put_order


def planned(story: Story) -> list[int]:
    """The waits so far in ms."""
    return [waited_ms for _, waited_ms in story.region.state.cadence.waits]


def answer(story: Story, after_ms: int) -> None:
    """The plan of the last look comes in, so long after it."""
    story.now += after_ms
    story.step(PlanReady(solve(story.solves[-1])))


def test_a_task_waits_until_a_plan_has_it() -> None:
    story = Story(solving=False)
    story.drive("ann")
    story.order()
    began_ms = story.now
    story.look()
    assert planned(story) == []
    assert list(story.region.state.cadence.unplanned) == ["task-1"]
    answer(story, 150)
    assert list(story.region.state.cadence.waits) == [(began_ms, 350)]
    assert not story.region.state.cadence.unplanned


def test_the_time_before_the_region_was_told_counts() -> None:
    story = Story()
    story.drive("ann")
    opened = put_order(story.store, 1, story.now)
    story.now += 1_000
    story.step(opened)
    story.look()
    assert planned(story) == [1_200]


def test_what_is_planned_for_later_has_a_plan() -> None:
    story = Story(offer_lead_s=0.0)
    story.drive("ann")
    story.order()
    story.look()
    assert list(story.region.state.open) == ["task-1"], "not offered yet"
    assert planned(story) == [200]
    story.wait(4)
    assert planned(story) == [200], "it is planned again at each look"


def test_a_task_that_a_look_does_not_have_waits_for_the_next() -> None:
    story = Story(solving=False)
    for driver in ("ann", "bob"):
        story.drive(driver)
    story.order()
    story.look()
    story.order()  # the look is under way
    answer(story, 100)
    assert planned(story) == [300]
    assert list(story.region.state.cadence.unplanned) == ["task-2"]
    story.look()
    story.step(SolveFailed(story.solves[-1].request_id))
    assert planned(story) == [300]
    story.wait(3.0)  # the longest wait for another look
    answer(story, 50)
    assert planned(story) == [300, 100 + 200 + 3_000 + 50]
    assert not story.region.state.cadence.unplanned


def test_a_task_that_comes_back_is_not_counted_again() -> None:
    story = Story()
    offer_id = story.offered()
    story.do("ann", Reject(offer_id))
    story.drive("bob")
    story.look()
    assert story.offer_to("bob").offer_id != offer_id
    assert planned(story) == [200]
    story.step(story.opened["task-1"])  # told again
    assert not story.region.state.cadence.unplanned


def test_a_task_that_ends_without_a_plan_is_forgotten() -> None:
    story = Story()
    story.order()
    story.wait(10)
    assert list(story.region.state.cadence.unplanned) == ["task-1"]
    story.do("cara", Cancel("order-1"), role=Role.CUSTOMER)
    assert not story.region.state.cadence.unplanned
    assert planned(story) == []


def test_only_the_newest_waits_are_kept() -> None:
    story = Story(waits_limit=2)
    for driver in ("ann", "bob", "cid"):
        story.drive(driver)
        story.order()
        story.look()
    assert len(planned(story)) == 2
