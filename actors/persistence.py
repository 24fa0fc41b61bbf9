"""The shell round the store: group commit for gateways and regions, and the relay of what was committed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from actors.clock import ServerClock
from actors.config import Limits
from actors.relay import Relay
from domain.errors import Overloaded, StoreUnavailable
from domain.ports import Command, Store
from domain.records import Outcome, RegionImage

log = structlog.get_logger()

SWEEP_EVERY_S = 30.0  # wall time
SWEEP_LIMIT = 5_000  # rows of each kind at a time

_Waiting = tuple[Command, "asyncio.Future[Outcome]"]


class PersistenceShell:
    """Collects commands while appends are under way, so that a batch grows with the load and a lone command waits for
    nothing. At most `append_in_flight` transactions at once, each of at most `append_batch_limit` commands."""

    def __init__(self, store: Store, relay: Relay, clock: ServerClock, limits: Limits) -> None:
        self._store, self._relay, self._clock, self._limits = store, relay, clock, limits
        self._sweeping: asyncio.Task[None] | None = None
        self._waiting: deque[_Waiting] = deque()
        self._committers: set[asyncio.Task[None]] = set()
        self._committing = 0  # committers that will still look at what is waiting

    def start(self) -> None:
        """Begin to hand on what was committed, and to sweep what has had its time."""
        self._relay.start()
        self._sweeping = asyncio.ensure_future(self._sweep())

    async def _sweep(self) -> None:
        """Forget answers older than `idempotency_ttl_s`, explanations older than `explain_keep_s` (server clock) and
        events long handed on, in bites."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                swept = await self._store.sweep(
                    self._ago_ms(self._limits.idempotency_ttl_s),
                    self._ago_ms(self._limits.explain_keep_s),
                    SWEEP_LIMIT,
                )
            except Exception as error:
                log.warning("persistence.sweep_failed", error=f"{type(error).__name__}: {error}")
            else:
                if swept:
                    log.info("persistence.swept", rows=swept)

    def _ago_ms(self, seconds: float) -> int:
        return self._clock.now_ms() - round(seconds * 1000)

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        """Durable when it returns; one outcome per command.

        `Overloaded` beyond `append_queue_limit`; `StoreUnavailable` when it is not known whether they committed.
        """
        if len(self._waiting) + len(commands) > self._limits.append_queue_limit:
            raise Overloaded(retry_after_s=1)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in commands]
        self._waiting.extend(zip(commands, futures, strict=True))
        if self._committing < self._limits.append_in_flight:
            self._committing += 1
            task = asyncio.ensure_future(self._commit())
            self._committers.add(task)
            task.add_done_callback(self._committers.discard)
        return list(await asyncio.gather(*futures))

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        """See `domain.ports.Store.open_region`."""
        return await self._store.open_region(region_id, now_ms)

    async def _commit(self) -> None:
        try:
            while self._waiting:
                await self._commit_batch()
        finally:
            # In the very step that found nothing waiting: a command put in after it must start a committer.
            self._committing -= 1

    async def _commit_batch(self) -> None:
        batch = [
            self._waiting.popleft() for _ in range(min(len(self._waiting), self._limits.append_batch_limit))
        ]
        try:
            outcomes = await self._store.append([command for command, _ in batch])
        except Exception as error:
            log.error(
                "persistence.append_failed", error=f"{type(error).__name__}: {error}", commands=len(batch)
            )
            for _, future in batch:
                if not future.done():
                    future.set_exception(StoreUnavailable(type(error).__name__))
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)
        self._relay.wake()

    async def stop(self) -> None:
        """Wait for what is under way."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        await asyncio.gather(*self._committers, return_exceptions=True)
        await self._relay.stop()
