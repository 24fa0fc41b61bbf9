"""After a failure, a pause: a road engine that is down must not cost every caller its time-out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from domain.ground.arrays import F64
from domain.ports import RoadMatrix, RoadRoute, RoadRouter, VendorError

A = TypeVar("A")


class Breaker:
    """Open for `retry_s` seconds after each failure. `now` is a clock in seconds that only goes forward."""

    def __init__(self, retry_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._retry_s, self._now = retry_s, now
        self._closed_from = now()
        self.failures = 0

    @property
    def open(self) -> bool:
        return self._now() < self._closed_from

    def trip(self) -> None:
        """Count a failure and pause."""
        self.failures += 1
        self._closed_from = self._now() + self._retry_s


class FallbackRouter:
    """`domain.ports.RoadRouter`: the first engine, and while that fails or pauses, the second."""

    def __init__(self, first: RoadRouter, second: RoadRouter, breaker: Breaker) -> None:
        self._first, self._second, self._breaker = first, second, breaker

    def matrix(self, sources: F64, targets: F64) -> RoadMatrix:
        return self._try(lambda engine: engine.matrix(sources, targets))

    def route(self, points: Sequence[tuple[float, float]]) -> RoadRoute | None:
        return self._try(lambda engine: engine.route(points))

    def _try(self, ask: Callable[[RoadRouter], A]) -> A:
        if not self._breaker.open:
            try:
                return ask(self._first)
            except VendorError:
                self._breaker.trip()
        return ask(self._second)
