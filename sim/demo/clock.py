"""The server's clock as a client sees it."""

from __future__ import annotations

import asyncio
import time

LOOK_AGAIN_S = 5.0  # wall time after which a sleeper looks at the clock anew: it may have been set


class ServerTime:
    """Server seconds since the Unix epoch, `speed` of them to a second of wall time; set from the server's answers."""

    def __init__(self) -> None:
        self.speed = 1.0
        self._server_s = time.time()
        self._wall_s = time.monotonic()

    def now_s(self) -> float:
        """Now, on the server's clock."""
        return self._server_s + (time.monotonic() - self._wall_s) * self.speed

    def set(self, server_s: float, speed: float) -> float:
        """Take over what the server says; returns by how many server seconds the clock moved."""
        moved_s = server_s - self.now_s()
        self.speed, self._server_s, self._wall_s = speed, server_s, time.monotonic()
        return moved_s

    def wall_until(self, server_s: float) -> float:
        """Seconds of wall time until an instant; 0 when it has passed."""
        return max(0.0, (server_s - self.now_s()) / self.speed)

    async def sleep_until(self, server_s: float) -> None:
        """Return when the server's clock has reached `server_s`."""
        while True:
            wait_s = self.wall_until(server_s)
            if wait_s <= 0:
                return
            await asyncio.sleep(min(wait_s, LOOK_AGAIN_S))
