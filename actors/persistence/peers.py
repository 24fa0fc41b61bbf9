"""How persistence actors tell each other that something was committed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

log = structlog.get_logger()


class Peers:
    """The other persistence actors. Each is told that there is news by one call at a time; more news meanwhile is one
    more call. A call that is lost costs `outbox_retry_s` at most."""

    def __init__(self, call: Callable[..., Awaitable[Any]], names: Sequence[str], deadline_s: float) -> None:
        """`call(actor, method)` reaches an actor; one that does not answer within `deadline_s` looks when it can."""
        self._call, self._names, self._deadline_s = call, names, deadline_s
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def wake(self) -> None:
        """Something was committed."""
        for name in self._names:
            if name in self._calls:
                self._again.add(name)
            else:
                self._calls[name] = asyncio.ensure_future(self._tell(name))

    async def _tell(self, name: str) -> None:
        try:
            while True:
                self._again.discard(name)
                async with asyncio.timeout(self._deadline_s):
                    await self._call(name, "look")
                if name not in self._again:
                    return
        except Exception as error:  # it comes back by itself, and looks then
            log.debug("persistence.peer_unreachable", peer=name, error=type(error).__name__)
        finally:
            del self._calls[name]
