"""The nearest free driver, oldest task first."""

from __future__ import annotations

import math

import numpy as np
from msgspec.structs import replace

from domain.solve import SolveRequest
from solver.registry import solve
from tests.support.build import NOW, at, problem


def chosen(request: SolveRequest) -> dict[str, str]:
    plan = solve(replace(request, solver="greedy"))
    assert all(len(one.task_ids) == 1 for one in plan.assignments)
    return {one.task_ids[0]: one.driver_id for one in plan.assignments}


def test_the_nearest_driver() -> None:
    assert chosen(problem([at(0)], [at(3), at(-1), at(2)])) == {"t0": "d1"}


def test_the_oldest_task_chooses_first() -> None:
    """The best for both together would be the other way round: the younger task's other driver is far away."""
    request = problem([at(0), at(1)], [at(0.4), at(-9)])
    assert chosen(request) == {"t0": "d0", "t1": "d1"}
    tasks = replace(request.tasks, opened_ms=np.array([NOW, NOW - 1000]))
    assert chosen(replace(request, tasks=tasks)) == {"t1": "d0", "t0": "d1"}


def test_more_tasks_than_drivers() -> None:
    assert chosen(problem([at(0), at(1), at(2)], [at(2)])) == {"t0": "d0"}


def test_who_is_busy_is_not_asked() -> None:
    request = problem([at(0)], [at(1), at(5)])
    drivers = replace(request.drivers, idle=np.array([False, True]))
    assert chosen(replace(request, drivers=drivers)) == {"t0": "d1"}


def test_a_decline_counts_as_so_much_further_and_can_bar() -> None:
    near, far = at(1), at(5)  # 135 s and 675 s away
    assert chosen(problem([at(0)], [near, far], declined=[(0, 0, 500.0)])) == {"t0": "d0"}
    assert chosen(problem([at(0)], [near, far], declined=[(0, 0, 600.0)])) == {"t0": "d1"}
    assert chosen(problem([at(0)], [near, far], declined=[(0, 0, math.inf)])) == {"t0": "d1"}
    assert chosen(problem([at(0)], [near], declined=[(0, 0, math.inf)])) == {}


def test_a_shift_that_ends_and_an_order_that_would_come_too_late() -> None:
    """At the store after 135 s, goods 2 minutes later; then 405 s of driving and 2 minutes at the door."""
    request = problem([at(0)], [at(1), at(5)])
    for until_s, who in ((256, "d0"), (254, "d1")):
        until_ms = np.array([NOW + 1000 * until_s, NOW + 10**9])
        assert chosen(replace(request, drivers=replace(request.drivers, until_ms=until_ms))) == {"t0": who}
    for latest_s, expected in ((782, {"t0": "d0"}), (778, {})):
        tasks = replace(request.tasks, latest_ms=np.array([NOW + 1000 * latest_s]))
        assert chosen(replace(request, tasks=tasks)) == expected


def test_nothing_to_do() -> None:
    assert chosen(problem([], [at(0)])) == {}
    assert chosen(problem([at(0)], [])) == {}
