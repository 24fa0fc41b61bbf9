"""A market as a synchronous, deterministic state machine.

    ready = region.step(now_ms, message)

No I/O, no clock, no randomness: time and the epoch come in, ids are derived from them, so the same messages give the
same decisions byte for byte. What a step decides is in `ready.records`, which must be durable before `ready.pushes` and
`ready.reply` leave (see `domain.region.messages.Ready`); the shell that sees to it is `actors/region/pump.py`.

What people ask for (accept, arrive, deliver, ...) is decided in `requests/`, how offers begin and end in `offers.py`,
when to look for drivers in `solving/cadence.py`, and who is lost in `silence.py`. What they all change is
in `state.py`, beneath them; here is which message does what.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

import h3

from domain.errors import IdempotencyKeyReused, NotFound, Refusal, RegionUnavailable
from domain.ground.arrays import F64
from domain.ground.times import in_ms
from domain.orders.lifecycle import OfferStatus, Role, TaskStatus
from domain.orders.records import Answer, RegionImage, StoredAnswer, TaskRow
from domain.orders.state import refused
from domain.protocol import (
    Snapshot,
    TaskCancelled,
    TaskUpdated,
)
from domain.region import offers
from domain.region.answers import LOOK_FIRST, Answers
from domain.region.jobs import Job, offer_view, task_view
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
    Ready,
    Settled,
    SolveFailed,
    TaskOpened,
    Tick,
)
from domain.region.policy import RegionPolicy
from domain.region.requests.decide import decide
from domain.region.silence import release
from domain.region.solving.nearby import nearby
from domain.region.solving.problem import View, zones_of
from domain.region.state import State

_FOR_EVER_MS = 2**62


class Region:
    """One market. Made from its stored image; everything in it afterwards comes from `step`."""

    def __init__(self, image: RegionImage, policy: RegionPolicy, now_ms: int) -> None:
        self.state = State(image, policy, now_ms)
        self.answers = Answers(policy.answers_limit, complete=image.all_answers)
        self.lately: deque[TaskRow] = deque(maxlen=policy.expected_limit)  # opened, newest last
        # (ms, H3 cell) of opened tasks
        self.demand: deque[tuple[int, str]] = deque(maxlen=policy.demand_limit)
        self._gateways_ms = now_ms  # when one was heard last
        self._forget_ms = now_ms + in_ms(policy.driver_forget_s)  # when to look for drivers to forget
        self._restore(image, now_ms)

    @property
    def id(self) -> str:
        """The market."""
        return self.state.id

    @property
    def epoch(self) -> int:
        """The number of this life."""
        return self.state.epoch

    @property
    def policy(self) -> RegionPolicy:
        """What the market lives by."""
        return self.state.policy

    def _restore(self, image: RegionImage, now_ms: int) -> None:
        orders = {order.order_id: order for order in image.orders}
        for task in image.tasks:
            self.state.add_job(Job(task, orders[task.order_id]), now_ms)
        for offer in image.recent_offers:
            self.state.offers.note_closed(offer.offer_id, offer.status)
            offers.note_decline(self.state, offer)
        for stored in image.answers:
            self.answers.remember(stored.scope, stored.key, stored.fingerprint, stored.answer)
        # A push may have been lost with the process before, so every driver hears again where things stand.
        for task in image.recent_tasks:
            self.state.note_ended(task)
            if task.status is TaskStatus.CANCELLED and task.driver_id is not None:
                self.state.push(task.driver_id, TaskCancelled(task_id=task.task_id, reason="CANCELLED"))
        since_ms = now_ms - in_ms(self.policy.repush_s)
        for offer in image.recent_offers:
            if (
                offer.status in (OfferStatus.EXPIRED, OfferStatus.REVOKED)
                and (offer.closed_ms or 0) >= since_ms
            ):
                offers.push_closed(self.state, offer)
        for offer in image.recent_offers:
            if offer.status is OfferStatus.ACCEPTED and offer.driver_id in self.state.holdings:
                self.state.holdings.took(offer.driver_id, offer.task_ids)
        self.state.strays = tuple(offer for offer in image.offers if not offers.stands(self.state, offer))
        for offer in self.state.offers.live.values():
            if offer.expires_ms > now_ms:
                offers.push_made(self.state, now_ms, offer)
        asked = self.state.offers.tasks()
        self.state.stranded = tuple(
            task.task_id
            for task in image.tasks
            if task.status is TaskStatus.OFFERED and task.task_id not in asked
        )
        for bad in self.state.aside:
            if bad.table == "tasks" and bad.driver_id is not None:  # may have goods in the vehicle
                self.state.fleet.rest(bad.driver_id, _FOR_EVER_MS)
        for driver_id in self.state.holdings:
            self.state.foresee(driver_id, now_ms)
        for task in image.tasks:
            if task.driver_id is not None:
                self.state.push(task.driver_id, TaskUpdated(task=task_view(task)))
        self.state.ready = Ready()  # nobody is attached yet: the mailboxes hold what was pushed

    # -- the step -----------------------------------------------------------------------------------------------------

    def step(self, now_ms: int, message: Message) -> Ready:
        """Take one message in and return what must be made durable and what may leave afterwards."""
        self.state.ready = ready = Ready()
        _HANDLERS[type(message)](self, now_ms, message)
        self._maybe_look(now_ms)
        return ready

    def next_deadline(self) -> int | None:
        """When to call `step(now, Tick())` at the latest, in server ms; None: nothing is waiting."""
        due = [] if (past_ms := self.state.offers.next_ms()) is None else [past_ms]
        if self.state.strays or self.state.stranded:
            due.append(self.state.began_ms)
        if (lost_ms := self.state.watch.next_ms()) is not None:
            due.append(lost_ms)
        if self.state.open or self.state.cadence.solving:
            due.append(self.state.cadence.due_ms())
        return min(due, default=None)

    # -- answers ------------------------------------------------------------------------------------------------------

    def _ask(self, now_ms: int, ask: Ask) -> None:
        known = self.answers.known(ask.scope, ask.key)
        if known is not None:
            fingerprint, answer = known
            self.state.ready.reply = (
                answer if fingerprint == ask.fingerprint else refused(IdempotencyKeyReused())
            )
            return
        if not self.answers.complete and not ask.looked:
            self.state.ready.reply = LOOK_FIRST
            return
        try:
            draft = decide(self.state, now_ms, ask)
        except Refusal as error:
            answer = refused(self._set_aside(ask) or error if isinstance(error, NotFound) else error)
        else:
            answer = draft.answer
            if ask.role is Role.DRIVER:
                self.state.fleet.heard(ask.principal_id, now_ms)
            if draft.has_facts:
                stored = StoredAnswer(
                    scope=ask.scope, key=ask.key, fingerprint=ask.fingerprint, answer=answer, at_ms=now_ms
                )
                self.state.record(draft.record(self.state.new_id(), stored))
        # "Not found" may mean that the region has not been told yet, so a repeat must get a new look.
        if answer.code not in (NotFound.code, RegionUnavailable.code):
            self.answers.remember(ask.scope, ask.key, ask.fingerprint, answer)
        self.state.ready.reply = answer

    def _set_aside(self, ask: Ask) -> Refusal | None:
        """The refusal of a request about a row that was set aside: it comes back when it is mended, and whoever heard
        "not found" would take it for ended."""
        named = {getattr(ask.action, name, None) for name in ("task_id", "order_id")} - {None}
        for bad in self.state.aside:
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
        seen = self.state.fleet.see(now_ms, batch)
        self.state.ready.pushes.extend(seen.told)
        for row in seen.appeared:
            # This socket was opened before the region's present life: it has missed what its mailbox holds.
            for frame in self.state.mail.kept(self.state.fleet.ids[row]):
                self.state.send(row, frame)
        if seen.came_on and self.state.open:
            self.state.cadence.wake(now_ms)
        for row in seen.went_off:
            if (offer := self.state.offers.of_driver(self.state.fleet.ids[row])) is not None:
                offers.close(self.state, now_ms, offer, OfferStatus.REVOKED, "DRIVER_OFF_DUTY")

    def _forget_silent(self, now_ms: int) -> None:
        """Drivers who have been gone for long take no room: who comes back is as one who is new."""
        for driver_id in self.state.fleet.silent(now_ms - in_ms(self.policy.driver_forget_s)):
            if driver_id not in self.state.holdings and not self.state.offers.asks(driver_id):
                self.state.fleet.forget(driver_id)
                self.state.mail.forget(driver_id)
        self._forget_ms = now_ms + in_ms(self.policy.driver_forget_s) // 8

    def _listen(self, now_ms: int) -> None:
        """Where no gateway was heard for long, not even with nothing to say, it was the region that was deaf."""
        if now_ms - self._gateways_ms > in_ms(self.policy.driver_stale_s):
            self.state.listening_ms = now_ms

    def _attach(self, now_ms: int, attach: Attach) -> None:
        fleet, row = self.state.fleet, self.state.fleet.row(attach.driver_id)
        missed = self.state.mail.since(attach.driver_id, attach.resume_from)
        snapshot = self._snapshot(now_ms, attach.driver_id)
        self.state.ready.reply = Attached(missed is not None, snapshot, missed or ())
        if fleet.gateway[row] >= 0 and fleet.session[row] > attach.session:
            # A socket that was opened later is there already: this one was overtaken on its way here.
            self.state.ready.pushes.append(Kick(attach.gateway_id, attach.driver_id, attach.session))
            return
        if fleet.gateway[row] >= 0 and fleet.session[row] != attach.session:
            gateway_id = fleet.gateways[fleet.gateway[row]]
            self.state.ready.pushes.append(Kick(gateway_id, attach.driver_id, int(fleet.session[row])))
        fleet.attach(attach.driver_id, attach.gateway_id, attach.session)

    def _settled(self, now_ms: int, settled: Settled) -> None:
        ask = settled.ask
        self.answers.remember(ask.scope, ask.key, ask.fingerprint, settled.answer)

    def _detach(self, now_ms: int, detach: Detach) -> None:
        self.state.fleet.detach(detach.driver_id, detach.session)

    def _gateway_lost(self, now_ms: int, lost: GatewayLost) -> None:
        self.state.fleet.gateway_lost(lost.gateway_id)

    def _acked(self, now_ms: int, acked: Acked) -> None:
        self.state.mail.acked(acked.driver_id, acked.seq)

    def _snapshot(self, now_ms: int, driver_id: str) -> Snapshot:
        state, offer = self.state, self.state.offers.of_driver(driver_id)
        return Snapshot(
            offers=(offer_view(offer, state.tasks_of(offer), now_ms),) if offer else (),
            tasks=tuple(
                task_view(state.jobs[task_id].task)
                for trip in state.holdings.trips(driver_id)
                for task_id in trip
            ),
            last_seq=self.state.mail.last_seq(driver_id),
            last_n=int(self.state.fleet.last_n[self.state.fleet.row(driver_id)]),
        )

    # -- tasks --------------------------------------------------------------------------------------------------------

    def _task_opened(self, now_ms: int, opened: TaskOpened) -> None:
        self.state.ready.reply = Answer()
        task_id = opened.task.task_id
        # Told at least once: a late repeat must not bring back a task that has ended meanwhile.
        if (
            task_id in self.state.jobs
            or self.state.ended.get(task_id)
            or opened.task.status is not TaskStatus.OPEN
        ):
            return
        if any(bad.row_id == task_id for bad in self.state.aside):  # it comes back with its row
            return
        self.state.add_job(Job(opened.task, opened.order), now_ms)
        self.state.counters["orders"] += 1
        self.state.cadence.opened(task_id, opened.task.opened_ms)
        self.lately.append(opened.task)
        task, resolution = opened.task, self.policy.hex_resolution
        self.demand.append((now_ms, h3.latlng_to_cell(task.dropoff_lat, task.dropoff_lng, resolution)))

    # -- looking for drivers ------------------------------------------------------------------------------------------

    def _maybe_look(self, now_ms: int) -> None:
        if not self.state.cadence.is_due(now_ms) or not self.state.open:
            return
        policy, fleet = self.policy, self.state.fleet
        stale_ms, ahead_ms = in_ms(policy.driver_stale_s), in_ms(policy.planning.ahead_s)
        rows = fleet.rows_to_plan(now_ms, stale_ms, ahead_ms)
        jobs = [self.state.jobs[task_id] for task_id in islice(self.state.open, policy.solve_tasks_limit)]
        lat, lng, free_ms = fleet.places(now_ms, rows)
        view = self._view(lat, lng)
        stores = [(job.task.pickup_lat, job.task.pickup_lng) for job in jobs]
        near = nearby(lat, lng, (free_ms - now_ms) / 1000, stores, policy.solve_drivers_limit)
        if near is not None:
            # With so many drivers to choose from, none need be kept for what may come.
            rows, view = rows[near], view._replace(lately=())
        drivers = fleet.columns(now_ms, rows, self.state.rows_to_ask(now_ms), policy.guaranteed_orders_per_h)
        self.state.ready.solve = self.state.cadence.ask(now_ms, jobs, drivers, view)

    def _view(self, lat: F64, lng: F64) -> View:
        """What is known beside tasks and drivers; the places are those of all drivers to plan with."""
        counters = self.state.counters
        doors = counters["refused"] + counters["delivered"]
        refusal = (counters["refused"] + 20 * self.policy.refusal_prior) / (doors + 20)
        zones = None
        if self.policy.weights.zone:
            zones = zones_of(self.lately, lat, lng, self.policy.zone_resolution)
        return View(self.state.cadence.foreseen, self.state.cadence.pressure, self.lately, refusal, zones)

    def _plan_ready(self, now_ms: int, message: PlanReady) -> None:
        if not self.state.cadence.solved(now_ms, message.plan):
            return
        free = set(self.state.rows_to_ask(now_ms).tolist())
        planned = {assignment.driver_id for assignment in message.plan.assignments}
        for assignment in message.plan.assignments:
            row = self.state.fleet.index.get(assignment.driver_id)
            if row in free and all(task_id in self.state.open for task_id in assignment.task_ids):
                free.discard(row)
                offers.make(self.state, now_ms, assignment, planned)
            else:
                self.state.cadence.wake(now_ms)  # the plan was overtaken: look again

    def _offer_seen(self, now_ms: int, message: OfferSeenBy) -> None:
        offers.seen(self.state, now_ms, message)

    def _solve_failed(self, now_ms: int, message: SolveFailed) -> None:
        self.state.cadence.failed(message.request_id)

    def _tick(self, now_ms: int, message: Tick) -> None:
        if self.state.strays or self.state.stranded:
            offers.put_right(self.state, now_ms)
        offers.expire(self.state, now_ms)
        self._listen(now_ms)
        for driver_id in self.state.watch.lost(now_ms, self.state.lost_ms):
            release(self.state, now_ms, driver_id)
        horizon_ms = now_ms - in_ms(self.policy.demand_window_s)
        while self.demand and self.demand[0][0] < horizon_ms:
            self.demand.popleft()


_HANDLERS: dict[type[Message], Callable[[Region, int, Any], None]] = {
    Ask: Region._ask,
    DriversSeen: Region._drivers_seen,
    OfferSeenBy: Region._offer_seen,
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
