"""The shell round the store: group commit for gateways and regions, and the relay of what was committed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import structlog

from actors.clock import ServerClock
from actors.config import Limits
from actors.persistence.payment_holds import PaymentHolds
from actors.persistence.relay import Relay
from actors.telemetry.actor_metrics import PersistenceTally, outcome_name, persistence_figures
from actors.telemetry.decision_log import committed
from actors.telemetry.metrics import Family
from actors.telemetry.tracing import Origins, ids, opened, took
from domain.errors import Overloaded, StoreUnavailable
from domain.orders.records import Done, Outcome, RegionImage
from domain.ports import Command, Store
from persistence.reads.views import Backlog

log = structlog.get_logger()

SLOW_S = 0.1  # wall time of a transaction after which another may begin in its place
SLOW_LIMIT = 3  # transactions that take so long, beside `append_in_flight`: with those they fit into the pool
SWEEP_EVERY_S = 30.0  # wall time
SWEEP_LIMIT = 1_000  # rows of each kind at a time: tens of milliseconds of one connection
SWEEP_SHARE = 0.2  # of the time that it is at work while much is left
SWEEP_LEASE_S = 2.5 * SWEEP_EVERY_S
# After so long nothing is written any more that was over by then: far longer than an append may take.
SETTLED_S = 3_600.0  # server time
SETTLED_WALL_S = 300.0
DAY_S = 86_400.0
WATCH_EVERY_S = 10.0  # between two looks at what waits in the outbox, wall time

_Waiting = tuple[Command, "asyncio.Future[Outcome]", Origins]


class PersistenceShell:
    """Collects commands while appends are under way, so that a batch grows with the load and a lone command waits for
    nothing. At most `append_in_flight` transactions at once, each of at most `append_batch_limit` commands. One that
    takes longer than `SLOW_S` waits for a row or a disk: another may begin in its place, `SLOW_LIMIT` more in all."""

    def __init__(
        self,
        store: Store,
        relay: Relay,
        clock: ServerClock,
        limits: Limits,
        *,
        name: str = "persistence:0",
        holder: str | None = None,
        backlog: Callable[[], Awaitable[Backlog]] | None = None,
    ) -> None:
        """`holder`: under which name the sweep's lease is taken, if not that. `backlog` tells what waits in the outbox,
        for the metrics."""
        self._store, self._relay, self._clock, self._limits = store, relay, clock, limits
        self._holder = holder or name
        self._name, self._backlog, self._tally = name, backlog, PersistenceTally()
        self._holds = PaymentHolds(store, self.append, clock, limits, name)
        self._sweeping: asyncio.Task[None] | None = None
        self._holding: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._waiting: deque[_Waiting] = deque()
        self._committers: set[asyncio.Task[None]] = set()
        self._committing = 0  # committers that will still look at what is waiting
        self._slow = 0  # committers whose transaction takes long, and which are no longer counted

    def start(self) -> None:
        """Begin to hand on what was committed, to end what nobody ends, and to sweep what has had its time."""
        self._relay.start()
        self._sweeping = asyncio.ensure_future(self._sweep())
        self._holding = asyncio.ensure_future(self._holds.run())
        if self._backlog is not None:
            self._watching = asyncio.ensure_future(self._watch(self._backlog))

    async def _watch(self, backlog: Callable[[], Awaitable[Backlog]]) -> None:
        while True:
            try:
                self._tally.backlog = await backlog()
            except Exception as error:
                log.warning("persistence.backlog_unknown", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(WATCH_EVERY_S)

    def figures(self) -> list[Family]:
        """For Prometheus."""
        return persistence_figures(
            self._name,
            self._tally,
            waiting=len(self._waiting),
            committing=self._committing,
            handed_on=self._relay.outcomes,
            now_ms=self._clock.now_ms(),
            speed=self._clock.speed,
        )

    async def _sweep(self) -> None:
        """Forget answers older than `idempotency_ttl_s`, explanations older than `explain_keep_s`, offers older than
        `offer_log_keep_days` (server clock) and events long handed on, in bites, until nothing of it is left. One actor
        does it."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            swept = await self._in_bites(self._sweep_some) + await self._in_bites(self._retire_some)
            self._tally.swept += swept
            if swept:
                log.info("persistence.swept", rows=swept)

    async def _sweep_some(self) -> int:
        return await self._store.sweep(
            self._ago_ms(self._limits.idempotency_ttl_s),
            self._ago_ms(self._limits.explain_keep_s),
            SWEEP_LIMIT,
        )

    async def _retire_some(self) -> int:
        keep_s = self._limits.offer_log_keep_days * DAY_S
        return await self._store.retire(
            self._ago_ms(max(SETTLED_S, SETTLED_WALL_S * self._clock.speed)),
            self._ago_ms(keep_s) if keep_s else None,
            SWEEP_LIMIT,
        )

    async def _in_bites(self, bite: Callable[[], Awaitable[int]]) -> int:
        """Until one is less than full; between two is time for the work that people wait for."""
        loop, swept, leased_until_s = asyncio.get_running_loop(), 0, 0.0
        try:
            while True:
                began_s = loop.time()
                if began_s > leased_until_s:
                    if not await self._store.lease("sweep", self._holder, SWEEP_LEASE_S):
                        return swept
                    leased_until_s = began_s + SWEEP_LEASE_S / 2
                some = await bite()
                swept += some
                if some < SWEEP_LIMIT:
                    return swept
                await asyncio.sleep((loop.time() - began_s) * (1 / SWEEP_SHARE - 1))
        except Exception as error:
            log.warning("persistence.sweep_failed", error=f"{type(error).__name__}: {error}")
            return swept

    def _ago_ms(self, seconds: float) -> int:
        return self._clock.now_ms() - round(seconds * 1000)

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        """Durable when it returns; one outcome per command.

        `Overloaded` beyond `append_queue_limit`; `StoreUnavailable` when it is not known whether they committed.
        """
        # As in a region: what is too much by itself could never be taken.
        if self._waiting and len(self._waiting) + len(commands) > self._limits.append_queue_limit:
            self._tally.turned_away += len(commands)
            raise Overloaded(retry_after_s=1)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in commands]
        for item, future in zip(commands, futures, strict=True):
            command, origins = opened(item)
            self._waiting.append((command, future, origins))
        self._begin()
        return list(await asyncio.gather(*futures))

    def _begin(self) -> None:
        """Let somebody look at what is waiting, if there is room."""
        if self._waiting and self._committing < self._limits.append_in_flight:
            self._committing += 1
            task = asyncio.ensure_future(self._commit())
            self._committers.add(task)
            task.add_done_callback(self._committers.discard)

    def look(self) -> None:
        """Another actor has committed something that may be ours to hand on."""
        self._relay.look()

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        """See `domain.ports.Store.open_region`."""
        return await self._store.open_region(region_id, now_ms)

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        """See `domain.ports.Store.look_at_region`."""
        return await self._store.look_at_region(region_id, now_ms)

    async def _commit(self) -> None:
        counted = True

        def slow() -> None:
            nonlocal counted
            if self._slow < SLOW_LIMIT:
                counted = False
                self._slow += 1
                self._committing -= 1
                self._begin()

        try:
            while self._waiting and counted:
                timer = asyncio.get_running_loop().call_later(SLOW_S, slow)
                try:
                    await self._commit_batch()
                finally:
                    timer.cancel()
        finally:
            # In the very step that found nothing waiting: a command put in after it must start a committer.
            if counted:
                self._committing -= 1
            else:
                self._slow -= 1
                self._begin()

    async def _commit_batch(self) -> None:
        batch = [
            self._waiting.popleft() for _ in range(min(len(self._waiting), self._limits.append_batch_limit))
        ]
        commands = [command for command, _, _ in batch]
        origins = tuple(origin for _, _, some in batch for origin in some)
        started_s = time.perf_counter()
        try:
            outcomes = await self._store.append(commands)
        except Exception as error:
            self._tally.failed(commands)
            log.error(
                "persistence.append_failed",
                error=f"{type(error).__name__}: {error}",
                commands=len(batch),
                **ids(origins),
            )
            for _, future, _ in batch:
                if not future.done():
                    future.set_exception(StoreUnavailable(type(error).__name__))
            return
        took_s = time.perf_counter() - started_s
        self._tally.committed(outcomes, took_s)
        took("persistence.transaction", origins, took_s, commands=len(batch))
        for (command, future, some), outcome in zip(batch, outcomes, strict=True):
            if some:
                committed(command, outcome, outcome_name(outcome), some)
            if not future.done():
                future.set_result(outcome)
        self._relay.wake(
            opened=any(isinstance(outcome, Done) and outcome.opened is not None for outcome in outcomes)
        )

    async def stop(self) -> None:
        """Wait for what is under way."""
        for task in (self._sweeping, self._holding, self._watching):
            if task is not None:
                task.cancel()
        await asyncio.gather(*self._committers, return_exceptions=True)
        await self._relay.stop()
