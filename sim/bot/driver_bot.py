"""A driver's mind without I/O: frames, answers and time in, actions out.

    actions = bot.on_frame(now_s, frame)
    bot.next_wake_s()          # when to call `tick` at the latest

Here is what is said and heard: the socket, offers, duty, positions, requests until they are answered. What is in hand
and what to do about it is in `sim/bot/task_runner.py`.

Times are seconds on the server's clock. Waiting for an answer is measured on the wall, since the network does not run
faster with the server's clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec.structs import replace

from domain import protocol as wire
from domain.errors import TooFar
from domain.ground.times import instant
from domain.orders.lifecycle import TaskEvent, TaskStatus, advance_task
from domain.orders.reasons import DeclineReason
from sim.bot.actions import Action, Call, Resync, Send
from sim.bot.motion import Car, Point, heading_deg
from sim.bot.offers import Choice, OfferBook
from sim.bot.pending_requests import Asked, Frame, PendingRequests
from sim.bot.personas import Door, DriverPersona
from sim.bot.task_runner import Held, TaskRunner

ANSWER_TIMEOUT_S = 4.0  # wall time until an unanswered request is sent again
BACK_OFF_S = 2.0  # wall time until something that was refused is tried anew
PING_MOVING_S, PING_IDLE_S = 1.0, 5.0  # wall time between pings
PING_SERVER_S = 30.0  # a driver silent for 90 server seconds gets no offers, so ping thrice as often ...
PING_FLOOR_S = 0.5  # ... but never more often than this on the wall
# The shift's end is said when it is so far ahead: the server takes a day at most, and its clock may differ.
SHIFT_END_S = (300.0, 23 * 3600.0)
NEW_NUMBERING = (
    2**19
)  # a jump this wide in `seq` is no loss: the region has begun a new life with numbers of its own
_RETRY = frozenset(
    {"REGION_UNAVAILABLE", "STORE_UNAVAILABLE", "OVERLOADED", "VENDOR_UNAVAILABLE", "INTERNAL_ERROR"}
)
_RETRY_STATUS = frozenset(
    {0, 429, 502, 503, 504}
)  # nothing is known: the same request again, with the same key
_OFFER_GONE = frozenset({"OFFER_TAKEN", "OFFER_EXPIRED"})
_EVENTS = {wire.TaskArrive: TaskEvent.ARRIVE, wire.TaskPickup: TaskEvent.PICKUP}


class DriverBot:
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
        self._car = Car(start, persona.speed_mps, persona.detour)
        self._runner = TaskRunner(
            name=name,
            persona=persona,
            car=self._car,
            door=door,
            rng=rng,
            haunts=haunts,
            stats=self.stats,
        )
        self._offers = OfferBook(persona, rng)
        self._asks = PendingRequests()
        self._connected = False
        self._duty: bool | None = None  # as last said on this socket
        self._last_seq = self._covered_seq = 0
        self._trust_snapshot = True
        self._ids = self._ping_seq = 0
        self._ping_s = self._now = self._wake = 0.0
        self._out: list[Action] = []

    # -- what the shell calls -----------------------------------------------------------------------------------------

    @property
    def resume_from(self) -> int | None:
        """For `hello`: the last push handled, None to start from the snapshot."""
        return None if self._trust_snapshot or not self._last_seq else self._last_seq

    @property
    def tasks(self) -> dict[str, Held]:
        """Tasks in hand."""
        return self._runner.tasks

    @property
    def unanswered(self) -> list[str]:
        """Ids of requests without an answer, sent or not."""
        return [asked.key for asked in self._asks]

    @property
    def busy(self) -> bool:
        """Whether a task is held."""
        return bool(self.tasks)

    @property
    def done(self) -> bool:
        """The shift is over and nothing is held or under way."""
        return self._now >= self.off_s and not self.tasks and not self._asks

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
            fresh = self._count(frame.seq, frame.skipped)
            if frame.in_reply_to is not None:
                self._reply(now_s, frame.in_reply_to, frame)
            elif fresh:
                self._push(now_s, frame)
        return self._go_on(now_s)

    def on_answer(self, now_s: float, key: str, status: int, body: dict[str, Any]) -> list[Action]:
        """The answer to a `Call`; status 0: none could be had, try again."""
        asked, back_off_s = self._asks.get(key), BACK_OFF_S * self.speed
        if asked is not None and status in _RETRY_STATUS:
            self.stats[f"error:{body.get('code') or status}"] += 1
            asked.due_s = now_s + back_off_s
        elif asked is not None:
            self._asks.pop(key)
            if asked.about in self.tasks and (
                reason := self._runner.answered(now_s, asked.about, status, body, back_off_s)
            ):
                self._resync(reason)
        return self._go_on(now_s)

    def on_disconnect(self) -> None:
        """The socket is gone. The driver goes on: what is done meanwhile is kept and sent when there is one again."""
        self._connected, self._duty = False, None
        for asked in self._asks:
            if asked.then is not None:
                self._runner.foresee(self._now, asked.about, asked.then)

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
        self._asks.count_from(snapshot.last_n)
        self._runner.replace(now_s, snapshot.tasks)
        open_offers = {offer.offer_id for offer in snapshot.offers}
        for offer_id in [offer_id for offer_id in self._offers.open if offer_id not in open_offers]:
            self._offers.close(offer_id)
        for offer in snapshot.offers:
            self._offer(now_s, offer, say=True)  # whoever said so may not have been heard
        self._asks.resend(now_s)

    def _count(self, seq: int, skipped: int) -> bool:
        """Note a push's number; whether it says something new."""
        if seq == 0:
            return True
        if seq <= self._last_seq:
            self.stats["duplicates"] += 1
            self._out.append(Send(wire.Ack(seq=self._last_seq)))
            return False
        jump = seq - self._last_seq - 1 - skipped
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
                self._offers.close(frame.offer_id)
            case wire.OfferExpired():
                self.stats["expired"] += frame.offer_id in self._offers.open
                self._offers.close(frame.offer_id)
            case wire.OfferRevoked():
                self.stats["revoked"] += frame.offer_id in self._offers.open
                self._offers.close(frame.offer_id)
            case wire.TaskAssigned():
                self._runner.won(now_s, (frame.task,), asked=True)
            case wire.TaskUpdated():
                self._runner.hold(now_s, frame.task)
            case wire.TaskCancelled():
                self.stats["cancelled"] += self._runner.drop(frame.task_id, "gone")
            case wire.Error():
                self.stats[f"error:{frame.code}"] += 1

    def _reply(self, now_s: float, request_id: str, frame: wire.ServerFrame) -> None:
        asked = self._asks.get(request_id)
        if isinstance(frame, wire.Error):
            if asked is not None:
                self._refused(now_s, asked, frame)
            return
        # What an answer says holds even if nobody waits for it any more: a task that was given is held.
        self._asks.pop(request_id)
        if isinstance(frame, wire.OfferAccepted):
            self._accepted(now_s, frame)
        elif isinstance(frame, wire.OfferRejected):
            self.stats["rejected"] += 1
            self._offers.close(frame.offer_id)
        elif isinstance(frame, wire.TaskUpdated):
            self._runner.hold(now_s, frame.task)

    def _refused(self, now_s: float, asked: Asked, error: wire.Error) -> None:
        self.stats[f"error:{error.code}"] += 1
        if error.code in _RETRY:
            asked.due_s = now_s + (error.retry_after_s or 0.5) * self.speed
            return
        # What was done after it stands on nothing.
        self._asks.drop(asked.about)
        if error.code in _OFFER_GONE or asked.about in self._offers.open:
            self._offers.close(asked.about)
        elif held := self.tasks.get(asked.about):
            held.is_far |= error.code == TooFar.code
            self._runner.foresee(now_s, asked.about, None)
            held.not_before_s = now_s + BACK_OFF_S * self.speed
            self._resync(error.code)

    # -- offers -------------------------------------------------------------------------------------------------------

    def _offer(self, now_s: float, offer: wire.Offer | wire.OfferView, *, say: bool = False) -> None:
        new = self._offers.add(now_s, offer, off_shift=now_s >= self.off_s)
        self.stats["offers"] += new
        if new or say:
            self._out.append(Send(wire.OfferSeen(offer_id=offer.offer_id)))

    def _accepted(self, now_s: float, frame: wire.OfferAccepted) -> None:
        self.stats["accepted"] += 1
        self.stats["bundles"] += len(frame.tasks) > 1
        self._runner.won(now_s, frame.tasks, asked=frame.offer_id in self._offers.open)
        self._offers.close(frame.offer_id)

    def _decide(self, now_s: float) -> None:
        asked = self._asks.about()
        for offer_id in self._offers.forgotten(now_s):
            if offer_id not in asked:
                self._offers.close(offer_id)
        for offer in self._offers.due(now_s):
            if offer.choice is Choice.ACCEPT:
                self._ask(now_s, offer.offer_id, wire.OfferAccept(id=self._id(), offer_id=offer.offer_id))
            else:
                reject = wire.OfferReject(
                    id=self._id(), offer_id=offer.offer_id, reason=DeclineReason.NOT_NOW
                )
                self._ask(now_s, offer.offer_id, reject)
        if (next_s := self._offers.next_s()) > now_s:
            self._at(next_s)

    # -- tasks --------------------------------------------------------------------------------------------------------

    def _work(self, now_s: float) -> None:
        """Ask for what the next stop takes, or note when."""
        for task_id, step in self._runner.steps(now_s, self._asks.about(offline=not self._connected)):
            if isinstance(step, Call):
                self._ask(now_s, task_id, step)
            else:
                then = advance_task(self.tasks[task_id].status, _EVENTS[step])
                self._ask(
                    now_s,
                    task_id,
                    step(id=self._id(), task_id=task_id, **self._runner.here(now_s, task_id)),
                    then,
                )
        self._at(self._runner.wake_s)

    # -- position -----------------------------------------------------------------------------------------------------

    def where(self, now_s: float) -> Point:
        """Where the driver is."""
        return self._car.where(now_s)

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
        self._forget_requests()
        if self._connected:
            self._say_duty(now_s)
        self._decide(now_s)
        self._work(now_s)
        if self._connected:
            self._send(now_s)
            self._ping(now_s)
        else:
            self._at(now_s + self.speed)
        out, self._out = [*self._out, *self._runner.told()], []
        return out

    def _say_duty(self, now_s: float) -> None:
        on = self.on_s <= now_s < self.off_s
        if self._duty is not on and (on or self._duty is not None):
            here = self.where(now_s)
            says_until = SHIFT_END_S[0] <= self.off_s - now_s <= SHIFT_END_S[1]
            until = instant(round(self.off_s * 1000)) if says_until else None
            lat, lng = round(here.lat, 6), round(here.lng, 6)
            self._out.append(Send(wire.Duty(on=on, lat=lat, lng=lng, until=until)))
            self._duty = on
            self._runner.rest_from(now_s)
            self._ping_s = now_s
        for change_s in (self.on_s, self.off_s):
            if now_s < change_s:
                self._at(change_s)

    def _send(self, now_s: float) -> None:
        self.stats["resent"] += sum(asked.times > 0 for asked in self._asks.first() if now_s >= asked.due_s)
        self._out += self._asks.send(now_s, ANSWER_TIMEOUT_S * self.speed)
        self._at(self._asks.next_s())

    def _turn_back(self, now_s: float) -> None:
        """The server's clock was set back (a restart without its old anchor): nothing may wait for the old future."""
        self.stats["clock_set_back"] += 1
        self._runner.turn_back(now_s, self._now)
        self._ping_s = now_s
        self._asks.turn_back(now_s + ANSWER_TIMEOUT_S * self.speed)

    def _ask(self, now_s: float, about: str, what: Frame | Call, then: TaskStatus | None = None) -> None:
        """Ask, with the time and a number; without a network, later, and go on as if it were granted."""
        what = replace(what, at=instant(round(now_s * 1000)), n=self._asks.number(now_s))
        self._asks.add(Asked(what.key if isinstance(what, Call) else what.id, about, what, then))
        if not self._connected:
            self.stats["done_offline"] += 1
            if then is not None:
                self._runner.foresee(now_s, about, then)

    def _forget_requests(self) -> None:
        """What is asked about an offer that has ended, or a task that is no longer ours, needs no answer."""
        self._asks.keep(self._offers.open.keys() | self.tasks.keys())

    def _resync(self, reason: str) -> None:
        self.stats["resyncs"] += 1
        self._trust_snapshot = True
        self._out.append(Resync(reason))

    def _id(self) -> str:
        self._ids += 1
        return f"{self.name}-{self._ids}"

    def _at(self, at_s: float) -> None:
        self._wake = min(self._wake, at_s)
