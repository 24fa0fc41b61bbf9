"""Looks whether those who hold open sockets may still: one read for a thousand of them, every now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

import structlog

from domain.lifecycle import Role
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
        for driver_ids in _chunks({socket.driver_id for socket in self._sockets()} | self.barred):
            roles = await self._reads.roles_of(driver_ids)
            wrong = {driver_id for driver_id in driver_ids if roles.get(driver_id) is not Role.DRIVER}
            self.barred -= set(driver_ids) - wrong
            self.barred |= set(list(wrong)[: max(0, BARRED_LIMIT - len(self.barred))])
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


def _chunks(driver_ids: Iterable[str]) -> Iterable[list[str]]:
    ordered = sorted(driver_id for driver_id in driver_ids if driver_id)
    return (ordered[at : at + IDS_AT_ONCE] for at in range(0, len(ordered), IDS_AT_ONCE))
