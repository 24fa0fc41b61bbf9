"""`doorstep bench routes`: the route solver beside VROOM, PyVRP and plain OR-Tools, and beside the best known values.

The two public sets are read from a folder, never shipped: Li & Lim (2001), 100 nodes, as SINTEF writes them, and
Sartori & Buriol (2019), n100. Fewest vehicles count first, then least travel. Everyone works on one thread. VROOM takes
what time it takes at its highest exploration; the others get the same for the same instance, or `seconds`. Time is the
processor's, so that a busy machine takes quality from nobody; all answers go through one checker on the original data.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from msgspec import Struct

from bench.dispatch.route_data import FOLDERS, Instance, read_set
from bench.dispatch.route_peers import PEERS
from bench.report import Figures, Report, report
from sim.concurrency import Progress
from solver.routes.problem import Problem, RoutePlan, Shipments, Vehicles, check
from solver.routes.solve import solve_routes

DATA = Path("../shared/data")
OURS = "doorstep"


class RoutesOptions(Struct, frozen=True, kw_only=True):
    """`data`: the folder with `lilim` and `sartori_buriol`. `seconds`: 0 for as long as VROOM takes, instance by
    instance. `peers`, `only`: with commas between; `only`: instances by how their names begin."""

    data: str = str(DATA)
    seconds: float = 0.0
    peers: str = ",".join(PEERS)
    only: str = ""
    seed: int = 1


class Row(Struct, frozen=True):
    """One answer to one instance."""

    vehicles: int
    cost: float
    unserved: int
    seconds: float


def run_routes(
    options: RoutesOptions, *, out: Path | None = None, progress: Progress = lambda line: None
) -> Report:
    """Measure in this process; writes `summary.json` into `out`. `ValueError` for bad arguments or unreadable data."""
    peers = [name.strip() for name in options.peers.split(",") if name.strip()]
    if unknown := set(peers) - set(PEERS):
        raise ValueError(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    if not options.seconds and "vroom" not in peers:
        raise ValueError("without VROOM, whose time is the limit, seconds must be given")
    for who in [OURS, *peers]:
        _warm(who)
    wanted = tuple(start.strip() for start in options.only.split(","))
    figures: Figures = {}
    for name in FOLDERS:
        found = [one for one in read_set(Path(options.data), name) if one.name.startswith(wanted)]
        if found:
            progress(f"{name}: {len(found)} instances")
            figures |= _measure(name, found, options, peers, progress)
    if not figures:
        raise ValueError(f"no such instances in {options.data}, in {' or '.join(FOLDERS.values())}")
    made = report("routes", options, figures, notes=_NOTES)
    if out is not None:
        made.write(out)
    return made


_NOTES = (
    "vehicles and cost: sums over the instances; gap: cost above the best known",
    "a peer that leaves shipments unserved has too few vehicles and too little cost",
    "seconds: of the processor, one thread, the mean of an instance",
)


def _measure(
    name: str, instances: list[Instance], options: RoutesOptions, peers: list[str], progress: Progress
) -> Figures:
    """One set. VROOM comes first, since its time is the others' limit."""
    order = sorted([OURS, *peers], key=["vroom", OURS, *PEERS].index)
    tables: dict[str, list[Row]] = {who: [] for who in order}
    for number, one in enumerate(instances, 1):
        said, limit_s = [], options.seconds
        for who in order:
            row = _row(who, one, limit_s, options.seed)
            tables[who].append(row)
            limit_s = limit_s or row.seconds
            said.append(f"{who} {row.vehicles} / {row.cost:.1f} in {row.seconds:.2f} s")
        best = f"best known {one.best_vehicles} / {one.best_cost:.1f}"
        progress(f"{number}/{len(instances)} {one.name}: {', '.join([*said, best])}")
    figures: Figures = {f"{name}_instances_count": len(instances)}
    best_cost = sum(one.best_cost for one in instances)
    for who, rows in tables.items():
        start, cost = name if who == OURS else f"{who}_{name}", sum(row.cost for row in rows)
        figures |= {
            f"{start}_vehicles": sum(row.vehicles for row in rows),
            f"{start}_cost": round(cost, 2),
            f"{start}_gap_pct": round(100 * (cost / best_cost - 1), 2),
            f"{start}_unserved_count": sum(row.unserved for row in rows),
            f"{start}_seconds_mean": round(sum(row.seconds for row in rows) / len(rows), 3),
        }
    figures[f"best_{name}_vehicles"] = sum(one.best_vehicles for one in instances)
    figures[f"best_{name}_cost"] = round(best_cost, 2)
    return figures


def _warm(who: str) -> None:
    """Load its libraries, which is none of the time that is measured. `ValueError` where one is missing."""
    one, none = np.array([0]), np.array([0.0])
    ever = np.array([9.0])
    depot = Vehicles(start=one, end=one, shift_from=none, shift_to=ever, capacity=one, fixed=none)
    shipment = Shipments(
        pickup=one,
        pickup_from=none,
        pickup_to=ever,
        pickup_service=none,
        door=one + 1,
        door_from=none,
        door_to=ever,
        door_service=none,
        amount=one,
    )
    travel = np.array([[0.0, 1.0], [1.0, 0.0]])
    try:
        _SOLVERS[who](Problem(travel=travel, shipments=shipment, vehicles=depot), 0.01, 0)
    except ModuleNotFoundError as error:
        raise ValueError(f"{who} needs {error.name}, one of the development dependencies") from error


def _row(who: str, one: Instance, limit_s: float, seed: int) -> Row:
    """`RuntimeError` for a plan that breaks a rule."""
    began_s = time.process_time()
    plan = _SOLVERS[who](one.problem, limit_s, seed)
    seconds = time.process_time() - began_s
    if broken := check(one.problem, plan):
        raise RuntimeError(f"{who} on {one.name}: {broken[0]}")
    return Row(len(plan.routes), plan.travel, len(plan.unserved), seconds)


def _doorstep(problem: Problem, limit_s: float, seed: int) -> RoutePlan:
    return solve_routes(problem, time_limit_s=limit_s, seed=seed, clock=time.process_time)


_SOLVERS = {OURS: _doorstep, **PEERS}
