"""VROOM as the engine of the route search: make routes for some shipments and some vehicles, from given routes or none.

VROOM counts in whole numbers. Travel and service are rounded up and windows inwards, so that what it thinks feasible is
feasible in the problem's own doubles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import vroom  # type: ignore[import-untyped]
from vroom import _vroom

from domain.ground.arrays import F64
from solver.routes.problem import NO_END, Problem

# More than VROOM has searches, which share out the same work. Where threads are fewer, they queue at a semaphore of
# libstdc++ that now and then never wakes (GCC bug 104928): seen as a solve that stood for ever.
THREADS = 32
HIGHEST_PRIORITY = 100  # VROOM's scale
_LATEST = 2**32 - 2  # VROOM's times and costs; one more is no limit
_FINEST = 1000  # parts of a unit where the problem is not in whole ones
_ROUNDED = 1e-9  # what arithmetic on doubles may have added to a whole number

Routes = dict[int, list[int]]  # vehicle -> stops, empty lists included


class Vroom:
    """One problem, of which parts are solved.

    `shipments`, `vehicles`: those whose windows are not empty; no others may be asked for.
    Uses VROOM's own classes below pyvroom's: those make a data frame of each answer, which takes as long as the answer.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._scale = _scale(problem)
        self._travel = self._up(problem.travel).astype(np.uint32)
        s, v = problem.shipments, problem.vehicles
        self.shipments = self._open((s.pickup_from, s.pickup_to), (s.door_from, s.door_to))
        self.vehicles = self._open((v.shift_from, v.shift_to))
        self._jobs = {i: self._job(i, 0) for i in self.shipments}

    def solve(
        self,
        vehicles: Iterable[int],
        shipments: Iterable[int],
        *,
        exploration: int,
        start: Mapping[int, Sequence[int]] | None = None,
        priority: Mapping[int, int] | None = None,
    ) -> Routes | None:
        """Routes of the vehicles; a shipment that is in none of them could not be served.

        `exploration`: 0 (quick) to 5 (thorough). `start`: feasible routes of some of the shipments to begin with; None
        is returned when they turn out not to be feasible in whole numbers. `priority`: of a shipment above the others',
        up to `HIGHEST_PRIORITY`; the sum over the served ones is most important.
        """
        priority, vehicles = priority or {}, list(vehicles)
        if not vehicles:
            return {}  # VROOM crashes without any
        task = vroom.Input()
        task.set_durations_matrix("car", self._travel)
        for i in shipments:
            task._add_shipment(*(self._job(i, priority[i]) if priority.get(i) else self._jobs[i]))
        routes: Routes = {}
        for v in vehicles:
            routes[v] = []
            task.add_vehicle(self._vehicle(v, start[v] if start is not None and v in start else ()))
        try:
            answer = task.solve(exploration, nb_threads=THREADS)
        except _vroom.VroomInputException:
            if start is None:
                raise
            return None
        steps = np.asarray(answer._routes_numpy())
        for v, kind, i in zip(
            steps["vehicle_id"].tolist(), steps["type"].tolist(), steps["id"].tolist(), strict=True
        ):
            if kind in (b"pickup", b"delivery"):
                routes[v].append(i if kind == b"pickup" else ~i)
        return routes

    def _job(self, i: int, priority: int) -> tuple[_vroom.Job, _vroom.Job]:
        """The pick-up and the door of a shipment."""
        s = self._problem.shipments
        columns = (
            (_vroom.JOB_TYPE.PICKUP, s.pickup, s.pickup_from, s.pickup_to, s.pickup_service),
            (_vroom.JOB_TYPE.DELIVERY, s.door, s.door_from, s.door_to, s.door_service),
        )
        pickup, door = (
            _vroom.Job(
                id=i,
                type=kind,
                location=vroom.Location(int(place[i])),
                default_setup=0,
                default_service=int(self._up(service[i])),
                amount=vroom.Amount([int(s.amount[i])]),
                skills=set(),
                priority=priority,
                tws=[self._window(opens[i], closes[i])],
                description="",
                setup_per_type={},
                service_per_type={},
            )
            for kind, place, opens, closes, service in columns
        )
        return pickup, door

    def _vehicle(self, v: int, stops: Sequence[int]) -> vroom.Vehicle:
        them = self._problem.vehicles
        end = int(them.end[v])
        return vroom.Vehicle(
            v,
            start=int(them.start[v]),
            end=None if end == NO_END else end,
            capacity=[int(them.capacity[v])],
            time_window=self._window(them.shift_from[v], them.shift_to[v]),
            costs=vroom.VehicleCosts(fixed=min(_LATEST, int(self._up(them.fixed[v])))),
            steps=[
                vroom.VehicleStepPickup(stop) if stop >= 0 else vroom.VehicleStepDelivery(~stop)
                for stop in stops
            ],
        )

    def _window(self, opens: float, closes: float) -> vroom.TimeWindow:
        """Rounded inwards. VROOM knows no time below 0 and none beyond its whole numbers."""
        return vroom.TimeWindow(max(0, int(self._up(opens))), int(np.minimum(_LATEST, self._down(closes))))

    def _open(self, *windows: tuple[F64, F64]) -> list[int]:
        """Indices at which none of the windows is empty to VROOM."""
        first_last = [(np.maximum(0, self._up(a)), np.minimum(_LATEST, self._down(b))) for a, b in windows]
        return np.flatnonzero(np.all([first <= last for first, last in first_last], axis=0)).tolist()

    def _up(self, value: F64 | float) -> F64:
        return np.ceil(np.asarray(value) * self._scale - _ROUNDED)

    def _down(self, value: F64 | float) -> F64:
        return np.floor(np.asarray(value) * self._scale + _ROUNDED)


def _scale(problem: Problem) -> int:
    """VROOM's units to one of the problem's: 1 where that is in whole numbers."""
    columns = [problem.travel.ravel(), problem.vehicles.fixed]
    for table in (problem.shipments, problem.vehicles):
        columns += [getattr(table, name) for name in table.__struct_fields__]
    values = np.concatenate(columns)
    values = values[np.isfinite(values)]
    if (values == np.rint(values)).all():
        return 1
    # Nothing happens later than this, even if one vehicle served all. What closes after it never closes.
    s, v = problem.shipments, problem.vehicles
    opens = np.concatenate([s.pickup_from, s.door_from, v.shift_from])
    drives = (2 * len(s.pickup) + 1) * problem.travel.max(initial=0.0)
    latest = opens.max(initial=0.0) + s.pickup_service.sum() + s.door_service.sum() + drives
    return int(np.clip(_LATEST / max(1.0, latest, v.fixed.max(initial=0.0)), 1, _FINEST))
