"""What actor shells need round them in a test: a store to hold up, a clock moved by hand, recorders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from msgspec.structs import replace

from actors.clock import ServerClock
from actors.config import Limits
from actors.region.pump import Journal
from actors.region.restarts import Restarts
from actors.region.shell import RegionShell
from domain.orders.records import (
    Held,
    NotTaken,
    OutboxEvent,
    Outcome,
    Record,
    RecordRefused,
    RegionImage,
    RegionRecords,
)
from domain.ports import Channel, Command, PaymentResult, RefundState
from domain.region.locked_records import behind
from domain.region.machine import Region
from domain.region.messages import Kick, Message, Push, Ready
from domain.region.policy import RegionPolicy
from domain.solve import Plan, SolveRequest
from persistence.orders.memory import MemoryStore
from solver.registry import solve
from tests.support.build import NOW, REGION

DEADLINE_S = 5.0


class Broken(Exception):
    """What a store raises whose database is gone."""


class HeldStore:
    """`domain.ports.Store` in memory. Appends wait for `gate`; `fail` makes the next ones raise before
    they commit or, with `lose`, after it; `refuse` picks records that a constraint would bite; what is about an order
    of `locked` is held."""

    def __init__(self, inner: MemoryStore | None = None) -> None:
        self.inner = inner or MemoryStore()
        self.gate, self.entered = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.calls: list[list[Command]] = []
        self.fail = self.lose = 0
        self.refuse: Callable[[Record], bool] = lambda record: False
        self.locked: set[str] = set()  # orders of which somebody has a row locked

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        self.calls.append(list(commands))
        self.entered.set()
        await self.gate.wait()
        if self.fail:
            self.fail -= 1
            raise Broken
        for command in commands:
            if isinstance(command, RegionRecords):
                for record in command.records:
                    if self.refuse(record):
                        return [RecordRefused(record.record_id, "tasks_edge")]
        held = [
            behind(command.records, (), set(self.locked)) if isinstance(command, RegionRecords) else []
            for command in commands
        ]
        free = [
            replace(command, records=tuple(one for one in command.records if one not in waiting))
            if isinstance(command, RegionRecords)
            else command
            for command, waiting in zip(commands, held, strict=True)
        ]
        outcomes = self.inner.append_now(free)
        if self.lose:
            self.lose -= 1
            raise Broken
        return [
            Held(tuple(record.record_id for record in waiting)) if waiting else outcome
            for outcome, waiting in zip(outcomes, held, strict=True)
        ]

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        return self.inner.open_region_now(region_id, now_ms)

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        return await self.inner.look_at_region(region_id, now_ms)

    async def sweep(self, before_ms: int, explained_before_ms: int, limit: int) -> int:
        return await self.inner.sweep(before_ms, explained_before_ms, limit)

    async def outbox_batch(
        self,
        channel: Channel,
        limit: int,
        without: Collection[str] = (),
        under_way: Collection[int] = (),
    ) -> list[OutboxEvent]:
        return await self.inner.outbox_batch(channel, limit, without, under_way)

    async def outbox_not_taken(self, events: Sequence[NotTaken]) -> None:
        await self.inner.outbox_not_taken(events)

    async def open_payments(self, before_ms: int, limit: int) -> list[tuple[str, int]]:
        return await self.inner.open_payments(before_ms, limit)

    async def retire(self, over_before_ms: int, offers_before_ms: int | None, limit: int) -> int:
        return await self.inner.retire(over_before_ms, offers_before_ms, limit)

    async def lease(self, name: str, holder: str, for_s: float) -> bool:
        return await self.inner.lease(name, holder, for_s)

    async def release(self, holder: str) -> None:
        await self.inner.release(holder)

    async def outbox_done(self, event_ids: Sequence[int]) -> None:
        await self.inner.outbox_done(event_ids)

    async def held_up(self) -> None:
        """Wait until an append stands at the gate."""
        async with asyncio.timeout(DEADLINE_S):
            await self.entered.wait()


class HandClock(ServerClock, frozen=True, kw_only=True):
    """Stands still until it is moved. Deadlines ahead are never reached by waiting."""

    hand: list[int]

    def now_ms(self) -> int:
        return self.hand[0]

    def wall_s(self, server_s: float) -> float:
        return 3600.0 if server_s > 0 else 0.0

    def forward(self, seconds: float) -> None:
        self.hand[0] += round(seconds * 1000)


class Faulty:
    """A journal that fails, and with it the step, on the messages that `on` picks."""

    def __init__(self) -> None:
        self.on: Callable[[Message], bool] = lambda message: False

    def began(self, region: Region, now_ms: int) -> None:
        pass

    def failed(self, now_ms: int, message: Message) -> None:
        pass

    def stepped(self, now_ms: int, message: Message, ready: Ready) -> None:
        if self.on(message):
            raise Broken


class Shell:
    """A region shell with a store that can be held, a hand-moved clock, and what left it. Lives follow each other
    without a wait unless `restarts` says otherwise."""

    def __init__(
        self,
        store: HeldStore | None = None,
        *,
        restarts: Restarts | None = None,
        journal: Journal | None = None,
        hung: Collection[int] = (),
        **limits: Any,
    ) -> None:
        self.store = store or HeldStore()
        self.clock = HandClock(hand=[NOW])
        self.sent: list[Push | Kick] = []
        self.hung, self.solves, self.cancelled = hung, 0, 0  # solves that do not come back, by number
        self.deaths: list[str] = []
        self.shell = RegionShell(
            REGION,
            store=self.store,
            policy=RegionPolicy(),
            limits=Limits(**limits),
            clock=self.clock,
            solve=self._solve,
            send=self._send,
            on_death=self.deaths.append,
            journal=journal,
            restarts=restarts or Restarts(first_wait_s=0.0),
        )

    async def _solve(self, request: SolveRequest) -> Plan:
        self.solves += 1
        if self.solves in self.hung:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled += 1
        return solve(request)

    async def _send(self, gateway_id: str, pushes: list[Push | Kick]) -> None:
        self.sent += pushes


class Bus:
    """An event bus that remembers, and can be down."""

    def __init__(self) -> None:
        self.down = False
        self.events: list[OutboxEvent] = []

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        if self.down:
            raise Broken
        self.events += events


class Payments:
    """A payment vendor that remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def authorize(self, *, request_id: str, amount_cents: int, vendor_token: str) -> PaymentResult:
        return PaymentResult(True, "pay-1")

    async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult:
        self.asked.append((f"capture {amount_cents}", vendor_ref))
        return PaymentResult(True, vendor_ref)

    async def void(self, *, request_id: str, vendor_ref: str) -> PaymentResult:
        self.asked.append(("void", vendor_ref))
        return PaymentResult(True, vendor_ref)

    async def release(self, *, request_id: str) -> PaymentResult:
        self.asked.append(("release", request_id))
        return PaymentResult(True, "")

    async def refund(self, **_: Any) -> RefundState:
        raise AssertionError("nothing is given back here")

    async def refund_state(self, **_: Any) -> RefundState | None:
        return None


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; `TimeoutError` when it does not come."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - no event of ours tells of every turn of the loop
            await asyncio.sleep(0)
