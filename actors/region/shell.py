"""The shell round one region: messages in, the pump, appends, pushes, solves, deadlines. No decision is made here."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from actors.clock import ServerClock
from actors.config import Limits
from actors.region.pump import Batch, Journal, Pump, Taken
from actors.region.pushes import PushQueues
from actors.region.restarts import Restarts
from actors.telemetry.actor_metrics import RegionTally, region_figures
from actors.telemetry.decision_log import decided, kind_of
from actors.telemetry.metrics import Family
from actors.telemetry.timing import Timings, quantile
from actors.telemetry.tracing import Origins, ids, on_behalf_of, opened, took
from domain.errors import InternalConflict, InternalError, Overloaded, Refusal, RegionUnavailable
from domain.orders.records import Answer, Aside, Done, Fenced, Held, Record, RecordRefused, RegionRecords
from domain.orders.state import refused
from domain.ports import RegionStore
from domain.region.locked_records import orders_of
from domain.region.messages import (
    Ask,
    Attached,
    DriversSeen,
    GatewayLost,
    Kick,
    Message,
    PlanReady,
    Push,
    Settled,
    SolveFailed,
    Tick,
)
from domain.region.ops.frames import DriverLine, DriversAsked, Health, OpsFrame
from domain.region.ops.views import driver_lines, region_view
from domain.region.policy import RegionPolicy
from domain.region.restoring import is_mended, restored
from domain.solve import Plan, SolveRequest

log = structlog.get_logger()

RESTORE_FIRST_WAIT_S = 0.05  # wall time before the store is asked again for the region; doubles ...
LOCKED_RETRY_S = 0.25  # wall time until records whose rows somebody has locked are tried again
LOCKED_SAID = 20  # orders that a line about them names
RESTORE_LONGEST_WAIT_S = 0.4  # ... up to this, for which a region may be away longer than its store
IMAGE_LONGEST_WAIT_S = 5.0  # ... or to this, when what it gave is no good
RESTORE_ALARM_TRIES = 8  # after which a failure is an error and no warning
ASIDE_LINES = 20  # rows that are told of one by one

Reply = Answer | Attached | None
Solve = Callable[[SolveRequest], Awaitable[Plan]]
SendPushes = Callable[[str, list[Push | Kick]], Awaitable[None]]


class Ticket(asyncio.Future[Reply]):
    """Somebody who waits for a reply, and the requests that it is for."""

    origins: Origins = ()
    stepped_s = 0.0  # when, on the performance counter


class Broken(NamedTuple):
    """A life in which a step failed: the message, and what came in the same call after it."""

    pump: Pump[Ticket]
    culprit: Taken[Ticket]
    missed: list[Taken[Ticket]]


class RegionShell:
    """A region actor's inside. A failed append or step ends the region's life, and a new one begins from the store with
    the next epoch, after a wait when lives are short. A fenced append means that another process has the region now:
    `on_death` ends this one, as it does after too many lives in vain (see `actors/region/restarts.py`)."""

    def __init__(
        self,
        region_id: str,
        *,
        store: RegionStore,
        policy: RegionPolicy,
        limits: Limits,
        clock: ServerClock,
        solve: Solve,
        send: SendPushes,
        on_death: Callable[[str], None],
        journal: Journal | None = None,
        restarts: Restarts | None = None,
    ) -> None:
        self.region_id = region_id
        self._store, self._policy, self._limits, self._clock = store, policy, limits, clock
        self._solve, self._on_death, self._journal = solve, on_death, journal
        self._pump: Pump[Ticket] | None = None
        self._restarts = restarts or Restarts()
        self._locked: list[str] = []  # orders with rows that somebody has locked, as last said
        self._broken: Broken | None = None  # the life that a failed step has ended, until the next one begins
        self._outboxes = PushQueues(send, self._gateway_lost, limits.gateway_outbox_limit)
        self._work = asyncio.Event()  # something may be appended
        self._alarm = asyncio.Event()  # the next deadline has moved
        self._awaited_ms: int | None = None  # the deadline that is waited for, in server ms
        self._tasks: set[asyncio.Task[None]] = set()
        self._timings, self._tally = Timings(), RegionTally()
        self._solved = 0
        self._solves_failing = 0  # in a row
        self._closing = False
        self._mended = False  # a row that was set aside is another one now: time for a new life
        self._drained = asyncio.Event()

    async def start(self) -> None:
        """Take an epoch, restore, and serve until `stop`. Tries again while the store is out of reach."""
        await self._restore()
        for loop in (self._append_loop(), self._deadline_loop(), self._mend_loop()):
            self._spawn(loop)

    async def stop(self) -> None:
        """Stop serving and let what is under way come to its end."""
        self._closing = True
        if self._broken is not None or (self._pump is not None and self._pump.waiting):
            await self._drained.wait()
        if self._pump is not None:  # what waits for a locked row is asked for again elsewhere
            _turn_away(self._pump.abandoned()[1])
        self._pump = None
        for task in list(self._tasks):
            task.cancel()
        await self._outboxes.stop()

    # -- messages -----------------------------------------------------------------------------------------------------

    async def post(self, messages: Sequence[Message]) -> list[Reply]:
        """Take messages in order and give each one's reply once it may leave.

        `RegionUnavailable` while the region is not restored, `Overloaded` beyond `region_inbox_limit`.
        """
        pump = self._serving()
        # What is too much by itself could never be taken: callers bound their batches, and nothing waits here.
        if pump.waiting and pump.waiting + len(messages) > self._limits.region_inbox_limit:
            raise Overloaded(retry_after_s=1)
        tickets: list[Ticket] = []
        for item in messages:
            ticket = Ticket(loop=asyncio.get_running_loop())
            message, ticket.origins = opened(item)
            tickets.append(ticket)
            self._take(pump, message, ticket)
        return list(await asyncio.gather(*tickets))

    def seen(self, batch: DriversSeen) -> int:
        """Take a batch of pings in; returns the epoch, by which a gateway notices a new life of the region.

        `Overloaded` while more than `region_shed_at` messages wait: decisions go before positions, of which the gateway
        keeps the newest until the next try. A batch of nothing asks for the epoch alone and is always taken.
        """
        pump = self._serving()
        if batch.driver_ids and pump.waiting > self._limits.region_shed_at:
            self._tally.shed += 1
            raise Overloaded(retry_after_s=1)
        self._take(pump, batch, None)
        return pump.region.epoch

    def frame(self) -> OpsFrame:
        """The region as mission control shows it."""
        pump = self._serving()
        view = region_view(pump.region, self._clock.now_ms(), self._limits.ops_positions)
        fields = {name: getattr(view, name) for name in view.__struct_fields__}
        return OpsFrame(**fields, speed=self._clock.speed, health=self._health(pump))

    def drivers(self, asked: DriversAsked) -> list[DriverLine]:
        """Drivers as dispatchers see them, by id."""
        return driver_lines(self._serving().region, self._clock.now_ms(), asked)

    def stats(self) -> dict[str, float | int | str]:
        """Flat figures for the statistics endpoint and the metrics page."""
        pump = self._serving()
        region, health, solve = pump.region, self._health(pump), self._timings.solve
        waits_ms = [waited_ms for _, waited_ms in region.state.cadence.waits]
        figures: dict[str, float | int | str] = {
            "region_id": self.region_id,
            "epoch": region.epoch,
            "drivers": len(region.state.fleet.index),
            "pings": region.state.fleet.pings,
            "tasks": len(region.state.jobs),
            "tasks_open": len(region.state.open),
            "tasks_unplanned": len(region.state.cadence.unplanned),
            "offers_live": len(region.state.offers.live),
            # from the opening of a task to the first plan that had it, server ms
            "task_to_plan_ms_p50": quantile(waits_ms, 0.5),
            "task_to_plan_ms_p99": quantile(waits_ms, 0.99),
            "solve_ms_p50": solve.quantile_ms(0.5),
            "solve_ms_p99": solve.quantile_ms(0.99),
            "lag_ms_p50": self._timings.lag.quantile_ms(0.5),
            "solves_failing": self._solves_failing,
        }
        figures |= region.state.counters
        return figures | {name: getattr(health, name) for name in health.__struct_fields__}

    def figures(self) -> list[Family]:
        """For Prometheus; also between two lives."""
        pump = self._pump
        region, inbox = (pump.region, pump.waiting) if pump is not None else (None, 0)
        return region_figures(
            self.region_id, region, self._timings, self._tally, inbox=inbox, outbox=self._outboxes.waiting
        )

    def lately(self, wall_s: float) -> dict[str, list[float]]:
        """What was measured in the last so many seconds, in ms, one by one and bounded: `task_to_plan` (server ms) of
        the tasks opened since, `solve` and `lag`."""
        since_ms = self._clock.now_ms() - wall_s * 1000 * self._clock.speed
        waits = self._serving().region.state.cadence.waits
        return {
            "task_to_plan": [waited_ms for opened_ms, waited_ms in waits if opened_ms >= since_ms],
            "solve": self._timings.solve.lately_ms(wall_s),
            "lag": self._timings.lag.lately_ms(wall_s),
        }

    def _serving(self) -> Pump[Ticket]:
        if self._pump is None or self._closing:
            raise RegionUnavailable(retry_after_s=1)
        return self._pump

    def _take(self, pump: Pump[Ticket], message: Message, ticket: Ticket | None) -> None:
        if self._broken is not None and self._broken.pump is pump:
            self._broken.missed.append(Taken(message, ticket, None, ()))
            return
        started = time.perf_counter()
        try:
            now_ms = self._clock.now_ms()
            solve = pump.take(now_ms, message, ticket)
        except Exception as error:  # half a step may be in memory, so this life must not decide anything more
            log.error(
                "region.step_failed",
                region_id=self.region_id,
                kind=kind_of(message),
                error=repr(error),
                exc_info=error,
            )
            self._broken, self._pump = Broken(pump, Taken(message, ticket, None, ()), []), None
            self._work.set()
            return
        stepped_s = time.perf_counter()
        self._timings.step.add(stepped_s - started)
        if ticket is not None and ticket.origins:
            ticket.stepped_s = stepped_s
            took("region.step", ticket.origins, stepped_s - started, kind=kind_of(message))
        if solve is not None:
            self._spawn(self._run_solve(pump, solve))
        self._work.set()
        due_ms = pump.region.next_deadline()
        if due_ms != self._awaited_ms or (due_ms is not None and due_ms <= now_ms):
            self._alarm.set()

    def _health(self, pump: Pump[Ticket]) -> Health:
        timings = self._timings
        return Health(
            lag_ms=timings.lag.quantile_ms(0.99),
            step_ms_p50=timings.step.quantile_ms(0.5),
            step_ms_p99=timings.step.quantile_ms(0.99),
            solve_ms_last=timings.solve.last_ms(),
            solve_count=self._solved,
            append_ms_p50=timings.append.quantile_ms(0.5),
            append_ms_p99=timings.append.quantile_ms(0.99),
            inbox=pump.waiting,
        )

    # -- making it durable --------------------------------------------------------------------------------------------

    async def _append_loop(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while True:
                if self._broken is not None:
                    serves = await self._start_over([], self._broken.pump.abandoned()[1])
                elif self._mended and self._pump is not None:
                    self._mended = False
                    self._restarts.appended()  # this life was not in vain
                    serves = await self._start_over([], self._pump.abandoned()[1])
                elif self._pump is not None and (batch := self._pump.next_batch()) is not None:
                    serves = await self._make_durable(self._pump, batch)
                else:
                    break
                if not serves:
                    return
            if self._closing and (self._pump is None or self._pump.waiting == self._pump.held):
                self._drained.set()

    async def _make_durable(self, pump: Pump[Ticket], batch: Batch[Ticket]) -> bool:
        if batch.records:
            command = RegionRecords(self.region_id, pump.region.epoch, tuple(batch.records))
            started, origins = time.perf_counter(), _origins(batch.taken)
            try:
                with on_behalf_of(origins):
                    [outcome] = await self._store.append([command])
            except Exception as error:
                # Whether it committed is unknown and only the store can tell: who waits asks again with the same id.
                self._tally.appends_failed += 1
                log.error(
                    "region.append_failed",
                    region_id=self.region_id,
                    error=type(error).__name__,
                    **ids(origins),
                )
                _turn_away(pump.abandoned()[1])
                return await self._start_over([], [])
            self._timings.append.add(time.perf_counter() - started)
            if isinstance(outcome, Fenced):
                self._die(f"fenced: epoch {pump.region.epoch}, current {outcome.current_epoch}")
                return False
            if isinstance(outcome, RecordRefused):
                # A record that hits a constraint is a bug: its message is dropped, the others are stepped again.
                culprits, others = pump.abandoned(outcome.record_id)
                self._tell_of_refusal(outcome, batch, culprits)
                return await self._start_over(culprits, others)
            assert isinstance(outcome, Done | Held)
            self._restarts.appended()
            held = outcome.record_ids if isinstance(outcome, Held) else ()
            durable = [record for record in batch.records if record.record_id not in held]
            self._tally.durable(pump.region, durable, self._clock.now_ms(), self._clock.speed)
            if not held and not pump.holds:
                self._locked = []
            if held:
                self._wait_for_locked(pump, [record for record in batch.records if record.record_id in held])
            leaves = pump.appended(batch, held)
        else:
            leaves = pump.appended(batch)
        self._release(leaves)
        for settled in leaves.settled:
            self._take(pump, settled, None)
        return True

    def _wait_for_locked(self, pump: Pump[Ticket], records: Sequence[Record]) -> None:
        """Somebody holds rows of these records locked: they are tried again soon, and all others go on."""
        orders = sorted(orders_of(records))
        if orders != self._locked:
            log.warning(
                "region.records_held",
                region_id=self.region_id,
                records=len(records),
                orders=orders[:LOCKED_SAID],
            )
            self._locked = orders

        def again() -> None:
            pump.try_again()
            self._work.set()

        asyncio.get_running_loop().call_later(LOCKED_RETRY_S, again)

    def _release(self, batch: Batch[Ticket]) -> None:
        for push in batch.pushes:
            self._outboxes.put(push.gateway_id, push)
        if batch.pushes and (origins := _origins(batch.taken)):
            self._outboxes.follow(origins)
        for taken in batch.taken:
            ticket = taken.ticket
            if ticket is not None and not ticket.done():
                if ticket.origins:
                    took("region.append", ticket.origins, time.perf_counter() - ticket.stepped_s)
                    decided(self.region_id, taken.message, taken.reply, ticket.origins)
                ticket.set_result(taken.reply)

    def _tell_of_refusal(
        self, outcome: RecordRefused, batch: Batch[Ticket], culprits: list[Taken[Ticket]]
    ) -> None:
        self._timings.refused += 1
        [record] = [record for record in batch.records if record.record_id == outcome.record_id]
        log.error(
            "region.record_refused",
            region_id=self.region_id,
            constraint=outcome.constraint,
            kind=[kind_of(taken.message) for taken in culprits],
            record_id=record.record_id,
            tasks=[task.task_id for task in record.tasks],
            offers=[offer.offer_id for offer in record.offers],
            orders=[fact.order_id for fact in record.orders],
            **ids(_origins(culprits)),
        )

    async def _start_over(self, culprits: list[Taken[Ticket]], others: list[Taken[Ticket]]) -> bool:
        """Answer the culprits, begin the region's next life, and step again what the others asked for. Plans, pings and
        deadlines belong to the life that is over. False when there will be no next life here."""
        self._pump, broken, self._broken = None, self._broken, None
        settled: list[tuple[Taken[Ticket], Refusal]] = [(taken, InternalConflict()) for taken in culprits]
        if broken is not None:
            settled.append((broken.culprit, InternalError()))
            others = others + broken.missed
        for taken, error in settled:
            if taken.ticket is not None and not taken.ticket.done():
                taken.ticket.set_result(refused(error))
        wait_s = self._restarts.ended(self._now_s())
        if wait_s is None:
            _turn_away(others)
            self._die(f"{self._restarts.in_vain} lives in a row in which nothing became durable")
            return False
        try:
            await asyncio.sleep(wait_s)
            await self._restore()
        except asyncio.CancelledError:  # stopped on the way
            _turn_away(others)
            raise
        pump = self._pump
        assert pump is not None
        for taken, error in settled:
            if isinstance(taken.message, Ask):
                self._take(pump, Settled(taken.message, refused(error)), None)
        for taken in others:
            if taken.ticket is not None:
                self._take(pump, taken.message, taken.ticket)
        return True

    async def _restore(self) -> None:
        delay_s, tries = RESTORE_FIRST_WAIT_S, 0
        while True:
            longest_s, what = RESTORE_LONGEST_WAIT_S, "the store does not answer"
            try:
                now_ms = self._clock.now_ms()
                image = await self._store.open_region(self.region_id, now_ms)
                longest_s, what = IMAGE_LONGEST_WAIT_S, "the image is no good"
                region = restored(image, self._policy, now_ms)
                break
            except Exception as error:
                tries += 1
                self._tally.restores_failed += 1
                if tries & (tries - 1) == 0:  # the 1st, 2nd, 4th, 8th, ...: enough to see it
                    tell = log.error if tries >= RESTORE_ALARM_TRIES else log.warning
                    tell(
                        "region.restore_failed",
                        region_id=self.region_id,
                        what=what,
                        error=type(error).__name__,
                        where=_place(error),
                        tries=tries,
                    )
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, longest_s)
        self._tell_of_aside(region.state.aside)
        self._pump = Pump(region, now_ms, self._journal)
        self._restarts.began(self._now_s())
        self._tally.lives += 1
        self._alarm.set()
        log.info("region.restored", region_id=self.region_id, epoch=image.epoch, tasks=len(region.state.jobs))

    def _tell_of_aside(self, aside: Sequence[Aside]) -> None:
        self._tally.aside = len(aside)
        for bad in aside[:ASIDE_LINES]:
            log.error(
                "region.row_set_aside",
                region_id=self.region_id,
                table=bad.table,
                row_id=bad.row_id,
                order_id=bad.order_id,
                error=bad.reason,
            )
        if len(aside) > ASIDE_LINES:
            log.error("region.rows_set_aside", region_id=self.region_id, rows=len(aside))

    async def _mend_loop(self) -> None:
        """Look whether rows that were set aside are mended, and have a new life begin then."""
        while True:
            await asyncio.sleep(self._limits.region_mend_s)
            pump = self._pump
            if pump is None or not pump.region.state.aside:
                continue
            try:
                image = await self._store.look_at_region(self.region_id, self._clock.now_ms())
            except Exception as error:
                log.warning("region.look_failed", region_id=self.region_id, error=type(error).__name__)
                continue
            if pump is self._pump and any(is_mended(bad, image) for bad in pump.region.state.aside):
                log.info("region.mended", region_id=self.region_id)
                self._mended = True
                self._work.set()

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()

    def _die(self, reason: str) -> None:
        self._pump = None
        self._drained.set()
        log.error("region.died", region_id=self.region_id, reason=reason)
        self._on_death(reason)

    # -- deadlines, solves, pushes ------------------------------------------------------------------------------------

    async def _deadline_loop(self) -> None:
        while True:
            self._alarm.clear()
            pump = self._pump
            due_ms = pump.region.next_deadline() if pump is not None else None
            wait_s = (
                None
                if due_ms is None
                else max(0.0, self._clock.wall_s((due_ms - self._clock.now_ms()) / 1000))
            )
            self._awaited_ms = due_ms
            if wait_s is None or wait_s > 0:
                try:
                    async with asyncio.timeout(wait_s):
                        await self._alarm.wait()
                    continue
                except TimeoutError:
                    pass
            if pump is not None and pump is self._pump:
                late_s = (self._clock.now_ms() - (due_ms or 0)) / 1000 / self._clock.speed
                self._timings.lag.add(max(0.0, late_s))
                self._take(pump, Tick(), None)
                await asyncio.sleep(0)  # a deadline that stays in the past must not starve the loop

    async def _run_solve(self, pump: Pump[Ticket], request: SolveRequest) -> None:
        started = time.perf_counter()
        message: Message
        try:
            async with asyncio.timeout(self._limits.solve_timeout_s):
                message = PlanReady(await self._solve(request))
        except TimeoutError:
            log.error("region.solve_hung", region_id=self.region_id, after_s=self._limits.solve_timeout_s)
            message = SolveFailed(request.request_id)
            self._tally.solves_hung += 1
            self._solves_failing += 1
        except Exception as error:
            log.error(
                "region.solve_failed", region_id=self.region_id, error=f"{type(error).__name__}: {error}"
            )
            message = SolveFailed(request.request_id)
            self._tally.solves_failed += 1
            self._solves_failing += 1
        else:
            self._solves_failing = 0
        self._timings.solve.add(time.perf_counter() - started)
        self._solved += 1
        if pump is self._pump:
            self._take(pump, message, None)

    def _gateway_lost(self, gateway_id: str) -> None:
        if self._pump is not None:
            self._take(self._pump, GatewayLost(gateway_id), None)

    def _spawn(self, coroutine: Awaitable[None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("region.crashed", region_id=self.region_id, error=repr(error), exc_info=error)
            self._die(f"{type(error).__name__} in the shell")


def _place(error: BaseException) -> str:
    """Where it was raised, without what stood there."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _origins(some: Iterable[Taken[Ticket]]) -> Origins:
    """The requests that these were asked for."""
    return tuple(origin for taken in some if taken.ticket is not None for origin in taken.ticket.origins)


def _turn_away(some: Iterable[Taken[Ticket]]) -> None:
    """Let whoever waits ask again, with the same id."""
    for taken in some:
        if taken.ticket is not None and not taken.ticket.done():
            taken.ticket.set_exception(RegionUnavailable(retry_after_s=1))
