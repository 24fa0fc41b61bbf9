"""The arrays that a region hands to a solver, and the plan that comes back: advice, which the region checks again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


class Weights(Struct, frozen=True, kw_only=True):
    """Weights of the objective's terms (row B4), dimensionless per second of each term, and the travel model."""

    travel: float = 1.0  # alpha: seconds of driving to the pick-up
    lateness: float = 2.0  # beta: seconds past the promised time
    eta: float = 0.3  # gamma: seconds until the goods are at the door
    waiting: float = 0.5  # seconds that a task has been open, where there are too few drivers for all
    speed_mps: float = 10.0  # mean driving speed in a metro
    detour: float = 1.35  # road distance over great-circle distance
    pickup_service_s: float = 120.0


class TaskColumns(Struct, frozen=True, kw_only=True):
    """n open tasks; times are server milliseconds."""

    ids: list[str]
    pickup_lat: F64
    pickup_lng: F64
    dropoff_lat: F64
    dropoff_lng: F64
    opened_ms: I64
    ready_ms: I64
    due_ms: I64


class DriverColumns(Struct, frozen=True, kw_only=True):
    """m drivers who are free to be offered a task. `accept_rate` in (0, 1] is the smoothed share of offers taken."""

    ids: list[str]
    lat: F64
    lng: F64
    accept_rate: F64


class SolveRequest(Struct, frozen=True, kw_only=True):
    """One matching problem. Pair i (`declined_task[i]`, `declined_driver[i]`) was declined before: it costs
    `declined_penalty_s[i]` more, infinity bars it."""

    request_id: int
    solver: str
    now_ms: int
    tasks: TaskColumns
    drivers: DriverColumns
    declined_task: I64
    declined_driver: I64
    declined_penalty_s: F64
    weights: Weights
    candidates: int  # drivers considered per task


class Assignment(Struct, frozen=True, kw_only=True):
    """A proposal: these tasks to this driver, with the cost in equivalent seconds and the features it was made on."""

    task_ids: tuple[str, ...]
    driver_id: str
    cost: float
    features: dict[str, float]


class Plan(Struct, frozen=True, kw_only=True):
    """What a solver proposes. `components`: connected parts of the candidate graph; `pairs`: its edges."""

    request_id: int
    assignments: tuple[Assignment, ...]
    components: int = 0
    pairs: int = 0
