"""Pruning: the nearest drivers of a task are found, near and far, and no more of them than asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.geo import distance_m
from solver.candidates import all_pairs, candidate_pairs
from solver.fast import PRUNED_FROM
from solver.objective import acceptance, pair_costs
from solver.registry import SOLVERS, solve
from tests.support.build import NOW, Point, at, problem


def pairs(tasks: list[Point], drivers: list[Point], per_task: int) -> list[tuple[int, int]]:
    request = problem(tasks, drivers)
    task, driver, metres = candidate_pairs(request.tasks, request.drivers, np.full(len(tasks), per_task))
    assert len(task) == len(driver) == len(metres)
    assert np.isfinite(metres).all()
    return list(zip(task.tolist(), driver.tolist(), strict=True))


def test_each_task_gets_its_nearest_drivers() -> None:
    drivers = [at(float(i) / 4) for i in range(40)]
    found = pairs([at(0), at(9.75)], drivers, 3)
    assert sorted(found) == [(0, 0), (0, 1), (0, 2), (1, 37), (1, 38), (1, 39)]


def test_a_wider_ring_is_looked_at_while_too_few_are_in_sight() -> None:
    assert sorted(pairs([at(0)], [at(0.5), at(12), at(30)], 2)) == [(0, 0), (0, 1)]


def test_far_out_everybody_is_a_candidate() -> None:
    assert sorted(pairs([at(0)], [at(80), at(-75)], 16)) == [(0, 0), (0, 1)]


@pytest.mark.parametrize(("tasks", "drivers"), [(0, 2), (2, 0), (0, 0)])
def test_no_tasks_or_no_drivers_make_no_pairs(tasks: int, drivers: int) -> None:
    assert pairs([at(i) for i in range(tasks)], [at(i) for i in range(drivers)], 4) == []


def scatter(n: int, seed: int, km: float = 20.0) -> list[Point]:
    rng = np.random.default_rng(seed)
    return [at(float(north), float(east)) for north, east in rng.uniform(-km, km, (n, 2))]


@given(st.integers(0, 99), st.integers(1, 12), st.integers(1, 40), st.integers(1, 9))
@settings(max_examples=60)
def test_nobody_nearer_is_left_out(seed: int, tasks: int, drivers: int, wanted: int) -> None:
    request = problem(scatter(tasks, seed), scatter(drivers, seed + 100))
    task, driver, metres = candidate_pairs(request.tasks, request.drivers, np.full(tasks, wanted))
    everyone = all_pairs(request.tasks, request.drivers)[2].reshape(tasks, drivers)
    assert task.tolist() == np.repeat(np.arange(tasks), min(wanted, drivers)).tolist()
    assert everyone[task, driver] == pytest.approx(metres)
    nearest = np.sort(everyone, axis=1)[:, :wanted].ravel()
    assert metres == pytest.approx(nearest), "nearest first, and none but the nearest"


def test_tasks_of_one_store_may_want_different_numbers_of_drivers() -> None:
    request = problem([at(0), at(5), at(0)], scatter(30, 1))
    task, driver, _ = candidate_pairs(request.tasks, request.drivers, np.array([2, 3, 5]))
    assert np.bincount(task).tolist() == [2, 3, 5]
    assert driver[task == 0].tolist() == driver[task == 2].tolist()[:2]


def test_the_nearest_are_found_across_the_date_line_and_at_the_pole() -> None:
    request = problem(
        [(10.0, 179.99), (89.99, 0.0)], [(10.0, -179.99), (10.0, 179.0), (89.99, 180.0), (89.0, 0.0)]
    )
    _, driver, _ = candidate_pairs(request.tasks, request.drivers, np.array([1, 1]))
    assert driver.tolist() == [0, 2]


def test_a_crowd_at_one_store_looks_further_than_a_single_task() -> None:
    """Thirty tasks at a store whose nearest 16 drivers would do for 16; and one alone, which has what it wants."""
    tasks = [*[at(0)] * 30, at(18)]
    request = problem(tasks, scatter(400, 5))
    task, driver, _ = candidate_pairs(request.tasks, request.drivers, np.full(31, 16), crowds=True)
    assert np.bincount(task)[30] == 16
    assert len(set(driver[task < 30].tolist())) >= 30
    narrow = candidate_pairs(request.tasks, request.drivers, np.full(31, 16))
    assert len(set(narrow[1][narrow[0] < 30].tolist())) == 16


def test_while_drivers_are_to_be_had_no_task_of_a_crowd_is_left() -> None:
    request = problem([at(0)] * 200, scatter(210, 6), candidates=16)
    assert PRUNED_FROM < 200 * 210
    assert len(solve(request).assignments) == 200


def test_where_drivers_are_short_none_is_idle_for_being_near_no_store() -> None:
    """All stores in the middle, one driver far out: no task has him among its nearest."""
    request = problem(scatter(300, 7, km=2.0), [*scatter(99, 8, km=2.0), at(19, 19)], candidates=8)
    assert PRUNED_FROM < 300 * 100
    plan = solve(request)
    assert len(plan.assignments) == 100
    assert "d99" in {one.driver_id for one in plan.assignments}
    graph = SOLVERS["fast"].prepare(request)
    keys = graph.task * 100 + graph.driver
    assert (np.diff(keys) > 0).all(), "ordered by task, each pair once"


def test_distances_are_those_of_the_sphere() -> None:
    # Dallas to Fort Worth, city hall to city hall: 48.9 km by any map.
    away = float(distance_m(32.7764, -96.7970, 32.7555, -97.3308))
    assert away == pytest.approx(49_950, rel=0.01)
    assert float(distance_m(32.8, -96.8, 32.8, -96.8)) == 0
    assert float(distance_m(0, 179.9, 0, -179.9)) == pytest.approx(22_239, rel=0.001)


def test_acceptance_falls_with_the_way_to_the_store_and_rises_with_the_drivers_record() -> None:
    near, far = np.array([500.0]), np.array([20_000.0])
    usual, trip = np.array([0.75]), np.array([5_000.0])
    assert acceptance(usual, near, trip)[0] > acceptance(usual, far, trip)[0]
    assert acceptance(np.array([0.9]), near, trip)[0] > acceptance(usual, near, trip)[0]
    extremes = acceptance(np.array([0.0, 1.0]), np.array([1e6, 0.0]), np.array([0.0, 1e6]))
    assert extremes.tolist() == [0.05, 0.99]


def test_waiting_for_the_goods_costs_no_driving() -> None:
    """A task that is ready later makes the order later, not the way longer."""
    request = problem([at(0)], [at(1)])
    one = np.zeros(1, np.int64)
    _, now = pair_costs(request, one, one, np.array([1000.0]))
    later = replace(request, tasks=replace(request.tasks, ready_ms=np.array([NOW + 1_800_000])))
    cost, then = pair_costs(later, one, one, np.array([1000.0]))
    assert then["travel_s"][0] == now["travel_s"][0]
    assert then["wait_s"][0] == pytest.approx(1800 - now["travel_s"][0])
    assert then["eta_s"][0] > 1800
    assert cost[0] > 0
