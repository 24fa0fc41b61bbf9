"""When a region looks for drivers, by which solver, and what came of the last look.

A new task or a freed driver opens a short window, so that others may join it; open tasks are looked at again after a
longest wait whatever happens. One solve is under way at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from domain.ground.times import in_ms
from domain.region.jobs import Job
from domain.region.policy import RegionPolicy
from domain.region.solving.problem import Foreseen, View, solve_request
from domain.region.solving.reasons import Asked, Waiting, left_open
from domain.solve import DriverColumns, Plan, SolveRequest


class Cadence:
    """When to look for drivers, in server ms. `left`: why the last look left tasks open, as far as it tells by itself.
    `unplanned`: open tasks that no plan has had yet, with the time of their opening; `waits`: (opened, ms from there to
    the first plan that had it) of the tasks planned lately, newest last."""

    def __init__(self, policy: RegionPolicy, now_ms: int) -> None:
        self.left: dict[str, Waiting] = {}
        self.foreseen: dict[str, Foreseen] = {}  # by the last plan
        self.pressure = 0.0
        self.unplanned: dict[str, int] = {}
        self.waits: deque[tuple[int, int]] = deque(maxlen=policy.waits_limit)
        self._policy = policy
        self._asked = 0
        self._under_way: Asked | None = None
        self._window_ms: int | None = None  # since when something waits for a look
        self._looked_ms = now_ms
        self._batch_ms = now_ms

    @property
    def solving(self) -> bool:
        """Whether a solve is under way."""
        return self._under_way is not None

    def wake(self, now_ms: int) -> None:
        """Something changed that a look should see: open the window if it is not open."""
        if self._window_ms is None:
            self._window_ms = now_ms

    def hurry(self, now_ms: int) -> None:
        """Let the next look happen in this step instead of at the window's end."""
        self._window_ms = now_ms - in_ms(self._policy.fast_window_s)

    def first_waits(self, now_ms: int) -> None:
        """No task was open until now, so the longest wait begins now, and a window opened for nothing is closed."""
        self._window_ms, self._looked_ms = None, now_ms
        self.pressure = 0.0

    def opened(self, task_id: str, opened_ms: int) -> None:
        """A task is new: it waits for a plan."""
        self.unplanned[task_id] = opened_ms

    def ended(self, task_id: str) -> None:
        """A task waits no longer, planned or not."""
        self.unplanned.pop(task_id, None)

    def due_ms(self) -> int:
        """When an open task is looked at next, or when the solve under way is given up."""
        if self._under_way is not None:
            return self._under_way.at_ms + in_ms(self._policy.solve_timeout_s)
        due_ms = self._looked_ms + in_ms(self._policy.fast_max_wait_s)
        if self._window_ms is not None:
            due_ms = min(due_ms, self._window_ms + in_ms(self._policy.fast_window_s))
        return due_ms

    def is_due(self, now_ms: int) -> bool:
        """Whether to look now. Gives up a solve that took too long."""
        if self._under_way is not None and now_ms >= self.due_ms():
            self._end(None)
        return self._under_way is None and now_ms >= self.due_ms()

    def ask(
        self, now_ms: int, jobs: Sequence[Job], drivers: DriverColumns, view: View
    ) -> SolveRequest | None:
        """Look now: the problem to solve, None when there is nobody to plan with."""
        self._window_ms, self._looked_ms = None, now_ms
        if not drivers.ids:
            self.left = {}
            return None
        self._asked += 1
        solver = self._solver(now_ms, len(jobs), len(drivers.ids))
        request = solve_request(self._asked, now_ms, jobs, drivers, self._policy, view, solver)
        self._under_way = Asked.by(request)
        return request

    def _solver(self, now_ms: int, open_tasks: int, drivers: int) -> str:
        """Whose turn it is: in a queue that of BATCH, every so often."""
        policy = self._policy
        pressed = open_tasks > 1 and self.pressure >= policy.batch_pressure
        queue = pressed or open_tasks >= max(policy.batch_tasks, drivers + 1)
        if not policy.batch_solver or not queue:
            return policy.solver
        if now_ms - self._batch_ms < in_ms(policy.batch_every_s):
            return policy.solver
        self._batch_ms = now_ms
        return policy.batch_solver

    def solved(self, now_ms: int, plan: Plan) -> bool:
        """Take the plan in; False when it was given up on meanwhile."""
        if self._under_way is None or self._under_way.request_id != plan.request_id:
            return False
        self._end(plan)
        given = {task_id for assignment in plan.assignments for task_id in assignment.task_ids}
        for task_id in [one for one in self.unplanned if one in given or one in self.foreseen]:
            opened_ms = self.unplanned.pop(task_id)
            self.waits.append((opened_ms, max(0, now_ms - opened_ms)))
        return True

    def failed(self, request_id: int) -> None:
        """The solve did not end; there will be another."""
        if self._under_way is not None and self._under_way.request_id == request_id:
            self._end(None)

    def _end(self, plan: Plan | None) -> None:
        assert self._under_way is not None
        if plan is not None:
            self.pressure = plan.pressure
            self.foreseen = foreseen(plan)
        self.left, self._under_way = left_open(self._under_way, plan), None


def foreseen(plan: Plan) -> dict[str, Foreseen]:
    """What the plan has for each of its tasks."""
    forecast = plan.forecast
    if forecast is None:
        return {}
    rows = zip(forecast.pickup_ms, forecast.behind, forecast.until_ms, strict=True)
    return {task: Foreseen(*row) for task, row in zip(forecast.ids, rows, strict=True)}
