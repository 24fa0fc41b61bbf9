"""A local search on the chains: move one unit to another place in another chain, with exact times, best move first.

The matching knows the time of a unit behind another one from the last plan only; where much is late, that is not
enough. All moves of a step are costed in one go, as rows of an array of routes.
"""

from __future__ import annotations

import numpy as np

from domain.ground.arrays import F64, I64
from solver.fast.chains import BARRED, Chains, declined, exact
from solver.objective import cost_s
from solver.scene import Scene
from solver.terms import Leg
from solver.units import Units

_STOP_S = 720.0  # by which each planned unit makes its driver farther away, when drivers are looked for
_LATE_S = 30.0  # routes that cost less have nothing to move


def improved(scene: Scene, units: Units, chains: Chains) -> Chains:
    """The chains after the best moves, or as they were."""
    planning = scene.request.planning
    if not planning.moves or chains.cost <= planning.moves_from_s or not scene.m:
        return chains
    search = _Search(scene, units, chains)
    moves = 0
    while moves < planning.moves and search.move():
        moves += 1
    return exact(scene, units, chains.chosen, search.before(chains)) if moves else chains


class _Search:
    """`routes`: (drivers, slots) units in their order, -1 where there is none; the last slot is always empty."""

    def __init__(self, scene: Scene, units: Units, chains: Chains) -> None:
        self.scene, self.units = scene, units
        self.barred = declined(scene, units)
        m, real = scene.m, units.real
        then = {int(b) - m: int(u) for u, b in zip(chains.chosen, chains.before, strict=True) if b >= m}
        routes: list[list[int]] = [[] for _ in range(m)]
        for unit, before in zip(chains.chosen.tolist(), chains.before.tolist(), strict=True):
            if 0 <= before < m:
                at: int | None = unit
                while at is not None:
                    if at < real:
                        routes[before].append(at)
                    at = then.get(at)
        planned = {unit for route in routes for unit in route}
        self.out = [u for u in chains.chosen.tolist() if u < real and u not in planned]
        width = max(map(len, routes)) + 1
        for driver in np.flatnonzero(self._costs(np.arange(m), _table(routes, width)) >= BARRED).tolist():
            routes[driver] = self._possible(driver, routes[driver])
        self.routes = _table(routes, width)
        self.cost = self._costs(np.arange(m), self.routes)

    def _possible(self, driver: int, route: list[int]) -> list[int]:
        """The route without what this driver cannot bring in time or has just declined, which is left out: a chain
        knows of neither, and no move may begin from what cannot be."""
        kept: list[int] = []
        for unit in route:
            longer = np.array([[*kept, unit]])
            if self._costs(np.array([driver]), longer)[0] < BARRED:
                kept.append(unit)
            else:
                self.out.append(unit)
        return kept

    def _costs(self, drivers: I64, routes: I64) -> F64:
        """Cost of each route for its driver; `BARRED` and more where it cannot be."""
        scene, units = self.scene, self.units
        wait = scene.request.services.pickup_before_s
        time, until = scene.free[drivers].copy(), scene.until[drivers]
        door = np.full(len(drivers), -1)
        total = np.zeros(len(drivers))
        for slot in range(routes.shape[1]):
            there = np.flatnonzero(routes[:, slot] >= 0)
            if not len(there):
                break
            unit = routes[there, slot]
            store, driver = units.store[unit], drivers[there]
            way = np.where(
                door[there] < 0, scene.from_driver[driver, store], scene.from_drop[door[there], store]
            )
            pickup = np.maximum(units.ready[unit], time[there] + way + wait)
            cost = cost_s(Leg(scene, units, unit, driver, pickup, way))
            cost += np.minimum(self.barred[driver, unit], BARRED)
            late = (pickup > units.latest[unit]) | (pickup > until[there])
            total[there] += np.where(late, BARRED, cost)
            time[there], door[there] = pickup + units.busy[unit], units.end[unit]
        return total

    def move(self) -> bool:
        """Make the best move; False when none gains enough."""
        scene, units, planning = self.scene, self.units, self.scene.request.planning
        routes, slots = self.routes, self.routes.shape[1]
        hot = np.flatnonzero(self.cost > _LATE_S)
        hot = hot[np.argsort(-self.cost[hot], kind="stable")]
        movable = [(unit, -1) for unit in self.out]
        movable += [(int(u), int(d)) for d in hot for u in routes[d] if u >= 0]
        movable = movable[: planning.moves_orders]
        if not movable:
            return False
        unit, source = (np.array(column) for column in zip(*movable, strict=True))
        at = np.maximum(source, 0)
        without = np.full((len(unit), slots), -1)  # the unit's route when it is taken out
        for i, (u, d) in enumerate(movable):
            if d >= 0:
                rest = routes[d][(routes[d] >= 0) & (routes[d] != u)]
                without[i, : len(rest)] = rest
        left = np.where(source >= 0, self._costs(at, without), 0.0)
        gain = np.where(source >= 0, self.cost[at] - left, units.left_out[unit])
        # To the drivers who would be there first, and to other places in its own route.
        load = _STOP_S * (routes >= 0).sum(axis=1)
        near = (scene.free + load)[:, None] + scene.from_driver[:, units.store[unit]] + self.barred[:, unit]
        count = min(planning.moves_drivers, scene.m)
        drivers = np.argpartition(near, count - 1, axis=0)[:count].T
        drivers = np.concatenate([drivers, at[:, None]], axis=1)
        own = drivers == source[:, None]
        own[:, :-1][own[:, :-1]] = False  # the last column stands for it already
        base = routes[drivers]
        base[own] = without[np.nonzero(own)[0]]
        cost = self.cost[drivers]
        cost[own] = left[np.nonzero(own)[0]]
        twice = (drivers == source[:, None]) & ~own
        length = (base >= 0).sum(axis=2)
        position, slot = np.arange(slots)[None, None, :, None], np.arange(slots)[None, None, None, :]
        shifted = np.concatenate([np.full((*base.shape[:2], 1), -1), base[:, :, :-1]], axis=2)
        tried = np.where(
            slot < position,
            base[:, :, None, :],
            np.where(slot == position, unit[:, None, None, None], shifted[:, :, None, :]),
        )
        fits = (np.arange(slots) <= length[:, :, None]) & (length < slots)[:, :, None] & ~twice[:, :, None]
        fits &= (source[:, None] >= 0)[:, :, None] | (np.arange(drivers.shape[1]) < count)[None, :, None]
        rows, columns, _ = index = np.nonzero(fits)
        if not len(rows):
            return False
        new, to = tried[index], drivers[rows, columns]
        after = self._costs(to, new)
        delta = after - cost[rows, columns] - gain[rows]
        best = int(np.argmin(delta))
        if delta[best] > -planning.moves_gain_s:
            return False
        row, driver = int(rows[best]), int(to[best])
        if source[row] >= 0:
            self.routes[source[row]], self.cost[source[row]] = without[row], left[row]
        else:
            self.out.remove(int(unit[row]))
        self.routes[driver], self.cost[driver] = new[best], after[best]
        if (self.routes[:, -1] >= 0).any():
            self.routes = np.concatenate([self.routes, np.full((scene.m, 1), -1)], axis=1)
        return True

    def before(self, chains: Chains) -> I64:
        """What comes before each chosen unit now; expected orders are left out."""
        place = np.full(self.units.count, -1)
        place[chains.chosen] = np.arange(len(chains.chosen))
        before = np.full(len(chains.chosen), -1)
        for driver, route in enumerate(self.routes.tolist()):
            prior = driver
            for unit in route:
                if unit >= 0:
                    before[place[unit]] = prior
                    prior = self.scene.m + unit
        return before


def _table(routes: list[list[int]], width: int) -> I64:
    """Routes as rows, filled up with -1."""
    table = np.full((len(routes), width), -1)
    for row, route in enumerate(routes):
        table[row, : len(route)] = route
    return table
