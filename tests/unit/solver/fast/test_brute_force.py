"""FAST's chains against all ways to give a few tasks to a few drivers, one after the other.

The chains are a matching, repeated, and a local search: a heuristic, whose distance to the optimum is held here. Costs
are those of the search: each leg with its driver's acceptance, and the price of what is left out.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations, product

import numpy as np
import pytest
from msgspec.structs import replace

from domain.solve import Planning, SolveRequest
from solver.fast import chains as fast_chains
from solver.fast import improve
from solver.objective import cost_s
from solver.scene import Scene
from solver.terms import Leg
from solver.units import Units
from tests.support.build import NOW, problem
from tests.support.problems import scatter

Route = tuple[int, ...]
SEEDS = 40


def quarter_of_an_hour(seed: int, tasks: int, drivers: int) -> SolveRequest:
    """Orders of the last ten minutes from three stores, and free drivers who mostly accept."""
    rng = np.random.default_rng(seed)
    shops, doors = scatter(rng, 3, 4.0), scatter(rng, tasks, 5.0)
    rates = rng.uniform(0.6, 0.95, drivers).tolist()
    request = problem([shops[i] for i in rng.integers(0, 3, tasks)], scatter(rng, drivers, 5.0), rates=rates)
    opened_ms = NOW - rng.integers(0, 600_000, tasks)
    ready_ms = opened_ms + rng.integers(300_000, 1_500_000, tasks)
    columns = replace(
        request.tasks,
        opened_ms=opened_ms,
        ready_ms=ready_ms,
        planned_ms=ready_ms,
        due_ms=opened_ms + 2_700_000,
        dropoff_lat=np.array([lat for lat, _ in doors]),
        dropoff_lng=np.array([lng for _, lng in doors]),
    )
    return replace(request, tasks=columns, planning=Planning(bundle_tries=0))


class Small:
    """A problem, FAST's routes for it, and what any routes would cost."""

    def __init__(self, request: SolveRequest) -> None:
        self.scene = Scene(request, request.travel)
        self.units = Units(self.scene)
        matrix, every = fast_chains.costs(self.scene, self.units), np.arange(self.units.count)
        _, before = fast_chains.match(matrix, self.units, every, self.scene.m)
        chains = fast_chains.exact(self.scene, self.units, every, before)
        if chains.cost > request.planning.rounds_from_s:
            chains = fast_chains.repeat(self.scene, self.units, chains)
        self.before = improve.improved(self.scene, self.units, chains).before.tolist()
        self.route_cost = lru_cache(maxsize=None)(self._route_cost)

    def routes(self) -> list[Route]:
        m, routes = self.scene.m, []
        for driver in range(m):
            route, prior = [], driver
            while prior in self.before:
                route.append(self.before.index(prior))
                prior = m + route[-1]
            routes.append(tuple(route))
        return routes

    def _route_cost(self, driver: int, route: Route) -> float:
        scene, units = self.scene, self.units
        at_s, door, total = float(scene.free[driver]), -1, 0.0
        for unit in route:
            store = units.store[unit]
            way = scene.from_driver[driver, store] if door < 0 else scene.from_drop[door, store]
            pickup = max(units.ready[unit], at_s + way + scene.request.services.pickup_before_s)
            leg = Leg(scene, units, np.array([unit]), np.array([driver]), np.array([pickup]), np.array([way]))
            total += float(cost_s(leg)[0])
            at_s, door = pickup + units.busy[unit], units.end[unit]
        return total

    def cost(self, routes: list[Route]) -> float:
        brought = {unit for route in routes for unit in route}
        left = sum(float(self.units.left_out[t]) for t in range(self.scene.n) if t not in brought)
        return left + sum(self.route_cost(driver, route) for driver, route in enumerate(routes))

    def best(self, most: int) -> float:
        """The least cost with up to `most` tasks a driver."""
        n, m = self.scene.n, self.scene.m
        costs = []
        for who in product(range(-1, m), repeat=n):
            groups = [tuple(t for t in range(n) if who[t] == d) for d in range(m)]
            if max(map(len, groups)) <= most:
                ways = ((self.route_cost(d, p) for p in permutations(g)) for d, g in enumerate(groups))
                left = sum(float(self.units.left_out[t]) for t in range(n) if who[t] < 0)
                costs.append(left + sum(min(way) for way in ways))
        return min(costs)


# Share of problems within 1 % of the optimum and mean distance to it; measured on 60 problems, with some room.
@pytest.mark.parametrize(
    ("tasks", "drivers", "share", "mean"),
    [(1, 3, 1.0, 0.0), (2, 2, 0.90, 0.01), (3, 3, 0.90, 0.02), (3, 2, 0.75, 0.04), (4, 3, 0.65, 0.05)],
)
def test_chains_are_near_the_best_of_all_ways(tasks: int, drivers: int, share: float, mean: float) -> None:
    small = [Small(quarter_of_an_hour(seed, tasks, drivers)) for seed in range(SEEDS)]
    found = np.array([one.cost(one.routes()) for one in small])
    best = np.array([one.best(tasks) for one in small])
    gap = (found - best) / np.maximum(best, 60.0)
    assert gap.min() > -1e-9
    assert (gap <= 0.01).mean() >= share
    assert gap.mean() <= mean + 1e-9


@pytest.mark.parametrize(("tasks", "drivers"), [(2, 2), (3, 2), (4, 3)])
def test_chains_are_hardly_ever_worse_than_one_task_a_driver(tasks: int, drivers: int) -> None:
    small = [Small(quarter_of_an_hour(seed, tasks, drivers)) for seed in range(SEEDS)]
    assert np.mean([one.cost(one.routes()) <= one.best(1) + 1 for one in small]) >= 0.95
