"""Sockets that have not said hello: how many there may be, in all and from one address. Who is in is not concerned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from domain.errors import Overloaded, RateLimited, Refusal


class Handshakes:
    """`limit` in all, `per_address` of one client's address."""

    def __init__(self, limit: int, per_address: int) -> None:
        self._limit, self._per_address = limit, per_address
        self._waiting: Counter[str] = Counter()
        self.waiting = 0

    def refusal(self, address: str, retry_after_s: int) -> tuple[str, Refusal] | None:
        """Why nobody more may wait from this address: a name to count it under, and what to say."""
        if self._waiting.get(address, 0) >= self._per_address:
            detail = f"At most {self._per_address} sockets of one address may wait to say hello."
            return "waiting_of_address", RateLimited(detail, retry_after_s=retry_after_s)
        if self.waiting >= self._limit:
            detail = "Too many sockets wait to say hello."
            return "waiting", Overloaded(detail, retry_after_s=retry_after_s)
        return None

    @contextmanager
    def place(self, address: str) -> Iterator[Callable[[], None]]:
        """A place for one that waits, until it is given back or the socket has ended."""
        self._waiting[address] += 1
        self.waiting += 1
        is_taken = True

        def give_back() -> None:
            nonlocal is_taken
            if is_taken:
                is_taken = False
                self.waiting -= 1
                self._waiting[address] -= 1
                if not self._waiting[address]:
                    del self._waiting[address]

        try:
            yield give_back
        finally:
            give_back()
