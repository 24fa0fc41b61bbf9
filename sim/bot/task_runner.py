"""What a driver has in hand, and the next step of each: to the store, door after door, and back with what was refused.

What to do next is derived from the status of the tasks in hand, never from what was done before; a driver thrown back
by a crash, a lost answer or a new snapshot therefore goes on from where the server says it is. Times are seconds on the
server's clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from domain import protocol as wire
from domain.errors import TooFar
from domain.orders.lifecycle import TASK_ENDED, TASK_HELD, TASK_RELEASABLE, TaskKind, TaskStatus
from domain.orders.reasons import OverrideReason
from sim.bot.actions import Call, Told
from sim.bot.door import door_request
from sim.bot.motion import Car, Point, offset
from sim.bot.personas import Door, DriverPersona

REMEMBERED = (
    200  # tasks no longer ours, so that a late frame or the answer to an old request does not revive one
)
_RANK = {status: rank for rank, status in enumerate(TaskStatus)}

Step: TypeAlias = type[wire.TaskArrive] | type[wire.TaskPickup] | Call
"""What to ask the server for: by the socket, to be made with an id, or by REST."""


class Held(Struct):
    """A task in hand. `ahead`: where it will stand when the server has heard what was done without a network."""

    view: wire.TaskView
    since_s: float  # in the present status
    ahead: TaskStatus | None = None
    stage: str = "check"  # at the door: check -> deliver, or refuse
    attempt: int = 0
    not_before_s: float = 0.0
    is_far: bool = False  # so the server says: the next step comes with a reason

    @property
    def status(self) -> TaskStatus:
        return self.ahead or TaskStatus(self.view.status)

    @property
    def is_return(self) -> bool:
        return self.view.kind == TaskKind.RETURN


class TaskRunner:
    """`tasks` in hand, in the order in which they were given: that of the doors. `wake_s`: when `steps` has more."""

    def __init__(
        self,
        *,
        name: str,
        persona: DriverPersona,
        car: Car,
        door: Callable[[str], Door],
        rng: Random,
        haunts: tuple[Point, ...],
        stats: Counter[str],
    ) -> None:
        """`name` is part of the keys of requests. `stats` counts what became of tasks."""
        self.tasks: dict[str, Held] = {}
        self.wake_s = float("inf")
        self._name, self._persona, self._car, self._door = name, persona, car, door
        self._rng, self._haunts, self._stats = rng, haunts, stats
        self._ended: dict[str, None] = {}
        self._told: list[Told] = []
        self._busy_s = self._idle_s = 0.0

    # -- what the server says -----------------------------------------------------------------------------------------

    def replace(self, now_s: float, views: Iterable[wire.TaskView]) -> None:
        """All that is held, as the server sees it."""
        views = list(views)
        alive = {view.task_id for view in views}
        for task_id in [task_id for task_id in self.tasks if task_id not in alive]:
            self.drop(task_id, "gone")
        for view in views:
            self._ended.pop(view.task_id, None)
            self.hold(now_s, view, trust=True)

    def won(self, now_s: float, views: Iterable[wire.TaskView], *, asked: bool) -> None:
        """The tasks of an offer that was taken. `asked`: now, so what was had once and lost is ours again."""
        for view in views:
            if asked:
                self._ended.pop(view.task_id, None)
            self.hold(now_s, view)

    def hold(self, now_s: float, view: wire.TaskView, *, trust: bool = False) -> None:
        """Take in how a task stands; a status that lies behind the known one is old news unless `trust`."""
        held = self.tasks.get(view.task_id)
        status = TaskStatus(view.status)
        if status in TASK_ENDED or status not in TASK_HELD:
            told = {TaskStatus.DONE: "delivered", TaskStatus.FAILED: "refused"}.get(status, "gone")
            returned = told == "delivered" and held is not None and held.is_return
            self.drop(view.task_id, "returned" if returned else told)
        elif held is None:
            if view.task_id not in self._ended:
                self.tasks[view.task_id] = Held(view, now_s)
        elif trust or _RANK[status] >= _RANK[TaskStatus(held.view.status)]:
            before, held.view = held.status, view
            if held.ahead is not None and _RANK[status] >= _RANK[held.ahead]:
                held.ahead = None
            self._moved(now_s, held, before)

    def foresee(self, now_s: float, task_id: str, ahead: TaskStatus | None) -> None:
        """Without a network, go on as if this had been granted; None: it was not."""
        if (held := self.tasks.get(task_id)) is not None:
            before, held.ahead = held.status, ahead
            self._moved(now_s, held, before)

    def _moved(self, now_s: float, held: Held, before: TaskStatus) -> None:
        if held.status is not before:
            held.since_s = now_s
            if held.status is TaskStatus.PICKED_UP:
                self._busy_s = now_s + self._persona.store_after_s

    def drop(self, task_id: str, told: str) -> bool:
        """The task is no longer ours; False when it was not. The others of its bundle are."""
        held = self.tasks.pop(task_id, None)
        if held is None:
            return False
        self._ended[task_id] = None
        if len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]
        self._stats[told] += 1
        self._told.append(Told(told, held.view.order_id))
        return True

    def told(self) -> list[Told]:
        """What became of orders since this was asked last."""
        told, self._told = self._told, []
        return told

    def answered(
        self, now_s: float, task_id: str, status: int, body: dict[str, Any], back_off_s: float
    ) -> str | None:
        """The answer to a step at the door or at the end of a return. A reason to ask how things stand, or None."""
        held, code = self.tasks[task_id], str(body.get("code", ""))
        if 200 <= status < 300:
            held.attempt += 1
            if held.is_return or held.stage == "deliver":
                self._busy_s = now_s + self._persona.door_after_s
                self.drop(task_id, "returned" if held.is_return else "delivered")
            elif body.get("passed") is True or body.get("status") == "ID_VERIFIED":
                held.stage = "deliver"
            else:
                self.drop(task_id, "refused")
                self._adopt(now_s, body.get("task"))
            return None
        self._stats[f"error:{code or status}"] += 1
        held.not_before_s = now_s + back_off_s
        held.attempt += 1
        if status == 500:
            return None  # nothing was done, and this key will get no other answer: again, with another one
        if code == "WRONG_STATE" and held.stage == "check":
            held.stage = "deliver"  # most likely checked before a restart; if not, the next answer tells
        elif code == TooFar.code:
            held.is_far = True
        elif code == "ID_CHECK_INCONCLUSIVE":
            held.stage = "check" if held.attempt < 3 else "refuse"
        else:
            held.stage = "check"
            return code or str(status)
        return None

    def _adopt(self, now_s: float, task: Any) -> None:
        """The return that a refusal began; it is pushed as well, whichever comes first."""
        if isinstance(task, dict) and task.get("kind") == TaskKind.RETURN:
            self.hold(now_s, msgspec.convert(task, wire.TaskView))

    # -- what to do about it ------------------------------------------------------------------------------------------

    def steps(self, now_s: float, asked: Collection[str]) -> list[tuple[str, Step]]:
        """What the next stop asks for now, by task. `asked`: tasks with a request under way."""
        self.wake_s = float("inf")
        stop = self._next_stop()
        if not stop:
            self._roam(now_s)
            return []
        self._idle_s = now_s
        together = not any(held.status is TaskStatus.ASSIGNED for held in stop)
        free = [held for held in stop if held.view.task_id not in asked]
        steps = [(held.view.task_id, self._step(now_s, held, together)) for held in free]
        return [(task_id, step) for task_id, step in steps if step is not None]

    def _next_stop(self) -> list[Held]:
        """The tasks with something to do at the next place: all that one store has, or one door. What is in the car is
        brought before the next trip is fetched; what goes back to a store waits until the last door."""
        tasks = sorted(
            self.tasks.values(), key=lambda held: (held.status is not TaskStatus.AT_DROPOFF, held.is_return)
        )
        at_store = [held for held in tasks if held.status is TaskStatus.AT_PICKUP]
        in_car = [held for held in tasks if held.status not in TASK_RELEASABLE]
        if in_car and not at_store:
            return in_car[:1]
        fetch = at_store + [held for held in tasks if held.status is TaskStatus.ASSIGNED]
        return [held for held in fetch if held.view.pickup == fetch[0].view.pickup]

    def _step(self, now_s: float, held: Held, together: bool) -> Step | None:
        """`together`: the tasks of this stop have all arrived."""
        view = held.view
        if not self._waited(now_s, max(self._busy_s, held.not_before_s)):
            return None
        match held.status:
            case TaskStatus.ASSIGNED:
                return (
                    wire.TaskArrive if self._drive(now_s, Point(view.pickup.lat, view.pickup.lng)) else None
                )
            case TaskStatus.AT_PICKUP:
                ready_s = max(held.since_s + self._persona.store_before_s, view.ready_at.timestamp())
                return wire.TaskPickup if together and self._waited(now_s, ready_s) else None
            case TaskStatus.PICKED_UP:
                return (
                    wire.TaskArrive if self._drive(now_s, Point(view.dropoff.lat, view.dropoff.lng)) else None
                )
            case _:
                return self._at_door(now_s, held)

    def _at_door(self, now_s: float, held: Held) -> Call | None:
        view, order = held.view, held.view.order_id
        door = self._door(order)
        wait_s = self._persona.store_before_s if held.is_return else self._persona.door_before_s
        if door is Door.NOBODY_HOME and not held.is_return:
            wait_s += self._persona.nobody_home_wait_s
        if not self._waited(now_s, held.since_s + wait_s):
            return None
        if held.stage == "check" and door in (Door.NO_ID, Door.NOBODY_HOME):
            held.stage = "refuse"
        path, body = door_request(view, held.stage, door)
        if held.stage != "refuse":
            body = body | self.here(now_s, view.task_id)
        # The key names the attempt, so a repeat after a lost answer is the same request.
        return Call(f"{self._name}-{view.task_id}-{held.stage[:1]}{held.attempt}", path, body)

    def here(self, now_s: float, task_id: str) -> dict[str, Any]:
        """What is said with a step of where it is taken; with a reason where the server would not have it otherwise."""
        place = self._car.where(now_s)
        said: dict[str, Any] = {"lat": round(place.lat, 6), "lng": round(place.lng, 6)}
        return said | {"override": OverrideReason.GPS_WRONG} if self.tasks[task_id].is_far else said

    def rest_from(self, now_s: float) -> None:
        """On duty from now on: the wait for something to do begins."""
        self._idle_s = now_s

    def turn_back(self, now_s: float, from_s: float) -> None:
        """The clock was set back from `from_s`: nothing may wait for the old future."""
        self._car.stop(from_s)
        self._busy_s = self._idle_s = now_s
        for held in self.tasks.values():
            held.since_s, held.not_before_s = min(held.since_s, now_s), min(held.not_before_s, now_s)

    # -- moving -------------------------------------------------------------------------------------------------------

    def _drive(self, now_s: float, to: Point) -> bool:
        """Be under way to a place; True once there."""
        there = self._car.toward(now_s, to)
        if self._car.leg is not None:
            self._waited(now_s, self._car.leg.arrive_s)
        return there

    def _roam(self, now_s: float) -> None:
        """With nothing to do for a while, wait near another store."""
        if self._car.leg is not None:
            if self._drive(now_s, self._car.leg.end):
                self._idle_s = now_s
        elif self._haunts and self._waited(now_s, self._idle_s + self._persona.roam_after_s):
            near = offset(self._rng.choice(self._haunts), self._rng.gauss(0, 400), self._rng.gauss(0, 400))
            self._drive(now_s, near)

    def _waited(self, now_s: float, until_s: float) -> bool:
        if now_s < until_s:
            self.wake_s = min(self.wake_s, until_s)
        return now_s >= until_s
