"""The matching engines: each finds the cheapest of the largest, whatever is crowded, short or impossible."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import solver.fast.matching
from domain.ground.arrays import F64, I64
from solver.fast.graph import WHOLE_PAIRS, split
from solver.fast.matching import cheapest_matching


def sparse_graph(tasks: int, drivers: int, per_task: int, seed: int) -> tuple[I64, I64, F64]:
    """Random pairs, a few tasks with one driver in common, costs from 0."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(tasks), per_task)
    driver = np.concatenate([rng.choice(drivers, per_task, replace=False) for _ in range(tasks)])
    alone = task < 3
    task = np.concatenate([np.arange(3), task[~alone]])
    driver = np.concatenate([np.zeros(3, np.int64), driver[~alone]])
    cost = np.round(rng.uniform(0, 3000, len(task)), 1)
    cost[-1] = 0.0
    return task, driver, cost


def expected(task: I64, driver: I64, cost: F64) -> tuple[int, float]:
    """Size and cost by one full matrix, in which a missing pair is dearer than all others together."""
    matrix = np.full((int(task.max()) + 1, int(driver.max()) + 1), 1e9)
    matrix[task, driver] = cost
    found = matrix[linear_sum_assignment(matrix)]
    return int((found < 1e9).sum()), float(found[found < 1e9].sum())


@pytest.mark.parametrize("dense_cells", [0, 2**30], ids=["sparse", "dense"])
@pytest.mark.parametrize(("tasks", "drivers"), [(40, 200), (60, 60), (200, 40), (61, 55)])
def test_each_engine_finds_the_cheapest_of_the_largest(
    monkeypatch: pytest.MonkeyPatch, dense_cells: int, tasks: int, drivers: int
) -> None:
    monkeypatch.setattr(solver.fast.matching, "DENSE_CELLS", dense_cells)
    for seed in range(5):
        task, driver, cost = sparse_graph(tasks, drivers, 4, seed)
        chosen = cheapest_matching(task, driver, cost)
        assert len(set(task[chosen].tolist())) == len(set(driver[chosen].tolist())) == len(chosen)
        size, least = expected(task, driver, cost)
        assert len(chosen) == size
        assert cost[chosen].sum() == pytest.approx(least)


@pytest.mark.parametrize("dense_cells", [0, 2**30], ids=["sparse", "dense"])
def test_the_order_of_the_pairs_does_not_matter(monkeypatch: pytest.MonkeyPatch, dense_cells: int) -> None:
    monkeypatch.setattr(solver.fast.matching, "DENSE_CELLS", dense_cells)
    task, driver, cost = sparse_graph(50, 80, 5, 1)
    mixed = np.random.default_rng(2).permutation(len(task))
    chosen = mixed[cheapest_matching(task[mixed], driver[mixed], cost[mixed])]
    assert sorted(chosen.tolist()) == cheapest_matching(task, driver, cost).tolist()


def test_nothing_and_one_pair() -> None:
    none = np.empty(0, np.int64)
    assert cheapest_matching(none, none, np.empty(0)).tolist() == []
    assert cheapest_matching(np.array([7]), np.array([9]), np.array([-3.0])).tolist() == [0]


def test_towns_far_apart_are_parts_of_their_own_and_cost_the_same_together() -> None:
    rng = np.random.default_rng(4)
    towns, tasks, drivers, each = 5, 100, 150, 40
    task = np.repeat(np.arange(towns * tasks), each)
    driver = np.concatenate(
        [t // tasks * drivers + rng.choice(drivers, each, replace=False) for t in range(towns * tasks)]
    )
    cost = rng.uniform(1, 1000, len(task))
    assert len(task) > WHOLE_PAIRS
    parts = split(task, driver, cost, towns * tasks, towns * drivers)
    assert len(parts) == towns
    apart = [part.pairs[cheapest_matching(part.task, part.driver, part.match_s)] for part in parts]
    together = cheapest_matching(task, driver, cost)
    assert sorted(np.concatenate(apart).tolist()) == together.tolist()


def test_a_small_graph_is_not_looked_through_for_parts() -> None:
    task, driver, cost = np.arange(3), np.arange(3), np.ones(3)
    assert len(split(task, driver, cost, 3, 3)) == 1
    assert len(split(task, driver, cost, 3, 3, whole=0)) == 3
