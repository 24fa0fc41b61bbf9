"""How long things took lately: bounded windows, quantiles on demand."""

from __future__ import annotations

from collections import deque

WINDOW = 512


class Window:
    """The last `WINDOW` durations, added in seconds, read in milliseconds."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=WINDOW)

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)

    def quantile_ms(self, q: float) -> float:
        """The q-quantile (0 <= q <= 1) of the window in ms; 0 when it is empty."""
        if not self._seconds:
            return 0.0
        ordered = sorted(self._seconds)
        return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1000, 3)

    def last_ms(self) -> float:
        """The newest duration in ms; 0 when there is none."""
        return round(self._seconds[-1] * 1000, 3) if self._seconds else 0.0


class Timings:
    """The windows of one region, and the count of records that the store refused."""

    def __init__(self) -> None:
        self.step, self.append, self.solve, self.lag = Window(), Window(), Window(), Window()
        self.refused = 0
