"""Events on their way to their receivers: one call at a time to each, and nobody waits for somebody else's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Lane:
    """The way to one receiver. After a failure it rests, twice as long each time."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.again = False  # somebody looked for more while it was busy
        self.failures = 0  # in a row
        self.rests_until_s = 0.0  # time of the loop


class Lanes(Generic[K]):
    """The ways of one channel, by key. One rests `first_s` after a failure, at most `longest_s` after several."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._lanes: dict[K, Lane] = {}

    def closed(self) -> list[K]:
        """Those that are busy or rest. The busy ones are told that somebody came by."""
        now_s = asyncio.get_running_loop().time()
        for key, lane in list(self._lanes.items()):
            if lane.task is not None:
                lane.again = True
            elif lane.rests_until_s + (self._longest_s if lane.failures else 0) <= now_s:
                del self._lanes[key]
        return [
            key for key, lane in self._lanes.items() if lane.task is not None or lane.rests_until_s > now_s
        ]

    def send(self, key: K, carry: Callable[[], Awaitable[bool]], done: Callable[[bool], None]) -> None:
        """Begin `carry`, which tells whether the receiver is well. `done(again)` when it has ended; `again`: there may
        be more for this one."""
        lane = self._lanes.setdefault(key, Lane())
        assert lane.task is None
        lane.again = False
        lane.task = asyncio.ensure_future(self._carry(lane, carry, done))

    async def _carry(
        self, lane: Lane, carry: Callable[[], Awaitable[bool]], done: Callable[[bool], None]
    ) -> None:
        well = False
        try:
            well = await carry()
        finally:
            lane.task = None
            if well:
                lane.failures, lane.rests_until_s = 0, 0.0
            else:
                rest_s = min(self._first_s * 2**lane.failures, self._longest_s)
                lane.failures = min(lane.failures + 1, 60)
                lane.rests_until_s = asyncio.get_running_loop().time() + rest_s
            done(lane.again)

    def under_way(self) -> Iterable[asyncio.Task[None]]:
        """The calls under way."""
        return [lane.task for lane in self._lanes.values() if lane.task is not None]
