"""Why a task is still open. Every open task has a reason, and one of the reasons is that there is none: a bug."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from domain.solve import Plan, SolveRequest

if TYPE_CHECKING:
    pass


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
