"""Large neighbourhood search (Shaw 1998; Pisinger & Ropke 2007) with VROOM as the one that repairs.

A move takes a few related shipments out of a few routes and lets VROOM put them back, starting from what is left of the
routes: some milliseconds. First, where vehicles cost something, routes are emptied one after the other (after Nagata &
Bräysy 2009): the shipments of the smallest route wait in a pool, a move puts one of them in at the expense of others
that were easier to place so far, until the pool is empty. Then travel is shortened.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np

from domain.ground.arrays import F64, I64
from solver.routes.problem import NO_END, Problem
from solver.routes.vroom import HIGHEST_PRIORITY, Routes, Vroom

FIRST_EXPLORATION = 1  # of VROOM for the first plan
FEWER_SHARE = 0.6  # of the time, at most, for fewer vehicles

# Of a move: how many routes (from, below) and shipments are taken, and how likely a related shipment is passed over.
_FEWER_ROUTES, _FEWER_TAKEN = (3, 10), (6, 20)
_SHORTER_ROUTES, _SHORTER_TAKEN = (3, 7), (4, 16)
_PASSED_OVER = 0.4
_TIME_WEIGHT = 0.5  # of a difference in time beside one in place, when shipments are called related
_WORSE = 0.02  # how often a pool that grows by one is accepted, while a route is emptied
_WAITING = 5  # unserved shipments that a move tries to place

Range = tuple[int, int]


def search(
    problem: Problem, left_s: Callable[[], float], rng: np.random.Generator, moves: int | None
) -> tuple[Routes, int]:
    """Routes by vehicle, empty ones included, and how many moves were tried. `left_s`: time left, of any clock."""
    one = _Search(problem, rng, left_s, moves)
    if one.engine.shipments and one.engine.vehicles:
        one.begin()
        one.fewer_vehicles()
        one.shorter()
    return one.routes, one.moves


class _Search:
    def __init__(
        self,
        problem: Problem,
        rng: np.random.Generator,
        left_s: Callable[[], float],
        moves: int | None,
    ) -> None:
        self.engine = Vroom(problem)
        self.routes: Routes = {}
        self.waiting: set[int] = set()  # shipments in no route
        self.moves = 0
        self._problem, self._rng, self._left_s = problem, rng, left_s
        self._limit = float("inf") if moves is None else moves
        self._whole_s = left_s()
        self._travel: list[list[float]] = problem.travel.tolist()  # quicker than an array, one at a time
        self._place = [*problem.shipments.pickup.tolist(), *problem.shipments.door[::-1].tolist()]
        self._related = _related(problem)
        self._alike = _all_alike(problem)

    # -- the three parts ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The first plan."""
        routes = self.engine.solve(self.engine.vehicles, self.engine.shipments, exploration=FIRST_EXPLORATION)
        assert routes is not None  # None is for a start that is not feasible
        self.routes = routes
        self.waiting = set(self.engine.shipments) - _served(routes.values())

    def fewer_vehicles(self) -> None:
        """Empty the smallest route that costs something, as long as it succeeds."""
        until_s = (1 - FEWER_SHARE) * self._whole_s
        while True:
            used = [v for v, stops in self.routes.items() if stops and self._problem.vehicles.fixed[v] > 0]
            if len(used) < 2 or not self._emptied(min(used, key=lambda v: len(self.routes[v])), until_s):
                return

    def shorter(self) -> None:
        """Less travel, and more shipments served where some are not."""
        while self._goes_on(0.0):
            seed = self._chosen(
                self.waiting if self.waiting and self._rng.random() < 0.5 else self.engine.shipments
            )
            vehicles, taken = self._neighbourhood(self.routes, seed, _SHORTER_ROUTES, _SHORTER_TAKEN)
            idle = [v for v, stops in self.routes.items() if not stops]
            if idle and (self.waiting or not self._alike):
                vehicles.append(self._chosen(idle))
            more = {seed, *sorted(self.waiting)[:_WAITING]} & self.waiting
            if not vehicles:
                return
            old = {v: self.routes[v] for v in vehicles}
            new = self._rebuilt(old, taken, more)
            if new is None:
                continue
            before, after = _served(old.values()), _served(new.values())
            if (-len(after), self._cost(new)) <= (-len(before), self._cost(old)):
                self.routes |= new
                self.waiting = (self.waiting | before) - after

    # -- moves --------------------------------------------------------------------------------------------------------

    def _emptied(self, vehicle: int, until_s: float) -> bool:
        """Whether all shipments of the vehicle's route found another; nothing changes when not."""
        routes = {v: stops for v, stops in self.routes.items() if stops and v != vehicle}
        pool = _served([self.routes[vehicle]])
        tries = dict.fromkeys(self.engine.shipments, 1)  # how hard a shipment is to place
        while pool and self._goes_on(until_s):
            seed = self._chosen(pool)
            vehicles, taken = self._neighbourhood(routes, seed, _FEWER_ROUTES, _FEWER_TAKEN)
            old = {v: routes[v] for v in vehicles}
            new = self._rebuilt(old, taken, {seed}, tries)
            if new is None:
                continue
            out = (_served(old.values()) | {seed}) - _served(new.values())
            if seed in out:
                tries[seed] = min(HIGHEST_PRIORITY, tries[seed] + 1)
            given_up = sum(tries[i] for i in out)
            if given_up <= tries[seed] or (len(out) < 2 and self._rng.random() < _WORSE):
                routes |= new
                pool = (pool - {seed}) | out
        if not pool:
            self.routes |= {vehicle: [], **routes}
        return not pool

    def _neighbourhood(
        self, routes: Routes, seed: int, of_routes: Range, of_taken: Range
    ) -> tuple[list[int], set[int]]:
        """Routes near the seed and which shipments to take out of them; the seed is one when it is in a route."""
        route_of = {stop: v for v, stops in routes.items() for stop in stops if stop >= 0}
        most_routes, most_taken = int(self._rng.integers(*of_routes)), int(self._rng.integers(*of_taken))
        passed_over = self._rng.random(len(route_of) + 1) < _PASSED_OVER
        passed_over[0] = False
        vehicles: list[int] = []
        taken: set[int] = set()
        near = (i for i in self._related[seed] if i in route_of)
        for i, passed in zip(near, passed_over.tolist(), strict=False):
            if passed or (route_of[i] not in vehicles and len(vehicles) == most_routes):
                continue
            if route_of[i] not in vehicles:
                vehicles.append(route_of[i])
            taken.add(i)
            if len(taken) == most_taken:
                break
        return vehicles, taken

    def _rebuilt(
        self,
        old: Routes,
        taken: Collection[int],
        more: Iterable[int],
        priority: dict[int, int] | None = None,
    ) -> Routes | None:
        """The routes made anew, with `more` shipments if they fit."""
        self.moves += 1
        start = {v: [stop for stop in stops if max(stop, ~stop) not in taken] for v, stops in old.items()}
        shipments = [stop for stops in old.values() for stop in stops if stop >= 0]
        return self.engine.solve(old, [*shipments, *more], exploration=0, start=start, priority=priority)

    # -- small things -------------------------------------------------------------------------------------------------

    def _goes_on(self, until_s: float) -> bool:
        return self.moves < self._limit and self._left_s() > until_s

    def _chosen(self, some: Collection[int]) -> int:
        return sorted(some)[int(self._rng.integers(len(some)))]

    def _cost(self, routes: Routes) -> float:
        """Travel and fixed cost."""
        vehicles, total = self._problem.vehicles, 0.0
        for v, stops in routes.items():
            if stops:
                at = int(vehicles.start[v])
                total += float(vehicles.fixed[v])
                for stop in stops:
                    to = self._place[stop]
                    total += self._travel[at][to]
                    at = to
                if (end := int(vehicles.end[v])) != NO_END:
                    total += self._travel[at][end]
        return total


def _served(routes: Iterable[list[int]]) -> set[int]:
    return {stop for stops in routes for stop in stops if stop >= 0}


def _all_alike(problem: Problem) -> bool:
    """Whether it makes no difference which vehicle takes a route."""
    them = problem.vehicles
    return all(len(np.unique(getattr(them, name))) < 2 for name in them.__struct_fields__)


def _related(problem: Problem) -> list[list[int]]:
    """For each shipment all of them, the most related first, which is itself.

    Nearness of the pick-ups and of the doors, in travel, and likeness of the windows' middles.
    """
    s = problem.shipments
    near = np.minimum(problem.travel, problem.travel.T)
    apart: F64 = near[np.ix_(s.pickup, s.pickup)] + near[np.ix_(s.door, s.door)]
    horizon = np.concatenate([problem.vehicles.shift_to, s.door_to])
    latest = max(1.0, float(horizon[np.isfinite(horizon)].max(initial=1.0)))
    later = np.zeros_like(apart)
    for opens, closes in ((s.pickup_from, s.pickup_to), (s.door_from, s.door_to)):
        middle = (np.maximum(opens, 0.0) + np.minimum(closes, latest)) / 2
        later += np.abs(middle[:, None] - middle[None, :]) / latest
    unlike = apart / max(1e-9, float(apart.sum()) / max(1, apart.size)) + _TIME_WEIGHT * later
    np.fill_diagonal(unlike, -1.0)
    order: I64 = np.argsort(unlike, axis=1, kind="stable")
    return [row.tolist() for row in order]
