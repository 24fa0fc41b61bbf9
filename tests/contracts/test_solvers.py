"""Every solver of the registry keeps this contract. A new entry is found here by its line in the registry."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import permutations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.geo import distance_m
from domain.solve import Plan, SolveRequest
from solver.graph import Part
from solver.registry import SOLVERS, solve
from tests.support.build import Point, at, problem

pytestmark = pytest.mark.parametrize("name", SOLVERS)

FEATURES = {
    "pickup_km",
    "trip_km",
    "travel_s",
    "wait_s",
    "eta_s",
    "late_s",
    "p_accept",
    "declined_s",
    "cost_s",
}
BARRED = math.inf
ROUNDING_S = 0.15  # a solver may round each cost to a tenth of a second

POINTS = st.builds(at, st.integers(-40, 40), st.integers(-40, 40))


@st.composite
def problems(draw: st.DrawFn, most: int = 6) -> SolveRequest:
    """Small cities with far corners, empty streets, barred and unpopular pairs, late tasks and moody drivers."""
    tasks, drivers = draw(st.lists(POINTS, max_size=most)), draw(st.lists(POINTS, max_size=most))
    declined = {}
    if tasks and drivers:
        pair = st.tuples(st.integers(0, len(tasks) - 1), st.integers(0, len(drivers) - 1))
        penalty = st.just(BARRED) | st.floats(1, 7200)
        declined = draw(st.dictionaries(pair, penalty, max_size=12))
    return problem(
        tasks,
        drivers,
        declined=[(t, d, penalty) for (t, d), penalty in declined.items()],
        rates=draw(st.lists(st.floats(0.01, 1.0), min_size=len(drivers), max_size=len(drivers))),
        due_s=draw(st.lists(st.floats(-3600, 7200), min_size=len(tasks), max_size=len(tasks))),
        candidates=most,
    )


def run(name: str, request: SolveRequest) -> Plan:
    return solve(replace(request, solver=name))


def barred_pairs(request: SolveRequest) -> set[tuple[int, int]]:
    columns = (
        request.declined_task.tolist(),
        request.declined_driver.tolist(),
        request.declined_penalty_s.tolist(),
    )
    return {(t, d) for t, d, penalty in zip(*columns, strict=True) if penalty == BARRED}


def pairs_of(plan: Plan) -> list[tuple[str, str]]:
    return [(task_id, one.driver_id) for one in plan.assignments for task_id in one.task_ids]


def best(costs: dict[tuple[int, int], float], tasks: int, drivers: int) -> tuple[int, float]:
    """Size and cost of the cheapest among the largest matchings, by trying them all."""
    found = (0, 0.0)
    seats = [*range(drivers), *[-1] * tasks]
    for choice in set(permutations(seats, tasks)):
        pairs = [(t, d) for t, d in enumerate(choice) if d >= 0]
        if all(pair in costs for pair in pairs):
            candidate = (len(pairs), -sum(costs[pair] for pair in pairs))
            found = max(found, candidate)
    return found[0], -found[1]


@given(request=problems())
@settings(max_examples=150)
def test_a_plan_is_sound(name: str, request: SolveRequest) -> None:
    """Known ids, nobody and nothing twice, no barred pair, finite costs, features on every assignment."""
    plan = run(name, request)
    pairs = pairs_of(plan)
    tasks, drivers = [task for task, _ in pairs], [driver for _, driver in pairs]
    assert len(set(tasks)) == len(tasks)
    assert len({one.driver_id for one in plan.assignments}) == len(plan.assignments)
    assert set(tasks) <= set(request.tasks.ids)
    assert set(drivers) <= set(request.drivers.ids)
    assert plan.request_id == request.request_id
    assert not {(f"t{t}", f"d{d}") for t, d in barred_pairs(request)} & set(pairs)
    for one in plan.assignments:
        assert one.task_ids
        assert one.features.keys() >= FEATURES
        assert all(math.isfinite(value) for value in one.features.values())
        assert math.isfinite(one.cost)
        assert one.cost > 0
        assert 0.05 <= one.features["p_accept"] <= 0.99


@given(request=problems(most=4))
@settings(max_examples=120)
def test_a_plan_is_the_cheapest_of_the_largest(name: str, request: SolveRequest) -> None:
    graph = SOLVERS[name].prepare(request)
    costs = {
        (int(t), int(d)): float(cost)
        for t, d, cost in zip(graph.task, graph.driver, graph.match_s, strict=True)
    }
    assert all(cost < math.inf for cost in costs.values())
    size, cost = best(costs, len(request.tasks.ids), len(request.drivers.ids))
    plan = run(name, request)
    assert len(plan.assignments) == size
    ids = [(int(t.removeprefix("t")), int(d.removeprefix("d"))) for t, d in pairs_of(plan)]
    assert sum(costs[pair] for pair in ids) <= cost + ROUNDING_S * size + 1e-3


@given(request=problems())
@settings(max_examples=80)
def test_a_task_with_a_willing_driver_has_a_candidate(name: str, request: SolveRequest) -> None:
    """Pruning never leaves a task alone while some driver is not barred from it."""
    graph = SOLVERS[name].prepare(request)
    barred = barred_pairs(request)
    for t in range(len(request.tasks.ids)):
        if any((t, d) not in barred for d in range(len(request.drivers.ids))):
            assert t in graph.task.tolist()


@given(request=problems())
@settings(max_examples=80)
def test_parts_solved_apart_cost_what_they_cost_together(name: str, request: SolveRequest) -> None:
    solver = SOLVERS[name]
    graph = solver.prepare(request)
    apart = [pair for part in reversed(graph.parts) for pair in solver.match(part)]
    every = np.arange(len(graph.task))
    whole = Part(pairs=every, task=graph.task, driver=graph.driver, match_s=graph.match_s)
    together = solver.match(whole) if len(every) else []
    assert len(apart) == len(together)
    difference = abs(graph.match_s[apart].sum() - graph.match_s[together].sum())
    assert difference <= ROUNDING_S * len(apart) + 1e-6
    assert sorted(apart) == sorted(pair for part in graph.parts for pair in solver.match(part)), (
        "the order of the parts matters"
    )


@given(request=problems())
@settings(max_examples=60)
def test_parts_share_neither_task_nor_driver(name: str, request: SolveRequest) -> None:
    graph = SOLVERS[name].prepare(request)
    for column in ("task", "driver"):
        owners = [set(getattr(part, column).tolist()) for part in graph.parts]
        assert sum(map(len, owners)) == len(set().union(*owners))
    assert sorted(pair for part in graph.parts for pair in part.pairs.tolist()) == list(
        range(len(graph.task))
    )


@pytest.mark.parametrize(("tasks", "drivers"), [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_match_is_an_empty_plan(name: str, tasks: int, drivers: int) -> None:
    plan = run(name, problem([at(i) for i in range(tasks)], [at(i) for i in range(drivers)]))
    assert plan.assignments == ()


def test_all_barred_is_an_empty_plan(name: str) -> None:
    plan = run(name, problem([at()], [at(1), at(2)], declined=[(0, 0, BARRED), (0, 1, BARRED)]))
    assert plan.assignments == ()


def test_the_nearest_of_equal_drivers_is_chosen(name: str) -> None:
    plan = run(name, problem([at()], [at(4), at(1), at(-2)]))
    assert pairs_of(plan) == [("t0", "d1")]


def test_a_driver_at_the_other_end_of_the_market_is_better_than_none(name: str) -> None:
    assert pairs_of(run(name, problem([at()], [at(70)]))) == [("t0", "d0")]


def test_who_declined_before_comes_last(name: str) -> None:
    ask_others = problem([at()], [at(0.1), at(9)], declined=[(0, 0, 3600.0)])
    assert pairs_of(run(name, ask_others)) == [("t0", "d1")]
    alone = problem([at()], [at(0.1)], declined=[(0, 0, 3600.0)])
    assert pairs_of(run(name, alone)) == [("t0", "d0")]


def test_both_tasks_are_brought_though_the_near_driver_suits_both(name: str) -> None:
    """Greedy by task would leave the second with a driver who may not have it."""
    request = problem([at(0), at(0.5)], [at(0.2), at(8)], declined=[(1, 1, BARRED)])
    assert sorted(pairs_of(run(name, request))) == [("t0", "d1"), ("t1", "d0")]


def test_the_same_request_gives_the_same_plan(name: str) -> None:
    rng = np.random.default_rng(3)

    def scatter(n: int) -> Sequence[Point]:
        return [at(float(x), float(y)) for x, y in rng.uniform(-15, 15, (n, 2))]

    request = problem(scatter(60), scatter(80))
    first = run(name, request)
    assert run(name, request) == first
    assert len(first.assignments) == 60


LARGE = """
import sys
from msgspec.json import encode
from tests.contracts.test_solvers import large_problem, run
sys.stdout.buffer.write(encode(run(sys.argv[1], large_problem())))
"""


def large_problem() -> SolveRequest:
    """Large enough to be pruned and to have parts: three towns, crowded stores, ties, barred pairs."""
    rng = np.random.default_rng(11)
    stores = [at(float(x) + 300 * (i % 3), float(y)) for i, (x, y) in enumerate(rng.uniform(-9, 9, (60, 2)))]
    drivers = [
        at(float(x) + 300 * (i % 3), float(y)) for i, (x, y) in enumerate(rng.uniform(-9, 9, (1200, 2)))
    ]
    bars = [(t, int(d), BARRED) for t in range(300) for d in rng.choice(1200, 12, replace=False)]
    picked = rng.integers(0, 60, 300).tolist()
    return problem([stores[s] for s in picked], drivers, declined=bars, rates=[0.5, 0.75, 0.9] * 400)


def test_another_process_makes_the_same_plan(name: str) -> None:
    """Hashes of strings differ from process to process, and so would whatever rests on the order of a set."""
    here = msgspec.json.encode(run(name, large_problem()))
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", LARGE, name],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        )
        assert done.stdout == here


def test_a_large_plan_is_sound_and_leaves_nobody_while_drivers_are_plenty(name: str) -> None:
    request = large_problem()
    plan = run(name, request)
    pairs = pairs_of(plan)
    assert len({task for task, _ in pairs}) == len({driver for _, driver in pairs}) == len(pairs) == 300
    assert not {(f"t{t}", f"d{d}") for t, d in barred_pairs(request)} & set(pairs)


def test_pruning_keeps_of_each_task_the_nearest_who_may_take_it(name: str) -> None:
    """At least `candidates` of them, as `domain.waiting` counts on."""
    request = large_problem()
    graph = SOLVERS[name].prepare(request)
    barred = barred_pairs(request)
    metres = distance_m(
        request.tasks.pickup_lat[:, None],
        request.tasks.pickup_lng[:, None],
        request.drivers.lat,
        request.drivers.lng,
    )
    metres[tuple(np.array(sorted(barred)).T)] = np.inf
    kept = set(zip(graph.task.tolist(), graph.driver.tolist(), strict=True))
    assert not kept & barred
    for t, order in enumerate(np.argsort(metres, axis=1)[:, : request.candidates].tolist()):
        assert kept.issuperset((t, d) for d in order)


def test_drivers_who_declined_do_not_crowd_out_the_next_nearest(name: str) -> None:
    """More drivers at the store than candidates, all of whom said no: the one further off is asked."""
    drivers = [at(0.1 * i) for i in range(4)] + [at(3), at(60)]
    for willing in (4, 5):
        bars = [(0, d, BARRED) for d in range(6) if d != willing]
        plan = run(name, problem([at()], drivers, declined=bars, candidates=2))
        assert pairs_of(plan) == [("t0", f"d{willing}")]
