"""Why a task is still open. Every open task has a reason, and one of the reasons is that there is none: a bug."""

from __future__ import annotations

import math
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from domain.ground.times import in_ms
from domain.region.jobs import Job
from domain.region.solving.problem import decline_penalty_s
from domain.solve import Plan, SolveRequest

if TYPE_CHECKING:
    from domain.region.machine import Region


class Waiting(StrEnum):
    """The reasons, the first that holds."""

    NO_DRIVER = "NO_DRIVER"
    """Nobody is on duty, heard of, free of tasks and offers, and not left alone after an ignored offer."""

    ALL_DECLINED = "ALL_DECLINED"
    """Whoever is free declined this task so lately that they are not asked again yet."""

    PLANNED = "PLANNED"
    """A driver is planned for it who need not set off yet, or is still busy: a better one may turn up."""

    OUTNUMBERED = "OUTNUMBERED"
    """The last look has nobody for it: whoever could take it serves others or cannot be there in time; or there were
    too many tasks for one look."""

    UNSOLVED = "UNSOLVED"
    """The last look came to no plan, because the solver failed or took too long. The next one is due."""

    LOOKING = "LOOKING"
    """A look is due or under way, and the last one did not have the task or any driver whom it could be offered to."""

    UNEXPLAINED = "UNEXPLAINED"
    """None of these. A driver was free for it and the region or its solver passed it by: a bug."""


class Asked(Struct, frozen=True, kw_only=True):
    """What has to be kept of a solve request until its plan is there."""

    request_id: int
    at_ms: int
    task_ids: tuple[str, ...]
    nobody: frozenset[str]  # tasks that none of the drivers may be asked for now

    @classmethod
    def by(cls, request: SolveRequest) -> Asked:
        ids = request.tasks.ids
        barred = np.bincount(request.declined_task[np.isinf(request.declined_penalty_s)], minlength=len(ids))
        nobody = np.flatnonzero(barred == len(request.drivers.ids)).tolist()
        return cls(
            request_id=request.request_id,
            at_ms=request.now_ms,
            task_ids=tuple(ids),
            nobody=frozenset(ids[i] for i in nobody),
        )


def left_open(asked: Asked, plan: Plan | None) -> dict[str, Waiting]:
    """Why each task that a look left open was left, as far as the look itself tells. Plan None: there was none.

    A solver accounts for every task: it is given away now, planned for later, or left out.
    """
    if plan is None:
        return dict.fromkeys(asked.task_ids, Waiting.UNSOLVED)
    given = {task_id for assignment in plan.assignments for task_id in assignment.task_ids}
    left = dict.fromkeys(asked.task_ids, Waiting.UNEXPLAINED)
    left.update(dict.fromkeys(plan.left_out, Waiting.OUTNUMBERED))
    if plan.forecast is not None:
        left.update(dict.fromkeys(plan.forecast.ids, Waiting.PLANNED))
    # What was given away and is open again waits for a new look, and so does what nobody could be asked for.
    return {task_id: why for task_id, why in left.items() if task_id not in given | asked.nobody}


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
