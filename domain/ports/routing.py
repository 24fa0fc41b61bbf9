"""Driving times and ways on roads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from domain.ground.arrays import F64


class RoadMatrix(Struct, frozen=True):
    """Driving times and road distances from n sources to m targets, both n x m; NaN where no road leads."""

    seconds: F64
    metres: F64


class RoadRoute(Struct, frozen=True):
    """A drive along `line`, a list of latitude and longitude in degrees; `engine` names who worked it out."""

    engine: str
    duration_s: float
    distance_m: float
    line: tuple[tuple[float, float], ...]


class RoadRouter(Protocol):
    """A road engine. Its methods block, and may be called from any thread."""

    def matrix(self, sources: F64, targets: F64) -> RoadMatrix:
        """From each of n sources (n x 2: latitude, longitude) to each of m targets. `VendorError` on failure."""
        ...

    def route(self, points: Sequence[tuple[float, float]]) -> RoadRoute | None:
        """The drive through at least two points in their order; None when no road leads. `VendorError` on failure."""
        ...
