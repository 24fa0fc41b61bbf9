"""How long a drive takes: one protocol, and the two models that need nothing but arithmetic.

`integrations/routing/` has the ones that ask a road engine. A model here is a message: it travels with a region's
policy and a recorded log, so a replay has the travel times of the day.
"""

from __future__ import annotations

from functools import lru_cache
from math import isfinite
from typing import Protocol, TypeAlias
from zoneinfo import ZoneInfo

import h3
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from domain.ground.arrays import F64
from domain.ground.geo import distance_m
from domain.ground.times import instant

HOURS = 24
# Points are put into their H3 zone by a grid this fine (about 100 m): much finer than a zone, and so often seen before.
_GRID_DEG = 1e-3
_ZONES_REMEMBERED = 200_000
_METRES_PER_PLANE_DEG = 1e5


class TravelTimes(Protocol):
    """Driving seconds between places, whoever works them out."""

    def seconds(
        self,
        from_lat: npt.ArrayLike,
        from_lng: npt.ArrayLike,
        to_lat: npt.ArrayLike,
        to_lng: npt.ArrayLike,
        at_ms: int,
    ) -> F64:
        """Driving seconds for a start at `at_ms` (server milliseconds).

        Arguments are degrees and broadcast against each other as numpy does; the result has the broadcast shape. An
        n x m matrix is `from_*[:, None]` against `to_*[None, :]`.
        """
        ...


class Haversine(Struct, frozen=True, kw_only=True, tag=True):
    """Great-circle distance over speed, corrected by zone and hour.

        seconds = distance_m * detour / speed_mps * (zone(from) + zone(to)) / 2 * hour(at)

    `zone_factor`: slowness by H3 cell of `zone_resolution`, 1.0 for a cell that is not named. `hour_factor`: slowness
    by hour of the day on the clock of `timezone` (IANA), 24 of them, or none for 1.0 all day. Above 1 is slower. What
    `doorstep roads calibrate` writes is these fields. `ValueError` for a table that cannot be meant.
    """

    speed_mps: float = 10.0  # mean driving speed in a metro
    detour: float = 1.35  # road distance over great-circle distance
    zone_resolution: int = 7
    zone_factor: dict[str, float] = {}
    hour_factor: tuple[float, ...] = ()
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if len(self.hour_factor) not in (0, HOURS):
            raise ValueError(f"hour_factor has {HOURS} entries or none, and not {len(self.hour_factor)}")
        if not 0 <= self.zone_resolution <= 15:
            raise ValueError(f"zone_resolution is an H3 resolution, 0 to 15, and not {self.zone_resolution}")
        factors = (self.speed_mps, self.detour, *self.zone_factor.values(), *self.hour_factor)
        if not all(0 < factor < np.inf for factor in factors):
            raise ValueError("speed_mps, detour and every factor are above 0")

    def seconds(
        self,
        from_lat: npt.ArrayLike,
        from_lng: npt.ArrayLike,
        to_lat: npt.ArrayLike,
        to_lng: npt.ArrayLike,
        at_ms: int,
    ) -> F64:
        """`TravelTimes.seconds` by the formula above."""
        scale = self.detour / self.speed_mps * self._hour(at_ms)
        seconds: F64 = np.asarray(distance_m(from_lat, from_lng, to_lat, to_lng) * scale)
        if self.zone_factor:
            mean = (self._zones(from_lat, from_lng) + self._zones(to_lat, to_lng)) / 2
            seconds = np.asarray(seconds * mean)
        return seconds

    def _hour(self, at_ms: int) -> float:
        if not self.hour_factor:
            return 1.0
        return self.hour_factor[instant(at_ms).astimezone(_zone_info(self.timezone)).hour]

    def _zones(self, lat: npt.ArrayLike, lng: npt.ArrayLike) -> F64:
        """Factor of each place's zone, with the shape of `lat` broadcast against `lng`.

        Each distinct place is looked up once, however many pairs it is part of.
        """
        rows, columns = np.broadcast_arrays(
            np.rint(np.divide(lat, _GRID_DEG)), np.rint(np.divide(lng, _GRID_DEG))
        )
        # One number per grid point, exact in a float: 3.6e5 columns to a row.
        _, first, back = np.unique(rows * 1e6 + columns, return_index=True, return_inverse=True)
        cells = (
            _zone(row, column, self.zone_resolution)
            for row, column in zip(rows.ravel()[first].tolist(), columns.ravel()[first].tolist(), strict=True)
        )
        factors = np.array([self.zone_factor.get(cell, 1.0) for cell in cells])
        return factors[back].reshape(rows.shape)


class Planar(Struct, frozen=True, kw_only=True, tag=True):
    """Benchmark instances on a plane, whose travel times are whole grains (minutes, as a rule), rounded up.

        seconds = grain_s * ceil(hypot(dx_m, dy_m) / metres_per_grain)

    Latitude and longitude hold metres x 1e-5 (`lat = y_m * 1e-5`, `lng = x_m * 1e-5`). A grain that is exceeded by less
    than 1e-9, which is rounding, does not count.
    """

    metres_per_grain: float
    grain_s: float = 60.0

    def __post_init__(self) -> None:
        if not (0 < self.metres_per_grain < np.inf and 0 < self.grain_s < np.inf):
            raise ValueError("metres_per_grain and grain_s are above 0")

    def seconds(
        self,
        from_lat: npt.ArrayLike,
        from_lng: npt.ArrayLike,
        to_lat: npt.ArrayLike,
        to_lng: npt.ArrayLike,
        at_ms: int,
    ) -> F64:
        """`TravelTimes.seconds` by the formula above; every hour is alike."""
        away = np.hypot(np.subtract(to_lat, from_lat), np.subtract(to_lng, from_lng))
        grains = np.ceil(away * (_METRES_PER_PLANE_DEG / self.metres_per_grain) - 1e-9)
        return np.asarray(self.grain_s * grains, np.float64)


TravelModel: TypeAlias = Haversine | Planar


@lru_cache(maxsize=64)
def _zone_info(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=_ZONES_REMEMBERED)
def _zone(row: float, column: float, resolution: int) -> str:
    """H3 cell of a grid point; none for a place that is not known."""
    if not (isfinite(row) and isfinite(column)):
        return ""
    return str(h3.latlng_to_cell(row * _GRID_DEG, column * _GRID_DEG, resolution))
