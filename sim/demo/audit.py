"""Compares the books with the server: each ended order's status and, if it was delivered, its dossier."""

from __future__ import annotations

import asyncio

from sim.concurrency import each
from sim.demo.api import Api
from sim.demo.clock import ServerTime
from sim.demo.tally import DELIVERED, OrderNote, Tally

AT_ONCE = 4


class Auditor:
    """Reads through the public interface, as the customer who placed the order."""

    def __init__(self, api: Api, clock: ServerTime, books: Tally) -> None:
        self._api, self._clock, self._books = api, clock, books

    async def run(self, every_s: float = 1.0) -> None:
        """Audit what has ended, until cancelled. `every_s` is wall time."""
        while True:
            await self.catch_up()
            await asyncio.sleep(every_s)

    async def catch_up(self) -> None:
        """Audit all that has ended so far."""
        while self._books.to_audit:
            notes, self._books.to_audit = self._books.to_audit, []
            try:
                await each(AT_ONCE, notes, self._audit)
            except asyncio.CancelledError:
                self._books.to_audit += [note for note in notes if note.status is None]
                raise

    async def look_for_news(self, older_than_s: float = 0.0) -> None:
        """Ask the server about the orders that are open in the books for so long: a bot may have missed their end."""
        before_s = self._clock.now_s() - older_than_s
        notes = [note for note in self._books.open.values() if note.placed_s <= before_s]
        await each(AT_ONCE, notes, self._look)

    async def call_off(self) -> int:
        """Cancel what is open and still can be, so that the server is not left with it; how many were."""
        return sum(await each(AT_ONCE, list(self._books.open.values()), self._cancel))

    async def _look(self, note: OrderNote) -> None:
        status = await self._status(note)
        if status is not None:
            self._books.found(note, status, self._clock.now_s())

    async def _cancel(self, note: OrderNote) -> bool:
        path = f"/v1/orders/{note.order_id}/cancel"
        reply = await self._api.request(
            "POST", path, account=note.customer, body={"reason": "OTHER"}, key=f"end-{note.order_id}"
        )
        await self._look(note)
        return reply.ok

    async def _audit(self, note: OrderNote) -> None:
        status = await self._status(note)
        dossier_ok = None
        if note.outcome == "delivered" or status in DELIVERED:
            path = f"/v1/orders/{note.order_id}/dossier/verify"
            reply = await self._api.request("GET", path, account=note.customer)
            dossier_ok = reply.ok and reply.body.get("ok") is True
        self._books.audited(note, status or "unknown", dossier_ok)

    async def _status(self, note: OrderNote) -> str | None:
        reply = await self._api.request("GET", f"/v1/orders/{note.order_id}", account=note.customer)
        return str(reply.body["status"]) if reply.ok else None
