"""Who gets in while a gateway has as much to do as it can. What is under way goes before what is new.

`refusal` decides from numbers alone; `Admission` keeps the numbers of one gateway. Nothing that is refused has cost
more than the look at its path, so that a flood of new work leaves room for what was begun.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple

from actors.config import Limits
from actors.telemetry.metrics import Family, counter
from domain.errors import Overloaded
from domain.protocol import CLOSE_OVERLOADED, CLOSE_RESTARTING, retry_reason

LAG_PROBE_S = 0.1
LAG_WEIGHT = 0.3  # of the newest probe: one long pause is no overload, a second of them is
NEW_SHARE = 0.8  # of the requests under way may be new work; the rest is kept for what was begun
RETRY_SPREAD = 0.2  # the earliest return, as a share of the latest


class Kind(StrEnum):
    """What wants in."""

    SOCKET = "socket"  # a connection that wants to become a driver's socket
    HELLO = "hello"
    NEW = "new"  # a request that begins something, or is much work: it can come later
    UNDER_WAY = "under_way"  # a request that goes on with something, or is little work
    STREAM = "stream"  # stays open, and has a limit of its own
    EXEMPT = "exempt"  # never refused: who looks after the server must get through


class Load(NamedTuple):
    """How much there is; `lag_ms`: how late the event loop is."""

    sockets: int
    hellos: int
    requests: int
    lag_ms: float

    @property
    def new_requests(self) -> int:
        """The same requests, held against another bound."""
        return self.requests


class Bounds(NamedTuple):
    """How much there may be, under the names of `Load`."""

    sockets: int
    hellos: int
    requests: int
    lag_ms: float

    @property
    def new_requests(self) -> int:
        return max(1, int(self.requests * NEW_SHARE))


# What each kind is held against, in the order in which it is named as the reason.
CHECKS: dict[Kind, tuple[str, ...]] = {
    Kind.SOCKET: ("sockets", "lag_ms"),
    Kind.HELLO: ("hellos", "lag_ms"),
    Kind.NEW: ("new_requests", "lag_ms"),
    Kind.UNDER_WAY: ("requests",),
    Kind.STREAM: ("lag_ms",),
    Kind.EXEMPT: (),
}

_COUNTED = frozenset({Kind.NEW, Kind.UNDER_WAY})


def refusal(kind: Kind, load: Load, bounds: Bounds) -> str | None:
    """The name of the number that has reached its bound; None lets it in."""
    return next((name for name in CHECKS[kind] if getattr(load, name) >= getattr(bounds, name)), None)


class Admission:
    """One gateway's numbers. `sockets()` are those that are open; `refused` counts by kind and reason."""

    def __init__(self, limits: Limits, sockets: Callable[[], int], chance: random.Random) -> None:
        self.bounds = Bounds(
            sockets=limits.ws_sockets_limit,
            hellos=limits.ws_hellos_limit,
            requests=limits.http_in_flight_limit,
            lag_ms=limits.admit_lag_ms,
        )
        self.lag_ms = 0.0
        self.hellos = self.requests = 0
        self.draining = False
        self.refused: Counter[tuple[str, str]] = Counter()
        self._sockets, self._chance = sockets, chance
        self._retry_s, self._drain_spread_s = limits.admit_retry_s, limits.drain_spread_s

    def leave_room(self, sockets: int) -> None:
        """No more than so many sockets can be open in this process."""
        self.bounds = self.bounds._replace(sockets=min(self.bounds.sockets, sockets))

    def socket(self) -> tuple[int, str] | None:
        """Close code and reason for a connection that may not become a socket now."""
        if self.draining:
            return CLOSE_RESTARTING, self.restart_reason()
        return (CLOSE_OVERLOADED, self.retry_reason()) if self.refusal(Kind.SOCKET) is not None else None

    def refusal(self, kind: Kind) -> str | None:
        """Why this is refused now, None if it is not; counted."""
        load = Load(self._sockets(), self.hellos, self.requests, self.lag_ms)
        reason = refusal(kind, load, self.bounds)
        if reason is not None:
            self.refused[(kind, reason)] += 1
        return reason

    def figures(self, gateway_id: str) -> Family:
        """What was turned away, for the metrics page."""
        rows = [
            ({"gateway": gateway_id, "kind": kind, "reason": reason}, float(n))
            for (kind, reason), n in sorted(self.refused.items())
        ]
        return counter("doorstep_turned_away", "Sockets, hellos and requests refused under load", *rows)

    @contextmanager
    def request(self, kind: Kind) -> Iterator[None]:
        """Count an HTTP request while it is under way. `Overloaded`, at once, when it has to come later."""
        if self.refusal(kind) is not None:
            raise Overloaded("This gateway has as much to do as it can.", retry_after_s=self.retry_after_s())
        counted = kind in _COUNTED
        self.requests += counted
        try:
            yield
        finally:
            self.requests -= counted

    def retry_after_s(self) -> int:
        """Whole seconds until somebody who was refused may come again, by chance: not all at once."""
        return max(1, round(self._retry_s * self._chance.uniform(RETRY_SPREAD, 1.0)))

    def retry_reason(self) -> str:
        """The same as a close's reason, to the millisecond."""
        after_ms = round(1000 * self._retry_s * self._chance.uniform(RETRY_SPREAD, 1.0))
        return retry_reason("overloaded", after_ms)

    def restart_reason(self) -> str:
        """Why a socket of a gateway that ends is closed, and when its client may come again."""
        after_ms = round(1000 * self._chance.uniform(0.0, self._drain_spread_s))
        return retry_reason("the server restarts", after_ms)

    def probed(self, late_ms: float) -> None:
        """The event loop was so late this time."""
        self.lag_ms += (max(0.0, late_ms) - self.lag_ms) * LAG_WEIGHT

    async def run(self) -> None:
        """Watch the event loop for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LAG_PROBE_S
            await asyncio.sleep(LAG_PROBE_S)
            self.probed((loop.time() - due_s) * 1000)
