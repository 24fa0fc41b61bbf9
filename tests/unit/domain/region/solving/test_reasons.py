"""Every open task has a reason, and a task that was passed by without one is noticed."""

from __future__ import annotations

import time
from collections import Counter
from random import Random

import pytest
from msgspec.structs import replace

from domain.region.messages import Accept, PlanReady, Reject, SolveFailed, Tick
from domain.region.ops.outlook import Outlook, why_open
from domain.region.ops.views import region_view
from domain.region.solving.reasons import Waiting
from solver.registry import solve
from tests.support.build import at
from tests.support.story import Story, no_plan


def why(story: Story, task_id: str = "task-1") -> Waiting:
    return why_open(story.region.state, story.region.state.jobs[task_id], story.now)


def reasons(story: Story) -> Counter[Waiting]:
    outlook = Outlook(story.region.state, story.now)
    return Counter(outlook.why(story.region.state.jobs[task_id]) for task_id in story.region.state.open)


def test_nobody_is_there() -> None:
    story = Story()
    story.order()
    assert why(story) is Waiting.NO_DRIVER
    story.drive("ann")
    assert why(story) is Waiting.LOOKING
    story.drive("ann", on=False)
    assert why(story) is Waiting.NO_DRIVER
    story.wait(10)
    assert why(story) is Waiting.NO_DRIVER


@pytest.mark.parametrize("how", ["busy", "stale", "resting"])
def test_nobody_is_free(how: str) -> None:
    story = Story()
    if how == "busy":
        story.assigned()
    elif how == "stale":
        story.drive("ann")
        story.silence("ann")
        story.wait(90)
    else:
        story.offered()
        story.wait(30)
    story.order()
    story.look()
    assert why(story, f"task-{len(story.opened)}") is Waiting.NO_DRIVER


def test_a_new_task_is_looked_at() -> None:
    story = Story(solving=False)
    story.drive("ann")
    story.order()
    assert why(story) is Waiting.LOOKING
    story.look()
    assert len(story.solves) == 1
    assert why(story) is Waiting.LOOKING  # the solve is under way
    story.order()
    story.step(PlanReady(solve(story.solves[-1])))
    assert list(story.region.state.open) == ["task-2"]
    assert why(story, "task-2") is Waiting.NO_DRIVER


def test_whoever_is_free_declined_it() -> None:
    story = Story()
    for name in ("ann", "bob"):
        story.drive(name)
    story.order()
    story.look()
    for expected in (Waiting.LOOKING, Waiting.ALL_DECLINED):
        [(driver_id, offer_id)] = story.region.state.offers.by_driver.items()
        story.do(driver_id, Reject(offer_id=offer_id))
        assert why(story) is expected
        story.wait(3)
    assert why(story) is Waiting.ALL_DECLINED
    story.drive("cyd", at(30))
    assert why(story) is Waiting.LOOKING
    story.look()
    assert story.offer_to("cyd")


def test_after_the_cool_down_it_is_looked_at_again() -> None:
    story = Story()
    story.do("ann", Reject(offer_id=story.offered()))
    story.wait(59.999)
    assert why(story) is Waiting.ALL_DECLINED
    story.wait(0.001)
    assert why(story) is Waiting.LOOKING
    story.wait(3)
    assert story.region.state.open == {}


def test_others_were_served_first() -> None:
    """Two tasks that Bob alone may be offered: one of them has to wait."""
    story = Story(solving=False)
    story.drive("ann")
    for _ in range(2):
        story.order()
        story.look()
        story.step(PlanReady(solve(story.solves[-1])))
        story.do("ann", Reject(offer_id=story.offer_to("ann").offer_id))
    story.drive("bob")
    story.look()
    story.step(PlanReady(solve(story.solves[-1])))
    assert len(story.region.state.offers.live) == 1
    [waiting] = story.region.state.open
    assert why(story, waiting) is Waiting.ALL_DECLINED  # of those who are free now
    story.drive("cyd")
    assert why(story, waiting) is Waiting.PLANNED  # for Bob, behind his offer: as the last look left it
    story.look()
    story.step(PlanReady(solve(story.solves[-1])))
    assert story.offer_to("cyd")


def test_a_crowd_at_one_store_is_not_held_to_its_nearest_candidates() -> None:
    story = Story(candidates=2)
    for n in range(5):
        story.drive(f"d{n}", at(n))
    for _ in range(4):
        story.order()
    story.look()
    assert reasons(story) == {}


def test_too_many_for_one_look() -> None:
    story = Story(solve_tasks_limit=2)
    story.drive("ann")
    for _ in range(4):
        story.order()
    story.drive("bob")
    story.drive("cyd")
    story.drive("dee")
    assert [why(story, f"task-{n}") for n in range(1, 5)] == [
        *[Waiting.LOOKING] * 2,
        *[Waiting.OUTNUMBERED] * 2,
    ]
    story.wait(6)
    assert story.region.state.open == {}


@pytest.mark.parametrize("how", ["failed", "late"])
def test_a_look_without_a_plan(how: str) -> None:
    story = Story(solving=False)
    story.drive("ann")
    story.order()
    story.look()
    if how == "failed":
        story.step(SolveFailed(story.solves[-1].request_id))
    else:
        story.wait(60)
    assert why(story) is Waiting.UNSOLVED
    story.order()
    assert why(story, "task-2") is Waiting.LOOKING
    story.solving = True
    story.wait(3)
    if how == "late":
        story.step(PlanReady(solve(story.solves[-1])))
    assert story.offer_to("ann")


@pytest.mark.parametrize("left_out", [1, 2])
def test_a_solver_that_passes_a_task_by_is_found_out(left_out: int) -> None:
    story = Story(solving=False)
    for n in range(3):
        story.drive(f"d{n}", at(n))
    story.order()
    story.order()
    story.look()
    plan = solve(story.solves[-1])
    story.step(PlanReady(replace(plan, forecast=None, assignments=plan.assignments[left_out:])))
    assert reasons(story) == {Waiting.UNEXPLAINED: left_out}
    # Also when others are outnumbered, and until a look has explained it.
    story.order()
    assert reasons(story)[Waiting.UNEXPLAINED] == left_out
    story.look()
    assert reasons(story)[Waiting.UNEXPLAINED] == left_out
    story.step(PlanReady(solve(story.solves[-1])))
    assert Waiting.UNEXPLAINED not in reasons(story)


def test_a_solver_that_never_plans_anything_is_found_out_however_many_wait() -> None:
    story = Story(solving=False)
    story.drive("ann")
    for _ in range(5):
        story.order()
    story.look()
    story.step(PlanReady(no_plan(story.solves[-1])))
    assert reasons(story) == {Waiting.UNEXPLAINED: 5}


def test_a_look_that_does_not_come_is_found_out() -> None:
    story = Story(solving=False)
    story.drive("ann")
    story.order()
    story.now += 3_200
    assert why(story) is Waiting.LOOKING
    story.now += 1
    assert why(story) is Waiting.UNEXPLAINED
    story.step(Tick())
    assert why(story) is Waiting.LOOKING


def test_an_overtaken_plan_is_no_mystery() -> None:
    story = Story(solving=False)
    story.drive("ann")
    story.drive("bob", at(5))
    story.order()
    story.look()
    story.drive("ann", on=False)
    story.step(PlanReady(solve(story.solves[-1])))
    assert why(story) is Waiting.LOOKING


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_declined_with_few_candidates_everything_is_explained(seed: int) -> None:
    """Looks over crowded and thin markets with pruning and bars: the solver's own answers never look like a bug."""
    rng = Random(seed)
    story = Story(candidates=rng.choice([1, 2, 3]), solving=True)
    seen: Counter[Waiting] = Counter()
    for n in range(rng.randint(3, 12)):
        story.drive(f"d{n}", at(rng.uniform(-20, 20), rng.uniform(-20, 20)))
    for _ in range(40):
        if rng.random() < 0.5:
            story.order(door=at(rng.uniform(-5, 5)))
        for driver_id in list(story.region.state.offers.by_driver):
            # Another's acceptance may have taken it away meanwhile.
            if driver_id in story.region.state.offers.by_driver and rng.random() < 0.5:
                action = rng.choice([Reject, Reject, Accept])
                story.do(driver_id, action(offer_id=story.offer_to(driver_id).offer_id))
        seen += reasons(story)
        story.wait(rng.choice([0.1, 0.2, 1.0, 5.0, 31.0]))
        seen += reasons(story)
    assert Waiting.UNEXPLAINED not in seen


def test_mission_control_sees_the_reasons() -> None:
    story = Story()
    story.assigned()
    for _ in range(3):
        story.order()
    tasks = region_view(story.region, story.now, 100).tasks
    assert tasks.counts == {"ASSIGNED": 1, "OPEN": 3}
    assert tasks.waiting == {"NO_DRIVER": 3}
    assert {point.id: point.waiting for point in tasks.points} == {
        "task-1": None,
        **dict.fromkeys(("task-2", "task-3", "task-4"), "NO_DRIVER"),
    }


def test_thousands_of_reasons_are_cheap() -> None:
    """One frame of 5,000 open tasks, each declined by somebody; generous, for it is a matter of orders of magnitude."""
    story = Story(solving=False)
    for n in range(300):
        story.drive(f"d{n}", at(n / 10))
    for _ in range(5_000):
        story.order()
    story.wait(0.2)
    story.step(PlanReady(no_plan(story.solves[-1])))
    for job in story.region.state.jobs.values():
        for n in range(5):
            job.note_decline(f"d{n}", story.now)
    started = time.perf_counter()
    view = region_view(story.region, story.now, 2_000)
    assert time.perf_counter() - started < 0.5
    assert view.tasks.waiting == {"UNEXPLAINED": 5_000}
