"""Why a task is still open. Every open task has a reason, and one of the reasons is that there is none: a bug."""

from __future__ import annotations

import math
from collections import Counter
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from domain.jobs import Job
from domain.solve import Plan, SolveRequest
from domain.solving import decline_penalty_s
from domain.times import in_ms

if TYPE_CHECKING:
    from domain.region import Region


class Waiting(StrEnum):
    """The reasons, the first that holds."""

    NO_DRIVER = "NO_DRIVER"
    """Nobody is on duty, heard of, free of tasks and offers, and not left alone after an ignored offer."""

    ALL_DECLINED = "ALL_DECLINED"
    """Whoever is free declined this task so lately that they are not asked again yet."""

    OUTNUMBERED = "OUTNUMBERED"
    """The last look gave every driver who came into question to another task, or did not get as far as this one."""

    UNSOLVED = "UNSOLVED"
    """The last look came to no plan, because the solver failed or took too long. The next one is due."""

    LOOKING = "LOOKING"
    """A look is due or under way, and the last one did not have the task or any driver whom it could be offered to."""

    UNEXPLAINED = "UNEXPLAINED"
    """None of these. A driver was free for it and the region or its solver passed it by: a bug."""


class Asked(Struct, frozen=True, kw_only=True):
    """What has to be kept of a solve request until its plan is there. `barred`: (task, driver) by their positions."""

    request_id: int
    at_ms: int
    task_ids: tuple[str, ...]
    driver_ids: tuple[str, ...]
    barred: tuple[tuple[int, int], ...]
    candidates: int

    @classmethod
    def by(cls, request: SolveRequest) -> Asked:
        never = np.isinf(request.declined_penalty_s)
        tasks, drivers = request.declined_task[never].tolist(), request.declined_driver[never].tolist()
        return cls(
            request_id=request.request_id,
            at_ms=request.now_ms,
            task_ids=tuple(request.tasks.ids),
            driver_ids=tuple(request.drivers.ids),
            barred=tuple(zip(tasks, drivers, strict=True)),
            candidates=request.candidates,
        )


def left_open(asked: Asked, plan: Plan | None) -> dict[str, Waiting]:
    """Why each task that a look left open was left, as far as the look itself tells. Plan None: there was none.

    A largest matching leaves a task out only when all its candidates went to other tasks, and these are at least
    `candidates` of the drivers who are not barred from it, or all of them (see `solver/candidates.py`).
    """
    if plan is None:
        return dict.fromkeys(asked.task_ids, Waiting.UNSOLVED)
    given = {task_id for assignment in plan.assignments for task_id in assignment.task_ids}
    busy = {assignment.driver_id for assignment in plan.assignments}.intersection(asked.driver_ids)
    barred = Counter(t for t, _ in asked.barred)
    barred_busy = Counter(t for t, d in asked.barred if asked.driver_ids[d] in busy)
    left = {}
    for t, task_id in enumerate(asked.task_ids):
        in_question = len(asked.driver_ids) - barred[t]
        # What was given away and is open again waits for a new look, and so does what nobody could be asked for.
        if in_question and task_id not in given:
            outnumbered = len(busy) - barred_busy[t] >= min(asked.candidates, in_question)
            left[task_id] = Waiting.OUTNUMBERED if outnumbered else Waiting.UNEXPLAINED
    return left


class Outlook:
    """What the open tasks of a region have in common at one moment, so that thousands can be asked about at once."""

    def __init__(self, region: Region, now_ms: int) -> None:
        policy, loop = region.policy, region.loop
        rows = region.fleet.free_rows(now_ms, in_ms(policy.driver_stale_s))
        self._policy, self._now_ms = policy, now_ms
        self._free = {region.fleet.ids[row] for row in rows.tolist()}
        self._overdue = now_ms > loop.due_ms() + in_ms(policy.fast_max_wait_s)
        self._left = loop.left
        # Too many for one look: the oldest come first.
        self._beyond = frozenset(islice(region.open, policy.solve_tasks_limit, None))

    def why(self, job: Job) -> Waiting:
        """The reason for which this open task is not offered."""
        if not self._free:
            return Waiting.NO_DRIVER
        if len(job.declined) >= len(self._free) and self._all_declined(job):
            return Waiting.ALL_DECLINED
        if self._overdue:
            return Waiting.UNEXPLAINED
        if job.task.task_id in self._beyond:
            return Waiting.OUTNUMBERED
        return self._left.get(job.task.task_id, Waiting.LOOKING)

    def _all_declined(self, job: Job) -> bool:
        barred = {
            driver_id
            for driver_id, (times, last_ms) in job.declined.items()
            if math.isinf(decline_penalty_s(self._now_ms, times, last_ms, self._policy))
        }
        return self._free <= barred


def why_open(region: Region, job: Job, now_ms: int) -> Waiting:
    """Why this open task is not offered to anybody. For many tasks at once make one `Outlook`."""
    return Outlook(region, now_ms).why(job)
