"""Why each open task of a region is still open, at one moment."""

from __future__ import annotations

import math
from itertools import islice

from domain.ground.times import in_ms
from domain.region.jobs import Job
from domain.region.solving.problem import decline_penalty_s
from domain.region.solving.reasons import Waiting
from domain.region.state import State


class Outlook:
    """What the open tasks of a region have in common at one moment, so that thousands can be asked about at once."""

    def __init__(self, state: State, now_ms: int) -> None:
        policy, cadence = state.policy, state.cadence
        rows = state.fleet.free_rows(now_ms, in_ms(policy.driver_stale_s))
        self._policy, self._now_ms = policy, now_ms
        self._free = {state.fleet.ids[row] for row in rows.tolist()}
        self._overdue = now_ms > cadence.due_ms() + in_ms(policy.fast_max_wait_s)
        self._left = cadence.left
        # Too many for one look: the oldest come first.
        self._beyond = frozenset(islice(state.open, policy.solve_tasks_limit, None))

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


def why_open(state: State, job: Job, now_ms: int) -> Waiting:
    """Why this open task is not offered to anybody. For many tasks at once make one `Outlook`."""
    return Outlook(state, now_ms).why(job)
