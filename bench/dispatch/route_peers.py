"""The peers of `doorstep bench routes`, each as it is used plainly: fewest vehicles by a fixed cost, then travel.

Their libraries are imported when they run: some are among the development dependencies only.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from domain.ground.arrays import F64, I64
from solver.routes.problem import Problem, Route, RoutePlan, route_travel

VROOM_EXPLORATION = 5
_FINEST = (
    1000  # parts of a unit, where the problem is not in whole ones; rounded so that a plan stays feasible
)
_ROUNDED = 1e-9
_NET = 100


def vroom_plan(problem: Problem, limit_s: float, seed: int) -> RoutePlan:
    """VROOM at its highest exploration, which takes its own time and knows no seed."""
    from solver.routes.vroom import Vroom

    engine = Vroom(problem)
    routes = engine.solve(engine.vehicles, engine.shipments, exploration=VROOM_EXPLORATION) or {}
    return _plan(problem, routes.items())


def pyvrp_plan(problem: Problem, limit_s: float, seed: int) -> RoutePlan:
    """PyVRP with its own settings. It may not leave a shipment out; a plan that is not feasible yet counts as none."""
    import pyvrp

    s, v, up, down = problem.shipments, problem.vehicles, *_rounding(problem)
    travel: Any = up(problem.travel)  # PyVRP's stubs want a shape that numpy's do not give
    data = pyvrp.ProblemData(
        locations=[pyvrp.Location(0, 0) for _ in travel],
        clients=[],
        depots=[pyvrp.Depot(int(v.start[0]))],
        vehicle_types=[
            pyvrp.VehicleType(
                len(v.start),
                capacity=[int(v.capacity[0])],
                tw_early=int(up(v.shift_from[0])),
                tw_late=int(down(v.shift_to[0])),
                fixed_cost=int(up(v.fixed[0])),
            )
        ],
        distance_matrices=[travel],
        duration_matrices=[travel],
        shipments=[
            pyvrp.Shipment(
                int(s.pickup[i]),
                int(s.door[i]),
                int(up(s.pickup_from[i])),
                int(down(s.pickup_to[i])),
                int(up(s.pickup_service[i])),
                int(up(s.door_from[i])),
                int(down(s.door_to[i])),
                int(up(s.door_service[i])),
                [int(s.amount[i])],
            )
            for i in range(len(s.pickup))
        ],
    )
    until_s = time.process_time() + limit_s
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of penalties at their bounds
        found = pyvrp.solve(
            data, lambda best: time.process_time() > until_s, seed=seed, collect_stats=False, display=False
        ).best
    routes = [
        [visit.idx if visit.is_pickup() else ~visit.idx for visit in route if visit.is_shipment()]
        for route in found.routes()
    ]
    return _plan(problem, enumerate(routes) if found.is_feasible() else ())


def ortools_plan(problem: Problem, limit_s: float, seed: int) -> RoutePlan:
    """OR-Tools routing: parallel cheapest insertion, then guided local search; no seed."""
    from ortools.constraint_solver import pywrapcp, routing_enums_pb2

    s, v, up, down = problem.shipments, problem.vehicles, *_rounding(problem)
    count = len(s.pickup)
    # Node 0 is the depot, 1 + i the pick-up of a shipment, 1 + count + i its door.
    places = np.concatenate([[v.start[0]], s.pickup, s.door])
    service = np.concatenate([[0], up(s.pickup_service), up(s.door_service)])
    travel = up(problem.travel)[np.ix_(places, places)]
    opens = np.concatenate([[up(v.shift_from[0])], up(s.pickup_from), up(s.door_from)])
    closes = np.concatenate([[down(v.shift_to[0])], down(s.pickup_to), down(s.door_to)])
    manager = pywrapcp.RoutingIndexManager(len(places), len(v.start), 0)
    model = pywrapcp.RoutingModel(manager)
    model.SetArcCostEvaluatorOfAllVehicles(model.RegisterTransitMatrix(travel.tolist()))
    model.SetFixedCostOfAllVehicles(int(up(v.fixed[0])))
    timing = model.RegisterTransitMatrix((travel + service[:, None]).tolist())
    horizon = int(closes.max())
    model.AddDimension(timing, horizon, horizon, False, "time")
    amounts = [0, *s.amount.tolist(), *(-s.amount).tolist()]
    model.AddDimension(model.RegisterUnaryTransitVector(amounts), 0, int(v.capacity[0]), True, "load")
    times = model.GetDimensionOrDie("time")
    for node in range(1, len(places)):
        times.CumulVar(manager.NodeToIndex(node)).SetRange(int(opens[node]), int(closes[node]))
    for vehicle in range(len(v.start)):
        for index in (model.Start(vehicle), model.End(vehicle)):
            times.CumulVar(index).SetRange(int(opens[0]), int(closes[0]))
    solver = model.solver()
    for i in range(count):
        pickup, door = manager.NodeToIndex(1 + i), manager.NodeToIndex(1 + count + i)
        model.AddPickupAndDelivery(pickup, door)
        solver.Add(model.VehicleVar(pickup) == model.VehicleVar(door))
        solver.Add(times.CumulVar(pickup) <= times.CumulVar(door))
    parameters = pywrapcp.DefaultRoutingSearchParameters()
    parameters.first_solution_strategy = routing_enums_pb2.FirstSolutionStrategy.PARALLEL_CHEAPEST_INSERTION
    parameters.local_search_metaheuristic = routing_enums_pb2.LocalSearchMetaheuristic.GUIDED_LOCAL_SEARCH
    # Its own limit is of the wall clock: only a net below the one of the processor's.
    parameters.time_limit.seconds = int(_NET * limit_s) + 1
    until_s = time.process_time() + limit_s
    model.AddSearchMonitor(solver.CustomLimit(lambda: time.process_time() > until_s))
    found = model.SolveWithParameters(parameters)
    routes: list[list[int]] = []
    for vehicle in range(len(v.start) if found else 0):
        index, stops = found.Value(model.NextVar(model.Start(vehicle))), []
        while not model.IsEnd(index):
            node = manager.IndexToNode(index) - 1
            stops.append(node if node < count else ~(node - count))
            index = found.Value(model.NextVar(index))
        routes.append(stops)
    return _plan(problem, enumerate(routes))


PEERS: dict[str, Callable[[Problem, float, int], RoutePlan]] = {
    "vroom": vroom_plan,
    "pyvrp": pyvrp_plan,
    "ortools": ortools_plan,
}


def _rounding(problem: Problem) -> tuple[Callable[[F64], I64], Callable[[F64], I64]]:
    """To whole parts of a unit, up and down."""
    scale = 1 if (problem.travel == np.rint(problem.travel)).all() else _FINEST

    def up(value: F64) -> I64:
        return np.ceil(value * scale - _ROUNDED).astype(np.int64)

    def down(value: F64) -> I64:
        return np.floor(value * scale + _ROUNDED).astype(np.int64)

    return up, down


def _plan(problem: Problem, routes: Iterable[tuple[int, list[int]]]) -> RoutePlan:
    made = tuple(Route(vehicle, tuple(stops)) for vehicle, stops in routes if stops)
    served = {stop for route in made for stop in route.stops}
    return RoutePlan(
        routes=made,
        unserved=tuple(i for i in range(len(problem.shipments.pickup)) if i not in served),
        travel=sum(route_travel(problem, route) for route in made),
        fixed=float(sum(problem.vehicles.fixed[route.vehicle] for route in made)),
    )
