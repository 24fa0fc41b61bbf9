"""The connections that are not sockets yet: how many there may be, and how long each may take for what it does.

A connection waits for a request, works on one or is on its way out. Whoever waits costs a place among the connections
and a bounded buffer, never one among the requests under way. When places or buffers run out, who has kept its own for
longest without a whole request goes, so that a crowd of silent ones keeps nobody out.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from actors.config import Limits
from actors.telemetry.metrics import Family, counter, gauge
from gateway.http.listener.framing import Bounds

SWEEP_S = 0.25
LINGER_S = 2.0  # what still comes after a refusal is read so long, else its sender would lose the answer
CROWDED_SHARE = 1 / 8  # of an address's connections, that go at a time
# Who came so lately may have sent a request that was not read yet.
FRESH_S = 1.0


class Phase(StrEnum):
    """What a connection does."""

    HEAD = "head"  # a request is to come, or a part of its head has
    BODY = "body"  # a part of its body has come
    WORKING = "working"  # on an answer
    STALLED = "stalled"  # the answer is not taken
    IDLE = "idle"  # kept open after an answer
    LINGER = "linger"  # refused: what comes is thrown away
    CLOSING = "closing"  # once the rest of the answer is taken


# Whose connections go first when there is no place for another one.
_LEAVING = (Phase.LINGER, Phase.BODY, Phase.HEAD, Phase.IDLE)


class LimitedConnection(Protocol):
    """A connection."""

    address: str
    phase: Phase
    since_s: float
    held_bytes: int

    def time_is_up(self, why: str) -> None:
        """End, with an answer where that is due."""
        ...


class ConnectionLimits:
    """One gateway's connections. `bounds`: of one request."""

    def __init__(self, limits: Limits, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.bounds = Bounds(
            line_bytes=limits.http_line_bytes,
            head_bytes=limits.http_head_bytes,
            headers=limits.http_headers_limit,
            body_bytes=limits.http_body_bytes,
        )
        self.limit = limits.http_connections_limit
        # Behind a proxy all come from one address, and it is the proxy that knows the others.
        self.limit_of_address = self.limit if limits.trusted_proxies else limits.http_connections_per_address
        self.cut: Counter[str] = Counter()
        self._time_s = {
            Phase.HEAD: limits.http_head_timeout_s,
            Phase.BODY: limits.http_body_timeout_s,
            Phase.STALLED: limits.http_write_timeout_s,
            Phase.IDLE: limits.http_idle_timeout_s,
            Phase.LINGER: LINGER_S,
            Phase.CLOSING: limits.http_write_timeout_s,
        }
        self._held_limit_bytes = limits.http_waiting_mb * 1_000_000
        self.held_bytes = 0
        self._clock_s = clock_s
        # Each in the order in which they came into it: the first is the next whose time is up.
        self._in: dict[Phase, dict[LimitedConnection, None]] = {phase: {} for phase in Phase}
        self._of: dict[str, dict[LimitedConnection, None]] = {}

    def __len__(self) -> int:
        return sum(len(guests) for guests in self._in.values())

    def enter(self, guest: LimitedConnection) -> bool:
        """Take a new connection in; False: there is no place for it."""
        there = self._of.get(guest.address, {})
        if len(there) >= self.limit_of_address:
            self._thin_out(there)
        if len(self) >= self.limit:
            self._let_go(1, self._in)
        if len(self) >= self.limit or len(there) >= self.limit_of_address:
            self.cut["no_place"] += 1
            return False
        self._of.setdefault(guest.address, {})[guest] = None
        guest.phase, guest.since_s = Phase.HEAD, self._clock_s()
        self._in[Phase.HEAD][guest] = None
        return True

    def move(self, guest: LimitedConnection, phase: Phase) -> None:
        """It does something else now; its time for that begins."""
        if guest.phase is phase or self._in[guest.phase].pop(guest, guest) is not None:
            return  # nothing new, or it is not among us
        guest.phase, guest.since_s = phase, self._clock_s()
        self._in[phase][guest] = None

    def leave(self, guest: LimitedConnection) -> None:
        """It is gone, or has become a socket."""
        self.holds(guest, 0)
        self._in[guest.phase].pop(guest, None)
        if (there := self._of.get(guest.address)) is not None:
            there.pop(guest, None)
            if not there:
                del self._of[guest.address]

    def holds(self, guest: LimitedConnection, size_bytes: int) -> None:
        """So much of it waits here for the rest. Where all of them hold too much, who began first goes."""
        self.held_bytes += size_bytes - guest.held_bytes
        guest.held_bytes = size_bytes
        while self.held_bytes > self._held_limit_bytes:
            first = next(
                (g for phase in (Phase.BODY, Phase.HEAD) for g in self._in[phase] if g.held_bytes), None
            )
            if first is None:
                return
            self._end(first, "crowded")

    def sweep(self) -> None:
        """End those whose time is up."""
        now_s = self._clock_s()
        for phase, time_s in self._time_s.items():
            for guest in list(self._in[phase]):
                if now_s - guest.since_s < time_s:
                    break
                self._end(guest, phase)

    async def run(self) -> None:
        """Watch the time for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    def figures(self, gateway_id: str) -> list[Family]:
        """For the metrics page."""
        own = {"gateway": gateway_id}
        return [
            gauge(
                "doorstep_http_connections",
                "Connections that are no sockets, by what they do",
                *(({**own, "phase": phase.value}, float(len(guests))) for phase, guests in self._in.items()),
            ),
            counter(
                "doorstep_http_cut",
                "Connections that were ended, by what they took too long for or what was wrong",
                *(({**own, "reason": reason}, float(n)) for reason, n in sorted(self.cut.items())),
            ),
        ]

    def _thin_out(self, there: dict[LimitedConnection, None]) -> None:
        """Some of an address's own go for its next one."""
        waiting: dict[Phase, dict[LimitedConnection, None]] = {phase: {} for phase in _LEAVING}
        for guest in sorted(there, key=lambda guest: guest.since_s):
            if guest.phase in waiting:
                waiting[guest.phase][guest] = None
        self._let_go(max(1, int(self.limit_of_address * CROWDED_SHARE)), waiting)

    def _let_go(self, wanted: int, waiting: dict[Phase, dict[LimitedConnection, None]]) -> None:
        fresh_s = self._clock_s() - FRESH_S
        leaving = [guest for phase in _LEAVING for guest in waiting[phase] if guest.since_s <= fresh_s]
        for guest in leaving[:wanted]:
            self._end(guest, "crowded")
            self.leave(guest)

    def _end(self, guest: LimitedConnection, why: str) -> None:
        self.cut[str(why)] += 1
        self.holds(guest, 0)
        guest.time_is_up(str(why))
