"""Authorizations of which nobody says what came of them: a gateway died between the vendor's yes and the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from actors.clock import ServerClock
from actors.config import Limits
from domain.orders.commands import AbandonPayment, OrderCommand
from domain.orders.lifecycle import Role
from domain.orders.records import Outcome
from domain.ports import Command, Store

log = structlog.get_logger()

EVERY_S = 2.0  # wall time
BATCH = 100
LEASE_S = 2.5 * EVERY_S


class PaymentHolds:
    """Ends authorizations that are open for longer than a vendor and a commit may take. What was granted to them is let
    go by the event that this leaves, and whoever comes later with the vendor's yes is refused. One actor does it."""

    def __init__(
        self,
        store: Store,
        append: Callable[[Sequence[Command]], Awaitable[list[Outcome]]],
        clock: ServerClock,
        limits: Limits,
        name: str,
    ) -> None:
        self._store, self._append, self._clock, self._name = store, append, clock, name
        self._patience_ms = round((limits.vendor_timeout_s + limits.region_call_deadline_s) * 1000)

    async def run(self) -> None:
        """Look every so often, for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                if await self._store.lease("holds", self._name, LEASE_S):
                    await self.look()
            except Exception as error:
                log.warning("holds.failed", error=f"{type(error).__name__}: {error}")

    async def look(self) -> None:
        """End those that are open for too long."""
        now_ms = self._clock.now_ms()
        before_ms = now_ms - round(self._patience_ms * self._clock.speed)
        for order_id, number in await self._store.open_payments(before_ms, BATCH):
            log.warning("holds.abandoned", order_id=order_id, number=number)
            command = OrderCommand(
                scope="system|holds",
                key=f"{order_id}/{number}/{now_ms}",
                fingerprint="",
                role=Role.SYSTEM,
                principal_id="settlement",
                order_id=order_id,
                at_ms=now_ms,
                action=AbandonPayment(number, before_ms),
            )
            await self._append([command])
