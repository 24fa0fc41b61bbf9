"""The server's clock: wall time, or for demonstrations and replays a multiple of it."""

from __future__ import annotations

import time

from msgspec import Struct


class ServerClock(Struct, frozen=True, kw_only=True):
    """now = anchor_ms + (wall - anchor_wall_ms) * speed. All processes of a server share the three numbers."""

    speed: float = 1.0
    anchor_ms: int = 0
    anchor_wall_ms: int = 0

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch on the server's clock."""
        wall_ms = time.time_ns() // 1_000_000
        return self.anchor_ms + round((wall_ms - self.anchor_wall_ms) * self.speed)

    def wall_s(self, server_s: float) -> float:
        """How many seconds of wall time a span of server seconds takes."""
        return server_s / self.speed
