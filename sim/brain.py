"""A driver's mind without I/O: frames, answers and time in, actions out.

    actions = brain.on_frame(now_s, frame)
    brain.next_wake_s()          # when to call `tick` at the latest

Times are seconds on the server's clock. What to do next is derived from the status of the task in hand, never from
what was done before; a driver thrown back by a crash, a lost answer or a new snapshot therefore goes on from where the
server says it is. Waiting for an answer is measured on the wall, since the network does not run faster with the
server's clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from domain import protocol as wire
from domain.lifecycle import TASK_ENDED, TASK_HELD, TaskKind, TaskStatus
from domain.times import instant
from sim.actions import Action, Call, Resync, Send, Told
from sim.door import door_request
from sim.motion import Car, Point, heading_deg, offset
from sim.offers import Choice, OfferBook
from sim.personas import Door, DriverPersona

ANSWER_TIMEOUT_S = 4.0  # wall time until an unanswered request is sent again
BACK_OFF_S = 2.0  # wall time until something that was refused is tried anew
PING_MOVING_S, PING_IDLE_S = 1.0, 5.0  # wall time between pings
PING_SERVER_S = 30.0  # a driver silent for 90 server seconds gets no offers, so ping thrice as often ...
PING_FLOOR_S = 0.5  # ... but never more often than this on the wall
NEW_NUMBERING = (
    2**19
)  # a jump this wide in `seq` is no loss: the region has begun a new life with numbers of its own
REMEMBERED = (
    200  # tasks no longer ours, so that a late frame or the answer to an old request does not revive one
)

_RETRY = frozenset({"REGION_UNAVAILABLE", "OVERLOADED", "VENDOR_UNAVAILABLE", "INTERNAL_ERROR"})
_OFFER_GONE = frozenset({"OFFER_TAKEN", "OFFER_EXPIRED"})
_RANK = {status: rank for rank, status in enumerate(TaskStatus)}


_Request: TypeAlias = wire.OfferAccept | wire.OfferReject | wire.TaskArrive | wire.TaskPickup


class _Held(Struct):
    view: wire.TaskView
    since_s: float  # in the present status
    stage: str = "check"  # at the door: check -> deliver, or refuse
    attempt: int = 0
    not_before_s: float = 0.0

    @property
    def status(self) -> TaskStatus:
        return TaskStatus(self.view.status)


class _Pending(Struct):
    """A request without an answer yet. `frame` is None for REST: there the shell repeats."""

    about: str
    frame: wire.ClientFrame | None
    resend_s: float


class Brain:
    """One driver from the start of a shift to its end."""

    def __init__(
        self,
        *,
        name: str,
        persona: DriverPersona,
        rng: Random,
        start: Point,
        door: Callable[[str], Door],
        speed: float = 1.0,
        on_s: float = 0.0,
        off_s: float = float("inf"),
        haunts: tuple[Point, ...] = (),
    ) -> None:
        """`name` must be new in each run: request ids are made from it. `speed`: server seconds per wall second."""
        self.name, self.persona, self.speed = name, persona, speed
        self.on_s, self.off_s = on_s, off_s
        self.stats: Counter[str] = Counter()
        self.tasks: dict[str, _Held] = {}
        self._rng, self._door, self._haunts = rng, door, haunts
        self._car = Car(start, persona.speed_mps, persona.detour)
        self._offers = OfferBook(persona, rng)
        self._pending: dict[str, _Pending] = {}
        self._route: list[str] = []  # ids of held tasks: whose stop comes next
        self._ended: dict[str, None] = {}
        self._connected = False
        self._duty: bool | None = None  # as last said on this socket
        self._last_seq = self._covered_seq = 0
        self._trust_snapshot = True
        self._ids = self._ping_seq = 0
        self._ping_s = self._busy_s = self._idle_s = self._now = 0.0
        self._wake = 0.0
        self._out: list[Action] = []

    # -- what the shell calls -----------------------------------------------------------------------------------------

    @property
    def resume_from(self) -> int | None:
        """For `hello`: the last push handled, None to start from the snapshot."""
        return None if self._trust_snapshot or not self._last_seq else self._last_seq

    @property
    def busy(self) -> bool:
        """Whether a task is held."""
        return bool(self.tasks)

    @property
    def done(self) -> bool:
        """The shift is over and nothing is held or under way."""
        return self._now >= self.off_s and not self.tasks and not self._pending

    def end_shift(self, now_s: float) -> None:
        """No more offers from now on; what is held is finished."""
        self.off_s = min(self.off_s, now_s)

    def next_wake_s(self) -> float:
        """When to call `tick` at the latest."""
        return self._wake

    def tick(self, now_s: float) -> list[Action]:
        """Time has passed."""
        return self._go_on(now_s)

    def on_frame(self, now_s: float, frame: wire.ServerFrame) -> list[Action]:
        """A frame came in."""
        if isinstance(frame, wire.Welcome):
            self._welcome(now_s, frame)
        else:
            fresh = self._count(frame.seq)
            if frame.in_reply_to is not None:
                self._reply(now_s, frame.in_reply_to, frame)
            elif fresh:
                self._push(now_s, frame)
        return self._go_on(now_s)

    def on_answer(self, now_s: float, key: str, status: int, body: dict[str, Any]) -> list[Action]:
        """The answer to a `Call`; status 0: none could be had, try again."""
        pending = self._pending.pop(key, None)
        held = self.tasks.get(pending.about) if pending else None
        if held is not None:
            self._answered(now_s, held, status, body)
        return self._go_on(now_s)

    def on_disconnect(self) -> None:
        """The socket is gone; positions move on meanwhile."""
        self._connected, self._duty = False, None

    # -- frames -------------------------------------------------------------------------------------------------------

    def _welcome(self, now_s: float, frame: wire.Welcome) -> None:
        self._connected, self._duty, self.speed = True, None, frame.speed
        self.stats["resumed" if frame.resumed else "snapshots"] += 1
        snapshot = frame.snapshot
        self._covered_seq = snapshot.last_seq
        if not frame.resumed:
            self._last_seq = snapshot.last_seq
            self._out.append(Send(wire.Ack(seq=snapshot.last_seq)))
        self._trust_snapshot = False
        alive = {view.task_id for view in snapshot.tasks}
        for held in [held for task_id, held in self.tasks.items() if task_id not in alive]:
            self._drop(held, "gone")
        for view in snapshot.tasks:
            self._ended.pop(view.task_id, None)
            self._hold(now_s, view, trust=True)
        open_offers = {offer.offer_id for offer in snapshot.offers}
        for offer_id in [offer_id for offer_id in self._offers.open if offer_id not in open_offers]:
            self._close_offer(offer_id)
        for offer in snapshot.offers:
            self._offer(now_s, offer)
        for pending in self._pending.values():
            pending.resend_s = now_s if pending.frame is not None else pending.resend_s

    def _count(self, seq: int) -> bool:
        """Note a push's number; whether it says something new."""
        if seq == 0:
            return True
        if seq <= self._last_seq:
            self.stats["duplicates"] += 1
            self._out.append(Send(wire.Ack(seq=self._last_seq)))
            return False
        jump = seq - self._last_seq - 1
        if jump and jump < NEW_NUMBERING:
            self.stats["lost_frames"] += jump
        self._last_seq = seq
        self._out.append(Send(wire.Ack(seq=seq)))
        return seq > self._covered_seq  # what the snapshot already holds would only turn the clock back

    def _push(self, now_s: float, frame: wire.ServerFrame) -> None:
        match frame:
            case wire.Offer():
                self._offer(now_s, frame)
            case wire.OfferAccepted():
                self._accepted(now_s, frame)
            case wire.OfferRejected():
                self._close_offer(frame.offer_id)
            case wire.OfferExpired():
                self.stats["expired"] += frame.offer_id in self._offers.open
                self._close_offer(frame.offer_id)
            case wire.OfferRevoked():
                self.stats["revoked"] += frame.offer_id in self._offers.open
                self._close_offer(frame.offer_id)
            case wire.TaskUpdated():
                self._hold(now_s, frame.task)
            case wire.TaskCancelled():
                if held := self.tasks.get(frame.task_id):
                    self.stats["cancelled"] += 1
                    self._drop(held, "gone")
            case wire.Error():
                self.stats[f"error:{frame.code}"] += 1

    def _reply(self, now_s: float, request_id: str, frame: wire.ServerFrame) -> None:
        pending = self._pending.get(request_id)
        if isinstance(frame, wire.Error):
            if pending is not None:
                self._refused(now_s, request_id, pending, frame)
            return
        # What an answer says holds even if nobody waits for it any more: a task that was given is held.
        self._pending.pop(request_id, None)
        if isinstance(frame, wire.OfferAccepted):
            self._accepted(now_s, frame)
        elif isinstance(frame, wire.OfferRejected):
            self.stats["rejected"] += 1
            self._close_offer(frame.offer_id)
        elif isinstance(frame, wire.TaskUpdated):
            self._hold(now_s, frame.task)

    def _refused(self, now_s: float, request_id: str, pending: _Pending, error: wire.Error) -> None:
        self.stats[f"error:{error.code}"] += 1
        if error.code in _RETRY:
            pending.resend_s = now_s + (error.retry_after_s or 0.5) * self.speed
            return
        del self._pending[request_id]
        if error.code in _OFFER_GONE or pending.about in self._offers.open:
            self._close_offer(pending.about)
        elif held := self.tasks.get(pending.about):
            held.not_before_s = now_s + BACK_OFF_S * self.speed
            self._resync(error.code)

    # -- offers -------------------------------------------------------------------------------------------------------

    def _offer(self, now_s: float, offer: wire.Offer | wire.OfferView) -> None:
        if self._offers.add(now_s, offer, off_shift=now_s >= self.off_s):
            self.stats["offers"] += 1
            self._out.append(Send(wire.OfferSeen(offer_id=offer.offer_id)))

    def _accepted(self, now_s: float, frame: wire.OfferAccepted) -> None:
        self.stats["accepted"] += 1
        offer = self._offers.open.get(frame.offer_id)
        self._close_offer(frame.offer_id)
        for view in frame.tasks:
            if offer is not None:
                self._ended.pop(view.task_id, None)  # had once, lost, and won again
            self._hold(now_s, view)
        if offer and len(frame.tasks) > 1:
            # A bundle: each task once for each of its stops, in the order the server planned.
            bundle = {view.task_id for view in frame.tasks}
            self._route = [i for i in self._route if i not in bundle] + [s.task_id for s in offer.stops]

    def _close_offer(self, offer_id: str) -> None:
        self._offers.close(offer_id)
        for request_id in [key for key, pending in self._pending.items() if pending.about == offer_id]:
            del self._pending[request_id]

    def _decide(self, now_s: float) -> None:
        asked = {pending.about for pending in self._pending.values()}
        for offer_id in self._offers.forgotten(now_s):
            if offer_id not in asked:
                self._close_offer(offer_id)
        for offer in self._offers.due(now_s):
            if offer.choice is Choice.ACCEPT:
                self._request(now_s, offer.offer_id, wire.OfferAccept(id=self._id(), offer_id=offer.offer_id))
            else:
                reject = wire.OfferReject(id=self._id(), offer_id=offer.offer_id, reason="not now")
                self._request(now_s, offer.offer_id, reject)
        if (next_s := self._offers.next_s()) > now_s:
            self._at(next_s)

    # -- tasks --------------------------------------------------------------------------------------------------------

    def _hold(self, now_s: float, view: wire.TaskView, *, trust: bool = False) -> None:
        """Take in how a task stands; a status that lies behind the known one is old news unless `trust`."""
        held = self.tasks.get(view.task_id)
        status = TaskStatus(view.status)
        if status in TASK_ENDED or status not in TASK_HELD:
            if held is not None:
                told = {TaskStatus.DONE: "delivered", TaskStatus.FAILED: "refused"}.get(status, "gone")
                self._drop(held, "returned" if told == "delivered" and _is_return(held) else told)
        elif held is None:
            if view.task_id not in self._ended:
                self.tasks[view.task_id] = _Held(view, now_s)
                self._route.append(view.task_id)
        elif trust or _RANK[status] >= _RANK[held.status]:
            if status is not held.status:
                held.since_s = now_s
                if status is TaskStatus.PICKED_UP:
                    self._busy_s = now_s + self.persona.store_after_s
            held.view = view

    def _drop(self, held: _Held, told: str) -> None:
        """The task is no longer ours."""
        task_id = held.view.task_id
        del self.tasks[task_id]
        self._route = [other for other in self._route if other != task_id]
        for request_id in [key for key, pending in self._pending.items() if pending.about == task_id]:
            del self._pending[request_id]
        self._ended[task_id] = None
        if len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]
        self.stats[told] += 1
        self._out.append(Told(told, held.view.order_id))

    def _answered(self, now_s: float, held: _Held, status: int, body: dict[str, Any]) -> None:
        """The answer to a step at the door or at the end of a return."""
        stage, code = held.stage, str(body.get("code", ""))
        if 200 <= status < 300:
            held.attempt += 1
            if _is_return(held) or stage == "deliver":
                self._busy_s = now_s + self.persona.door_after_s
                self._drop(held, "returned" if _is_return(held) else "delivered")
            elif body.get("passed") is True or body.get("status") == "ID_VERIFIED":
                held.stage = "deliver"
            else:
                self._drop(held, "refused")
                self._adopt(now_s, body.get("task"))
            return
        self.stats[f"error:{code or status}"] += 1
        held.not_before_s = now_s + BACK_OFF_S * self.speed
        if status == 0 or status in (429, 502, 503, 504):
            return  # nothing is known: the same request again, with the same key
        held.attempt += 1
        if status == 500:
            return  # nothing was done, and this key will get no other answer: again, with another one
        if code == "WRONG_STATE" and stage == "check":
            held.stage = "deliver"  # most likely checked before a restart; if not, the next answer tells
        elif code == "ID_CHECK_INCONCLUSIVE":
            held.stage = "check" if held.attempt < 3 else "refuse"
        else:
            held.stage = "check"
            self._resync(code or str(status))

    def _adopt(self, now_s: float, task: Any) -> None:
        """The return that a refusal began; it is pushed as well, whichever comes first."""
        if isinstance(task, dict) and task.get("kind") == TaskKind.RETURN:
            self._hold(now_s, msgspec.convert(task, wire.TaskView))

    def _work(self, now_s: float) -> None:
        """Do what the next stop asks for now, or note when."""
        held = self._next_stop()
        if held is None:
            self._roam(now_s)
            return
        self._idle_s = now_s
        if any(pending.about == held.view.task_id for pending in self._pending.values()):
            return
        wait_s = max(self._busy_s, held.not_before_s)
        if now_s < wait_s:
            self._at(wait_s)
            return
        view = held.view
        match held.status:
            case TaskStatus.ASSIGNED:
                if self._drive(now_s, Point(view.pickup.lat, view.pickup.lng)):
                    self._request(now_s, view.task_id, wire.TaskArrive(id=self._id(), task_id=view.task_id))
            case TaskStatus.AT_PICKUP:
                if self._waited(
                    now_s, max(held.since_s + self.persona.store_before_s, view.ready_at.timestamp())
                ):
                    self._request(now_s, view.task_id, wire.TaskPickup(id=self._id(), task_id=view.task_id))
            case TaskStatus.PICKED_UP:
                if self._drive(now_s, Point(view.dropoff.lat, view.dropoff.lng)):
                    self._request(now_s, view.task_id, wire.TaskArrive(id=self._id(), task_id=view.task_id))
            case TaskStatus.AT_DROPOFF:
                self._at_door(now_s, held)

    def _next_stop(self) -> _Held | None:
        """The task whose stop comes next. In a bundle's route a task appears once for pick-up and once for the door."""
        while self._route:
            held = self.tasks.get(self._route[0])
            in_car = held is not None and _RANK[held.status] >= _RANK[TaskStatus.PICKED_UP]
            if held is not None and not (in_car and self._route[0] in self._route[1:]):
                return held
            self._route.pop(0)
        return None

    def _at_door(self, now_s: float, held: _Held) -> None:
        view, order = held.view, held.view.order_id
        door = self._door(order)
        wait_s = self.persona.store_before_s if _is_return(held) else self.persona.door_before_s
        if door is Door.NOBODY_HOME and not _is_return(held):
            wait_s += self.persona.nobody_home_wait_s
        if not self._waited(now_s, held.since_s + wait_s):
            return
        if held.stage == "check" and door in (Door.NO_ID, Door.NOBODY_HOME):
            held.stage = "refuse"
        path, body = door_request(view, held.stage, door)
        # The key names the attempt, so a repeat after a lost answer is the same request.
        key = f"{self.name}-{view.task_id}-{held.stage[:1]}{held.attempt}"
        self._pending[key] = _Pending(view.task_id, None, float("inf"))
        self._out.append(Call(key, path, body))

    # -- moving -------------------------------------------------------------------------------------------------------

    def where(self, now_s: float) -> Point:
        """Where the driver is."""
        return self._car.where(now_s)

    def _drive(self, now_s: float, to: Point) -> bool:
        """Be under way to a place; True once there."""
        there = self._car.toward(now_s, to)
        if self._car.leg is not None:
            self._at(self._car.leg.arrive_s)
        return there

    def _roam(self, now_s: float) -> None:
        """With nothing to do for a while, wait near another store."""
        if self._car.leg is not None:
            if self._drive(now_s, self._car.leg.end):
                self._idle_s = now_s
        elif self._haunts and self._connected:
            due_s = self._idle_s + self.persona.roam_after_s
            if now_s < due_s:
                self._at(due_s)
            else:
                near = offset(
                    self._rng.choice(self._haunts), self._rng.gauss(0, 400), self._rng.gauss(0, 400)
                )
                self._drive(now_s, near)

    def _ping(self, now_s: float) -> None:
        if self._duty is not True and not self.tasks:
            return
        if now_s >= self._ping_s:
            here, leg = self.where(now_s), self._car.leg
            self._ping_seq += 1
            ping = wire.Location(
                lat=round(here.lat, 6),
                lng=round(here.lng, 6),
                at=instant(round(now_s * 1000)),
                seq=self._ping_seq,
                speed_mps=self.persona.speed_mps if leg else 0.0,
                heading_deg=round(heading_deg(leg.start, leg.end), 1) % 360 if leg else None,
            )
            self._out.append(Send(ping))
            self.stats["pings"] += 1
            wall_s = PING_MOVING_S if leg else PING_IDLE_S
            wall_s = max(PING_FLOOR_S, min(wall_s, PING_SERVER_S / self.speed))
            self._ping_s = now_s + wall_s * self.speed
        self._at(self._ping_s)

    # -- the turn of the wheel ----------------------------------------------------------------------------------------

    def _go_on(self, now_s: float) -> list[Action]:
        if now_s < self._now - 1:
            self._turn_back(now_s)
        self._now = now_s
        self._wake = float("inf")
        if self._connected:
            self._say_duty(now_s)
            self._decide(now_s)
            self._resend(now_s)
            self._work(now_s)
            self._ping(now_s)
        else:
            self._at(now_s + self.speed)
        out, self._out = self._out, []
        return out

    def _say_duty(self, now_s: float) -> None:
        on = self.on_s <= now_s < self.off_s
        if self._duty is not on and (on or self._duty is not None):
            here = self.where(now_s)
            self._out.append(Send(wire.Duty(on=on, lat=round(here.lat, 6), lng=round(here.lng, 6))))
            self._duty = on
            self._idle_s, self._ping_s = now_s, now_s
        for change_s in (self.on_s, self.off_s):
            if now_s < change_s:
                self._at(change_s)

    def _resend(self, now_s: float) -> None:
        for pending in self._pending.values():
            if pending.frame is None:
                continue
            if now_s >= pending.resend_s:
                self.stats["resent"] += 1
                pending.resend_s = now_s + ANSWER_TIMEOUT_S * self.speed
                self._out.append(Send(pending.frame))
            self._at(pending.resend_s)

    def _turn_back(self, now_s: float) -> None:
        """The server's clock was set back (a restart without its old anchor): nothing may wait for the old future."""
        self.stats["clock_set_back"] += 1
        self._car.stop(self._now)
        self._busy_s = self._ping_s = self._idle_s = now_s
        for held in self.tasks.values():
            held.since_s, held.not_before_s = min(held.since_s, now_s), min(held.not_before_s, now_s)
        for pending in self._pending.values():
            pending.resend_s = min(pending.resend_s, now_s + ANSWER_TIMEOUT_S * self.speed)

    def _request(self, now_s: float, about: str, frame: _Request) -> None:
        resend_s = now_s + ANSWER_TIMEOUT_S * self.speed
        self._pending[frame.id] = _Pending(about, frame, resend_s)
        self._out.append(Send(frame))
        self._at(resend_s)

    def _resync(self, reason: str) -> None:
        self.stats["resyncs"] += 1
        self._trust_snapshot = True
        self._out.append(Resync(reason))

    def _waited(self, now_s: float, until_s: float) -> bool:
        if now_s < until_s:
            self._at(until_s)
        return now_s >= until_s

    def _id(self) -> str:
        self._ids += 1
        return f"{self.name}-{self._ids}"

    def _at(self, at_s: float) -> None:
        self._wake = min(self._wake, at_s)


def _is_return(held: _Held) -> bool:
    return held.view.kind == TaskKind.RETURN
