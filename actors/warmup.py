"""A problem that is as small as can be, to make a fresh process load and compile what the first real one needs."""

from __future__ import annotations

import numpy as np

from domain.region.policy import RegionPolicy
from domain.solve import NEVER_MS, DriverColumns, SolveRequest, TaskColumns

NOW_MS = 1_700_000_000_000
LAT, LNG = 32.78, -96.80


def tiny(solver: str, policy: RegionPolicy) -> SolveRequest:
    """Two orders of one store and two drivers, with the policy's own travel times and weights."""
    n = 2
    never, now = np.full(n, NEVER_MS), np.full(n, NOW_MS)
    near = np.linspace(0.001, 0.01, n)
    tasks = TaskColumns(
        ids=[f"task-{i}" for i in range(n)],
        pickup_lat=np.full(n, LAT),
        pickup_lng=np.full(n, LNG),
        dropoff_lat=LAT + near,
        dropoff_lng=LNG - near,
        opened_ms=now,
        ready_ms=now,
        due_ms=now + 1_800_000,
        latest_ms=never,
        closes_ms=never,
        refusal=np.full(n, policy.refusal_prior),
        planned_ms=now,
        behind=np.zeros(n),
        until_ms=never,
    )
    drivers = DriverColumns(
        ids=[f"driver-{i}" for i in range(n)],
        lat=LAT - near,
        lng=LNG + near,
        free_ms=now,
        until_ms=never,
        idle=np.ones(n, dtype=np.bool_),
        accept_rate=np.full(n, 0.9),
        ahead=np.zeros(n),
    )
    return SolveRequest(
        request_id=0,
        solver=solver,
        now_ms=NOW_MS,
        offer_by_ms=NEVER_MS,
        tasks=tasks,
        drivers=drivers,
        declined_task=np.zeros(0, dtype=np.int64),
        declined_driver=np.zeros(0, dtype=np.int64),
        declined_penalty_s=np.zeros(0),
        weights=policy.weights,
        services=policy.services,
        planning=policy.planning,
        travel=policy.travel,
        candidates=policy.candidates,
        explain=policy.explain,
    )
