"""A matching problem as arrays, from the jobs and drivers of the moment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import h3
import numpy as np
from msgspec.structs import replace

from domain.ground.arrays import F64
from domain.ground.times import in_ms
from domain.orders.records import TaskRow
from domain.region.jobs import Job
from domain.region.policy import RegionPolicy
from domain.solve import NEVER_MS, DriverColumns, SolveRequest, TaskColumns, Zones


class Foreseen(NamedTuple):
    """What the last plan had for a task: pick-up, orders right behind it, and its driver's shift end."""

    pickup_ms: int
    behind: float
    until_ms: int


class View(NamedTuple):
    """What a look knows beside the open jobs and the drivers."""

    foreseen: Mapping[str, Foreseen]
    pressure: float
    lately: Sequence[TaskRow]  # opened within the window of what is expected to come again
    refusal: float  # probability that goods go back
    zones: Zones | None = None


def solve_request(
    request_id: int,
    now_ms: int,
    jobs: Sequence[Job],
    drivers: DriverColumns,
    policy: RegionPolicy,
    view: View,
    solver: str,
) -> SolveRequest:
    """The problem of giving these open jobs to these drivers."""
    tasks = [job.task for job in jobs]
    position = {driver_id: i for i, driver_id in enumerate(drivers.ids)}
    declined = [
        (i, position[driver_id], decline_penalty_s(now_ms, times, last_ms, policy))
        for i, job in enumerate(jobs)
        for driver_id, (times, last_ms) in job.declined.items()
        if driver_id in position
    ]
    return SolveRequest(
        request_id=request_id,
        solver=solver,
        now_ms=now_ms,
        offer_by_ms=now_ms + in_ms(policy.offer_lead_s),
        tasks=replace(
            task_columns(tasks, policy, view),
            wider=np.array([policy.escalated(job.tries).wider for job in jobs], np.int64),
        ),
        drivers=drivers,
        declined_task=np.array([pair[0] for pair in declined], np.int64),
        declined_driver=np.array([pair[1] for pair in declined], np.int64),
        declined_penalty_s=np.array([pair[2] for pair in declined], np.float64),
        expected=_expected(now_ms, policy, view),
        pressure=view.pressure,
        zones=view.zones,
        weights=policy.weights,
        services=policy.services,
        planning=policy.planning,
        travel=policy.travel,
        candidates=policy.candidates,
        explain=policy.explain,
    )


def task_columns(
    tasks: Sequence[TaskRow], policy: RegionPolicy, view: View, later_ms: int = 0
) -> TaskColumns:
    """The tasks as a solver sees them, all of them `later_ms` later than they are."""
    give_up_ms = NEVER_MS if policy.give_up_s is None else in_ms(policy.give_up_s)
    # A list of tuples and one array is several times quicker than an array for each column.
    places = np.array(
        [(task.pickup_lat, task.pickup_lng, task.dropoff_lat, task.dropoff_lng) for task in tasks], np.float64
    ).reshape(-1, 4)
    times = np.array(
        [
            (
                task.opened_ms,
                task.ready_ms,
                task.due_ms,
                min(task.opened_ms + give_up_ms, NEVER_MS),
                task.closes_ms or NEVER_MS,
                *(view.foreseen.get(task.task_id) or (task.ready_ms, 0, NEVER_MS)),
            )
            for task in tasks
        ],
        np.int64,
    ).reshape(-1, 8)
    times[:, :5] += later_ms
    times[:, 5] += later_ms
    return TaskColumns(
        ids=[task.task_id for task in tasks],
        pickup_lat=places[:, 0],
        pickup_lng=places[:, 1],
        dropoff_lat=places[:, 2],
        dropoff_lng=places[:, 3],
        opened_ms=times[:, 0],
        ready_ms=times[:, 1],
        due_ms=times[:, 2],
        latest_ms=times[:, 3],
        closes_ms=times[:, 4],
        refusal=np.full(len(tasks), view.refusal),
        planned_ms=times[:, 5],
        behind=times[:, 6].astype(np.float64),
        until_ms=times[:, 7],
    )


def _expected(now_ms: int, policy: RegionPolicy, view: View) -> TaskColumns | None:
    """The tasks of the last while once more, as much later as that while is long."""
    window_ms = in_ms(policy.planning.expected_window_s)
    if policy.planning.expected <= 0:
        return None
    lately = [task for task in view.lately if task.opened_ms > now_ms - window_ms]
    return task_columns(lately, policy, view._replace(foreseen={}), window_ms) if lately else None


def decline_penalty_s(now_ms: int, times: int, last_ms: int, policy: RegionPolicy) -> float:
    """Seconds that a pair costs more after `times` declines, the last at `last_ms`; infinity within the cool-down."""
    resting = now_ms < last_ms + round(policy.decline_cooldown_s * 1000)
    return math.inf if resting else policy.decline_penalty_s * times


def zones_of(lately: Sequence[TaskRow], lat: F64, lng: F64, resolution: int) -> Zones:
    """What each H3 cell lacks: orders of the last while from its stores, less drivers who are or will be free in it
    (their places), over both together."""
    orders = Counter(h3.latlng_to_cell(task.pickup_lat, task.pickup_lng, resolution) for task in lately)
    places = zip(lat.tolist(), lng.tolist(), strict=True)
    free = Counter(h3.latlng_to_cell(lat, lng, resolution) for lat, lng in places)
    lack = {
        cell: (orders[cell] - free[cell]) / (orders[cell] + free[cell]) for cell in sorted({*orders, *free})
    }
    return Zones(resolution=resolution, lack=lack)
