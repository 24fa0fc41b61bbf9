"""A problem of unconnected parts costs the same as its parts one by one."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from domain.solve import NEVER_MS, SolveRequest
from solver.fast.solver import ALL_PAIRS, ROLLING_CELLS, merged_plans, part_of
from solver.registry import solve
from tests.support.build import at, problem
from tests.support.problems import random_problem

TOWNS, TASKS, DRIVERS = 3, 110, 150


def towns() -> SolveRequest:
    """Three towns, 300 km from one to the next, in the order of their tasks and drivers."""
    rng = np.random.default_rng(2)

    def scattered(count: int) -> list[tuple[float, float]]:
        return [
            at(float(north) + 300 * town, float(east))
            for town in range(TOWNS)
            for north, east in rng.uniform(-8, 8, (count, 2))
        ]

    return replace(problem(scattered(TASKS), scattered(DRIVERS), candidates=24), offer_by_ms=NEVER_MS)


def test_towns_together_cost_what_they_cost_one_by_one() -> None:
    request = towns()
    assert TOWNS * TASKS * TOWNS * (TASKS + DRIVERS) > ROLLING_CELLS
    assert TOWNS * TASKS * TOWNS * DRIVERS > ALL_PAIRS
    together = solve(request)
    assert together.components == TOWNS
    alone = [
        solve(
            part_of(
                request,
                np.arange(town * TASKS, (town + 1) * TASKS),
                np.arange(town * DRIVERS, (town + 1) * DRIVERS),
            )
        )
        for town in range(TOWNS)
    ]
    cost = sum(one.cost for plan in alone for one in plan.assignments)
    assert sum(one.cost for one in together.assignments) == pytest.approx(cost)
    summed = merged_plans(request, alone, components=TOWNS, pairs=7)
    assert len(summed.assignments) == sum(len(plan.assignments) for plan in alone)
    assert {one.task_ids for one in summed.assignments} == {one.task_ids for one in together.assignments}
    assert summed.forecast is not None
    assert len(summed.forecast.ids) == len(set(summed.forecast.ids)) == len(summed.forecast.pickup_ms)
    assert (summed.components, summed.pairs) == (TOWNS, 7)


def test_a_part_has_its_own_rows_and_declines() -> None:
    request = random_problem(3, 8, 6)
    tasks, drivers = np.array([1, 4, 5]), np.array([0, 2])
    part = part_of(request, tasks, drivers)
    assert part.tasks.ids == ["t1", "t4", "t5"]
    assert part.drivers.free_ms.tolist() == request.drivers.free_ms[drivers].tolist()

    def named(of: SolveRequest) -> set[tuple[str, str]]:
        pairs = zip(of.declined_task.tolist(), of.declined_driver.tolist(), strict=True)
        return {(of.tasks.ids[t], of.drivers.ids[d]) for t, d in pairs}

    assert named(request)
    inside = {(t, d) for t, d in named(request) if t in part.tasks.ids and d in part.drivers.ids}
    assert named(part) == inside
