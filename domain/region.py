"""A market as a synchronous, deterministic state machine.

    ready = region.step(now_ms, message)

No I/O, no clock, no randomness: time and the epoch come in, ids are derived from them, so the same messages give the
same decisions byte for byte. What a step decides is in `ready.records`, which must be durable before `ready.pushes` and
`ready.reply` leave (see `domain.messages.Ready`); the shell that sees to it is `actors/pump.py`.

What people ask for (accept, arrive, deliver, ...) is decided in `domain/requests.py`; here are the fleet, the offers
and the FAST loop.
"""

from __future__ import annotations

import heapq
import uuid
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

import h3
from msgspec.structs import replace

from domain import requests
from domain.errors import IdempotencyKeyReused, NotFound, Refusal
from domain.fleet import DriverState, Fleet
from domain.jobs import Job, Lately, offer_view, short, task_view
from domain.lifecycle import OfferStatus, TaskEvent, TaskKind, TaskStatus
from domain.mailbox import Mailboxes
from domain.messages import (
    Acked,
    Ask,
    Attach,
    Attached,
    Detach,
    DriversSeen,
    GatewayLost,
    Kick,
    Message,
    OfferSeenBy,
    PlanReady,
    Push,
    Ready,
    SolveFailed,
    TaskOpened,
    Tick,
)
from domain.ops import COUNTERS
from domain.order import refused
from domain.policy import RegionPolicy
from domain.protocol import (
    Offer,
    OfferExpired,
    OfferRevoked,
    ServerFrame,
    Snapshot,
    TaskCancelled,
    TaskUpdated,
)
from domain.records import Answer, OfferRow, Record, RegionImage, StoredAnswer, TaskRow
from domain.solve import Assignment
from domain.solving import solve_request

_STATE_OF_TASK = {
    TaskStatus.ASSIGNED: DriverState.TO_PICKUP,
    TaskStatus.AT_PICKUP: DriverState.TO_PICKUP,
    TaskStatus.PICKED_UP: DriverState.TO_DROPOFF,
    TaskStatus.AT_DROPOFF: DriverState.TO_DROPOFF,
}
_CLOSED_COUNTER = {
    OfferStatus.ACCEPTED: "offers_accepted",
    OfferStatus.REJECTED: "offers_rejected",
    OfferStatus.EXPIRED: "offers_expired",
    OfferStatus.REVOKED: "offers_revoked",
}


class Region:
    """One market. Made from its stored image; everything in it afterwards comes from `step`."""

    def __init__(self, image: RegionImage, policy: RegionPolicy, now_ms: int) -> None:
        self.id, self.epoch, self.policy = image.region_id, image.epoch, policy
        self.fleet = Fleet()
        self.jobs: dict[str, Job] = {}
        self.by_order: dict[str, str] = {}  # order id -> its active task
        self.open: dict[str, None] = {}  # open tasks, oldest first
        self.offers: dict[str, OfferRow] = {}  # live
        self.held: dict[str, set[str]] = {}  # driver -> tasks held
        self.offered: dict[str, str] = {}  # driver -> live offer, one at a time
        self.closed: Lately[str, OfferStatus] = Lately(policy.closed_offers_limit)
        self.ended: Lately[str, TaskStatus] = Lately(policy.ended_tasks_limit)
        self.answers: Lately[tuple[str, str], tuple[str, Answer]] = Lately(policy.answers_limit)
        self.mail = Mailboxes(self.epoch, policy.push_ring)
        self.counters = {name: image.counters.get(name, 0) for name in COUNTERS}
        self.decisions: deque[tuple[int, str]] = deque(maxlen=policy.decisions_limit)
        self.demand: deque[tuple[int, str]] = deque(
            maxlen=policy.demand_limit
        )  # (ms, H3 cell) of opened tasks
        self._expiries: list[tuple[int, str]] = []
        self._ids = 0
        self._solves = 0
        self._solving: tuple[int, int] | None = None  # (request id, given up at ms)
        self._window_ms: int | None = None  # since when something waits for a solve
        self._looked_ms = now_ms
        self._ready = Ready()
        self._restore(image, now_ms)

    def _restore(self, image: RegionImage, now_ms: int) -> None:
        orders = {order.order_id: order for order in image.orders}
        for task in image.tasks:
            self.add_job(Job(task, orders[task.order_id]), now_ms)
        for offer in image.recent_offers:
            self.closed[offer.offer_id] = offer.status
            self._note_decline(offer)
        for stored in image.answers:
            self.answers[(stored.scope, stored.key)] = (stored.fingerprint, stored.answer)
        # A push may have been lost with the process before, so every driver hears again where things stand.
        for task in image.recent_tasks:
            self.ended[task.task_id] = task.status
            if task.status is TaskStatus.CANCELLED and task.driver_id is not None:
                self.push(task.driver_id, TaskCancelled(task_id=task.task_id, reason="CANCELLED"))
        since_ms = now_ms - self._ms(self.policy.repush_s)
        for offer in image.recent_offers:
            if (
                offer.status in (OfferStatus.EXPIRED, OfferStatus.REVOKED)
                and (offer.closed_ms or 0) >= since_ms
            ):
                self._push_closed(offer)
        for offer in image.offers:
            self._add_offer(offer)
            self.push(offer.driver_id, self._offer_frame(offer, now_ms))
        for task in image.tasks:
            if task.driver_id is not None:
                self.push(task.driver_id, TaskUpdated(task=task_view(task)))
        self._ready = Ready()  # nobody is attached yet: the mailboxes hold what was pushed

    # -- the step -----------------------------------------------------------------------------------------------------

    def step(self, now_ms: int, message: Message) -> Ready:
        """Take one message in and return what must be made durable and what may leave afterwards."""
        self._ready = ready = Ready()
        _HANDLERS[type(message)](self, now_ms, message)
        self._maybe_solve(now_ms)
        return ready

    def next_deadline(self) -> int | None:
        """When to call `step(now, Tick())` at the latest, in server ms; None: nothing is waiting."""
        due = [self._expiries[0][0]] if self._expiries else []
        if self._solving is not None:
            due.append(self._solving[1])
        elif self.open:
            due.append(self._solve_due_ms())
        return min(due, default=None)

    # -- answers ------------------------------------------------------------------------------------------------------

    def _ask(self, now_ms: int, ask: Ask) -> None:
        known = self.answers.get((ask.scope, ask.key))
        if known is not None:
            fingerprint, answer = known
            self._ready.reply = answer if fingerprint == ask.fingerprint else refused(IdempotencyKeyReused())
            return
        try:
            draft = requests.HANDLERS[type(ask.action)](self, now_ms, ask)
        except Refusal as error:
            answer = refused(error)
        else:
            answer = draft.answer
            if draft.has_facts:
                stored = StoredAnswer(
                    scope=ask.scope, key=ask.key, fingerprint=ask.fingerprint, answer=answer, at_ms=now_ms
                )
                self.record(draft.record(self.new_id(), stored))
        self.answers[(ask.scope, ask.key)] = (ask.fingerprint, answer)
        self._ready.reply = answer

    # -- drivers ------------------------------------------------------------------------------------------------------

    def _drivers_seen(self, now_ms: int, batch: DriversSeen) -> None:
        seen = self.fleet.see(now_ms, batch)
        self._ready.pushes.extend(seen.kicks)
        for row in seen.appeared:
            # This socket was opened before the region's present life: it has missed what its mailbox holds.
            for frame in self.mail.kept(self.fleet.ids[row]):
                self._send(row, frame)
        if seen.came_on and self.open:
            self.wake(now_ms)
        for row in seen.went_off:
            offer_id = self.offered.get(self.fleet.ids[row])
            if offer_id is not None:
                self.close_offer(now_ms, self.offers[offer_id], OfferStatus.REVOKED, "DRIVER_OFF_DUTY")

    def _attach(self, now_ms: int, attach: Attach) -> None:
        fleet, row = self.fleet, self.fleet.row(attach.driver_id)
        missed = self.mail.since(attach.driver_id, attach.resume_from)
        snapshot = self._snapshot(now_ms, attach.driver_id)
        self._ready.reply = Attached(missed is not None, snapshot, missed or ())
        if fleet.gateway[row] >= 0 and fleet.session[row] > attach.session:
            # A socket that was opened later is there already: this one was overtaken on its way here.
            self._ready.pushes.append(Kick(attach.gateway_id, attach.driver_id, attach.session))
            return
        if fleet.gateway[row] >= 0 and fleet.session[row] != attach.session:
            gateway_id = fleet.gateways[fleet.gateway[row]]
            self._ready.pushes.append(Kick(gateway_id, attach.driver_id, int(fleet.session[row])))
        fleet.gateway[row] = fleet.gateway_number(attach.gateway_id)
        fleet.session[row], fleet.seq[row] = attach.session, 0

    def _detach(self, now_ms: int, detach: Detach) -> None:
        row = self.fleet.row(detach.driver_id)
        if self.fleet.session[row] == detach.session:
            self.fleet.gateway[row], self.fleet.session[row] = -1, 0

    def _gateway_lost(self, now_ms: int, lost: GatewayLost) -> None:
        self.fleet.gateway[self.fleet.gateway == self.fleet.gateway_number(lost.gateway_id)] = -1

    def _acked(self, now_ms: int, acked: Acked) -> None:
        self.mail.acked(acked.driver_id, acked.seq)

    def _snapshot(self, now_ms: int, driver_id: str) -> Snapshot:
        offer = self.offers.get(self.offered.get(driver_id, ""))
        return Snapshot(
            offers=(offer_view(offer, self._tasks_of(offer), now_ms),) if offer else (),
            tasks=tuple(
                task_view(self.jobs[task_id].task) for task_id in sorted(self.held.get(driver_id, ()))
            ),
            last_seq=self.mail.last_seq(driver_id),
        )

    def push(self, driver_id: str, frame: ServerFrame) -> None:
        """Number a frame for the driver, keep it until acknowledged, and send it when a socket is known."""
        self._send(self.fleet.row(driver_id), self.mail.put(driver_id, frame))

    def _send(self, row: int, frame: ServerFrame) -> None:
        fleet = self.fleet
        if fleet.gateway[row] >= 0:
            gateway_id = fleet.gateways[fleet.gateway[row]]
            self._ready.pushes.append(Push(gateway_id, fleet.ids[row], int(fleet.session[row]), frame))

    def set_state(self, driver_id: str) -> None:
        """Derive what the driver is busy with from offers and tasks."""
        row = self.fleet.row(driver_id)
        if held := self.held.get(driver_id):
            self.fleet.state[row] = max(self._state_for(self.jobs[task_id].task) for task_id in held)
        elif driver_id in self.offered:
            self.fleet.state[row] = DriverState.OFFERED
        else:
            self.fleet.state[row] = DriverState.FREE

    @staticmethod
    def _state_for(task: TaskRow) -> DriverState:
        return DriverState.RETURNING if task.kind is TaskKind.RETURN else _STATE_OF_TASK[task.status]

    # -- tasks and offers ---------------------------------------------------------------------------------------------

    def _task_opened(self, now_ms: int, opened: TaskOpened) -> None:
        self._ready.reply = Answer()
        task_id = opened.task.task_id
        # Told at least once: a late repeat must not bring back a task that has ended meanwhile.
        if task_id in self.jobs or self.ended.get(task_id) or opened.task.status is not TaskStatus.OPEN:
            return
        self.add_job(Job(opened.task, opened.order), now_ms)
        self.counters["orders"] += 1
        task, resolution = opened.task, self.policy.hex_resolution
        self.demand.append((now_ms, h3.latlng_to_cell(task.dropoff_lat, task.dropoff_lng, resolution)))

    def add_job(self, job: Job, now_ms: int) -> None:
        self.jobs[job.task.task_id] = job
        self.by_order[job.task.order_id] = job.task.task_id
        if job.task.status is TaskStatus.OPEN:
            self._put_open(job.task.task_id, now_ms)
        elif job.held_by is not None:
            self.hold(job)

    def _put_open(self, task_id: str, now_ms: int) -> None:
        if not self.open:
            self._looked_ms = now_ms  # nothing was waiting until now, so the longest wait begins now
        self.open[task_id] = None
        self.wake(now_ms)

    def hold(self, job: Job) -> None:
        """Note that the job's driver holds its task."""
        assert job.task.driver_id is not None
        self.held.setdefault(job.task.driver_id, set()).add(job.task.task_id)
        self.set_state(job.task.driver_id)

    def end_job(self, now_ms: int, job: Job) -> None:
        """Forget a task that has ended; its driver is free unless something else is held."""
        del self.jobs[job.task.task_id]
        self.ended[job.task.task_id] = job.task.status
        self.open.pop(job.task.task_id, None)
        if self.by_order.get(job.task.order_id) == job.task.task_id:
            del self.by_order[job.task.order_id]
        if job.task.driver_id is not None:
            held = self.held[job.task.driver_id]
            held.discard(job.task.task_id)
            if not held:
                del self.held[job.task.driver_id]
            self.set_state(job.task.driver_id)
        self.wake(now_ms)

    def _add_offer(self, offer: OfferRow) -> None:
        self.offers[offer.offer_id] = offer
        heapq.heappush(self._expiries, (offer.expires_ms, offer.offer_id))
        self.offered[offer.driver_id] = offer.offer_id
        self.set_state(offer.driver_id)

    def end_offer(self, now_ms: int, offer: OfferRow, status: OfferStatus, reason: str | None) -> OfferRow:
        """Take a live offer off the table and return the row to write. The tasks are the caller's to move."""
        del self.offers[offer.offer_id]
        del self.offered[offer.driver_id]
        row = replace(offer, status=status, closed_ms=now_ms, reason=reason)
        self.closed[offer.offer_id] = status
        self.counters[_CLOSED_COUNTER[status]] += 1
        self._note_decline(row)
        self.fleet.taken[self.fleet.index[offer.driver_id]] += status is OfferStatus.ACCEPTED
        return row

    def close_offer(self, now_ms: int, offer: OfferRow, status: OfferStatus, reason: str) -> None:
        """End an offer without a taker: its tasks are open again, the driver is told."""
        row = self.end_offer(now_ms, offer, status, reason)
        self.record(Record(record_id=self.new_id(), tasks=self.reopen(now_ms, offer), offers=(row,)))
        self.set_state(offer.driver_id)
        self._push_closed(row)

    def reopen(self, now_ms: int, offer: OfferRow) -> tuple[TaskRow, ...]:
        """Put an ended offer's tasks back among the open ones and return the rows to write."""
        jobs = [self.jobs[task_id] for task_id in offer.task_ids]
        for job in jobs:
            job.move_task(TaskEvent.WITHDRAW, offer_id=None)
            self._put_open(job.task.task_id, now_ms)
        return tuple(job.task for job in jobs)

    def _note_decline(self, offer: OfferRow) -> None:
        if offer.status not in (OfferStatus.REJECTED, OfferStatus.EXPIRED):
            return
        assert offer.closed_ms is not None
        for task_id in offer.task_ids:
            if (job := self.jobs.get(task_id)) is not None:
                times, _ = job.declined.get(offer.driver_id, (0, 0))
                job.declined[offer.driver_id] = (times + 1, offer.closed_ms)
        if offer.status is OfferStatus.EXPIRED:
            # Nobody is looking at that phone: leave it alone for a while.
            row = self.fleet.row(offer.driver_id)  # may make room, so it comes before the column is named
            self.fleet.rest_until_ms[row] = offer.closed_ms + self._ms(self.policy.decline_cooldown_s)

    def _push_closed(self, offer: OfferRow) -> None:
        if offer.status is OfferStatus.EXPIRED:
            self.push(offer.driver_id, OfferExpired(offer_id=offer.offer_id))
        else:
            self.push(offer.driver_id, OfferRevoked(offer_id=offer.offer_id, reason=offer.reason or ""))

    def _offer_seen(self, now_ms: int, seen: OfferSeenBy) -> None:
        offer = self.offers.get(seen.offer_id)
        if offer is not None and offer.driver_id == seen.driver_id and offer.seen_ms is None:
            # Written with the outcome: a region that dies in between loses a display time and nothing else.
            self.offers[offer.offer_id] = replace(offer, seen_ms=now_ms)

    def expire_offers(self, now_ms: int, limit: int | None = None) -> int:
        """Expire live offers that are past their time, oldest first; returns how many."""
        expired = 0
        while self._expiries and self._expiries[0][0] <= now_ms and (limit is None or expired < limit):
            _, offer_id = heapq.heappop(self._expiries)
            offer = self.offers.get(offer_id)
            if offer is not None:
                self.close_offer(now_ms, offer, OfferStatus.EXPIRED, "TTL")
                expired += 1
        return expired

    def _tasks_of(self, offer: OfferRow) -> list[TaskRow]:
        return [self.jobs[task_id].task for task_id in offer.task_ids]

    def _offer_frame(self, offer: OfferRow, now_ms: int) -> Offer:
        view = offer_view(offer, self._tasks_of(offer), now_ms)
        return Offer(
            offer_id=view.offer_id,
            tasks=view.tasks,
            stops=view.stops,
            expires_at=view.expires_at,
            ttl_s=view.ttl_s,
        )

    # -- the FAST loop ------------------------------------------------------------------------------------------------

    def wake(self, now_ms: int) -> None:
        """Something changed that a solve should see: open the window if it is not open."""
        if self._window_ms is None:
            self._window_ms = now_ms

    def solve_now(self, now_ms: int) -> None:
        """Let the next look happen in this step instead of at the window's end."""
        self._window_ms = now_ms - self._ms(self.policy.fast_window_s)

    def _solve_due_ms(self) -> int:
        due_ms = self._looked_ms + self._ms(self.policy.fast_max_wait_s)
        if self._window_ms is not None:
            due_ms = min(due_ms, self._window_ms + self._ms(self.policy.fast_window_s))
        return due_ms

    def _maybe_solve(self, now_ms: int) -> None:
        if self._solving is not None and now_ms >= self._solving[1]:
            self._solving = None
        if self._solving is not None or not self.open or now_ms < self._solve_due_ms():
            return
        self._window_ms, self._looked_ms = None, now_ms
        rows = self.fleet.free_rows(now_ms, self._ms(self.policy.driver_stale_s))
        if len(rows) == 0:
            return
        self._solves += 1
        self._solving = (self._solves, now_ms + self._ms(self.policy.solve_timeout_s))
        jobs = [self.jobs[task_id] for task_id in islice(self.open, self.policy.solve_tasks_limit)]
        self._ready.solve = solve_request(self._solves, now_ms, jobs, self.fleet.columns(rows), self.policy)

    def _plan_ready(self, now_ms: int, message: PlanReady) -> None:
        if self._solving is None or self._solving[0] != message.plan.request_id:
            return  # given up on meanwhile
        self._solving = None
        free = set(self.fleet.free_rows(now_ms, self._ms(self.policy.driver_stale_s)).tolist())
        for assignment in message.plan.assignments:
            row = self.fleet.index.get(assignment.driver_id)
            if row in free and all(task_id in self.open for task_id in assignment.task_ids):
                free.discard(row)
                self._make_offer(now_ms, assignment)
            else:
                self.wake(now_ms)  # the plan was overtaken: look again

    def _solve_failed(self, now_ms: int, message: SolveFailed) -> None:
        if self._solving is not None and self._solving[0] == message.request_id:
            self._solving = None

    def _make_offer(self, now_ms: int, assignment: Assignment) -> None:
        offer = OfferRow(
            offer_id=self.new_id(),
            region_id=self.id,
            driver_id=assignment.driver_id,
            task_ids=assignment.task_ids,
            status=OfferStatus.OFFERED,
            made_ms=now_ms,
            expires_ms=now_ms + self._ms(self.policy.offer_ttl_s),
            features=assignment.features,
        )
        jobs = [self.jobs[task_id] for task_id in assignment.task_ids]
        for job in jobs:
            job.move_task(TaskEvent.OFFER, offer_id=offer.offer_id)
            del self.open[job.task.task_id]
        self._add_offer(offer)
        self.fleet.offers[self.fleet.index[offer.driver_id]] += 1
        self.counters["offers_made"] += 1
        self.record(Record(record_id=self.new_id(), tasks=tuple(job.task for job in jobs), offers=(offer,)))
        self.push(offer.driver_id, self._offer_frame(offer, now_ms))
        features = assignment.features
        self.say(
            now_ms,
            f"Offered task {short(offer.task_ids[0])} to driver {short(offer.driver_id)}: "
            f"{features.get('pickup_km', 0):.1f} km away, {features.get('p_accept', 0):.0%} likely to accept",
        )

    def _tick(self, now_ms: int, message: Tick) -> None:
        self.expire_offers(now_ms)
        horizon_ms = now_ms - self._ms(self.policy.demand_window_s)
        while self.demand and self.demand[0][0] < horizon_ms:
            self.demand.popleft()

    # -- small things -------------------------------------------------------------------------------------------------

    def job_of_order(self, order_id: str) -> Job:
        """The active task of an order; `NotFound` when the region has none."""
        task_id = self.by_order.get(order_id)
        if task_id is None:
            raise NotFound("The order has no task under way.")
        return self.jobs[task_id]

    def record(self, record: Record) -> None:
        self._ready.records.append(record)

    def new_id(self) -> str:
        """The next id of this epoch: a name-based UUID, so that a replay gives the same one."""
        self._ids += 1
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.id}/{self.epoch}/{self._ids}"))

    def say(self, now_ms: int, text: str) -> None:
        """Note a decision in words for mission control. Ids only, no personal data."""
        self.decisions.appendleft((now_ms, text))

    @staticmethod
    def _ms(seconds: float) -> int:
        return round(seconds * 1000)


_HANDLERS: dict[type[Message], Callable[[Region, int, Any], None]] = {
    Ask: Region._ask,
    DriversSeen: Region._drivers_seen,
    OfferSeenBy: Region._offer_seen,
    Attach: Region._attach,
    Detach: Region._detach,
    GatewayLost: Region._gateway_lost,
    Acked: Region._acked,
    TaskOpened: Region._task_opened,
    PlanReady: Region._plan_ready,
    SolveFailed: Region._solve_failed,
    Tick: Region._tick,
}
