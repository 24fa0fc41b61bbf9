"""How long things took lately: bounded windows, quantiles on demand."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable

from actors.telemetry.metrics import Histogram

WINDOW = 512


class Window:
    """The last `WINDOW` durations, added in seconds, read in milliseconds; `total` has all of them in buckets."""

    def __init__(self) -> None:
        self.total = Histogram()
        self._seconds: deque[float] = deque(maxlen=WINDOW)
        self._at_s: deque[float] = deque(maxlen=WINDOW)  # of each, on the monotonic clock

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)
        self._at_s.append(time.monotonic())
        self.total.add(seconds)

    def quantile_ms(self, q: float) -> float:
        """The q-quantile (0 <= q <= 1) of the window in ms; 0 when it is empty."""
        return round(quantile(self._seconds, q) * 1000, 3)

    def lately_ms(self, wall_s: float) -> list[float]:
        """Those of the last `wall_s` seconds in ms, oldest first, as far as the window reaches."""
        since_s = time.monotonic() - wall_s
        both = zip(self._at_s, self._seconds, strict=True)
        return [round(seconds * 1000, 3) for at_s, seconds in both if at_s >= since_s]

    def last_ms(self) -> float:
        """The newest duration in ms; 0 when there is none."""
        return round(self._seconds[-1] * 1000, 3) if self._seconds else 0.0


def quantile(values: Iterable[float], q: float) -> float:
    """The q-quantile (0 <= q <= 1); 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


class Timings:
    """The windows of one region, and the count of records that the store refused."""

    def __init__(self) -> None:
        self.step, self.append, self.solve, self.lag = Window(), Window(), Window(), Window()
        self.refused = 0
