"""The database of a simulated world: the store in memory behind a connection that is slow, breaks, and loses answers.

A transaction begins on the rows of one moment and commits at a later one, with others in between; the commit happens
even when whoever asked for it has died meanwhile.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Sequence
from functools import partial
from random import Random
from typing import TypeVar

from msgspec.structs import replace

from domain.orders.lifecycle import OfferStatus
from domain.orders.records import (
    Fenced,
    NotTaken,
    OfferRow,
    OutboxEvent,
    Outcome,
    RecordRefused,
    RegionImage,
    RegionRecords,
)
from domain.ports import Channel, Command
from persistence.orders.memory import MemoryStore, Transaction
from persistence.orders.plan import is_fenced
from sim.world.faults import Faults
from sim.world.locked_rows import Locks, around, told
from sim.world.virtual import VirtualLoop

T = TypeVar("T")

COMMIT_S = (0.0005, 0.006)  # wall time of a transaction
SLOW_S = (0.05, 4.0)  # where the database is slow
OUTAGE_S = (0.2, 6.0)  # for so long it takes no connections


class ConnectionLost(Exception):
    """What a driver raises when it cannot tell whether the transaction committed."""


class SimStore:
    """`domain.ports.Store` over a `MemoryStore`."""

    def __init__(
        self,
        memory: MemoryStore,
        loop: VirtualLoop,
        chance: Random,
        faults: Faults,
        *,
        lock_timeout_s: float,
        on_refusal: Callable[[str, RecordRefused], None],
        on_spoilt: Callable[[str], None],
    ) -> None:
        """`lock_timeout_s`: that a statement waits for a row. `on_refusal` hears of each region whose record the rows
        themselves refuse, `on_spoilt` of each task whose row a region cannot live with."""
        self._memory, self._loop, self._chance, self._faults = memory, loop, chance, faults
        self._lock_timeout_s, self._on_refusal, self._on_spoilt = lock_timeout_s, on_refusal, on_spoilt
        self._locks = Locks(loop)
        self._set_by_s = 0.0
        self._down_until_s = 0.0
        self._spoilt_until_s: dict[str, float] = {}
        self._leases: dict[str, tuple[str, float]] = {}  # name -> holder, until

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        """See `domain.ports.Store.append`."""
        await self._connect()
        [first, *others] = commands
        lone = first if isinstance(first, RegionRecords) and not others else None
        if lone is not None and self._faults.strikes("refuse", 0.01, lone.region_id):
            record = lone.records[self._faults.choice("refuse", len(lone.records))]
            return await self._later(partial(self._refuse, lone, record.record_id))
        held = self._locks.held(commands)
        if held and (wait_s := self._locks.wait_s(held, self._lock_timeout_s)):
            await asyncio.sleep(wait_s)
            held = self._locks.held(commands)
        self._locks.suspect(held)
        free, left_out = around(commands, held)
        transaction = self._memory.begin(free)
        return told(await self._later(lambda: self._commit(transaction)), left_out)

    def _commit(self, transaction: Transaction) -> list[Outcome]:
        outcomes = self._memory.commit(transaction)
        for command, outcome in zip(transaction.commands, outcomes, strict=True):
            if isinstance(outcome, RecordRefused) and isinstance(command, RegionRecords):
                self._on_refusal(command.region_id, outcome)
        return outcomes

    def _refuse(self, command: RegionRecords, record_id: str) -> list[Outcome]:
        epochs = self._memory.epochs
        if is_fenced(command, epochs):
            return [Fenced(epochs[command.region_id])]
        return [RecordRefused(record_id, "made_by_a_fault")]

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        """See `domain.ports.Store.open_region`."""
        await self._connect()
        return self._as_read(await self._later(lambda: self._memory.open_region_now(region_id, now_ms)))

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        """See `domain.ports.RegionStore.look_at_region`."""
        await self._connect()
        return self._as_read(await self._memory.look_at_region(region_id, now_ms))

    def _as_read(self, image: RegionImage) -> RegionImage:
        """With what an operator did to one of its rows, while that stands."""
        if self._loop.time() >= self._spoilt_until_s.get(image.region_id, 0.0):
            return image
        # Of what nobody holds: a driver who was told once that there is no such task does not take it up again.
        free = [task.task_id for task in image.tasks if task.driver_id is None]
        bad = free[:1]
        for task_id in bad:
            self._on_spoilt(task_id)
        tasks = (replace(task, dropoff_lat=math.nan) if task.task_id in bad else task for task in image.tasks)
        return replace(image, tasks=tuple(tasks))

    async def outbox_batch(
        self,
        channel: Channel,
        limit: int,
        without: Collection[str] = (),
        under_way: Collection[int] = (),
    ) -> list[OutboxEvent]:
        """See `domain.ports.Store.outbox_batch`."""
        await self._connect()
        return await self._memory.outbox_batch(channel, limit, without, under_way)

    async def outbox_not_taken(self, events: Sequence[NotTaken]) -> None:
        """See `domain.ports.Store.outbox_not_taken`."""
        await self._connect()
        await self._memory.outbox_not_taken(events)

    async def outbox_done(self, event_ids: Sequence[int]) -> None:
        """See `domain.ports.Store.outbox_done`."""
        await self._connect()
        await self._memory.outbox_done(event_ids)

    async def sweep(self, before_ms: int, explained_before_ms: int, limit: int) -> int:
        """See `domain.ports.Store.sweep`."""
        await self._connect()
        return await self._memory.sweep(before_ms, explained_before_ms, limit)

    async def open_payments(self, before_ms: int, limit: int) -> list[tuple[str, int]]:
        """See `domain.ports.Store.open_payments`."""
        await self._connect()
        return await self._memory.open_payments(before_ms, limit)

    async def retire(self, over_before_ms: int, offers_before_ms: int | None, limit: int) -> int:
        """See `domain.ports.Store.retire`."""
        return await self._memory.retire(over_before_ms, offers_before_ms, limit)

    async def lease(self, name: str, holder: str, for_s: float) -> bool:
        """See `domain.ports.Store.lease`."""
        now_s = self._loop.time() + self._set_by_s
        has, until_s = self._leases.get(name, (holder, now_s))
        # One that lasts longer than any is of before the database's clock was set back.
        if has != holder and now_s <= until_s <= now_s + for_s:
            return False
        self._leases[name] = holder, now_s + for_s
        return True

    async def release(self, holder: str) -> None:
        """See `domain.ports.Store.release`."""
        self._leases = {name: one for name, one in self._leases.items() if one[0] != holder}

    async def _connect(self) -> None:
        if self._faults.strikes("store", 0.002):
            self._down_until_s = self._loop.time() + self._faults.amount("store", *OUTAGE_S)
        if self._loop.time() < self._down_until_s and self._faults.active:
            await asyncio.sleep(self._chance.uniform(*COMMIT_S))
            raise ConnectionLost("no connection")

    async def _later(self, commit: Callable[[], T]) -> T:
        """What `commit` gives, some time from now, unless the connection breaks before or after it."""
        wait_s = self._chance.uniform(*COMMIT_S)
        if self._faults.strikes("store", 0.01):
            wait_s += self._faults.amount("store", *SLOW_S)
        future: asyncio.Future[T] = self._loop.create_future()
        broken, lost = self._faults.strikes("store", 0.01), self._faults.strikes("ack", 0.02)
        self._loop.outside_later(wait_s, self._carry_out, commit, future, broken, lost)
        return await future

    @staticmethod
    def _carry_out(commit: Callable[[], T], future: asyncio.Future[T], broken: bool, lost: bool) -> None:
        result = None if broken else commit()
        if future.done():
            return
        if broken or lost:
            future.set_exception(ConnectionLost("before the commit" if broken else "after the commit"))
        else:
            future.set_result(result)  # type: ignore[arg-type]  # only a broken one has none

    # -- what others do to the rows -----------------------------------------------------------------------------------

    def set_clock(self, by_s: float) -> None:
        """The database's clock is set."""
        self._set_by_s += by_s

    def hold_row(self, order_id: str, for_s: float) -> None:
        """Somebody else has the order's row locked for so long."""
        self._locks.hold(order_id, for_s)

    def end_offer(self, offer_id: str, at_ms: int) -> OfferRow:
        """An offer is over by an operator's word, and its tasks go on saying that it stands. Returns the row."""
        row = replace(self._memory.offers[offer_id], status=OfferStatus.REVOKED, closed_ms=at_ms)
        self._memory.put_offer(row)
        return row

    def spoil(self, region_id: str, for_s: float) -> None:
        """For so long one of the region's rows cannot be lived with."""
        self._spoilt_until_s[region_id] = self._loop.time() + for_s
