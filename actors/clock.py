"""The server's clock: wall time as it was at the start, or for demonstrations and replays a multiple of it (ADR 0007).

It is read off a clock of the machine's that nobody can set, so that it goes on evenly when the wall clock is stepped.
"""

from __future__ import annotations

import time
from pathlib import Path

from msgspec import Struct

# Since the machine was started, sleep included where the system knows such a clock.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def wall_ms() -> int:
    """Milliseconds since the Unix epoch by the wall clock, which can be set."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """Milliseconds by a clock that only goes forward, the same in all processes of this machine."""
    return steady_us() // 1000


def steady_us() -> int:
    """The same in microseconds."""
    return time.clock_gettime_ns(_STEADY) // 1000


def boot_id() -> str:
    """Which start of which machine this is; empty where the system does not tell."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


# What this process takes wall time to be, from its start on, where it has nothing better.
_PROCESS_WALL_MS = wall_ms() - steady_ms()
_PROCESS_BOOT_ID = boot_id()


class ServerClock(Struct, frozen=True, kw_only=True):
    """now = anchor_ms + (steady - anchor_steady_ms) * speed. All processes of a server share the numbers. On another
    machine, whose steady clock began at another time, wall time at the start of each process stands in for it."""

    speed: float = 1.0
    anchor_ms: int = 0
    anchor_wall_ms: int = 0
    anchor_steady_ms: int = 0
    anchor_boot_id: str = ""

    @classmethod
    def begin(cls, speed: float, *, after_ms: int | None) -> ServerClock:
        """A clock that shows wall time now, or what comes after `after_ms` if that is later: a server that ran fast
        yesterday, or on a machine whose clock was wrong, is ahead of it, and no event may come before an old one."""
        now_ms = wall_ms()
        return cls(
            speed=speed,
            anchor_ms=now_ms if after_ms is None else max(now_ms, after_ms + 1),
            anchor_wall_ms=now_ms,
            anchor_steady_ms=steady_ms(),
            anchor_boot_id=boot_id(),
        )

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch on the server's clock."""
        return self.anchor_ms + round(self._since_anchor_ms() * self.speed)

    def wall_s(self, server_s: float) -> float:
        """How many seconds of wall time a span of server seconds takes."""
        return server_s / self.speed

    def even_us(self) -> int:
        """Microseconds since the Unix epoch as the wall clock would show them had nobody set it since the clock began:
        for numbers that have to rise with time in all processes."""
        if self._is_here:
            return self.anchor_wall_ms * 1000 + steady_us() - self.anchor_steady_ms * 1000
        return steady_us() + _PROCESS_WALL_MS * 1000

    def wall_moved_s(self) -> float:
        """By how many seconds the wall clock was set forward (or, below 0, back) since the clock began."""
        return (wall_ms() - self.anchor_wall_ms - self._since_anchor_ms()) / 1000

    def _since_anchor_ms(self) -> int:
        if self._is_here:
            return steady_ms() - self.anchor_steady_ms
        return steady_ms() + _PROCESS_WALL_MS - self.anchor_wall_ms

    @property
    def _is_here(self) -> bool:
        """Whether the clock began on this machine, since it was started."""
        return bool(self.anchor_boot_id) and self.anchor_boot_id == _PROCESS_BOOT_ID
