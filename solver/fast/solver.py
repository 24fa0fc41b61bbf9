"""FAST: the plan of the moment.

A problem that is not too large is planned with chains, bundles and a local search (`chains.py`). A larger one
is pruned to the nearest drivers of each task; its unconnected parts are planned each for itself, and a part that is
still too large is matched one task to one driver, at least cost among the largest matchings (`matching.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from msgspec.structs import replace

from domain.ground.arrays import I64
from domain.ground.travel import TravelTimes
from domain.solve import DriverColumns, Forecast, Plan, SolveRequest, Spread, TaskColumns
from solver import proposals
from solver.fast import bundles, improve
from solver.fast import chains as fast_chains
from solver.fast.candidates import Pairs, all_pairs, candidate_pairs
from solver.fast.graph import Graph, Part, split
from solver.fast.matching import cheapest_matching
from solver.objective import cost_s
from solver.scene import LONG_S, Scene
from solver.terms import Leg
from solver.units import Units

C = TypeVar("C", TaskColumns, DriverColumns)

# Tasks x (tasks + drivers) up to which everything is planned in one go.
ROLLING_CELLS = 2**16
# ... and the same with the expected ones, of which only so many are planned with as fit: those that are due first.
FORESIGHT_CELLS = 2**18
# Nearest drivers costed for each one asked for, and as many again of that share of all drivers who would cost least if
# all had the same way. The cheapest is often not among the nearest, since drivers differ in how likely they are to
# accept and in what they have earned: see docs/bench.md for what is lost against all pairs.
LOOK = 2
CHEAP = 0.25
ALL_PAIRS = 2**15  # up to which nothing is pruned
_USUAL_WAY_S = 300.0
_REACH = 3.0  # times as far away as the farthest of the nearest


def fast(request: SolveRequest, travel: TravelTimes, spread: Spread) -> Plan:
    """See the module."""
    n, m = len(request.tasks.ids), len(request.drivers.ids)
    if not n or not m:
        return Plan(request_id=request.request_id, assignments=(), left_out=tuple(request.tasks.ids))
    if n * (n + m) <= ROLLING_CELLS:
        return plan_rolling(request, travel)
    return _plan_wide(request, travel, spread)


def plan_rolling(request: SolveRequest, travel: TravelTimes) -> Plan:
    """Chains, bundles and a local search over all tasks and drivers."""
    scene = Scene(_foresight(request), travel)
    units = Units(scene)
    matrix = fast_chains.costs(scene, units)
    chosen = np.arange(units.count)
    if request.planning.bundle_tries and scene.n > 1:
        units, matrix, chosen = bundles.choose(scene, units, matrix)
    _, before = fast_chains.match(matrix, units, chosen, scene.m)
    chains = fast_chains.exact(scene, units, chosen, before)
    if chains.cost > request.planning.rounds_from_s:
        chains = fast_chains.repeat(scene, units, chains)
    chains = improve.improved(scene, units, chains)
    first = (chains.before >= 0) & (chains.before < scene.m) & (chains.chosen < units.real)
    foreseen, pressure = fast_chains.forecast(scene, units, chains)
    return Plan(
        request_id=request.request_id,
        assignments=proposals.assignments(scene, units, chains.chosen[first], chains.before[first]),
        forecast=foreseen,
        left_out=_without(request.tasks.ids, foreseen.ids),
        pressure=pressure,
        components=1,
        pairs=scene.n * scene.m,
    )


def _foresight(request: SolveRequest) -> SolveRequest:
    """The request with no more expected tasks than there is time for."""
    n, m, expected = len(request.tasks.ids), len(request.drivers.ids), request.expected
    room = max(0, int((math.sqrt(m * m + 4 * FORESIGHT_CELLS) - m) / 2) - n)
    if expected is None or len(expected.ids) <= room:
        return request
    first = np.sort(np.argsort(expected.opened_ms, kind="stable")[:room])
    return replace(request, expected=_rows(expected, first) if room else None)


def _without(ids: Sequence[str], planned: Sequence[str]) -> tuple[str, ...]:
    known = set(planned)
    return tuple(task for task in ids if task not in known)


# -- large problems ---------------------------------------------------------------------------------------------------


def _plan_wide(request: SolveRequest, travel: TravelTimes, spread: Spread) -> Plan:
    request = replace(request, expected=None)
    scene = Scene(request, travel)
    units = Units(scene)
    graph = pruned(scene, units)
    small = [part for part in graph.parts if _is_small(part)]
    large = [part for part in graph.parts if not _is_small(part)]
    plans = [
        plan_rolling(part_of(request, np.unique(part.task), np.unique(part.driver)), travel) for part in small
    ]
    matched = spread(cheapest_matching, [(part.task, part.driver, part.match_s) for part in large])
    chosen = [part.pairs[pairs] for part, pairs in zip(large, matched, strict=True)]
    pairs = np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))
    task, driver = graph.task[pairs], graph.driver[pairs]
    pickup = graph.pickup[pairs]
    ids = request.tasks.ids
    foreseen = Forecast(
        ids=tuple(ids[t] for t in task.tolist()),
        pickup_ms=tuple((request.now_ms + (pickup * 1000).astype(np.int64)).tolist()),
        behind=(0.0,) * len(pairs),
        until_ms=tuple(request.drivers.until_ms[driver].tolist()),
    )
    late = float((pickup > units.ready[task]).sum()) / scene.m
    wide = Plan(
        request_id=request.request_id,
        assignments=proposals.assignments(scene, units, task, driver, graph.drivers_of),
        forecast=foreseen,
        pressure=late,
    )
    return merged_plans(request, [*plans, wide], components=len(graph.parts), pairs=len(graph.task))


def pruned(scene: Scene, units: Units) -> Graph:
    """Candidate pairs of single orders, their costs, and the connected parts."""
    request = scene.request
    tasks, drivers = request.tasks, request.drivers
    # Who declined a task is no loss to the number of those who may take it.
    wanted = LOOK * request.candidates * (1 if tasks.wider is None else tasks.wider)
    wanted = wanted + np.bincount(request.declined_task, minlength=scene.n)
    if scene.n * scene.m <= ALL_PAIRS:
        task, driver, _ = all_pairs(tasks, drivers)
    else:
        pairs = candidate_pairs(tasks, drivers, wanted, crowds=True)
        task, driver = _with_cheap(scene, units, pairs)
    travel = scene.travel_to(driver, scene.store[task])
    arrival = scene.free[driver] + travel + request.services.pickup_before_s
    pickup = np.maximum(units.ready[task], arrival)
    cost = cost_s(Leg(scene, units, task, driver, pickup, travel)) + scene.declined(task, driver)
    possible = np.isfinite(cost) & (pickup <= scene.until[driver]) & (pickup <= units.latest[task])
    if not possible.all():
        task, driver, cost, pickup = task[possible], driver[possible], cost[possible], pickup[possible]
    least = np.full(scene.n, LONG_S)
    np.minimum.at(least, task, cost)
    waited = np.maximum(request.now_ms - tasks.opened_ms, 0) / 1000
    # What even its best driver costs is no reason to leave a task, and the older of two goes first. All pairs by the
    # same amount, so that the least is 0: a matching of a given size costs that much more.
    urgency = np.where(least < LONG_S, least, 0.0) + request.planning.waiting * waited
    match_s = cost - urgency[task] + urgency.max(initial=0.0)
    parts = split(task, driver, match_s, scene.n, scene.m)
    return Graph(task=task, driver=driver, cost_s=cost, match_s=match_s, pickup=pickup, parts=parts)


def _with_cheap(scene: Scene, units: Units, pairs: Pairs) -> tuple[I64, I64]:
    """These pairs and those of each task with the nearest of the drivers who would cost least for a usual task, had all
    the same way to it; each pair once. None from far beyond: towns stay apart."""
    request, m = scene.request, scene.m
    task, driver, metres = pairs
    reach = np.zeros(scene.n)
    np.maximum.at(reach, task, metres)
    slack = units.due[:, 0] - units.ideal[:, 0]
    usual = np.argsort(slack, kind="stable")[[scene.n // 2]]
    arrival = scene.free + _USUAL_WAY_S + request.services.pickup_before_s
    pickup = np.maximum(units.ready[usual], arrival)
    own_cost = cost_s(Leg(scene, units, usual, np.arange(m), pickup, np.full(m, _USUAL_WAY_S)))
    cheap = np.sort(np.argsort(own_cost, kind="stable")[: round(CHEAP * m)])
    wanted = np.full(scene.n, LOOK * request.candidates)
    more, near, away = candidate_pairs(request.tasks, _rows(request.drivers, cheap), wanted)
    within = away <= _REACH * reach[more]
    keys = np.sort(np.concatenate([task * m + driver, (more * m + cheap[near])[within]]))
    return np.divmod(keys[np.diff(keys, prepend=-1) > 0], m)


def _is_small(part: Part) -> bool:
    n = 1 + int(np.count_nonzero(np.diff(part.task)))
    return n * n <= ROLLING_CELLS and n * (n + len(np.unique(part.driver))) <= ROLLING_CELLS


def part_of(request: SolveRequest, tasks: I64, drivers: I64) -> SolveRequest:
    """The same problem with some of the tasks and drivers, given by ascending position."""
    of_task = np.full(len(request.tasks.ids), -1)
    of_task[tasks] = np.arange(len(tasks))
    of_driver = np.full(len(request.drivers.ids), -1)
    of_driver[drivers] = np.arange(len(drivers))
    task, driver = of_task[request.declined_task], of_driver[request.declined_driver]
    inside = (task >= 0) & (driver >= 0)
    return replace(
        request,
        tasks=_rows(request.tasks, tasks),
        drivers=_rows(request.drivers, drivers),
        declined_task=task[inside],
        declined_driver=driver[inside],
        declined_penalty_s=request.declined_penalty_s[inside],
        expected=None,
    )


def _rows(columns: C, rows: I64) -> C:
    """The given rows of every column."""
    picked: dict[str, Any] = {}
    for name in columns.__struct_fields__:
        column = getattr(columns, name)
        if isinstance(column, list):
            picked[name] = [column[row] for row in rows.tolist()]
        else:
            picked[name] = None if column is None else column[rows]
    return type(columns)(**picked)


def merged_plans(request: SolveRequest, plans: list[Plan], *, components: int, pairs: int) -> Plan:
    """One plan of those for parts that share neither task nor driver."""
    forecasts = [plan.forecast for plan in plans if plan.forecast is not None]
    ids = tuple(task for forecast in forecasts for task in forecast.ids)
    return Plan(
        request_id=request.request_id,
        assignments=tuple(one for plan in plans for one in plan.assignments),
        left_out=_without(request.tasks.ids, ids),
        forecast=Forecast(
            ids=ids,
            pickup_ms=tuple(ms for forecast in forecasts for ms in forecast.pickup_ms),
            behind=tuple(orders for forecast in forecasts for orders in forecast.behind),
            until_ms=tuple(ms for forecast in forecasts for ms in forecast.until_ms),
        ),
        pressure=max(plan.pressure for plan in plans),
        components=components,
        pairs=pairs,
    )
