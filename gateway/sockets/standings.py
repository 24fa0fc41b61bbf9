"""Whether who wants to drive may: approved by an operator, and with documents that are good."""

from __future__ import annotations

import asyncio

from domain.marketplace.drivers import Standing
from gateway.deciders.ports import ReadSide

KNOWN_LIMIT = 20_000  # drivers whose standing is remembered, some 300 bytes each


class Standings:
    """A look at the driver's record with a word on duty, which is believed for `keep_s` seconds."""

    def __init__(self, reads: ReadSide, keep_s: float) -> None:
        self._reads, self._keep_s = reads, keep_s
        self._known: dict[str, tuple[float, Standing | None]] = {}

    async def of(self, driver_id: str) -> Standing | None:
        """How the driver's application stands; None for one who never applied."""
        now_s = asyncio.get_running_loop().time()
        until_s, standing = self._known.get(driver_id, (0.0, None))
        if until_s > now_s:
            return standing
        standing = (await self._reads.standings([driver_id])).get(driver_id)
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        self._known[driver_id] = now_s + self._keep_s, standing
        return standing

    def forget(self, driver_id: str) -> None:
        """The record has changed."""
        self._known.pop(driver_id, None)
