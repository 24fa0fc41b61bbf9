"""Where drivers are short, nobody is left for ever."""

from __future__ import annotations

from msgspec.structs import replace

from solver.registry import solve
from tests.support.build import NOW, at, problem


def test_an_overdue_task_is_not_left_for_a_new_one() -> None:
    request = problem([at(1), at(1)], [at(0)], due_s=[-1800.0, 2700.0])
    opened_ms = request.tasks.opened_ms.copy()
    opened_ms[0] = NOW - 75 * 60_000
    request = replace(request, tasks=replace(request.tasks, opened_ms=opened_ms))
    [one] = solve(request).assignments
    assert one.task_ids == ("t0",)
    assert one.cost == one.features["cost_s"] > 0


def test_among_equals_the_oldest_goes_first() -> None:
    request = problem([at(1)] * 3, [at(0)])
    opened_ms = request.tasks.opened_ms.copy()
    opened_ms[1] -= 60_000
    request = replace(request, tasks=replace(request.tasks, opened_ms=opened_ms))
    [one] = solve(request).assignments
    assert one.task_ids == ("t1",)


def test_a_driver_goes_to_the_near_task_unless_the_far_one_has_waited_for_long() -> None:
    request = problem([at(9), at(1)], [at(0)])
    assert solve(request).assignments[0].task_ids == ("t1",)
    opened_ms = request.tasks.opened_ms.copy()
    opened_ms[0] -= 3 * 3_600_000
    request = replace(request, tasks=replace(request.tasks, opened_ms=opened_ms))
    assert solve(request).assignments[0].task_ids == ("t0",)
