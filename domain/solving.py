"""A matching problem as arrays, from the jobs and drivers of the moment."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from domain.jobs import Job
from domain.policy import RegionPolicy
from domain.solve import DriverColumns, SolveRequest, TaskColumns


def solve_request(
    request_id: int, now_ms: int, jobs: Sequence[Job], drivers: DriverColumns, policy: RegionPolicy
) -> SolveRequest:
    """The problem of giving these open jobs to these free drivers."""
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
        solver=policy.solver,
        now_ms=now_ms,
        tasks=TaskColumns(
            ids=[task.task_id for task in tasks],
            pickup_lat=np.array([task.pickup_lat for task in tasks]),
            pickup_lng=np.array([task.pickup_lng for task in tasks]),
            dropoff_lat=np.array([task.dropoff_lat for task in tasks]),
            dropoff_lng=np.array([task.dropoff_lng for task in tasks]),
            opened_ms=np.array([task.opened_ms for task in tasks], np.int64),
            ready_ms=np.array([task.ready_ms for task in tasks], np.int64),
            due_ms=np.array([task.due_ms for task in tasks], np.int64),
        ),
        drivers=drivers,
        declined_task=np.array([pair[0] for pair in declined], np.int64),
        declined_driver=np.array([pair[1] for pair in declined], np.int64),
        declined_penalty_s=np.array([pair[2] for pair in declined], np.float64),
        weights=policy.weights,
        candidates=policy.candidates,
    )


def decline_penalty_s(now_ms: int, times: int, last_ms: int, policy: RegionPolicy) -> float:
    """Seconds that a pair costs more after `times` declines, the last at `last_ms`; infinity within the cool-down."""
    resting = now_ms < last_ms + round(policy.decline_cooldown_s * 1000)
    return math.inf if resting else policy.decline_penalty_s * times
