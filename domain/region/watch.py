"""Who is looked after, and when."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Watch:
    """Holders by the moment at which they would be lost (server ms), at most one entry each.

    Being heard of only moves the moment on, so an entry is early rather than late, and what moved it is looked up when
    it comes up: a batch of pings costs nothing here.
    """

    def __init__(self) -> None:
        self._due: list[tuple[int, str]] = []
        self._drivers: set[str] = set()

    def add(self, driver_id: str, lost_ms: int) -> None:
        """Look after this driver at `lost_ms`, unless an earlier look will come."""
        if driver_id not in self._drivers:
            self._drivers.add(driver_id)
            heapq.heappush(self._due, (lost_ms, driver_id))

    def next_ms(self) -> int | None:
        """When the next look is due."""
        return self._due[0][0] if self._due else None

    def lost(self, now_ms: int, lost_ms: Callable[[str], int | None]) -> list[str]:
        """The drivers who are lost by now, in the order of their moments; they are looked after no longer.

        `lost_ms` tells the moment as it is now, None for a driver with nothing to lose.
        """
        lost = []
        while self._due and self._due[0][0] <= now_ms:
            _, driver_id = heapq.heappop(self._due)
            self._drivers.discard(driver_id)
            at_ms = lost_ms(driver_id)
            if at_ms is not None and at_ms > now_ms:
                self.add(driver_id, at_ms)
            elif at_ms is not None:
                lost.append(driver_id)
        return lost
