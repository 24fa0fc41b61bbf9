"""Looks whether those who hold open sockets may still, and whether they may drive: two reads for a thousand of them,
every now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

import structlog

from domain.marketplace.drivers import Standing
from gateway.deciders.ports import ReadSide
from gateway.http.account_status import HOLDERS_AT_ONCE
from persistence.reads.views import Holder

_log = structlog.stdlib.get_logger(__name__)


class Rechecked(Protocol):
    """What is asked of a driver's socket here."""

    holder: Holder | None  # of its newest token, None before the hello

    def expel(self) -> None:
        """The account is gone or disabled, is no driver's any more, or took the token back."""
        ...

    def judge(self, standing: Standing | None) -> None:
        """How the driver's application stands by now, None where there is none."""
        ...


class Recheck:
    """Closes the sockets of accounts that may not have them any more, and takes off duty who may not drive. While the
    database does not answer, nobody is closed."""

    def __init__(self, reads: ReadSide, sockets: Callable[[], Collection[Rechecked]], every_s: float) -> None:
        self._reads, self._sockets, self._every_s = reads, sockets, every_s

    async def look(self) -> None:
        """One look at every account with an open socket."""
        holders = list(
            dict.fromkeys(socket.holder for socket in self._sockets() if socket.holder is not None)
        )
        for at in range(0, len(holders), HOLDERS_AT_ONCE):
            wrong = await self._reads.revoked(holders[at : at + HOLDERS_AT_ONCE])
            if wrong:
                for socket in [socket for socket in self._sockets() if socket.holder in wrong]:
                    assert socket.holder is not None
                    _log.info("socket of no driver closed", driver_id=socket.holder.user_id)
                    socket.expel()
            await self._judge(
                [holder for holder in holders[at : at + HOLDERS_AT_ONCE] if holder not in wrong]
            )

    async def _judge(self, holders: list[Holder]) -> None:
        standings = await self._reads.standings([holder.user_id for holder in holders])
        fit = frozenset(holders)
        for socket in [socket for socket in self._sockets() if socket.holder in fit]:
            assert socket.holder is not None
            socket.judge(standings.get(socket.holder.user_id))

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except Exception:
                _log.exception("accounts were not looked at")
