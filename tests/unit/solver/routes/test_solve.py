"""Routes: against brute force where that can be done, the rules one by one, and what malformed problems get."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.ground.arrays import F64
from solver.routes.problem import (
    NO_END,
    Problem,
    Route,
    RoutePlan,
    Shipments,
    Vehicles,
    begin_times,
    check,
)
from solver.routes.solve import solve_routes
from solver.routes.vroom import Vroom
from tests.support.examples import examples

FOR_EVER = 1e9


def problem(
    rng: np.random.Generator,
    shipments: int,
    vehicles: int,
    *,
    whole: bool = True,
    fixed: float = 0.0,
    tight: float = 1.0,
    capacity: int = 2,
) -> Problem:
    """Places on a plane 60 x 60, vehicles that start and end anywhere. The tighter, the less can be served."""
    n, k = shipments, vehicles
    at = rng.uniform(0, 60, (2 * n + 2 * k, 2))
    travel = np.hypot(*(at[:, None] - at[None, :]).transpose(2, 0, 1))
    if whole:
        travel = np.ceil(travel)
    pickup_from = rng.integers(0, 150, n).astype(float)
    door_from: F64 = pickup_from + rng.integers(0, 60, n).astype(float)
    return Problem(
        travel=travel,
        shipments=Shipments(
            pickup=np.arange(n),
            pickup_from=pickup_from,
            pickup_to=pickup_from + rng.integers(20, 120, n) / tight,
            pickup_service=rng.integers(0, 5, n).astype(float),
            door=np.arange(n, 2 * n),
            door_from=door_from,
            door_to=door_from + rng.integers(20, 200, n) / tight,
            door_service=rng.integers(0, 5, n).astype(float),
            amount=rng.integers(1, 3, n),
        ),
        vehicles=Vehicles(
            start=np.arange(2 * n, 2 * n + k),
            end=np.where(rng.random(k) < 0.5, NO_END, np.arange(2 * n + k, 2 * n + 2 * k)),
            shift_from=rng.integers(0, 50, k).astype(float),
            shift_to=rng.integers(200, 400, k).astype(float),
            capacity=np.full(k, capacity),
            fixed=np.full(k, fixed),
        ),
    )


def orders(shipments: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every order of the stops of these shipments in which a pick-up is before its door."""
    for stops in permutations([*shipments, *(~i for i in shipments)]):
        if all(stops.index(i) < stops.index(~i) for i in shipments):
            yield stops


def plan_of(one: Problem, routes: dict[int, tuple[int, ...]], unserved: tuple[int, ...] = ()) -> RoutePlan:
    """A plan that says its own costs rightly."""
    made = tuple(Route(v, stops) for v, stops in routes.items() if stops)
    bare = RoutePlan(routes=made, unserved=unserved, travel=0.0, fixed=0.0)
    travel = sum(leg_sum(one, route) for route in made)
    return replace(bare, travel=travel, fixed=float(sum(one.vehicles.fixed[r.vehicle] for r in made)))


def leg_sum(one: Problem, route: Route) -> float:
    """Written apart from the code under test."""
    at, total = one.vehicles.start[route.vehicle], 0.0
    for stop in route.stops:
        to = one.shipments.pickup[stop] if stop >= 0 else one.shipments.door[-stop - 1]
        total += one.travel[at, to]
        at = to
    end = one.vehicles.end[route.vehicle]
    return float(total + (one.travel[at, end] if end != NO_END else 0.0))


def brute_force(one: Problem) -> tuple[int, float]:
    """Fewest unserved, then least cost, over every plan of two vehicles."""
    n = len(one.shipments.pickup)
    best: dict[tuple[int, tuple[int, ...]], float] = {}
    for v in range(len(one.vehicles.start)):
        for used in product([False, True], repeat=n):
            own = tuple(i for i in range(n) if used[i])
            others = tuple(i for i in range(n) if not used[i])
            costs = [
                plan.travel + plan.fixed
                for stops in orders(own)
                for plan in [plan_of(one, {v: stops}, others)]
                if not check(one, plan)
            ]
            best[v, own] = min(costs, default=np.inf)
    found = (n, 0.0)
    for owners in product(range(-1, len(one.vehicles.start)), repeat=n):
        cost = sum(
            best[v, tuple(i for i in range(n) if owners[i] == v)] for v in range(len(one.vehicles.start))
        )
        if np.isfinite(cost):
            found = min(found, (owners.count(-1), cost))
    return found


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("fixed", [0.0, 500.0])
def test_a_tiny_problem_is_solved_to_the_optimum(seed: int, fixed: float) -> None:
    one = problem(np.random.default_rng(seed), 3, 2, fixed=fixed, tight=1.5)
    plan = solve_routes(one, time_limit_s=60, seed=1, moves=150)
    assert check(one, plan) == []
    unserved, cost = brute_force(one)
    assert len(plan.unserved) == unserved
    assert plan.travel + plan.fixed == pytest.approx(cost)


@examples(30)
@given(
    seed=st.integers(0, 10_000),
    shipments=st.integers(0, 12),
    vehicles=st.integers(0, 4),
    whole=st.booleans(),
    fixed=st.sampled_from([0.0, 300.5]),
    tight=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_a_plan_breaks_no_rule(
    seed: int, shipments: int, vehicles: int, whole: bool, fixed: float, tight: float
) -> None:
    one = problem(np.random.default_rng(seed), shipments, vehicles, whole=whole, fixed=fixed, tight=tight)
    plan = solve_routes(one, time_limit_s=60, seed=seed, moves=20)
    assert check(one, plan) == []


def test_legs_that_violate_the_triangle_inequality_are_survived() -> None:
    """Taking a stop out of a route may then make the rest late; the engine says so, and the move is not made."""
    rng = np.random.default_rng(6)
    one = problem(rng, 14, 4, capacity=9, tight=0.3)
    shape = one.travel.shape
    travel = 1.0 + rng.integers(1, 90, shape) * (rng.random(shape) < 0.5)
    np.fill_diagonal(travel, 0.0)
    one = replace(one, travel=travel)
    assert check(one, solve_routes(one, time_limit_s=60, seed=1, moves=40)) == []
    engine, found = Vroom(one), {}
    for v in engine.vehicles:
        found[v] = engine.solve([v], [0, 1], exploration=0, start={v: [0, 1, ~1, ~0]})
    assert None in found.values()


@pytest.mark.parametrize("seed", [20, 37, 55])
def test_what_the_first_plan_leaves_is_served_later_where_that_can_be(seed: int) -> None:
    one = problem(np.random.default_rng(seed), 20, 4, tight=1.2, capacity=4)
    first, best = (solve_routes(one, time_limit_s=60, seed=1, moves=moves) for moves in (0, 80))
    assert len(best.unserved) < len(first.unserved)


@pytest.mark.parametrize("seed", [2, 6])
def test_a_route_is_emptied_where_shortening_alone_would_keep_it(seed: int) -> None:
    one = problem(np.random.default_rng(seed), 24, 24, fixed=1000.0, tight=0.6, capacity=4)
    depot = np.zeros(24, np.int64)
    alike = replace(
        one.vehicles, start=depot, end=depot, shift_from=np.zeros(24), shift_to=np.full(24, 500.0)
    )
    plan = solve_routes(replace(one, vehicles=alike), time_limit_s=60, seed=1, moves=300)
    assert (len(plan.routes), plan.unserved) == (3, ())


def test_a_hair_too_late_is_too_late() -> None:
    """What the engine counts in thousandths is rounded against it."""
    one = replace(LINE, travel=LINE.travel * 2**0.5)
    for closes, unserved in ((1.4142, (0,)), (1.4152, ())):
        shipments = replace(one.shipments, pickup_to=np.array([closes, FOR_EVER]))
        plan = solve_routes(replace(one, shipments=shipments), time_limit_s=60, moves=10)
        assert plan.unserved == unserved


def test_the_search_improves_on_the_first_plan_and_repeats_itself() -> None:
    one = problem(np.random.default_rng(7), 25, 25, fixed=1000.0, tight=0.3, whole=False)
    first = solve_routes(one, time_limit_s=60, seed=1, moves=0)
    best = solve_routes(one, time_limit_s=60, seed=1, moves=150)
    assert best == solve_routes(one, time_limit_s=60, seed=1, moves=150)
    assert (len(best.unserved), best.fixed) <= (len(first.unserved), first.fixed)
    assert best.fixed + best.travel < first.fixed + first.travel
    assert first.moves == 0
    assert best.moves == 150


def test_a_vehicle_is_saved_where_it_costs_more_than_the_detour() -> None:
    """The two shipments lie apart, each beside a vehicle."""
    line = np.abs(np.arange(10.0)[:, None] - np.arange(10.0)[None, :])
    shipments = everywhen(pickup=[1, 8], door=[0, 9])
    for fixed, routes in ((0.0, 2), (5.0, 2), (50.0, 1)):
        one = Problem(travel=line, shipments=shipments, vehicles=free(start=[1, 8], fixed=[fixed, fixed]))
        assert len(solve_routes(one, time_limit_s=60, moves=100).routes) == routes


def test_the_limit_is_asked_of_the_clock_that_is_given() -> None:
    one = problem(np.random.default_rng(1), 6, 3)
    now = iter(range(1000))
    plan = solve_routes(one, time_limit_s=50, clock=lambda: float(next(now)))
    assert 0 < plan.moves < 50
    assert solve_routes(one, time_limit_s=0).moves == 0


def everywhen(pickup: list[int], door: list[int]) -> Shipments:
    n = len(pickup)
    return Shipments(
        pickup=np.array(pickup),
        pickup_from=np.zeros(n),
        pickup_to=np.full(n, FOR_EVER),
        pickup_service=np.zeros(n),
        door=np.array(door),
        door_from=np.zeros(n),
        door_to=np.full(n, np.inf),
        door_service=np.zeros(n),
        amount=np.ones(n, np.int64),
    )


def free(start: list[int], fixed: list[float]) -> Vehicles:
    k = len(start)
    return Vehicles(
        start=np.array(start),
        end=np.full(k, NO_END),
        shift_from=np.zeros(k),
        shift_to=np.full(k, FOR_EVER),
        capacity=np.full(k, 9),
        fixed=np.array(fixed),
    )


LINE = Problem(
    travel=np.abs(np.arange(6.0)[:, None] - np.arange(6.0)[None, :]),
    shipments=everywhen(pickup=[1, 2], door=[3, 4]),
    vehicles=free(start=[0, 5], fixed=[7.0, 7.0]),
)
GOOD = plan_of(LINE, {0: (0, 1, ~0, ~1)})


def test_the_checker_takes_a_good_plan() -> None:
    assert check(LINE, GOOD) == []
    assert (GOOD.travel, GOOD.fixed) == (4.0, 7.0)
    assert begin_times(LINE, GOOD.routes[0]) == ([1.0, 2.0, 3.0, 4.0], 4.0)


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ({0: (0, ~0)}, "shipment 1 is picked up 0"),
        ({0: (0, ~0, 1, ~1, 0, ~0)}, "shipment 0 is picked up 2"),
        ({0: (0, 1, ~1), 1: (~0,)}, "before it has it"),
        ({0: (0, 1, ~1), 1: (~0,)}, r"keeps shipments \[0\]"),
        ({0: (~0, 0, 1, ~1)}, "before it has it"),
    ],
)
def test_the_checker_finds_stops_that_do_not_belong(routes: dict[int, tuple[int, ...]], said: str) -> None:
    found = " and ".join(check(LINE, plan_of(LINE, routes)))
    assert re.search(said, found), found


@pytest.mark.parametrize(
    ("table", "field", "value", "said"),
    [
        ("shipments", "pickup_to", [9.0, 1.9], "is at stop 1 at 2.0, which closes at 1.9"),
        ("shipments", "door_to", [2.9, 9.0], "is at stop -1 at 3.0, which closes at 2.9"),
        ("shipments", "pickup_service", [FOR_EVER, 0.0], "closes at"),
        ("shipments", "door_from", [2e9, 0.0], "after its shift's end"),
        ("shipments", "amount", [5, 5], "carries 10 after stop 1, above 9"),
        ("vehicles", "capacity", [1, 9], "carries 2 after stop 1, above 1"),
        ("vehicles", "shift_to", [3.9, 9.0], "is done at 4.0, after its shift's end at 3.9"),
        ("vehicles", "shift_from", [FOR_EVER, 0.0], "after its shift's end"),
        ("vehicles", "end", [0, 0], "travel is 8.0, not 4.0"),
        ("vehicles", "fixed", [8.0, 8.0], "fixed cost is 8.0, not 7.0"),
    ],
)
def test_the_checker_finds_what_is_too_late_or_too_much(
    table: str, field: str, value: list[float], said: str
) -> None:
    changed = replace(getattr(LINE, table), **{field: np.array(value)})
    assert said in " and ".join(check(replace(LINE, **{table: changed}), GOOD))


def test_two_routes_of_one_vehicle_are_found() -> None:
    twice = replace(GOOD, routes=(Route(0, (0, ~0)), Route(0, (1, ~1))))
    assert "vehicle 0 has two routes" in check(LINE, twice)


def test_a_return_to_the_vehicles_end_counts_into_its_shift() -> None:
    one = replace(LINE, vehicles=replace(LINE.vehicles, end=np.array([0, 5]), shift_to=np.array([7.9, 99.0])))
    assert any("is done at 8.0" in said for said in check(one, GOOD))
    plan = solve_routes(one, time_limit_s=60, moves=50)
    assert check(one, plan) == []
    assert [route.vehicle for route in plan.routes] == [1]


def test_what_can_never_be_served_is_left_and_the_rest_is_served() -> None:
    shut = replace(LINE.shipments, door_from=np.array([5.0, 0.0]), door_to=np.array([4.0, 9.0]))
    plan = solve_routes(replace(LINE, shipments=shut), time_limit_s=60, moves=20)
    assert plan.unserved == (0,)
    past = replace(LINE.shipments, pickup_to=np.array([-1.0, 9.0]))
    assert solve_routes(replace(LINE, shipments=past), time_limit_s=60, moves=20).unserved == (0,)


def test_whole_problems_are_given_to_the_engine_as_they_are_and_others_in_thousandths() -> None:
    assert Vroom(LINE)._scale == 1
    assert Vroom(replace(LINE, travel=LINE.travel * 1.5))._scale > 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"travel": np.zeros((6, 5))}, "not a square matrix"),
        ({"travel": np.full((6, 6), np.nan)}, "finite"),
        ({"travel": np.full((6, 6), -1.0)}, "not negative"),
        ({"shipments": replace(LINE.shipments, door=np.array([3, 6]))}, "not in the matrix of 6"),
        ({"shipments": replace(LINE.shipments, pickup=np.array([-1, 2]))}, "not in the matrix of 6"),
        ({"shipments": replace(LINE.shipments, amount=np.array([1]))}, "columns of shipments differ"),
        ({"shipments": replace(LINE.shipments, amount=np.array([1, -1]))}, "amounts"),
        ({"vehicles": replace(LINE.vehicles, end=np.array([-2, 0]))}, "not in the matrix of 6"),
        ({"vehicles": replace(LINE.vehicles, fixed=np.array([-2.0, 0]))}, "fixed costs"),
    ],
)
def test_a_malformed_problem_is_refused_in_words(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        solve_routes(replace(LINE, **change), time_limit_s=1)
