"""BATCH as a solver of the region: routes of several stops for a queue (row B3), what is next of each route as a trip.

The routes come from `parts.py`. A trip is what the driver has on board at first: the pick-ups before the first
door, then their doors. What comes after it in the route is a forecast. Tasks and drivers that no route has are FAST's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from domain.ground.arrays import F64, I64
from domain.ground.travel import TravelTimes
from domain.solve import Assignment, Forecast, Plan, SolveRequest, Spread
from solver import proposals
from solver.batch.parts import (
    BatchDrivers,
    BatchOptions,
    BatchPart,
    BatchPlan,
    BatchRoute,
    BatchTasks,
    merged,
    plan_part,
    split,
)
from solver.fast import chains
from solver.fast.solver import fast, merged_plans, part_of
from solver.scene import Scene
from solver.units import Units

CAPACITY = 3  # orders on board
# The search is limited by moves, so that the same queue gives the same routes; the time is for a machine that stands.
OPTIONS = BatchOptions(part_s=60.0, part_moves=20, driver_cost_s=0.0)


def batch(request: SolveRequest, travel: TravelTimes, spread: Spread) -> Plan:
    """See the module."""
    request = replace(request, expected=None)
    n, m = len(request.tasks.ids), len(request.drivers.ids)
    if not n or not m:
        return Plan(request_id=request.request_id, assignments=(), left_out=tuple(request.tasks.ids))
    scene = Scene(request, travel)
    units = Units(scene)
    tasks, drivers = _tasks(scene, units), _drivers(request)
    options = replace(OPTIONS, services=request.services)
    now_ms = request.now_ms
    parts = split(tasks, drivers, _away(travel, now_ms), options)
    pieces = [(tasks, drivers, part, travel, now_ms, options) for part in parts]
    routes = merged(n, spread(solve_part, pieces)).routes
    plan, used_tasks, used_drivers = _plan(scene, units, routes)
    rest_tasks = np.setdiff1d(np.arange(n), used_tasks)
    rest_drivers = np.setdiff1d(np.arange(m), used_drivers)
    rest = fast(part_of(request, rest_tasks, rest_drivers), travel, spread)
    return merged_plans(request, [plan, rest], components=len(parts), pairs=n * m)


def solve_part(
    tasks: BatchTasks,
    drivers: BatchDrivers,
    part: BatchPart,
    travel: TravelTimes,
    now_ms: int,
    options: BatchOptions,
) -> BatchPlan:
    """Routes of one part; a function of plain values, so that it may run anywhere."""
    return plan_part(tasks, drivers, part, _away(travel, now_ms), now_ms=now_ms, options=options)


def _away(travel: TravelTimes, now_ms: int) -> Callable[[F64, F64, F64, F64], F64]:
    """The driving times of now, as the route search asks for them."""
    return lambda from_lat, from_lng, to_lat, to_lng: travel.seconds(
        from_lat, from_lng, to_lat, to_lng, now_ms
    )


def _tasks(scene: Scene, units: Units) -> BatchTasks:
    """The promise is a window as long as somebody could keep it; what is late already has the hard one alone."""
    tasks = scene.request.tasks
    earliest = np.maximum(units.ready, scene.from_driver.min(axis=0)[units.store]) + units.to_door[:, 0]
    in_time = earliest <= scene.due
    return BatchTasks(
        pickup_lat=tasks.pickup_lat,
        pickup_lng=tasks.pickup_lng,
        door_lat=tasks.dropoff_lat,
        door_lng=tasks.dropoff_lng,
        ready_ms=tasks.ready_ms,
        door_by_ms=np.where(in_time, np.minimum(tasks.due_ms, tasks.latest_ms), tasks.latest_ms),
        store_closes_ms=tasks.closes_ms,
        amount=np.ones(scene.n, np.int64),
    )


def _drivers(request: SolveRequest) -> BatchDrivers:
    drivers = request.drivers
    return BatchDrivers(
        lat=drivers.lat,
        lng=drivers.lng,
        free_ms=drivers.free_ms,
        shift_end_ms=drivers.until_ms,
        capacity=np.full(len(drivers.ids), CAPACITY if request.planning.bundle_tries else 1, np.int64),
    )


def _plan(scene: Scene, units: Units, routes: tuple[BatchRoute, ...]) -> tuple[Plan, I64, I64]:
    """The routes as a plan, and the tasks and drivers that it uses."""
    request = scene.request
    ids = request.tasks.ids
    trips: dict[int, tuple[int, ...]] = {}  # driver -> tasks
    rows: list[tuple[str, int, int]] = []
    used: list[int] = []
    for route in routes:
        trip = first_trip(scene, route)
        if not trip:
            continue  # what is in this route is for others
        trips[route.driver] = trip
        until_ms = int(request.drivers.until_ms[route.driver])
        for stop in route.stops:
            if stop.is_pickup:
                rows.append((ids[stop.task], stop.done_ms, until_ms))
                used.append(stop.task)
    first = np.array([trip[0] for trip in trips.values()], np.int64)
    driver = np.array(list(trips), np.int64)
    made = proposals.assignments(scene, units, first, driver)
    position = {driver_id: d for d, driver_id in enumerate(request.drivers.ids)}
    pickup_s = np.array([(row[1] - request.now_ms) / 1000 for row in rows], np.float64)
    late = float((pickup_s > units.ready[used] + chains.LATE_S).sum())
    plan = Plan(
        request_id=request.request_id,
        assignments=tuple(_whole(one, [ids[t] for t in trips[position[one.driver_id]]]) for one in made),
        forecast=Forecast(
            ids=tuple(row[0] for row in rows),
            pickup_ms=tuple(row[1] for row in rows),
            behind=(0.0,) * len(rows),
            until_ms=tuple(row[2] for row in rows),
        ),
        pressure=late / scene.m,
    )
    return plan, np.array(used, np.int64), driver


def _whole(first: Assignment, task_ids: list[str]) -> Assignment:
    """The trip's assignment from that of its first task, whose features it has."""
    features = first.features | {"orders": float(len(task_ids))}
    return replace(first, task_ids=tuple(task_ids), features=features)


def first_trip(scene: Scene, route: BatchRoute) -> tuple[int, ...]:
    """Tasks picked up before the first door, in the order of their doors; fewer where a trip of that form would be
    late, none where it may not be."""
    doors = [stop.task for stop in route.stops if not stop.is_pickup]
    first_door = next(i for i, stop in enumerate(route.stops) if not stop.is_pickup)
    on_board = {stop.task for stop in route.stops[:first_door]}
    trip = tuple(task for task in doors if task in on_board)
    # Who declined a task comes after the others, and the routes know nothing of it: that is for FAST to weigh.
    trip = tuple(task for task in trip if not scene.penalties.get((task, route.driver)))
    while len(trip) > 1 and not fits(scene, route.driver, trip):
        trip = trip[:-1]
    return trip if trip and fits(scene, route.driver, trip) else ()


def fits(scene: Scene, driver: int, trip: tuple[int, ...]) -> bool:
    """Whether all goods of the trip can be picked up within the shift, store after store in the trip's order, and each
    be at its door in time and from there back at its store before that closes."""
    services, drivers = scene.request.services, scene.request.drivers
    at = float(scene.free[driver])
    lat, lng = float(drivers.lat[driver]), float(drivers.lng[driver])
    ready: dict[int, float] = {}  # of all goods of a store: nobody comes back for the rest
    for task in trip:
        store = int(scene.store[task])
        ready[store] = max(ready.get(store, 0.0), float(scene.ready[task]))
    for store, ready_s in ready.items():
        to_lat, to_lng = float(scene.store_lat[store]), float(scene.store_lng[store])
        at = max(at + scene.drive(lat, lng, to_lat, to_lng) + services.pickup_before_s, ready_s)
        lat, lng = to_lat, to_lng
        if at > scene.until[driver]:
            return False
    at += services.pickup_after_s
    for task in trip:
        to_lat, to_lng = float(scene.drop_lat[task]), float(scene.drop_lng[task])
        at += scene.drive(lat, lng, to_lat, to_lng) + services.door_before_s
        lat, lng = to_lat, to_lng
        if at > scene.latest[task] or at + services.door_after_s + scene.back[task] > scene.closes[task]:
            return False
        at += services.door_after_s
    return True
