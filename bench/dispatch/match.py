"""`doorstep bench match`: the whole FAST plan beside what its parts would cost bare, and beside the dense optimum.

A market of 40 x 40 km. In the `city`, 6 of 10 stores and 5 of 10 drivers crowd round twelve centres; in the `even`
market they are anywhere alike. A store has four open tasks in the mean, a popular one many. Every reference works on
the same problem in the same run, one after the other in each round.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import h3
import numpy as np
import numpy.typing as npt
from msgspec import Struct
from ortools.graph.python import min_cost_flow
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import KDTree

from bench.report import Figures, Report, median, ratio, report
from domain.ground.arrays import F64, I64
from domain.ground.geo import EARTH_RADIUS_M
from domain.solve import NEVER_MS, DriverColumns, Plan, SolveRequest, TaskColumns, Weights, Zones
from sim.concurrency import Progress
from solver.fast.graph import Graph
from solver.fast.solver import pruned
from solver.objective import cost_s
from solver.registry import solve
from solver.scene import Scene
from solver.terms import Leg
from solver.units import Units

SIZES = "200x1000,1000x5000,5000x20000"
MARKETS = ("city", "even")
DENSE_PAIRS = 6_000_000  # beyond it the dense reference takes minutes and gigabytes
NEAREST = 16  # drivers looked up for a task by the floor
ROUND_S = 0.05  # what is quicker is repeated for so long in each round

_SIDE_KM, _CENTRES = 40.0, 12
_ZONE_RESOLUTION = 7
_MIDDLE = (32.80, -96.80)
_KM_PER_DEGREE = np.pi * EARTH_RADIUS_M / 1000 / 180
_NOW_MS = 1_750_000_000_000

Points: TypeAlias = npt.NDArray[np.float64]  # (k, 2): kilometres east and north of the middle


class MatchOptions(Struct, frozen=True, kw_only=True):
    """`sizes`: tasks x drivers, with commas between."""

    sizes: str = SIZES
    market: str = "city"
    rounds: int = 3
    seed: int = 1
    tasks_per_store: float = 4.0


def run_match(
    options: MatchOptions, *, out: Path | None = None, progress: Progress = lambda line: None
) -> Report:
    """Measure in this process; writes `summary.json` into `out`."""
    figures: Figures = {}
    for tasks, drivers in parse_sizes(options.sizes):
        size = f"{tasks}x{drivers}"
        progress(f"{size}: {options.rounds} rounds")
        found = _measure(market(options, tasks, drivers), options.rounds, progress)
        figures |= {f"{name}_{size}": value for name, value in found.items()}
    made = report("match", options, figures, notes=_NOTES)
    if out is not None:
        made.write(out)
    return made


_NOTES = (
    "floor: bare look-up of the nearest 16 and bare sparse matching of the same pruned graph",
    "ratios: time of the plan over that of the reference; gap: against the optimum over all pairs",
)


def parse_sizes(text: str) -> list[tuple[int, int]]:
    """`200x1000,1000x5000` as pairs of tasks and drivers; `ValueError` for anything else."""
    sizes = []
    for one in text.split(","):
        tasks, _, drivers = one.strip().partition("x")
        sizes.append((int(tasks), int(drivers)))
    if any(min(size) < 1 for size in sizes):
        raise ValueError(f"a size is TASKSxDRIVERS, both at least 1: {text}")
    return sizes


# -- the problem ------------------------------------------------------------------------------------------------------


def market(options: MatchOptions, tasks: int, drivers: int) -> SolveRequest:
    """A market at a moment: tasks opened in the last ten minutes, one of twenty overdue; drivers of unlike mind and
    unlike pay so far, and zones that lack them. Every term of the objective counts, and all is offered at once."""
    rng = np.random.default_rng(options.seed)
    crowding = {"city": (0.6, 0.5), "even": (0.0, 0.0)}[options.market]
    centres = rng.uniform(-_SIDE_KM / 2, _SIDE_KM / 2, (_CENTRES, 2))
    count = max(1, round(tasks / options.tasks_per_store))
    popular = rng.lognormal(0.0, 0.6, count)
    stores = _scatter(rng, count, centres, crowding[0], 2.0)
    pickup = stores[rng.choice(count, tasks, p=popular / popular.sum())]
    door = np.clip(pickup + rng.normal(0.0, 3.0, (tasks, 2)), -_SIDE_KM / 2, _SIDE_KM / 2)
    opened_ms = _NOW_MS - rng.integers(0, 600_000, tasks)
    overdue = rng.random(tasks) < 0.05
    offers = rng.integers(0, 41, drivers)
    taken = rng.binomial(offers, rng.uniform(0.4, 1.0, drivers))
    pickup_lat, pickup_lng = _on_earth(pickup)
    dropoff_lat, dropoff_lng = _on_earth(door)
    lat, lng = _on_earth(_scatter(rng, drivers, centres, crowding[1], 3.0))
    ready_ms = opened_ms + rng.integers(0, 900_000, tasks)
    return SolveRequest(
        request_id=1,
        solver="fast",
        now_ms=_NOW_MS,
        offer_by_ms=NEVER_MS,
        tasks=TaskColumns(
            ids=[f"task-{i}" for i in range(tasks)],
            pickup_lat=pickup_lat,
            pickup_lng=pickup_lng,
            dropoff_lat=dropoff_lat,
            dropoff_lng=dropoff_lng,
            opened_ms=opened_ms,
            ready_ms=ready_ms,
            due_ms=opened_ms + np.where(overdue, 300_000, 2_700_000),
            latest_ms=np.full(tasks, NEVER_MS),
            closes_ms=np.full(tasks, NEVER_MS),
            refusal=rng.uniform(0.0, 0.2, tasks),
            planned_ms=ready_ms,
            behind=np.zeros(tasks),
            until_ms=np.full(tasks, NEVER_MS),
        ),
        drivers=DriverColumns(
            ids=[f"driver-{i}" for i in range(drivers)],
            lat=lat,
            lng=lng,
            free_ms=np.full(drivers, _NOW_MS),
            until_ms=_NOW_MS + rng.integers(3_600_000, 6 * 3_600_000, drivers),
            idle=np.full(drivers, True),
            accept_rate=(taken + 3) / (offers + 4),  # as the region smooths it
            ahead=rng.normal(0.0, 2.0, drivers),
        ),
        declined_task=np.empty(0, np.int64),
        declined_driver=np.empty(0, np.int64),
        declined_penalty_s=np.empty(0),
        zones=zones(pickup_lat, pickup_lng, lat, lng),
        weights=Weights(zone=0.1),
        candidates=NEAREST,
        explain=False,
    )


def zones(task_lat: F64, task_lng: F64, driver_lat: F64, driver_lng: F64) -> Zones:
    """What each H3 cell lacks: its tasks less its drivers over both together."""

    def count(lat: F64, lng: F64) -> Counter[str]:
        places = zip(lat.tolist(), lng.tolist(), strict=True)
        return Counter(h3.latlng_to_cell(a, b, _ZONE_RESOLUTION) for a, b in places)

    want, have = count(task_lat, task_lng), count(driver_lat, driver_lng)
    cells = sorted({*want, *have})
    lack = {cell: (want[cell] - have[cell]) / (want[cell] + have[cell]) for cell in cells}
    return Zones(resolution=_ZONE_RESOLUTION, lack=lack)


def _scatter(rng: np.random.Generator, count: int, centres: Points, share: float, spread_km: float) -> Points:
    """Points anywhere, a share of them round one of the centres instead."""
    points = rng.uniform(-_SIDE_KM / 2, _SIDE_KM / 2, (count, 2))
    inside = rng.random(count) < share
    near = centres[rng.integers(0, len(centres), count)] + rng.normal(0.0, spread_km, (count, 2))
    points[inside] = near[inside]
    return np.clip(points, -_SIDE_KM / 2, _SIDE_KM / 2)


def _on_earth(points: Points) -> tuple[F64, F64]:
    lat = _MIDDLE[0] + points[:, 1] / _KM_PER_DEGREE
    lng = _MIDDLE[1] + points[:, 0] / (_KM_PER_DEGREE * np.cos(np.radians(_MIDDLE[0])))
    return lat, lng


# -- one size ---------------------------------------------------------------------------------------------------------


def _measure(request: SolveRequest, rounds: int, progress: Progress) -> Figures:
    """Names without the size."""
    tasks, drivers = len(request.tasks.ids), len(request.drivers.ids)
    graph = graph_of(request)
    bare, full = bare_graph(graph, tasks, drivers)
    runs: dict[str, Callable[[], object]] = {
        "plan": lambda: solve(request),
        "lookup": lambda: look_up(request),
        "matching": lambda: min_weight_full_bipartite_matching(bare),
        "flow": lambda: flow_cost(graph, tasks),
    }
    if tasks * drivers <= DENSE_PAIRS:
        runs["dense"] = lambda: linear_sum_assignment(dense_costs(request))
    took: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(1, rounds + 1):
        for name, run in runs.items():
            took[name].append(_ms(run))
        progress(f"round {number}: " + ", ".join(f"{name} {took[name][-1]:.2f} ms" for name in runs))
    ms = {name: median(times) for name, times in took.items()}
    floor = median([a + b for a, b in zip(took["lookup"], took["matching"], strict=True)])
    plan = solve(request)
    brought = sum(len(one.task_ids) for one in plan.assignments)
    progress(f"{brought} of {tasks} tasks assigned")
    return {
        **{f"{name}_ms": round(value, 3) for name, value in ms.items() if value is not None},
        "floor_ratio": ratio(ms["plan"], floor),
        "flow_ratio": ratio(ms["plan"], ms["flow"]),
        "dense_ratio": ratio(ms["plan"], ms.get("dense")),
        "objective_gap_pct": gap_pct(request, plan) if "dense" in runs else None,
        "left_count": max(0, min(tasks, drivers) - brought),
        "pairs_count": plan.pairs,
        "parts_count": plan.components,
        "bare_matching_is_full": int(full),
    }


def _ms(run: Callable[[], object]) -> float:
    """Milliseconds of one call, the mean of as many as fit into `ROUND_S`."""
    calls, began_s = 0, time.perf_counter()
    while True:
        run()
        calls += 1
        if (lasted_s := time.perf_counter() - began_s) >= ROUND_S:
            return lasted_s / calls * 1000


# -- references -------------------------------------------------------------------------------------------------------


def graph_of(request: SolveRequest) -> Graph:
    """The candidate graph that a large problem is pruned to."""
    scene = Scene(request, request.travel)
    return pruned(scene, Units(scene))


def look_up(request: SolveRequest) -> I64:
    """(stores, 16) nearest drivers, by a flat map and one look-up for the tasks of a store."""
    tasks, drivers = request.tasks, request.drivers
    narrow = np.cos(np.radians(_MIDDLE[0]))
    stores = np.unique(tasks.pickup_lng * narrow + 1j * tasks.pickup_lat)
    tree = KDTree(np.column_stack((drivers.lng * narrow, drivers.lat)))
    _, found = tree.query(np.column_stack((stores.real, stores.imag)), min(NEAREST, len(drivers.ids)))
    return np.asarray(found, np.int64)


def bare_graph(graph: Graph, tasks: int, drivers: int) -> tuple[csr_array, bool]:
    """The pruned graph as the bare matching takes it, and whether all tasks can be matched in it as it is.

    Where they cannot, each task has one more column at a cost above that of any matching.
    """
    cost = graph.match_s + 1.0  # 0 would be no pair
    bare = csr_array((cost, (graph.task, graph.driver)), shape=(tasks, drivers))
    try:
        min_weight_full_bipartite_matching(bare)
    except ValueError:
        aside = np.arange(tasks)
        dear = np.full(tasks, float(cost.max()) * tasks)
        ends = (np.append(graph.task, aside), np.append(graph.driver, aside + drivers))
        return csr_array((np.append(cost, dear), ends), shape=(tasks, drivers + tasks)), False
    return bare, tasks <= drivers


def flow_cost(graph: Graph, tasks: int) -> float:
    """Seconds of the cheapest largest matching by OR-Tools' min-cost flow on tenths of a second.

    Nodes: tasks, then drivers, then a sink, to which a task may go at a cost above that of any matching.
    """
    drivers = int(graph.driver.max()) + 1
    sink, aside = tasks + drivers, np.arange(tasks)
    cost = np.rint(graph.match_s * 10).astype(np.int64)
    tail = np.concatenate([graph.task, np.arange(tasks, sink), aside])
    head = np.concatenate([graph.driver + tasks, np.full(drivers + tasks, sink)])
    unmatched = np.full(tasks, int(cost.max()) * tasks + 1)
    flow = min_cost_flow.SimpleMinCostFlow()
    flow.add_arcs_with_capacity_and_unit_cost(
        tail,
        head,
        np.ones(len(tail), np.int64),
        np.concatenate([cost, np.zeros(drivers, np.int64), unmatched]),
    )
    supplies = np.concatenate([np.ones(tasks), np.zeros(drivers), [-tasks]]).astype(np.int64)
    flow.set_nodes_supplies(np.arange(sink + 1), supplies)
    if (status := flow.solve()) != flow.OPTIMAL:
        raise RuntimeError(f"min-cost flow ended with status {status}")
    return float(graph.match_s[flow.flows(np.arange(len(cost))) > 0].sum())


def dense_costs(request: SolveRequest) -> F64:
    """(tasks, drivers) seconds of cost, over all pairs."""
    scene = Scene(request, request.travel)
    units = Units(scene)
    travel = scene.from_driver[:, scene.store].T
    arrival = scene.free + travel + request.services.pickup_before_s
    pickup = np.maximum(units.ready[:, None], arrival)
    return cost_s(Leg(scene, units, np.arange(scene.n)[:, None], np.arange(scene.m), pickup, travel))


def gap_pct(request: SolveRequest, plan: Plan) -> float:
    """What the plan costs more than the optimum over all pairs, in percent of that.

    A task that is left counts as much as its dearest driver. For plans of single tasks, as large problems have them.
    """
    costs = dense_costs(request)
    rows, columns = linear_sum_assignment(costs)
    best = float(costs[rows, columns].sum())
    task_at = {name: i for i, name in enumerate(request.tasks.ids)}
    driver_at = {name: i for i, name in enumerate(request.drivers.ids)}
    dearest = costs.max(axis=1)
    best += float(dearest.sum() - dearest[rows].sum())
    of_task = dearest
    for one in plan.assignments:
        at = [task_at[task_id] for task_id in one.task_ids]
        of_task[at] = costs[at, driver_at[one.driver_id]]
    return round(100 * (float(of_task.sum()) - best) / abs(best), 4)
