"""Which drivers are worth costing for which task: H3 rings round the pick-up, then the nearest of those found."""

from __future__ import annotations

from collections import defaultdict

import h3
import numpy as np

from domain.geo import distance_m
from domain.solve import F64, I64, DriverColumns, TaskColumns

RESOLUTION = 7  # cell edge about 1.4 km
# Rings looked at one after the other until enough drivers are found: radii of about 3, 8, 18 and 40 km.
RINGS = (1, 3, 7, 16)


def candidate_pairs(tasks: TaskColumns, drivers: DriverColumns, per_task: int) -> tuple[I64, I64, F64]:
    """Task and driver indices of the candidate pairs and the great-circle distance driver to pick-up in metres.

    A task looks at wider rings while fewer than `per_task` drivers are in sight; when the widest ring holds none, at
    all drivers, so that a task is never without a candidate while a driver is free.
    """
    by_cell: dict[str, list[int]] = defaultdict(list)
    for i, (lat, lng) in enumerate(zip(drivers.lat.tolist(), drivers.lng.tolist(), strict=True)):
        by_cell[h3.latlng_to_cell(lat, lng, RESOLUTION)].append(i)
    everyone = np.arange(len(drivers.ids))
    near: dict[str, I64] = {}  # tasks of one store, or of one street, look at the same drivers
    task_of: list[I64] = []
    driver_of: list[I64] = []
    metres: list[F64] = []
    for t, (lat, lng) in enumerate(zip(tasks.pickup_lat.tolist(), tasks.pickup_lng.tolist(), strict=True)):
        cell = h3.latlng_to_cell(lat, lng, RESOLUTION)
        if cell not in near:
            near[cell] = _in_sight(cell, by_cell, per_task, everyone)
        found = near[cell]
        away = distance_m(lat, lng, drivers.lat[found], drivers.lng[found])
        if len(found) > per_task:
            nearest = np.argpartition(away, per_task)[:per_task]
            found, away = found[nearest], away[nearest]
        task_of.append(np.full(len(found), t))
        driver_of.append(found)
        metres.append(away)
    return np.concatenate(task_of), np.concatenate(driver_of), np.concatenate(metres)


def _in_sight(cell: str, by_cell: dict[str, list[int]], enough: int, everyone: I64) -> I64:
    found: list[int] = []
    for ring in RINGS:
        disk = h3.grid_disk(cell, ring)
        # Walking the disk is cheaper than walking the occupied cells until the disk is the larger of the two.
        if len(disk) <= len(by_cell):
            found = [i for near in disk for i in by_cell.get(near, ())]
        else:
            inside = set(disk)
            found = [i for near, members in by_cell.items() if near in inside for i in members]
        if len(found) >= enough:
            break
    return np.array(found, np.int64) if found else everyone
