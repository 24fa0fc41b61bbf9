"""Which drivers are worth costing for which task: the nearest of its pick-up, and more of them where tasks crowd.

The look-up is a k-d tree (Bentley 1975) over points on the unit sphere, whose straight-line distance orders points as
the great circle does, across the date line and at the poles too. It is built anew for each problem: 20,000 drivers take
a few milliseconds, and the answer is exactly the nearest, which rings of cells are only up to the ring's edge.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from domain.ground.arrays import F64, I64
from domain.ground.geo import distance_m
from domain.solve import DriverColumns, TaskColumns

Pairs = tuple[I64, I64, F64]  # task, driver, metres between driver and pick-up, ordered by task

# Where crowds are widened for, the pairs stay below this many: about a tenth of a second to cost and to match.
MOST_PAIRS = 2**20
GROWTH = 1.5  # of the number of candidates in a crowd, from one look to the next
_TOUCH = 1e-9  # on the unit sphere, 6 mm: a task at the very edge of the circle is within it


def all_pairs(tasks: TaskColumns, drivers: DriverColumns) -> Pairs:
    """Every task with every driver: for a small problem that is quicker than to choose."""
    n, m = len(tasks.ids), len(drivers.ids)
    metres = distance_m(tasks.pickup_lat[:, None], tasks.pickup_lng[:, None], drivers.lat, drivers.lng)
    return np.repeat(np.arange(n), m), np.tile(np.arange(m), n), metres.ravel()


def candidate_pairs(tasks: TaskColumns, drivers: DriverColumns, wanted: I64, crowds: bool = False) -> Pairs:
    """The nearest `wanted[t]` drivers of each task t, all drivers where there are no more.

    With `crowds`, no place is left with fewer candidates than it has competitors. Where drivers are plenty, a task has
    more than wanted once more tasks than that are to be picked up within the circle of its candidates. Where they are
    fewer than the tasks, each driver also gets its nearest tasks, as many as the least wanted, so that nobody is idle
    for being near no store.
    """
    n, m = len(tasks.ids), len(drivers.ids)
    if n == 0 or m == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    wanted = np.minimum(wanted, m)
    # Many tasks share a store and so its neighbours.
    points, store = np.unique(tasks.pickup_lat + 1j * tasks.pickup_lng, return_inverse=True)
    lat, lng = points.real, points.imag
    here, tree = _on_sphere(lat, lng), KDTree(_on_sphere(drivers.lat, drivers.lng))
    width = np.zeros(len(points), np.int64)
    np.maximum.at(width, store, wanted)
    if crowds and m >= n:
        width = _widened(tree, KDTree(here[store]), here, width, min(m, MOST_PAIRS // n))
        wanted = np.where(width[store] > wanted, width[store], wanted)
    near, start = _nearest(tree, here, width)
    of_store = np.repeat(np.arange(len(points)), width)
    metres = distance_m(lat[of_store], lng[of_store], drivers.lat[near], drivers.lng[near])
    task = np.repeat(np.arange(n), wanted)
    at = np.arange(len(task)) + np.repeat(start[store] - (np.cumsum(wanted) - wanted), wanted)
    if crowds and m < n:
        return _with_near_tasks(tasks, drivers, task, near[at], tree, here[store], int(wanted.min()))
    return task, near[at], metres[at]


def _on_sphere(lat: F64, lng: F64) -> F64:
    """(k, 3) points on the unit sphere from degrees."""
    phi, lam = np.radians(lat), np.radians(lng)
    return np.column_stack((np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)))


def _nearest(tree: KDTree, points: F64, width: I64) -> tuple[I64, I64]:
    """The tree's `width[i]` nearest of point i, nearest first, point after point; and where each point's begin."""
    start = np.cumsum(width) - width
    near = np.empty(int(width.sum()), np.int64)
    for k in np.unique(width).tolist():
        of = np.flatnonzero(width == k)
        near[start[of, None] + np.arange(k)] = tree.query(points[of], np.arange(1, k + 1))[1]
    return near, start


def _widened(drivers: KDTree, tasks: KDTree, points: F64, width: I64, most: int) -> I64:
    """`width`, grown at each point until its circle holds no more tasks than drivers, or to `most`."""
    width, crowded = width.copy(), np.flatnonzero(width < most)
    while len(crowded):
        radius: npt.NDArray[np.float64] = np.empty(len(crowded))
        now = width[crowded]
        for k in np.unique(now).tolist():
            away, _ = drivers.query(points[crowded[now == k]], [k])
            radius[now == k] = np.ravel(away)
        rivals = tasks.query_ball_point(points[crowded], radius + _TOUCH, return_length=True)
        crowded = crowded[rivals > now]
        width[crowded] = np.minimum(np.ceil(width[crowded] * GROWTH), most)
        crowded = crowded[width[crowded] < most]
    return width


def _with_near_tasks(
    tasks: TaskColumns, drivers: DriverColumns, task: I64, driver: I64, tree: KDTree, pickups: F64, k: int
) -> Pairs:
    """These pairs and those of each driver with its k nearest tasks, each pair once."""
    m = len(drivers.ids)
    near, _ = _nearest(KDTree(pickups), np.asarray(tree.data), np.full(m, k))
    keys = np.unique(np.concatenate([task * m + driver, near * m + np.repeat(np.arange(m), k)]))
    task, driver = np.divmod(keys, m)
    metres = distance_m(
        tasks.pickup_lat[task], tasks.pickup_lng[task], drivers.lat[driver], drivers.lng[driver]
    )
    return task, driver, metres
