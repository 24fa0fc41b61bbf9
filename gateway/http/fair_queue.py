"""Who waits for one of a few slots: addresses take turns, and within an address its accounts, so that whoever asks a
thousand times waits for themselves."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeAlias

from domain.errors import Overloaded

_Line: TypeAlias = "deque[asyncio.Future[None]]"


class Asker(NamedTuple):
    """Who asks, and about which account."""

    address: str
    account: str


NOBODY = Asker("", "")


class FairQueue:
    """`slots` at once; of those who wait, so many in all, of one address and for one account of it."""

    def __init__(self, slots: int, waiting_limit: int, address_limit: int, account_limit: int) -> None:
        self.waiting = 0
        self._free = slots
        self._waiting_limit, self._address_limit, self._account_limit = (
            waiting_limit,
            address_limit,
            account_limit,
        )
        self._lines: OrderedDict[str, OrderedDict[str, _Line]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, asker: Asker) -> AsyncIterator[None]:
        """Wait for a slot. `Overloaded`, at once or later, when others who wait have asked for less."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(asker)
        try:
            yield
        finally:
            self._next()

    async def _wait(self, asker: Asker) -> None:
        accounts = self._lines.get(asker.address, OrderedDict())
        if (
            len(accounts.get(asker.account, ())) >= self._account_limit
            or _size(accounts) >= self._address_limit
        ):
            raise _refusal()
        if self.waiting >= self._waiting_limit:
            self._send_one_away(asker.address)
        slot = asyncio.get_running_loop().create_future()
        self._lines.setdefault(asker.address, accounts).setdefault(asker.account, deque()).append(slot)
        self.waiting += 1
        try:
            await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled() and slot.exception() is None:
                self._next()  # it had just been given
            else:
                self._forget(asker, slot)
            raise

    def _send_one_away(self, newcomer: str) -> None:
        """The latest of the address of which most wait, unless that would be the newcomer's own."""
        address = max(self._lines, key=lambda one: _size(self._lines[one]))
        if _size(self._lines[address]) <= _size(self._lines.get(newcomer, OrderedDict())) + 1:
            raise _refusal()
        accounts = self._lines[address]
        account = max(accounts, key=lambda one: len(accounts[one]))
        slot = accounts[account][-1]
        self._forget(Asker(address, account), slot)
        slot.set_exception(_refusal())

    def _next(self) -> None:
        if not self._lines:
            self._free += 1
            return
        address, accounts = next(iter(self._lines.items()))
        account, line = next(iter(accounts.items()))
        accounts.move_to_end(account)
        self._lines.move_to_end(address)
        slot = line[0]
        self._forget(Asker(address, account), slot)
        slot.set_result(None)

    def _forget(self, asker: Asker, slot: asyncio.Future[None]) -> None:
        accounts = self._lines.get(asker.address)
        line = accounts.get(asker.account) if accounts is not None else None
        if accounts is None or line is None or slot not in line:
            return
        line.remove(slot)
        self.waiting -= 1
        if not line:
            del accounts[asker.account]
        if not accounts:
            del self._lines[asker.address]


def _size(accounts: OrderedDict[str, _Line]) -> int:
    return sum(len(line) for line in accounts.values())


def _refusal() -> Overloaded:
    return Overloaded("Too many people are signing in.", retry_after_s=2)
