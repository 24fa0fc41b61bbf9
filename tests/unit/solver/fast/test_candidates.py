"""Pruning: the nearest drivers of a task are found, near and far, and no more of them than asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.ground.geo import distance_m
from domain.solve import SolveRequest
from solver.fast.candidates import all_pairs, candidate_pairs
from solver.fast.solver import ROLLING_CELLS, pruned
from solver.objective import acceptance, terms_s
from solver.registry import solve
from solver.scene import Scene
from solver.terms import Leg
from solver.units import Units
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
    assert ROLLING_CELLS < 200 * 410
    assert len(solve(request).assignments) == 200


def test_where_drivers_are_short_none_is_idle_for_being_near_no_store() -> None:
    """All stores in the middle, one driver far out: no task has him among its nearest."""
    request = problem(scatter(300, 7, km=2.0), [*scatter(99, 8, km=2.0), at(19, 19)], candidates=8)
    assert ROLLING_CELLS < 300 * 400
    plan = solve(request)
    assert len(plan.assignments) == 100
    assert "d99" in {one.driver_id for one in plan.assignments}


def test_distances_are_those_of_the_sphere() -> None:
    # Dallas to Fort Worth, city hall to city hall: 48.9 km by any map.
    away = float(distance_m(32.7764, -96.7970, 32.7555, -97.3308))
    assert away == pytest.approx(49_950, rel=0.01)
    assert float(distance_m(32.8, -96.8, 32.8, -96.8)) == 0
    assert float(distance_m(0, 179.9, 0, -179.9)) == pytest.approx(22_239, rel=0.001)


def legs(request: SolveRequest, task: int = 0) -> Leg:
    """Every driver on the way to this task, one by one."""
    scene = Scene(request, request.travel)
    units, driver = Units(scene), np.arange(scene.m)
    unit = np.full(scene.m, task)
    travel = scene.travel_to(driver, scene.store[unit])
    arrival = scene.free + travel + request.services.pickup_before_s
    return Leg(scene, units, unit, driver, np.maximum(units.ready[unit], arrival), travel)


def test_acceptance_falls_with_the_way_to_the_store_and_rises_with_the_drivers_record() -> None:
    drivers = [at(0.5), at(20), at(0.5), at(300), at(0)]
    near, far, liked, never, always = acceptance(
        legs(problem([at(0)], drivers, rates=[0.75, 0.75, 0.9, 0.0, 1.0]))
    )
    assert far < near < liked
    assert never == 0.05
    assert always == 0.99


def test_waiting_for_the_goods_costs_no_driving() -> None:
    """A task that is ready later makes the order later, not the way longer, and nobody is to blame for it."""
    request = problem([at(0)], [at(1)])
    later = replace(request, tasks=replace(request.tasks, ready_ms=np.array([NOW + 1_800_000])))
    now, then = terms_s(legs(request)), terms_s(legs(later))
    assert then["travel"] == now["travel"]
    assert now["delay"][0] > 0
    assert then["delay"][0] == 0
    [one] = solve(later).assignments
    assert one.features["wait_s"] == pytest.approx(1800 - one.features["travel_s"] - 120, abs=0.01)
    assert one.features["eta_s"] > 1800


def test_who_would_cost_least_is_a_candidate_though_others_are_nearer() -> None:
    """Three of four hardly ever accept, and stand nearer than those who always do."""
    drivers = [*scatter(300, 3, km=3.0), *[at(1.5, east / 100) for east in range(100)]]
    request = problem(scatter(90, 4, km=1.0), drivers, rates=[0.1] * 300 + [0.99] * 100, candidates=4)
    scene = Scene(request, request.travel)
    graph = pruned(scene, Units(scene))
    assert (np.bincount(graph.task[graph.driver >= 300], minlength=90) >= request.candidates).mean() > 0.6
    assert (np.diff(graph.task * 400 + graph.driver) > 0).all(), "ordered by task, each pair once"


def test_pruning_keeps_of_each_task_the_nearest_who_may_take_it() -> None:
    """At least `candidates` of them, however many have just declined."""
    rng = np.random.default_rng(5)
    tasks, drivers = scatter(60, 1), scatter(900, 2)
    bars = [(t, int(d), math.inf) for t in range(60) for d in rng.choice(900, 90, replace=False)]
    request = problem(tasks, drivers, declined=bars)
    scene = Scene(request, request.travel)
    graph = pruned(scene, Units(scene))
    metres = all_pairs(request.tasks, request.drivers)[2].reshape(60, 900)
    metres[tuple(np.array([(t, d) for t, d, _ in bars]).T)] = np.inf
    kept = set(zip(graph.task.tolist(), graph.driver.tolist(), strict=True))
    assert not kept & {(t, d) for t, d, _ in bars}
    for t, order in enumerate(np.argsort(metres, axis=1)[:, : request.candidates].tolist()):
        assert kept.issuperset((t, d) for d in order)
        assert sorted(graph.drivers_of(t).tolist()) == sorted(d for task, d in kept if task == t)
