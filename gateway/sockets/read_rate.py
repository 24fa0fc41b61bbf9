"""How fast one socket is read: so many frames at once after a silence, then so many a second. Nothing of it is lost."""

from __future__ import annotations

from collections.abc import Callable


class ReadRate:
    """`clock_s()` tells seconds from any beginning; it is asked only when what is there is spent."""

    __slots__ = ("_at_s", "_burst", "_clock_s", "_left", "_per_s")

    def __init__(self, per_s: float, burst: float, clock_s: Callable[[], float]) -> None:
        self._per_s, self._burst, self._clock_s = per_s, burst, clock_s
        self._left = burst
        self._at_s = clock_s()

    def spend(self, frames: float = 1.0) -> float:
        """Frames were read, or what costs as much; seconds until more may be."""
        self._left -= frames
        if self._left >= 0:
            return 0.0
        now_s = self._clock_s()
        self._left = min(self._left + (now_s - self._at_s) * self._per_s, self._burst)
        self._at_s = now_s
        return max(0.0, -self._left / self._per_s)
