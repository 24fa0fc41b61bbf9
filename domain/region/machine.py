"""A market as a synchronous, deterministic state machine.

    ready = region.step(now_ms, message)

No I/O, no clock, no randomness: time and the epoch come in, ids are derived from them, so the same messages give the
same decisions byte for byte. What a step decides is in `ready.records`, which must be durable before `ready.pushes` and
`ready.reply` leave (see `domain.region.messages.Ready`); the shell that sees to it is `actors/region/pump.py`.

What people ask for (accept, arrive, deliver, ...) is decided in `requests.py`, how offers begin and end in `offers.py`,
when to look for drivers in `solving/cadence.py`, and who is lost in `silence.py`. Here is what they share: drivers,
tasks, and what leaves.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

import h3
import numpy as np

from domain.errors import IdempotencyKeyReused, NotFound, Refusal, RegionUnavailable
from domain.ground.arrays import F64
from domain.ground.times import in_ms
from domain.orders.decide import refused
from domain.orders.lifecycle import TASK_RELEASABLE, OfferStatus, Role, TaskKind, TaskStatus
from domain.orders.records import Answer, OfferRow, Record, RegionImage, StoredAnswer, TaskRow
from domain.protocol import (
    ServerFrame,
    Snapshot,
    TaskCancelled,
    TaskUpdated,
)
from domain.region import offers, requests
from domain.region.answers import LOOK_FIRST, Answers
from domain.region.fleet import DriverState, Fleet, Rows
from domain.region.foresight import when_done
from domain.region.jobs import Job, Lately, offer_view, task_view
from domain.region.mailbox import Mailboxes
from domain.region.messages import (
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
    Settled,
    SolveFailed,
    TaskOpened,
    Tick,
)
from domain.region.ops.frames import COUNTERS
from domain.region.policy import RegionPolicy
from domain.region.silence import Watch, release
from domain.region.solving.cadence import FastLoop
from domain.region.solving.nearby import nearby
from domain.region.solving.problem import View, zones_of

_FOR_EVER_MS = 2**62
_STATE_OF_TASK = {
    TaskStatus.ASSIGNED: DriverState.TO_PICKUP,
    TaskStatus.AT_PICKUP: DriverState.TO_PICKUP,
    TaskStatus.PICKED_UP: DriverState.TO_DROPOFF,
    TaskStatus.AT_DROPOFF: DriverState.TO_DROPOFF,
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
        self.asked: dict[
            tuple[str, ...], list[str]
        ] = {}  # tasks -> their live offers, several where it came to that
        self.closed: Lately[str, OfferStatus] = Lately(policy.closed_offers_limit)
        self.ended: Lately[str, TaskStatus] = Lately(policy.ended_tasks_limit)
        self.answers = Answers(policy.answers_limit, complete=image.all_answers)
        self.mail = Mailboxes(self.epoch, policy.push_ring)
        self.counters = {name: image.counters.get(name, 0) for name in COUNTERS}
        self.decisions: deque[tuple[int, str]] = deque(maxlen=policy.decisions_limit)
        self.lately: deque[TaskRow] = deque(maxlen=policy.expected_limit)  # opened, newest last
        self.sequence: dict[
            str, tuple[tuple[str, ...], ...]
        ] = {}  # driver -> tasks of each offer taken, in order
        self.demand: deque[tuple[int, str]] = deque(
            maxlen=policy.demand_limit
        )  # (ms, H3 cell) of opened tasks
        self.expiries: list[tuple[int, str]] = []  # (ms, offer), a heap; offers may have ended before
        self.began_ms = now_ms
        self._listening_ms = now_ms  # since when gateways have been heard without a gap
        self._gateways_ms = now_ms  # when one was heard last
        self._forget_ms = now_ms + in_ms(policy.driver_forget_s)  # when to look for drivers to forget
        self._watch = Watch()  # drivers who may lose a task by silence
        self._ids = 0
        self.loop = FastLoop(policy, now_ms)
        self.aside = image.aside
        # What did not fit together in the image, to be put right by the first tick: offers that stand for nothing, and
        # tasks that are offered to nobody.
        self.strays: tuple[OfferRow, ...] = ()
        self.stranded: tuple[str, ...] = ()
        self._ready = Ready()
        self._restore(image, now_ms)

    def _restore(self, image: RegionImage, now_ms: int) -> None:
        orders = {order.order_id: order for order in image.orders}
        for task in image.tasks:
            self.add_job(Job(task, orders[task.order_id]), now_ms)
        for offer in image.recent_offers:
            self.closed[offer.offer_id] = offer.status
            offers.note_decline(self, offer)
        for stored in image.answers:
            self.answers.remember(stored.scope, stored.key, stored.fingerprint, stored.answer)
        # A push may have been lost with the process before, so every driver hears again where things stand.
        for task in image.recent_tasks:
            self.ended[task.task_id] = task.status
            if task.status is TaskStatus.CANCELLED and task.driver_id is not None:
                self.push(task.driver_id, TaskCancelled(task_id=task.task_id, reason="CANCELLED"))
        since_ms = now_ms - in_ms(self.policy.repush_s)
        for offer in image.recent_offers:
            if (
                offer.status in (OfferStatus.EXPIRED, OfferStatus.REVOKED)
                and (offer.closed_ms or 0) >= since_ms
            ):
                offers.push_closed(self, offer)
        for offer in image.recent_offers:
            if offer.status is OfferStatus.ACCEPTED and offer.driver_id in self.held:
                self.sequence[offer.driver_id] = (*self.sequence.get(offer.driver_id, ()), offer.task_ids)
        self.strays = tuple(offer for offer in image.offers if not offers.stands(self, offer))
        for offer in self.offers.values():
            if offer.expires_ms > now_ms:
                offers.push_made(self, now_ms, offer)
        asked = {task_id for task_ids in self.asked for task_id in task_ids}
        self.stranded = tuple(
            task.task_id
            for task in image.tasks
            if task.status is TaskStatus.OFFERED and task.task_id not in asked
        )
        for bad in self.aside:
            if bad.table == "tasks" and bad.driver_id is not None:  # may have goods in the vehicle
                row = self.fleet.row(bad.driver_id)  # may make room, so it comes before the column is named
                self.fleet.rest_until_ms[row] = _FOR_EVER_MS
        away = {bad.row_id for bad in self.aside}
        for offer in self.strays:
            if not away.isdisjoint(offer.task_ids):  # it stands in the store until its task is mended
                row = self.fleet.row(offer.driver_id)
                self.fleet.rest_until_ms[row] = _FOR_EVER_MS
        for driver_id in self.held:
            self.foresee(driver_id, now_ms)
        for task in image.tasks:
            if task.driver_id is not None:
                self.push(task.driver_id, TaskUpdated(task=task_view(task)))
        self._ready = Ready()  # nobody is attached yet: the mailboxes hold what was pushed

    # -- the step -----------------------------------------------------------------------------------------------------

    def step(self, now_ms: int, message: Message) -> Ready:
        """Take one message in and return what must be made durable and what may leave afterwards."""
        self._ready = ready = Ready()
        _HANDLERS[type(message)](self, now_ms, message)
        self._maybe_look(now_ms)
        return ready

    def next_deadline(self) -> int | None:
        """When to call `step(now, Tick())` at the latest, in server ms; None: nothing is waiting."""
        due = [self.expiries[0][0]] if self.expiries else []
        if self.strays or self.stranded:
            due.append(self.began_ms)
        if (lost_ms := self._watch.next_ms()) is not None:
            due.append(lost_ms)
        if self.open or self.loop.solving:
            due.append(self.loop.due_ms())
        return min(due, default=None)

    # -- answers ------------------------------------------------------------------------------------------------------

    def _ask(self, now_ms: int, ask: Ask) -> None:
        known = self.answers.known(ask.scope, ask.key)
        if known is not None:
            fingerprint, answer = known
            self._ready.reply = answer if fingerprint == ask.fingerprint else refused(IdempotencyKeyReused())
            return
        if not self.answers.complete and not ask.looked:
            self._ready.reply = LOOK_FIRST
            return
        try:
            draft = requests.decide(self, now_ms, ask)
        except Refusal as error:
            answer = refused(self._set_aside(ask) or error if isinstance(error, NotFound) else error)
        else:
            answer = draft.answer
            if ask.role is Role.DRIVER:
                row = self.fleet.row(ask.principal_id)  # may make room: not to be put into the next line
                self.fleet.heard_ms[row] = now_ms
            if draft.has_facts:
                stored = StoredAnswer(
                    scope=ask.scope, key=ask.key, fingerprint=ask.fingerprint, answer=answer, at_ms=now_ms
                )
                self.record(draft.record(self.new_id(), stored))
        # "Not found" may mean that the region has not been told yet, so a repeat must get a new look.
        if answer.code not in (NotFound.code, RegionUnavailable.code):
            self.answers.remember(ask.scope, ask.key, ask.fingerprint, answer)
        self._ready.reply = answer

    def _set_aside(self, ask: Ask) -> Refusal | None:
        """The refusal of a request about a row that was set aside: it comes back when it is mended, and whoever heard
        "not found" would take it for ended."""
        named = {getattr(ask.action, name, None) for name in ("task_id", "order_id")} - {None}
        for bad in self.aside:
            theirs = ask.role is not Role.DRIVER or bad.driver_id in (None, ask.principal_id)
            if theirs and not named.isdisjoint((bad.row_id, bad.order_id)):
                return RegionUnavailable("The order is set aside until its row is mended.")
        return None

    # -- drivers ------------------------------------------------------------------------------------------------------

    def _drivers_seen(self, now_ms: int, batch: DriversSeen) -> None:
        self._listen(now_ms)
        self._gateways_ms = now_ms
        if now_ms >= self._forget_ms:
            self._forget_silent(now_ms)
        seen = self.fleet.see(now_ms, batch)
        self._ready.pushes.extend(seen.told)
        for row in seen.appeared:
            # This socket was opened before the region's present life: it has missed what its mailbox holds.
            for frame in self.mail.kept(self.fleet.ids[row]):
                self._send(row, frame)
        if seen.came_on and self.open:
            self.wake(now_ms)
        for row in seen.went_off:
            offer_id = self.offered.get(self.fleet.ids[row])
            if offer_id is not None:
                offers.close(self, now_ms, self.offers[offer_id], OfferStatus.REVOKED, "DRIVER_OFF_DUTY")

    def _forget_silent(self, now_ms: int) -> None:
        """Drivers who have been gone for long take no room: who comes back is as one who is new."""
        for driver_id in self.fleet.silent(now_ms - in_ms(self.policy.driver_forget_s)):
            if driver_id not in self.held and driver_id not in self.offered:
                self.fleet.forget(driver_id)
                self.mail.forget(driver_id)
        self._forget_ms = now_ms + in_ms(self.policy.driver_forget_s) // 8

    def _listen(self, now_ms: int) -> None:
        """Where no gateway was heard for long, not even with nothing to say, it was the region that was deaf."""
        if now_ms - self._gateways_ms > in_ms(self.policy.driver_stale_s):
            self._listening_ms = now_ms

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

    def _settled(self, now_ms: int, settled: Settled) -> None:
        ask = settled.ask
        self.answers.remember(ask.scope, ask.key, ask.fingerprint, settled.answer)

    def _detach(self, now_ms: int, detach: Detach) -> None:
        row = self.fleet.row(detach.driver_id)
        if self.fleet.session[row] == detach.session:
            # The session's number stays: a ping of an older socket that comes late must not count as news.
            self.fleet.gateway[row] = -1

    def _gateway_lost(self, now_ms: int, lost: GatewayLost) -> None:
        self.fleet.gateway[self.fleet.gateway == self.fleet.gateway_number(lost.gateway_id)] = -1

    def _acked(self, now_ms: int, acked: Acked) -> None:
        self.mail.acked(acked.driver_id, acked.seq)

    def _snapshot(self, now_ms: int, driver_id: str) -> Snapshot:
        offer = self.offers.get(self.offered.get(driver_id, ""))
        return Snapshot(
            offers=(offer_view(offer, offers.tasks_of(self, offer), now_ms),) if offer else (),
            tasks=tuple(
                task_view(self.jobs[task_id].task) for trip in self.trips(driver_id) for task_id in trip
            ),
            last_seq=self.mail.last_seq(driver_id),
            last_n=int(self.fleet.last_n[self.fleet.row(driver_id)]),
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

    # -- tasks --------------------------------------------------------------------------------------------------------

    def _task_opened(self, now_ms: int, opened: TaskOpened) -> None:
        self._ready.reply = Answer()
        task_id = opened.task.task_id
        # Told at least once: a late repeat must not bring back a task that has ended meanwhile.
        if task_id in self.jobs or self.ended.get(task_id) or opened.task.status is not TaskStatus.OPEN:
            return
        if any(bad.row_id == task_id for bad in self.aside):  # it comes back with its row
            return
        self.add_job(Job(opened.task, opened.order), now_ms)
        self.counters["orders"] += 1
        self.loop.opened(task_id, opened.task.opened_ms)
        self.lately.append(opened.task)
        task, resolution = opened.task, self.policy.hex_resolution
        self.demand.append((now_ms, h3.latlng_to_cell(task.dropoff_lat, task.dropoff_lng, resolution)))

    def add_job(self, job: Job, now_ms: int) -> None:
        self.jobs[job.task.task_id] = job
        self.by_order[job.task.order_id] = job.task.task_id
        if job.task.status is TaskStatus.OPEN:
            self.put_open(job.task.task_id, now_ms)
        elif job.held_by is not None:
            self.hold(job)

    def put_open(self, task_id: str, now_ms: int) -> None:
        """Put a task among the open ones."""
        if not self.open:
            self.loop.first_waits(now_ms)
        self.open[task_id] = None
        self.wake(now_ms)

    def hold(self, job: Job) -> None:
        """Note that the job's driver holds its task."""
        driver_id = job.task.driver_id
        assert driver_id is not None
        self.held.setdefault(driver_id, set()).add(job.task.task_id)
        self.set_state(driver_id)
        if (lost_ms := self.lost_ms(driver_id)) is not None:
            self._watch.add(driver_id, lost_ms)

    def foresee(self, driver_id: str, now_ms: int, tail_s: float = 0.0) -> None:
        """Work out when and where the driver, who took a step just now, will be done with what is held and offered.
        `tail_s`: seconds of service left at this place."""
        fleet, row = self.fleet, self.fleet.row(driver_id)
        trips = [[self.jobs[task_id].task for task_id in trip] for trip in self.trips(driver_id)]
        if not trips:
            self.sequence.pop(driver_id, None)
        if offer := self.offers.get(self.offered.get(driver_id, "")):
            trips.append(offers.tasks_of(self, offer))  # as if it were taken
        lat, lng = float(fleet.lat[row]), float(fleet.lng[row])
        travel, services = self.policy.travel, self.policy.services
        done = when_done(now_ms, lat, lng, trips, travel, services, tail_s)
        fleet.free_ms[row], fleet.free_lat[row], fleet.free_lng[row] = done

    def trips(self, driver_id: str) -> list[list[str]]:
        """Tasks that the driver holds, trip after trip, each in the order of its doors as far as it is known."""
        left = set(self.held.get(driver_id, ()))
        trips = [
            [task_id for task_id in trip if task_id in left] for trip in self.sequence.get(driver_id, ())
        ]
        left.difference_update(*trips)
        # A return, or what was held when the region's life began.
        return [[task_id] for task_id in sorted(left)] + [trip for trip in trips if trip]

    def let_go(self, job: Job) -> None:
        """Note that the job's driver holds its task no longer and is free unless something else is held."""
        driver_id = job.task.driver_id
        assert driver_id is not None
        held = self.held[driver_id]
        held.discard(job.task.task_id)
        if not held:
            del self.held[driver_id]
        self.set_state(driver_id)

    def releasable(self, driver_id: str) -> list[str]:
        """Tasks that the driver holds and has not picked up, oldest first."""
        jobs = [self.jobs[task_id] for task_id in self.held.get(driver_id, ())]
        tasks = [job.task for job in jobs if job.task.status in TASK_RELEASABLE]
        return [task.task_id for task in sorted(tasks, key=lambda task: (task.opened_ms, task.task_id))]

    def lost_ms(self, driver_id: str) -> int | None:
        """When the driver, not heard of until then, loses what is not picked up; None when there is nothing to lose.

        Nobody could be heard before this life of the region or while no gateway was: no time runs then.
        """
        if not self.releasable(driver_id):
            return None
        heard_ms = int(self.fleet.heard_ms[self.fleet.row(driver_id)])
        return max(heard_ms, self._listening_ms) + in_ms(self.policy.driver_lost_s)

    def end_job(self, now_ms: int, job: Job) -> None:
        """Forget a task that has ended; its driver is free unless something else is held."""
        del self.jobs[job.task.task_id]
        self.ended[job.task.task_id] = job.task.status
        self.open.pop(job.task.task_id, None)
        self.loop.ended(job.task.task_id)
        if self.by_order.get(job.task.order_id) == job.task.task_id:
            del self.by_order[job.task.order_id]
        if job.task.driver_id is not None:
            self.let_go(job)
        self.wake(now_ms)

    # -- looking for drivers ------------------------------------------------------------------------------------------

    def wake(self, now_ms: int) -> None:
        """Something changed that a look for drivers should see."""
        self.loop.wake(now_ms)

    def _maybe_look(self, now_ms: int) -> None:
        if not self.loop.is_due(now_ms) or not self.open:
            return
        policy, fleet = self.policy, self.fleet
        stale_ms, ahead_ms = in_ms(policy.driver_stale_s), in_ms(policy.planning.ahead_s)
        rows = fleet.rows_to_plan(now_ms, stale_ms, ahead_ms)
        jobs = [self.jobs[task_id] for task_id in islice(self.open, policy.solve_tasks_limit)]
        lat, lng, free_ms = fleet.places(now_ms, rows)
        view = self._view(lat, lng)
        stores = [(job.task.pickup_lat, job.task.pickup_lng) for job in jobs]
        near = nearby(lat, lng, (free_ms - now_ms) / 1000, stores, policy.solve_drivers_limit)
        if near is not None:
            # With so many drivers to choose from, none need be kept for what may come.
            rows, view = rows[near], view._replace(lately=())
        drivers = fleet.columns(now_ms, rows, self.rows_to_ask(now_ms), policy.guaranteed_orders_per_h)
        self._ready.solve = self.loop.ask(now_ms, jobs, drivers, view)

    def rows_to_ask(self, now_ms: int) -> Rows:
        """Rows of the drivers who may be made an offer now: free, or with nothing before them but doors."""
        stale_ms, ahead_ms = in_ms(self.policy.driver_stale_s), in_ms(self.policy.offer_ahead_s)
        rows = self.fleet.free_rows(now_ms, stale_ms, ahead_ms)
        if not ahead_ms:
            return rows
        ids = self.fleet.ids
        asked = (ids[row] in self.offered or bool(self.releasable(ids[row])) for row in rows.tolist())
        return rows[~np.fromiter(asked, np.bool_, len(rows))]

    def _view(self, lat: F64, lng: F64) -> View:
        """What is known beside tasks and drivers; the places are those of all drivers to plan with."""
        counters = self.counters
        doors = counters["refused"] + counters["delivered"]
        refusal = (counters["refused"] + 20 * self.policy.refusal_prior) / (doors + 20)
        zones = None
        if self.policy.weights.zone:
            zones = zones_of(self.lately, lat, lng, self.policy.zone_resolution)
        return View(self.loop.foreseen, self.loop.pressure, self.lately, refusal, zones)

    def _plan_ready(self, now_ms: int, message: PlanReady) -> None:
        if not self.loop.solved(now_ms, message.plan):
            return
        free = set(self.rows_to_ask(now_ms).tolist())
        planned = {assignment.driver_id for assignment in message.plan.assignments}
        for assignment in message.plan.assignments:
            row = self.fleet.index.get(assignment.driver_id)
            if row in free and all(task_id in self.open for task_id in assignment.task_ids):
                free.discard(row)
                offers.make(self, now_ms, assignment, planned)
            else:
                self.wake(now_ms)  # the plan was overtaken: look again

    def _solve_failed(self, now_ms: int, message: SolveFailed) -> None:
        self.loop.failed(message.request_id)

    def _tick(self, now_ms: int, message: Tick) -> None:
        if self.strays or self.stranded:
            offers.put_right(self, now_ms)
        offers.expire(self, now_ms)
        self._listen(now_ms)
        for driver_id in self._watch.lost(now_ms, self.lost_ms):
            release(self, now_ms, driver_id)
        horizon_ms = now_ms - in_ms(self.policy.demand_window_s)
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


_HANDLERS: dict[type[Message], Callable[[Region, int, Any], None]] = {
    Ask: Region._ask,
    DriversSeen: Region._drivers_seen,
    OfferSeenBy: offers.seen,
    Settled: Region._settled,
    Attach: Region._attach,
    Detach: Region._detach,
    GatewayLost: Region._gateway_lost,
    Acked: Region._acked,
    TaskOpened: Region._task_opened,
    PlanReady: Region._plan_ready,
    SolveFailed: Region._solve_failed,
    Tick: Region._tick,
}
