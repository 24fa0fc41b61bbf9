"""Pick-up and delivery routes with time windows and capacity: the problem, the plan, and what makes a plan feasible.

Times, windows and travel are in one unit, the problem's own (seconds in the server). Places are rows of the travel
matrix. Shipment `i` is brought in two stops of one vehicle: `i` is its pick-up and `~i` (that is `-i - 1`) its door.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct

from domain.ground.arrays import F64, I64

NO_END = -1  # a vehicle that is done at its last stop
_SLACK = 1e-6  # of a comparison of two sums of doubles, in the problem's unit


class Shipments(Struct, frozen=True, kw_only=True):
    """n shipments, a column of (n,) per field. Service begins in the window; the vehicle waits when it is early."""

    pickup: I64  # place
    pickup_from: F64
    pickup_to: F64
    pickup_service: F64
    door: I64  # place
    door_from: F64
    door_to: F64
    door_service: F64
    amount: I64  # on board from pick-up to door


class Vehicles(Struct, frozen=True, kw_only=True):
    """k vehicles, a column of (k,) per field."""

    start: I64  # place
    end: I64  # place, or `NO_END`
    shift_from: F64  # it does not leave before
    shift_to: F64  # it is at its end, or done with its last stop, by then
    capacity: I64
    fixed: F64  # cost of using it at all, in units of travel


class Problem(Struct, frozen=True, kw_only=True):
    """`travel`: (places, places), from row to column, finite and not negative; need not be symmetric."""

    travel: F64
    shipments: Shipments
    vehicles: Vehicles


class Route(Struct, frozen=True):
    """The stops of one vehicle in their order, at least two."""

    vehicle: int
    stops: tuple[int, ...]


class RoutePlan(Struct, frozen=True, kw_only=True):
    """`moves`: neighbourhoods that the search tried."""

    routes: tuple[Route, ...]
    unserved: tuple[int, ...]
    travel: float
    fixed: float
    moves: int = 0


# -- what a route is --------------------------------------------------------------------------------------------------


def place_of(problem: Problem, stop: int) -> int:
    """The place of a stop."""
    column = problem.shipments.pickup if stop >= 0 else problem.shipments.door
    return int(column[max(stop, ~stop)])


def places_of(problem: Problem, route: Route) -> list[int]:
    """From the vehicle's start to its end, if it has one."""
    end = int(problem.vehicles.end[route.vehicle])
    middle = [place_of(problem, stop) for stop in route.stops]
    return [int(problem.vehicles.start[route.vehicle]), *middle, *([] if end == NO_END else [end])]


def route_travel(problem: Problem, route: Route) -> float:
    """Sum of the legs."""
    places = places_of(problem, route)
    return float(problem.travel[places[:-1], places[1:]].sum())


def begin_times(problem: Problem, route: Route) -> tuple[list[float], float]:
    """When service begins at each stop at the earliest, whatever closes before, and when the vehicle is done."""
    shipments, places = problem.shipments, places_of(problem, route)
    now, begins = float(problem.vehicles.shift_from[route.vehicle]), []
    for stop, from_place, to_place in zip(route.stops, places, places[1:], strict=False):
        opens = shipments.pickup_from[stop] if stop >= 0 else shipments.door_from[~stop]
        now = max(now + float(problem.travel[from_place, to_place]), float(opens))
        begins.append(now)
        now += float(shipments.pickup_service[stop] if stop >= 0 else shipments.door_service[~stop])
    if len(places) == len(route.stops) + 2:
        now += float(problem.travel[places[-2], places[-1]])
    return begins, now


def check(problem: Problem, plan: RoutePlan) -> list[str]:
    """Every rule that the plan breaks, in words; none for a feasible plan."""
    found = list(_broken_counts(problem, plan))
    for route in plan.routes:
        found += _broken_on_the_way(problem, route)
    return found


def _broken_counts(problem: Problem, plan: RoutePlan) -> Iterator[str]:
    stops = [stop for route in plan.routes for stop in route.stops]
    vehicles = [route.vehicle for route in plan.routes]
    yield from (f"vehicle {v} has two routes" for v in sorted(set(vehicles)) if vehicles.count(v) > 1)
    for i in range(len(problem.shipments.pickup)):
        times = (stops.count(i), stops.count(~i))
        if times != ((0, 0) if i in plan.unserved else (1, 1)):
            yield f"shipment {i} is picked up {times[0]} and brought {times[1]} times"
    for name, said, true in (
        ("travel", plan.travel, sum(route_travel(problem, route) for route in plan.routes)),
        ("fixed cost", plan.fixed, float(problem.vehicles.fixed[vehicles].sum())),
    ):
        if abs(said - true) > _SLACK * max(1.0, true):
            yield f"{name} is {true}, not {said}"


def _broken_on_the_way(problem: Problem, route: Route) -> Iterator[str]:
    shipments, vehicles, v = problem.shipments, problem.vehicles, route.vehicle
    load, aboard = 0, set[int]()
    begins, done = begin_times(problem, route)
    for stop, begin in zip(route.stops, begins, strict=True):
        shipment = max(stop, ~stop)
        closes = shipments.pickup_to[stop] if stop >= 0 else shipments.door_to[~stop]
        if begin > closes + _SLACK:
            yield f"vehicle {v} is at stop {stop} at {begin}, which closes at {closes}"
        if stop >= 0:
            aboard.add(shipment)
            load += int(shipments.amount[shipment])
        elif shipment not in aboard:
            yield f"vehicle {v} brings shipment {shipment} before it has it"
        else:
            aboard.remove(shipment)
            load -= int(shipments.amount[shipment])
        if load > vehicles.capacity[v]:
            yield f"vehicle {v} carries {load} after stop {stop}, above {vehicles.capacity[v]}"
    if aboard:
        yield f"vehicle {v} keeps shipments {sorted(aboard)}"
    if done > vehicles.shift_to[v] + _SLACK:
        yield f"vehicle {v} is done at {done}, after its shift's end at {vehicles.shift_to[v]}"


def refuse_malformed(problem: Problem) -> None:
    """`ValueError` that says what does not fit."""
    places = len(problem.travel)
    if problem.travel.shape != (places, places):
        raise ValueError(f"travel is {problem.travel.shape}, not a square matrix")
    if not np.isfinite(problem.travel).all() or (problem.travel < 0).any():
        raise ValueError("travel must be finite and not negative")
    for name, table, ends in (
        ("shipments", problem.shipments, ("pickup", "door")),
        ("vehicles", problem.vehicles, ("start", "end")),
    ):
        columns = {field: getattr(table, field) for field in table.__struct_fields__}
        if len({column.shape for column in columns.values()}) > 1:
            raise ValueError(f"columns of {name} differ in length")
        _refuse_other_places(name, [columns[end] for end in ends], places)
    if (problem.shipments.amount < 0).any() or (problem.vehicles.capacity < 0).any():
        raise ValueError("amounts and capacities must not be negative")
    if (problem.vehicles.fixed < 0).any():
        raise ValueError("fixed costs must not be negative")


def _refuse_other_places(name: str, columns: Sequence[I64], places: int) -> None:
    for lowest, column in zip((0, NO_END if name == "vehicles" else 0), columns, strict=True):
        if len(column) and (column.min() < lowest or column.max() >= places):
            raise ValueError(f"{name} name a place that is not in the matrix of {places}")
