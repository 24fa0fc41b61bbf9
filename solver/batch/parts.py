"""BATCH: open tasks and drivers of a market to multi-stop routes, in parts that can be solved apart.

A market is cut into parts of neighbouring stores: its H3 cells are parted in two across the longer side, at a wide gap,
until a part has few enough tasks. Drivers go to the parts by nearness, as many as the part has tasks for. Each part is
a pick-up and delivery problem with time windows and capacity for `solve_routes`.

Hard rules: goods are picked up when they are ready or later; capacity; a task is at its door in time, and so that from
there the goods can be back at the store before that closes; the last stop is done by the end of the driver's shift.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import h3
import numpy as np
from msgspec import Struct
from ortools.graph.python import min_cost_flow

from domain.ground.arrays import F64, I64
from domain.solve import Services
from solver.routes.problem import NO_END, Problem, RoutePlan, Shipments, Vehicles, begin_times
from solver.routes.solve import solve_routes

TravelS: TypeAlias = Callable[
    [F64, F64, F64, F64], F64
]  # from lat, lng, to lat, lng, which broadcast; seconds

_FAR_S, _UNITS_PER_S = 1e6, 10  # of the flow's integer costs
_CELL = 8  # H3 resolution of the cells that are never cut, unless one alone has too many tasks: 0.7 km2
_MS = 1000.0


class BatchTasks(Struct, frozen=True, kw_only=True):
    """n open tasks, a column of (n,) per field; times in server milliseconds."""

    pickup_lat: F64
    pickup_lng: F64
    door_lat: F64
    door_lng: F64
    ready_ms: I64  # not picked up before
    door_by_ms: I64  # in hand at the door by then
    store_closes_ms: I64  # what is refused at the door can be back at the store by then
    amount: I64  # of the driver's capacity


class BatchDrivers(Struct, frozen=True, kw_only=True):
    """k drivers, a column of (k,) per field; a driver is at its place from `free_ms` on and ends anywhere."""

    lat: F64
    lng: F64
    free_ms: I64
    shift_end_ms: I64
    capacity: I64


class BatchOptions(Struct, frozen=True, kw_only=True):
    """Limits of the work, and what counts beside driving."""

    part_tasks: int = 100  # most tasks of a part
    drivers_per_task: float = 1.5  # most drivers of a part
    part_s: float = 0.5  # time for a part
    part_moves: int | None = None  # and moves of the search, for the same result each time
    driver_cost_s: float = 0.0  # seconds of driving that sending one more driver is worth
    services: Services = Services()


class BatchPart(Struct, frozen=True):
    """Indices of the tasks and the drivers of one part, ascending."""

    tasks: tuple[int, ...]
    drivers: tuple[int, ...]


class BatchStop(Struct, frozen=True):
    """`done_ms`: goods in hand at the store, or handed over at the door."""

    task: int
    is_pickup: bool
    done_ms: int


class BatchRoute(Struct, frozen=True):
    """What a driver does, in that order."""

    driver: int
    stops: tuple[BatchStop, ...]


class BatchPlan(Struct, frozen=True):
    """`left`: tasks in no route. `travel_s`: sum over the routes."""

    routes: tuple[BatchRoute, ...]
    left: tuple[int, ...]
    travel_s: float


def plan_routes(
    tasks: BatchTasks,
    drivers: BatchDrivers,
    travel_s: TravelS,
    *,
    now_ms: int,
    options: BatchOptions,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> BatchPlan:
    """All parts, one after the other. To fan them out, call `split`, `plan_part` for each, and `merged`."""
    parts = split(tasks, drivers, travel_s, options)
    plans = [
        plan_part(tasks, drivers, part, travel_s, now_ms=now_ms, options=options, seed=seed, clock=clock)
        for part in parts
    ]
    return merged(len(tasks.ready_ms), plans)


def split(
    tasks: BatchTasks, drivers: BatchDrivers, travel_s: TravelS, options: BatchOptions
) -> list[BatchPart]:
    """Parts of at most `part_tasks` tasks. A driver is in one part at most, and a part without drivers is left out."""
    groups = _parted(tasks, options.part_tasks)
    if not groups or not len(drivers.lat):
        return []
    quota = _quota([len(group) for group in groups], len(drivers.lat), options.drivers_per_task)
    middle = [(tasks.pickup_lat[group].mean(), tasks.pickup_lng[group].mean()) for group in groups]
    lat, lng = np.array(middle).T
    away_s = travel_s(drivers.lat[:, None], drivers.lng[:, None], lat[None, :], lng[None, :])
    part_of = _allotted(away_s, quota)
    parts = [
        BatchPart(tuple(sorted(group.tolist())), tuple(np.flatnonzero(part_of == number).tolist()))
        for number, group in enumerate(groups)
    ]
    return [part for part in parts if part.drivers]


def plan_part(
    tasks: BatchTasks,
    drivers: BatchDrivers,
    part: BatchPart,
    travel_s: TravelS,
    *,
    now_ms: int,
    options: BatchOptions,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> BatchPlan:
    """Routes of one part; `left` has only tasks of the part."""
    problem = _problem(tasks, drivers, part, travel_s, now_ms, options)
    plan = solve_routes(
        problem, time_limit_s=options.part_s, seed=seed, moves=options.part_moves, clock=clock
    )
    return _told(problem, plan, part, now_ms, options.services)


def merged(tasks: int, plans: Sequence[BatchPlan]) -> BatchPlan:
    """The plans of all parts as one, of so many tasks in all."""
    routes = sorted((route for plan in plans for route in plan.routes), key=lambda route: route.driver)
    brought = {stop.task for route in routes for stop in route.stops}
    left = tuple(i for i in range(tasks) if i not in brought)
    return BatchPlan(tuple(routes), left, sum(plan.travel_s for plan in plans))


# -- parts ------------------------------------------------------------------------------------------------------------


def _parted(tasks: BatchTasks, most: int) -> list[I64]:
    """Groups of at most `most` tasks; the tasks of an H3 cell stay together where they can."""
    lat, lng = tasks.pickup_lat, tasks.pickup_lng
    names = [h3.latlng_to_cell(a, b, _CELL) for a, b in zip(lat.tolist(), lng.tolist(), strict=True)]
    _, cell = np.unique(np.array(names, dtype=str), return_inverse=True)
    # Where a cell is, is the mean of its tasks, so that all of them fall on one side of a cut.
    count = np.maximum(1, np.bincount(cell))
    north = (np.bincount(cell, lat) / count)[cell]
    east = (np.bincount(cell, lng) / count * np.cos(np.radians(north[0] if len(north) else 0.0)))[cell]
    groups: list[I64] = []
    waiting = [np.arange(len(lat))] if len(lat) else []
    while waiting:
        group = waiting.pop()
        if len(group) <= most:
            groups.append(group)
            continue
        along = north if np.ptp(north[group]) > np.ptp(east[group]) else east
        order = group[np.lexsort((tasks.ready_ms[group], cell[group], along[group]))]
        waiting += np.split(order, [_cut(cell[order], along[order])])
    return sorted(groups, key=lambda group: int(group.min()))


def _cut(cell: I64, along: F64) -> int:
    """Where to cut a row of tasks: between two cells, at the widest gap that leaves a quarter on either side.

    Where there is none, between the two cells nearest to the middle, and through the middle of a lone cell.
    """
    between = np.flatnonzero(np.diff(cell)) + 1
    if not len(between):
        return len(cell) // 2
    off_middle = np.abs(between - len(cell) / 2)
    gap = np.where(off_middle <= len(cell) / 4, along[between] - along[between - 1], -off_middle)
    return int(between[np.argmax(gap)])


def _quota(sizes: list[int], drivers: int, per_task: float) -> list[int]:
    """Drivers of each part: in proportion to its tasks, rounded up, and not more than it has use for."""
    total = sum(sizes)
    return [max(1, min(-(-drivers * size // total), int(np.ceil(per_task * size)))) for size in sizes]


def _allotted(away_s: F64, quota: list[int]) -> I64:
    """Part of each driver, -1 for none, so that the parts have their quota, or all drivers, by the shortest ways.

    A transportation problem, by OR-Tools' cost-scaling flow on integers: 5,000 drivers and 50 parts of 100 take 66 ms,
    an assignment with a column for each place takes 15 s. `RuntimeError` when it finds no optimum.
    """
    m, k = away_s.shape
    source, sink = m + k, m + k + 1
    drivers, parts = np.arange(m), m + np.arange(k)
    flow = min_cost_flow.SimpleMinCostFlow()
    cost = np.rint(np.minimum(away_s, _FAR_S) * _UNITS_PER_S).astype(np.int64)
    flow.add_arcs_with_capacity_and_unit_cost(
        np.concatenate([np.full(m, source), np.repeat(drivers, k), parts]),
        np.concatenate([drivers, np.tile(parts, m), np.full(k, sink)]),
        np.concatenate([np.ones(m + m * k, np.int64), np.array(quota, np.int64)]),
        np.concatenate([np.zeros(m, np.int64), cost.ravel(), np.zeros(k, np.int64)]),
    )
    placed = min(m, sum(quota))
    flow.set_nodes_supplies(np.array([source, sink]), np.array([placed, -placed]))
    status = flow.solve()
    if status != flow.OPTIMAL:
        raise RuntimeError(f"min-cost flow ended with status {status}")
    used = flow.flows(np.arange(m, m + m * k)).reshape(m, k)
    return np.where(used.any(axis=1), used.argmax(axis=1), -1)


# -- one part ---------------------------------------------------------------------------------------------------------


def _problem(
    tasks: BatchTasks,
    drivers: BatchDrivers,
    part: BatchPart,
    travel_s: TravelS,
    now_ms: int,
    options: BatchOptions,
) -> Problem:
    """In seconds from now. Places: the drivers', then stores and doors, a place that occurs twice only once."""
    t, d, service = np.array(part.tasks, np.int64), np.array(part.drivers, np.int64), options.services
    lat = np.concatenate([drivers.lat[d], tasks.pickup_lat[t], tasks.door_lat[t]])
    lng = np.concatenate([drivers.lng[d], tasks.pickup_lng[t], tasks.door_lng[t]])
    places, place = np.unique(np.column_stack((lat, lng)), axis=0, return_inverse=True)
    start, pickup, door = np.split(place.ravel(), [len(d), len(d) + len(t)])
    there, on = places.T
    travel = np.array(travel_s(there[:, None], on[:, None], there[None, :], on[None, :]), np.float64)
    np.fill_diagonal(travel, 0.0)

    def after_now_s(at_ms: I64) -> F64:
        return (at_ms - now_ms) / _MS

    door_by_s = np.minimum(
        after_now_s(tasks.door_by_ms[t]),
        after_now_s(tasks.store_closes_ms[t]) - service.door_after_s - travel[door, pickup],
    )
    return Problem(
        travel=travel,
        shipments=Shipments(
            pickup=pickup,
            pickup_from=np.maximum(0.0, after_now_s(tasks.ready_ms[t]) - service.pickup_before_s),
            pickup_to=np.full(len(t), np.inf),  # the door's window is the one that matters
            pickup_service=np.full(len(t), service.pickup_before_s + service.pickup_after_s),
            door=door,
            door_from=np.zeros(len(t)),
            door_to=door_by_s - service.door_before_s,
            door_service=np.full(len(t), service.door_before_s + service.door_after_s),
            amount=tasks.amount[t],
        ),
        vehicles=Vehicles(
            start=start,
            end=np.full(len(d), NO_END),
            shift_from=np.maximum(0.0, after_now_s(drivers.free_ms[d])),
            shift_to=after_now_s(drivers.shift_end_ms[d]),
            capacity=drivers.capacity[d],
            fixed=np.full(len(d), options.driver_cost_s),
        ),
    )


def _told(problem: Problem, plan: RoutePlan, part: BatchPart, now_ms: int, services: Services) -> BatchPlan:
    """The plan in the market's own indices and times."""
    routes = []
    for route in plan.routes:
        begins_s, _ = begin_times(problem, route)
        stops = [
            BatchStop(
                task=part.tasks[max(stop, ~stop)],
                is_pickup=stop >= 0,
                # Rounded down, as the windows are: what is in time stays in time.
                done_ms=now_ms
                + int(_MS * (at_s + (services.pickup_before_s if stop >= 0 else services.door_before_s))),
            )
            for stop, at_s in zip(route.stops, begins_s, strict=True)
        ]
        routes.append(BatchRoute(part.drivers[route.vehicle], tuple(stops)))
    return BatchPlan(tuple(routes), tuple(part.tasks[i] for i in plan.unserved), plan.travel)
