"""Which drivers are worth costing for which task: H3 rings round the pick-up, then the nearest of those found."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

import h3
import numpy as np

from domain.geo import distance_m
from domain.solve import F64, I64, DriverColumns, TaskColumns

RESOLUTION = 7  # cell edge about 1.4 km
# Rings looked at one after the other until enough drivers are found: radii of about 3, 8, 18 and 40 km.
RINGS = (1, 3, 7, 16)


def candidate_pairs(tasks: TaskColumns, drivers: DriverColumns, wanted: I64) -> tuple[I64, I64, F64]:
    """Task and driver indices of the candidate pairs and the great-circle distance driver to pick-up in metres.

    Task t gets the nearest `wanted[t]` drivers. It looks at wider rings while fewer are in sight; when the widest ring
    holds fewer, at all drivers, so that a task is never without a candidate while a driver is free.
    """
    if len(tasks.ids) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    by_cell: dict[str, list[int]] = defaultdict(list)
    for i, (lat, lng) in enumerate(zip(drivers.lat.tolist(), drivers.lng.tolist(), strict=True)):
        by_cell[h3.latlng_to_cell(lat, lng, RESOLUTION)].append(i)
    everyone = np.arange(len(drivers.ids))
    # Tasks of one store, or of one street, look at the same drivers.
    near: dict[tuple[str, int], I64] = {}
    task_of: list[I64] = []
    driver_of: list[I64] = []
    metres: list[F64] = []
    for t, (lat, lng) in enumerate(zip(tasks.pickup_lat.tolist(), tasks.pickup_lng.tolist(), strict=True)):
        cell, enough = h3.latlng_to_cell(lat, lng, RESOLUTION), int(wanted[t])
        if (cell, enough) not in near:
            near[cell, enough] = _in_sight(cell, by_cell, enough, everyone)
        found = near[cell, enough]
        away = distance_m(lat, lng, drivers.lat[found], drivers.lng[found])
        if len(found) > enough:
            nearest = np.argpartition(away, enough)[:enough]
            found, away = found[nearest], away[nearest]
        task_of.append(np.full(len(found), t))
        driver_of.append(found)
        metres.append(away)
    return np.concatenate(task_of), np.concatenate(driver_of), np.concatenate(metres)


@lru_cache(maxsize=512)  # stores do not move
def _disk(cell: str, ring: int) -> tuple[tuple[str, ...], frozenset[str]]:
    """The cells within so many rings of a cell, to walk (in an order that is the same everywhere) and to look in."""
    disk = h3.grid_disk(cell, ring)
    return tuple(disk), frozenset(disk)


def _in_sight(cell: str, by_cell: dict[str, list[int]], enough: int, everyone: I64) -> I64:
    found: list[int] = []
    for ring in RINGS:
        disk, inside = _disk(cell, ring)
        # Walking the disk is cheaper than walking the occupied cells until the disk is the larger of the two.
        if len(disk) <= len(by_cell):
            found = [i for near in disk for i in by_cell.get(near, ())]
        else:
            found = [i for near, members in by_cell.items() if near in inside for i in members]
        if len(found) >= enough:
            return np.array(found, np.int64)
    return everyone
