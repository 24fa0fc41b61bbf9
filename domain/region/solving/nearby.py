"""Which drivers of a large fleet a look for drivers takes into account."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domain.ground.arrays import F64, I64
from domain.ground.geo import EARTH_RADIUS_M

LEAST = (
    128  # drivers for each store: several times as many as a solver looks at for a task (`policy.candidates`)
)
_WAY_MPS = 7.4  # metres of beeline that a driver makes good in a second: 10 m/s and detours of 1.35


def nearby(lat: F64, lng: F64, wait_s: F64, stores: Sequence[tuple[float, float]], limit: int) -> I64 | None:
    """Positions, ascending, of the drivers who would be first at one of the stores: `limit` of them shared out among
    the stores, at least `LEAST` for each. None: these would be half of all or more, so all count.

    `wait_s`: until each driver can set off. The way is measured on a plane that touches the earth at the store, which
    is good to rank by within a market and much cheaper than the sphere.
    """
    places = sorted(set(stores))
    each = max(LEAST, limit // max(1, len(places)))
    if not places or 2 * each * len(places) >= len(lat):
        return None
    metres_per_degree = EARTH_RADIUS_M * np.pi / 180
    chosen = np.zeros(len(lat), np.bool_)
    ahead_m = wait_s * _WAY_MPS
    for store_lat, store_lng in places:
        north = (lat - store_lat) * metres_per_degree
        east = (lng - store_lng) * (metres_per_degree * np.cos(np.radians(store_lat)))
        away_m = np.sqrt(north * north + east * east) + ahead_m
        chosen[np.argpartition(away_m, each)[:each]] = True
    return np.flatnonzero(chosen)
