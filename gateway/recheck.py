"""Looks whether those who hold open sockets may still: one read for a thousand of them, every now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

import structlog

from gateway.backend import ReadSide

_log = structlog.stdlib.get_logger(__name__)

IDS_AT_ONCE = 1_000
BARRED_LIMIT = 10_000


class Expellable(Protocol):
    """What is asked of a driver's socket here."""

    driver_id: str

    def expel(self) -> None:
        """The account is gone, or is no driver's any more."""
        ...


class Recheck:
    """Closes sockets of accounts that are gone or have another role, and remembers whose they were: a token lives on
    for hours. While the database does not answer, nobody is closed."""

    def __init__(
        self, reads: ReadSide, sockets: Callable[[], Collection[Expellable]], every_s: float
    ) -> None:
        self._reads, self._sockets, self._every_s = reads, sockets, every_s
        self.barred: set[str] = set()

    async def look(self) -> None:
        """One look at every account with an open socket, and at those that are barred."""
        known = dict.fromkeys([*(socket.driver_id for socket in self._sockets()), *sorted(self.barred)])
        known.pop("", None)  # of sockets that have not said hello yet
        ids = list(known)
        for at in range(0, len(ids), IDS_AT_ONCE):
            driver_ids = ids[at : at + IDS_AT_ONCE]
            wrong = await self._reads.no_drivers(driver_ids)
            self.barred -= set(driver_ids) - wrong
            self.barred |= set(sorted(wrong)[: max(0, BARRED_LIMIT - len(self.barred))])
            if wrong:
                for socket in [socket for socket in self._sockets() if socket.driver_id in wrong]:
                    _log.info("socket of no driver closed", driver_id=socket.driver_id)
                    socket.expel()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except Exception:
                _log.exception("accounts were not looked at")
