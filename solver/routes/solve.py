"""The route solver: problem in, plan out."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from solver.routes.problem import Problem, Route, RoutePlan, refuse_malformed, route_travel


def solve_routes(
    problem: Problem,
    *,
    time_limit_s: float,
    seed: int = 0,
    moves: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> RoutePlan:
    """As many shipments as can be served, then least fixed cost, then least travel, as far as found in the time.

    The first plan is made whatever the limit. `moves` limits the search as well, for a result that is the same each
    time. `ValueError` for a problem whose arrays do not fit each other.
    """
    from solver.routes.neighbourhood import search  # the engine is loaded where routes are made

    refuse_malformed(problem)
    until_s = clock() + time_limit_s
    routes, tried = search(problem, lambda: until_s - clock(), np.random.default_rng(seed), moves)
    served = {stop for stops in routes.values() for stop in stops if stop >= 0}
    plan = [Route(vehicle, tuple(stops)) for vehicle, stops in sorted(routes.items()) if stops]
    return RoutePlan(
        routes=tuple(plan),
        unserved=tuple(i for i in range(len(problem.shipments.pickup)) if i not in served),
        travel=sum(route_travel(problem, route) for route in plan),
        fixed=float(sum(problem.vehicles.fixed[route.vehicle] for route in plan)),
        moves=tried,
    )
