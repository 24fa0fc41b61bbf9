"""Who brings what, and after what: a matching in which a driver or an earlier unit comes before each unit.

    driver d -> unit u:  pickup = max(ready_u, max(free_d, go_u) + travel(d, u) + before)
    unit i -> unit u:    the same from where and when i ends, as far as the last plan knows

The cheapest assignment of units to what comes before them makes chains. Their true times follow from their drivers
('exact'), and the matching is repeated with these while that helps. It looks one plan ahead of what is offered: most of
it stays open until a driver has to set off, and comes out otherwise when more is known by then.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from domain.ground.arrays import F64, I64
from domain.solve import NEVER_MS, Forecast
from solver.objective import cost_s
from solver.scene import LONG_S, Scene
from solver.terms import Leg
from solver.units import Units

BARRED = 1e9  # seconds; no price comes near
LATE_S = 120.0  # later than this after the goods are ready counts as pressure
_LEVELS = 12  # links of a chain whose times are followed


class Chains(NamedTuple):
    """Units `chosen` and what comes before each: driver d < m, the unit m + i, or -1 for nobody. `pickup` in seconds
    from now, `behind` the orders tightly behind each, `until` its driver's shift end, `cost` of it all."""

    chosen: I64
    before: I64
    pickup: F64
    behind: F64
    until: F64
    cost: float


def costs(scene: Scene, units: Units) -> F64:
    """(m + units, units) seconds; what cannot be is `BARRED`."""
    every = slice(None)
    wait = scene.request.services.pickup_before_s
    planning = scene.request.planning

    travel = scene.from_driver[:, units.store]
    arrival = np.maximum(scene.free[:, None], units.go) + travel
    first = np.maximum(units.ready, arrival + wait)
    drivers = cost_s(Leg(scene, units, every, np.arange(scene.m)[:, None], first, travel))
    drivers += declined(scene, units)
    drivers[~units.before(first, scene.until[:, None])] = BARRED

    travel = scene.from_drop[units.end][:, units.store]
    arrival = np.maximum((units.planned + units.busy)[:, None], units.go) + travel
    then = np.maximum(units.ready, arrival + wait)
    chained = cost_s(Leg(scene, units, every, None, then, travel))
    possible = units.before(then, units.until[:, None])
    # No circles: a unit comes behind those that were planned before it, of equals behind the first.
    turn = np.empty(units.count)
    turn[np.argsort(units.planned, kind="stable")] = np.arange(units.count)
    possible &= turn[:, None] < turn
    chained[~possible] = BARRED

    pickup, matrix = np.concatenate([first, then]), np.concatenate([drivers, chained])
    if not planning.sacrifice and scene.m:
        units.raise_prices(drivers.min(axis=0))
    matrix += planning.queue * units.behind * (pickup - units.ready) + planning.saved_time * units.busy
    return np.asarray(np.minimum(matrix, BARRED))


def declined(scene: Scene, units: Units) -> F64:
    """(m, units): seconds for earlier declines, infinity bars."""
    penalty = np.zeros((scene.m, units.count))
    for (task, driver), seconds in scene.penalties.items():
        penalty[driver, task] = seconds
    if scene.penalties:
        for row in range(units.singles, units.real):
            penalty[:, row] = penalty[:, list(units.members[row])].sum(axis=1)
    return penalty


def match(matrix: F64, units: Units, chosen: I64, drivers: int) -> tuple[float, I64]:
    """The cheapest assignment of the chosen units: its objective, and what comes before each.

    What would cost more than leaving the unit out is left out. No unit lacks a row, since each has its own.
    """
    rows = np.concatenate([np.arange(drivers), drivers + chosen])
    price = units.credit[chosen]
    part = np.minimum(matrix[rows[:, None], chosen], price)
    row, column = linear_sum_assignment(part)
    value = part[row, column]
    before = np.empty(len(chosen), np.int64)
    before[column] = np.where(value < price[column] - 1e-6, rows[row], -1)
    return float(value.sum()), before


def exact(scene: Scene, units: Units, chosen: I64, before: I64) -> Chains:
    """Follow every chain from its driver."""
    m, k = scene.m, len(chosen)
    wait = scene.request.services.pickup_before_s
    place = np.full(units.count, -1)
    place[chosen] = np.arange(k)
    prior = np.where(before >= m, place[np.maximum(before - m, 0)], -1)
    ready, busy, go = units.ready[chosen], units.busy[chosen], units.go[chosen]
    pickup, until, behind = ready.copy(), np.full(k, LONG_S), np.zeros(k)
    tight = np.zeros(k, bool)
    done = before < m
    first = np.flatnonzero((before >= 0) & done)
    driver = before[first]
    arrival = (
        np.maximum(scene.free[driver], go[first]) + scene.from_driver[driver, units.store[chosen[first]]]
    )
    pickup[first] = np.maximum(ready[first], arrival + wait)
    until[first] = scene.until[driver]
    linked = np.flatnonzero(prior >= 0)
    if len(linked):
        way = scene.from_drop[units.end[chosen[prior[linked]]], units.store[chosen[linked]]]
        levels = []
        for _ in range(_LEVELS):
            turn = ~done[linked] & done[prior[linked]]
            if not turn.any():
                break
            at = linked[turn]
            ahead = prior[at]
            arrival = np.maximum(pickup[ahead] + busy[ahead], go[at]) + way[turn] + wait
            pickup[at], tight[at], until[at] = (
                np.maximum(ready[at], arrival),
                arrival > ready[at],
                until[ahead],
            )
            done[at] = True
            levels.append(at)
        weight = units.weight[chosen].sum(axis=1) * units.share[chosen]
        for at in reversed(levels):
            right_behind = at[tight[at]]
            behind[prior[right_behind]] = behind[right_behind] + weight[right_behind]
    legs = Leg(scene, units, chosen, None, pickup, np.zeros(k))
    left_out = units.left_out[chosen]
    lost = (before < 0) | (pickup > units.latest[chosen]) | (pickup > until)
    cost = np.where(lost, left_out, np.minimum(cost_s(legs), left_out)).sum()
    return Chains(chosen, before, pickup, behind, until, float(cost))


def repeat(scene: Scene, units: Units, chains: Chains) -> Chains:
    """Match again with the exact times of the last matching, as long as it gets cheaper."""
    best, latest = chains, chains
    for _ in range(scene.request.planning.rounds):
        if not (latest.before >= scene.m).any():
            break
        chosen = latest.chosen
        units.planned[chosen], units.behind[chosen] = latest.pickup, latest.behind
        units.until = np.full(units.count, LONG_S)
        units.until[chosen] = latest.until
        _, before = match(costs(scene, units), units, chosen, scene.m)
        latest = exact(scene, units, chosen, before)
        if latest.cost >= best.cost - 1e-6:
            break
        best = latest
    return best


def forecast(scene: Scene, units: Units, chains: Chains) -> tuple[Forecast, float]:
    """What the chains foresee of the open tasks, and the pressure: planned late or not at all, per driver on duty."""
    ids, now_ms = scene.request.tasks.ids, scene.request.now_ms
    rows = [
        (ids[task], k)
        for k, unit in enumerate(chains.chosen.tolist())
        if unit < units.real and chains.before[k] >= 0
        for task in units.members[unit]
    ]
    at = np.array([k for _, k in rows], np.int64)
    until_ms = np.where(chains.until[at] >= LONG_S, NEVER_MS, now_ms + chains.until[at] * 1000)
    late = (chains.pickup > units.ready[chains.chosen] + LATE_S).sum()
    return Forecast(
        ids=tuple(task for task, _ in rows),
        pickup_ms=tuple((now_ms + (chains.pickup[at] * 1000).astype(np.int64)).tolist()),
        behind=tuple(chains.behind[at].tolist()),
        until_ms=tuple(until_ms.astype(np.int64).tolist()),
    ), float(late) / max(1, scene.m)
