"""The road engine as the gateway asks it: in threads, a few requests at once, never without limit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from domain.errors import Overloaded
from domain.ports import RoadRoute, RoadRouter

ROUTES_AT_ONCE = 4
ROUTES_WAITING_LIMIT = 64


class RoadQueries:
    """Routes for clients. The engine blocks, so each request has a thread for its time."""

    def __init__(self, router: RoadRouter) -> None:
        self._router = router
        self._slots = asyncio.Semaphore(ROUTES_AT_ONCE)
        self._waiting = 0

    async def route(self, points: Sequence[tuple[float, float]]) -> RoadRoute | None:
        """`RoadRouter.route`; `Overloaded` when too many are waiting."""
        if self._waiting >= ROUTES_WAITING_LIMIT:
            raise Overloaded("Too many routes are being worked out.", retry_after_s=2)
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(self._router.route, points)
        finally:
            self._waiting -= 1
