"""Who is asked every second whether he is there, and is ended when he does not say so. Nothing here knows Ray.

A part that has died is not this page's business: whoever asks it is told so, and Ray brings it back. What is noticed
here is the process that is there and does nothing: frozen, or with an event loop that never comes round.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from actors.config import Limits

LATE_S = 1.0  # a timer that comes so much later than it was due: this process or the machine stood still
_log = logging.getLogger(__name__)


class Heard(NamedTuple):
    """A part's answer: the process it is, on which node, and how long its event loop has not come round."""

    node_id: str
    pid: int
    behind_s: float


Ask = Callable[[int], Awaitable[Heard]]  # is told how often the part was replaced
Replace = Callable[[Heard | None], Awaitable[None]]  # ends the process that was heard of last
Say = Callable[[str], None]


class Pulse:
    """Watches one part for ever. A life that has not answered yet is starting, and is given `start_s`."""

    def __init__(
        self,
        name: str,
        ask: Ask,
        replace: Replace,
        say: Say,
        limits: Limits,
        *,
        start_s: float,
        replaced: int = 0,
    ) -> None:
        self.name, self.replaced = name, replaced
        self._ask, self._replace, self._say = ask, replace, say
        self._limits, self._start_s = limits, start_s

    async def watch(self) -> None:
        heard: Heard | None = None
        while True:
            heard = await self._once(heard)
            await asyncio.sleep(self._limits.heartbeat_s)

    async def _once(self, before: Heard | None) -> Heard | None:
        """Ask once; returns the answer, None when there is no life that has answered."""
        limits = self._limits
        patience_s = limits.silent_s if before is not None else self._start_s
        try:
            heard = await _in_time(self._ask(self.replaced), patience_s)
        except TimeoutError:
            await self._end(f"has not answered for {patience_s:g} s", before)
            return None
        except Exception as error:  # it has died, and comes back by itself
            _log.debug("%s is away: %s", self.name, type(error).__name__)
            return None
        if heard.behind_s > limits.stuck_s:
            await self._end(f"has been busy with one thing for {heard.behind_s:.0f} s", heard)
            return None
        return heard

    async def _end(self, why: str, heard: Heard | None) -> None:
        self.replaced += 1
        _log.error("part.replaced %s %s", self.name, why)
        self._say(f"{self.name} {why}: its process is ended, and comes back")
        try:
            await self._replace(heard)
        except Exception as error:  # asked again, and tried again
            self._say(f"{self.name} could not be ended: {type(error).__name__}")


async def _in_time(answer: Awaitable[Heard], patience_s: float) -> Heard:
    """`TimeoutError` when there is none in time, unless it was this process that slept."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(answer)
    try:
        while True:
            due_s = loop.time() + patience_s
            await asyncio.wait((task,), timeout=patience_s)
            if task.done():
                return task.result()
            if loop.time() - due_s < LATE_S:
                raise TimeoutError
    finally:
        task.cancel()


class Frozen:
    """Finds processes that were stopped and not continued, of those that nobody has a name to ask by: workers that run
    one solve after the other."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: dict[int, float] = {}

    def look(self, now_s: float, stopped: Iterable[int]) -> list[int]:
        """Those of the processes stopped now that have been so for too long."""
        self._since = {pid: self._since.get(pid, now_s) for pid in stopped}
        return [pid for pid, since_s in self._since.items() if now_s - since_s >= self._patience_s]
