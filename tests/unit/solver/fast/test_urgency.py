"""Where drivers are short, nobody is left for ever."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from domain.solve import Planning, SolveRequest
from solver.fast.solver import ROLLING_CELLS
from solver.registry import solve
from tests.support.build import NOW, Point, at, problem


def alone(tasks: Sequence[Point], due_s: Sequence[float] | None = None) -> SolveRequest:
    """One driver, who takes one task at a time."""
    return replace(problem(tasks, [at(0)], due_s=due_s), planning=Planning(bundle_tries=0))


def test_an_overdue_task_is_not_left_for_a_new_one() -> None:
    request = alone([at(1), at(1)], due_s=[-1800.0, 2700.0])
    opened_ms = request.tasks.opened_ms.copy()
    opened_ms[0] = NOW - 75 * 60_000
    request = replace(request, tasks=replace(request.tasks, opened_ms=opened_ms))
    [one] = solve(request).assignments
    assert one.task_ids == ("t0",)
    assert one.cost == one.features["cost_s"] > 0


def test_among_equals_the_oldest_goes_first() -> None:
    request = alone([at(1)] * 3)
    opened_ms = request.tasks.opened_ms.copy()
    opened_ms[1] -= 60_000
    request = replace(request, tasks=replace(request.tasks, opened_ms=opened_ms, ready_ms=opened_ms))
    [one] = solve(request).assignments
    assert one.task_ids == ("t1",)


def test_a_driver_goes_to_the_near_task_first() -> None:
    request = alone([at(9), at(1)])
    assert solve(request).assignments[0].task_ids == ("t1",)


def test_in_a_large_problem_the_oldest_are_not_left_for_the_newest() -> None:
    """More tasks than drivers, all at one store: those that wait for longest are brought, however late they are."""
    tasks, drivers = 300, 60
    request = problem([at(1)] * tasks, [at(0)] * drivers)
    waited_ms = 60_000 * np.random.default_rng(1).permutation(tasks)
    columns = replace(
        request.tasks,
        opened_ms=NOW - waited_ms,
        ready_ms=NOW - waited_ms,
        due_ms=NOW - waited_ms + 2_700_000,
    )
    assert tasks * (tasks + drivers) > ROLLING_CELLS
    plan = solve(replace(request, tasks=columns))
    oldest = {f"t{i}" for i in np.argsort(-waited_ms)[:drivers]}
    assert {task_id for one in plan.assignments for task_id in one.task_ids} == oldest
    assert len(plan.left_out) == tasks - drivers
