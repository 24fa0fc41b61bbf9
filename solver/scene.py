"""A solve request as the solvers work on it: seconds from now, stores by number, driving times looked up once."""

from __future__ import annotations

import math
from functools import cached_property

import h3
import numpy as np

from domain.ground.arrays import F64, I64
from domain.ground.travel import TravelTimes
from domain.solve import SolveRequest

LONG_S = 1e9  # as good as never
_TABLE = 2**16  # pairs up to which a table of all is quicker than to ask for some


class Scene:
    """n open tasks, then h expected ones, and m drivers. Times in seconds from now, `LONG_S` for never."""

    def __init__(self, request: SolveRequest, travel: TravelTimes) -> None:
        self.request, self._travel = request, travel
        tasks, expected = request.tasks, request.expected
        if expected is not None and (not expected.ids or request.planning.expected <= 0):
            expected = None
        self.n, self.m = len(tasks.ids), len(request.drivers.ids)
        self.h = len(expected.ids) if expected is not None else 0
        parts = (tasks,) if expected is None else (tasks, expected)

        def column(name: str) -> F64:
            return np.concatenate([getattr(part, name) for part in parts])

        now = request.now_ms
        self.pickup_lat, self.pickup_lng = column("pickup_lat"), column("pickup_lng")
        self.drop_lat, self.drop_lng = column("dropoff_lat"), column("dropoff_lng")
        points, self.store = np.unique(self.pickup_lat + 1j * self.pickup_lng, return_inverse=True)
        self.store_lat, self.store_lng = points.real, points.imag
        self.ready = from_now(column("ready_ms"), now)
        self.due = from_now(column("due_ms"), now)
        self.latest = from_now(column("latest_ms"), now)
        self.closes = from_now(column("closes_ms"), now)
        # Nobody sets off for what is not ordered yet.
        self.go = np.maximum(from_now(column("opened_ms"), now), 0.0)
        self.refusal = column("refusal")
        self.planned = np.maximum(from_now(column("planned_ms"), now), 0.0)
        self.planned_until = from_now(column("until_ms"), now)
        self.behind = column("behind")
        drivers = request.drivers
        self.free = np.maximum(from_now(drivers.free_ms, now), 0.0)
        self.until = from_now(drivers.until_ms, now)
        services = request.services
        trip = self._seconds(self.pickup_lat, self.pickup_lng, self.drop_lat, self.drop_lng)
        self.trip = trip
        self.to_hand_over = services.pickup_after_s + trip + services.door_before_s  # from the pick-up
        self.back = (
            trip
            if self._same_way_back
            else self._seconds(self.drop_lat, self.drop_lng, self.pickup_lat, self.pickup_lng)
        )

    @property
    def _same_way_back(self) -> bool:
        """Where neither refusals nor closing times count, the way back is not looked up."""
        return not self.refusal.any() and bool((self.closes >= LONG_S).all())

    def _seconds(self, from_lat: F64, from_lng: F64, to_lat: F64, to_lng: F64) -> F64:
        return self._travel.seconds(from_lat, from_lng, to_lat, to_lng, self.request.now_ms)

    @cached_property
    def from_driver(self) -> F64:
        """(m, stores): from each driver to each store."""
        drivers = self.request.drivers
        return self._seconds(drivers.lat[:, None], drivers.lng[:, None], self.store_lat, self.store_lng)

    @cached_property
    def from_drop(self) -> F64:
        """(n + h, stores): from each task's door to each store."""
        return self._seconds(self.drop_lat[:, None], self.drop_lng[:, None], self.store_lat, self.store_lng)

    def drive(self, from_lat: float, from_lng: float, to_lat: float, to_lng: float) -> float:
        """From one place to another."""
        return float(self._travel.seconds(from_lat, from_lng, to_lat, to_lng, self.request.now_ms))

    def between(self, a: I64, b: I64) -> F64:
        """From the doors of tasks `a` to those of `b`, pair by pair."""
        return self._seconds(self.drop_lat[a], self.drop_lng[a], self.drop_lat[b], self.drop_lng[b])

    def travel_to(self, driver: I64, store: I64) -> F64:
        """From each of the drivers to the store beside it."""
        if "from_driver" in self.__dict__ or self.m * len(self.store_lat) <= _TABLE:
            return self.from_driver[driver, store]
        drivers = self.request.drivers
        return self._seconds(
            drivers.lat[driver], drivers.lng[driver], self.store_lat[store], self.store_lng[store]
        )

    @cached_property
    def lack(self) -> tuple[F64, F64]:
        """What the zones of each task's door and of each driver lack (see `Zones`), 0 where nothing is known."""
        drivers = self.request.drivers
        return self._lack(self.drop_lat, self.drop_lng), self._lack(drivers.lat, drivers.lng)

    def _lack(self, lat: F64, lng: F64) -> F64:
        zones = self.request.zones
        if zones is None or not zones.lack:
            return np.zeros(len(lat))
        places = zip(lat.tolist(), lng.tolist(), strict=True)
        cells = (h3.latlng_to_cell(a, b, zones.resolution) for a, b in places)
        return np.array([zones.lack.get(cell, 0.0) for cell in cells], np.float64)

    @cached_property
    def usual_acceptance(self) -> float:
        """The mean of the drivers' rates."""
        return float(np.clip(self.request.drivers.accept_rate.mean(), 0.05, 0.99)) if self.m else 1.0

    @cached_property
    def penalties(self) -> dict[tuple[int, int], float]:
        """(task, driver) -> seconds that the pair costs for having been declined before; infinity bars it, whatever the
        weight of declines is."""
        request = self.request
        pairs = zip(request.declined_task.tolist(), request.declined_driver.tolist(), strict=True)
        seconds = [
            one if math.isinf(one) else one * request.weights.declined
            for one in request.declined_penalty_s.tolist()
        ]
        return dict(zip(pairs, seconds, strict=True))

    def declined(self, task: I64, driver: I64) -> F64:
        """The penalty of each pair, 0 where there is none."""
        penalty = np.zeros(len(task))
        if self.penalties:
            known = sorted((t * self.m + d, seconds) for (t, d), seconds in self.penalties.items())
            keys, seconds = np.array([key for key, _ in known]), np.array([one for _, one in known])
            wanted = task * self.m + driver
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            penalty = np.where(keys[at] == wanted, seconds[at], 0.0)
        return penalty


def from_now(times_ms: F64 | I64, now_ms: int) -> F64:
    """Seconds from now, at most `LONG_S`."""
    return np.minimum((times_ms - now_ms) / 1000, LONG_S)
