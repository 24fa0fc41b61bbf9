"""`doorstep bench mdrp`: dispatch quality on the public Grubhub instances, beside published algorithms.

The product's own region and solvers dispatch each instance on a virtual clock (`sim/days/simulate.py`) under one policy
for all; what they did is written to `solution.csv` and judged by a checker that knows the raw files alone
(`mdrp_check.py`). Rows beside the main one: a look every five minutes, as the references have it; the nearest
free driver; couriers who take 40 to 100 % of their offers.
"""

from __future__ import annotations

import csv
import math
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench.dispatch.mdrp_check import COLUMNS, METRICS, Metrics, check, mean_metrics
from bench.report import Figures, Report, report
from domain.region.policy import RegionPolicy
from domain.solve import Plan, Planning, SolveRequest, Weights
from sim.concurrency import Progress
from sim.days.day import Day, Outcome, with_accept_rates
from sim.days.mdrplib import MINUTE_MS, instances, read_mdrplib
from sim.days.simulate import run_day
from solver.registry import solve

ROWS = ("main", "horizon5", "greedy", "uniform")
ACCEPT = ("always", "uniform")
HORIZONS_MIN = (1, 5)
REFERENCES = ("reyes", "foodmatch")  # in reference_results.csv beside the instances
INSTANCES_ALL = 144  # which the goal is about

# design/MEASURES.md, section 1; where it names no figure, FoodMatch's is the goal.
GOAL: Metrics = {
    "undelivered_pct": 0.55,
    "ctd_mean_min": 30.81,
    "overage_mean_min": 2.03,
    "rtp_mean_min": 0.95,
    "cost_per_order_usd": 10.80,
}
_REFERENCE_COLUMNS = {
    "undelivered_pct": "pct_undelivered",
    "ctd_mean_min": "ctd_mean",
    "ctd_p90_min": "ctd_p90",
    "overage_mean_min": "ctd_overage_mean",
    "late_pct": "late_pct",
    "rtp_mean_min": "rtp_mean",
    "rtp_p90_min": "rtp_p90",
    "cost_per_order_usd": "cost_per_order",
    "orders_per_bundle": "orders_per_bundle",
}
_BOUND_COLUMNS = {"ctd_mean_min": "lb_ctd_mean", "overage_mean_min": "lb_overage_mean"}

_NEVER_S = 1e9
# One setting for all instances: the market's defaults, and a clock on which only the bench's looks count. Couriers here
# ping when they change place, answer at once, and are never lost.
POLICY = RegionPolicy(
    offer_ttl_s=_NEVER_S,
    fast_window_s=_NEVER_S,
    fast_max_wait_s=_NEVER_S,
    driver_stale_s=_NEVER_S,
    driver_lost_s=_NEVER_S,
    offer_lead_s=60.0,
    geofence=None,
    give_up_s=90 * 60.0,
    refusal_prior=0.0,
    explain=False,
    batch_solver="",
    weights=Weights(travel=0.0, lateness=0.0, risk=0.0, fairness=18.0, retry_s=0.0),
    planning=Planning(sacrifice=True, waiting=0.0),
)


class MdrpOptions(Struct, frozen=True, kw_only=True):
    """`accept` and `horizon_min` are those of the rows that do not say otherwise; `jobs` None: one a core."""

    instances: Path
    accept: str = "always"
    only: str = "*"
    jobs: int | None = None
    horizon_min: int = 1
    rows: str = ",".join(ROWS)
    seed: int = 1


class Row(Struct, frozen=True, kw_only=True):
    """One way to dispatch all instances."""

    name: str
    solver: str
    look_min: int
    accept: str


class Result(Struct, frozen=True, kw_only=True):
    """One instance dispatched one way. Seconds are those of the processor."""

    row: str
    instance: str
    metrics: Metrics
    violations: tuple[str, ...]
    offers: int
    declined: int
    solves: int
    total_s: float
    solver_s: float


def run_mdrp(options: MdrpOptions, *, out: Path, progress: Progress = lambda line: None) -> Report:
    """Dispatch the instances and judge what came of them; writes `<instance>/solution.csv` (of other rows than main:
    `<row>/<instance>/solution.csv`), `instances.csv` and `summary.json` into `out`. `ValueError`: bad options or
    instances."""
    rows, folders = rows_of(options), instances(options.instances, options.only)
    began_s = time.perf_counter()
    jobs = [(row, folder, out, options.seed) for row in rows for folder in folders]
    # The longest first, so that no process is left with one at the end.
    jobs.sort(key=lambda job: (job[1] / "orders.txt").stat().st_size, reverse=True)
    results = []
    with _pool(options.jobs) as pool:
        for result in _each(pool, jobs):
            results.append(result)
            progress(_line(result, len(results), len(jobs)))
    results.sort(key=lambda one: ([row.name for row in rows].index(one.row), one.instance))
    wall_s = time.perf_counter() - began_s
    _write_instances(out / "instances.csv", results)
    made = report(
        "mdrp", options, figures_of(rows, results, references(options.instances, folders), wall_s), NOTES
    )
    made.write(out)
    return made


NOTES = (
    "means over the instances of what the independent checker found; strict rules of bench/dispatch/mdrp_check.py",
    "reyes, foodmatch: measured at a 5-minute horizon; bound: a courier always waits at the restaurant",
)


def rows_of(options: MdrpOptions) -> list[Row]:
    """The rows to run; `ValueError` names what is not known."""
    names = [name.strip() for name in options.rows.split(",") if name.strip()]
    if unknown := set(names) - set(ROWS):
        raise ValueError(f"there is no row {', '.join(sorted(unknown))}: they are {', '.join(ROWS)}")
    if options.accept not in ACCEPT:
        raise ValueError(f"couriers accept {' or '.join(ACCEPT)}, and not {options.accept}")
    if options.horizon_min not in HORIZONS_MIN:
        raise ValueError(f"the horizon is {' or '.join(map(str, HORIZONS_MIN))} minutes")
    main = Row(name="main", solver=POLICY.solver, look_min=options.horizon_min, accept=options.accept)
    rows = {
        "main": main,
        "horizon5": replace(main, name="horizon5", look_min=5),
        "greedy": replace(main, name="greedy", solver="greedy"),
        "uniform": replace(main, name="uniform", accept="uniform"),
    }
    made = [rows[name] for name in ROWS if name in names]
    # Two rows that would be the same one are run once.
    return [
        row for row in made if row.name == "main" or replace(row, name="main") != main or "main" not in names
    ]


# -- one instance -----------------------------------------------------------------------------------------------------


def policy_for(row: Row, day: Day) -> RegionPolicy:
    """The bench's policy with the travel and service times that the instance gives everybody to know."""
    return replace(
        POLICY,
        solver=row.solver,
        travel=day.travel,
        services=day.services,
        offer_lead_s=60.0 * row.look_min,
        offer_ahead_s=60.0 * row.look_min,
    )


def dispatch(row: Row, folder: Path, out: Path, seed: int) -> Result:
    """Dispatch one instance, write its solution and have it checked."""
    day = read_mdrplib(folder)
    if row.accept == "uniform":
        day = with_accept_rates(day, seed)
    solver_s = 0.0

    def timed(request: SolveRequest) -> Plan:
        nonlocal solver_s
        began_s = time.process_time()
        plan = solve(request)
        solver_s += time.process_time() - began_s
        return plan

    began_s = time.process_time()
    outcome = run_day(day, policy_for(row, day), seed=seed, look_s=60.0 * row.look_min, solve=timed)
    total_s = time.process_time() - began_s
    path = (out if row.name == "main" else out / row.name) / folder.name / "solution.csv"
    write_solution(path, outcome)
    verdict = check(folder, path)
    by_status = outcome.offers_by_status()
    return Result(
        row=row.name,
        instance=folder.name,
        metrics=verdict.metrics,
        violations=tuple(verdict.violations),
        offers=len(outcome.offers),
        declined=sum(count for status, count in by_status.items() if status != "ACCEPTED"),
        solves=outcome.solves.count,
        total_s=total_s,
        solver_s=solver_s,
    )


def write_solution(path: Path, outcome: Outcome) -> None:
    """One line per order brought, by drop-off; an assignment's number is that of its offer in the day."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = {offer.offer_id: n for n, offer in enumerate(outcome.offers)}
    with path.open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(COLUMNS)
        for one in sorted(outcome.brought.values(), key=lambda one: (one.dropoff_ms, one.order_id)):
            times_ms = (one.assigned_ms, one.arrive_ms, one.pickup_ms, one.dropoff_ms)
            assert not any(ms % MINUTE_MS for ms in times_ms), f"not whole minutes: {one}"
            lines.writerow(
                (one.order_id, one.courier_id, number[one.offer_id], *(ms // MINUTE_MS for ms in times_ms))
            )


# -- many processes ---------------------------------------------------------------------------------------------------

Job = tuple[Row, Path, Path, int]


@contextmanager
def _pool(jobs: int | None) -> Iterator[ProcessPoolExecutor | None]:
    """Fresh processes, one a core unless told otherwise; None for one: all is done here."""
    count = jobs or len(os.sched_getaffinity(0))
    if count == 1:
        yield None
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _each(pool: ProcessPoolExecutor | None, jobs: list[Job]) -> Iterator[Result]:
    """The results as they come."""
    if pool is None:
        for job in jobs:
            yield dispatch(*job)
    else:
        for future in as_completed([pool.submit(dispatch, *job) for job in jobs]):
            yield future.result()


def _line(result: Result, done: int, of: int) -> str:
    metrics = result.metrics
    return (
        f"{done:>3} of {of}  {result.row:<8} {result.instance}: "
        f"click-to-door {metrics['ctd_mean_min']:.2f} min, ready-to-pickup {metrics['rtp_mean_min']:.2f} min, "
        f"undelivered {metrics['undelivered_pct']:.2f} %, {len(result.violations)} violations, {result.total_s:.1f} s"
    )


# -- figures ----------------------------------------------------------------------------------------------------------


def references(folder: Path, chosen: Iterable[Path]) -> dict[str, Metrics]:
    """Mean metrics of the references over the same instances, from the file beside the instances; none without it."""
    path = folder.parent / "reference_results.csv"
    if not path.is_file():
        return {}
    names = {one.name for one in chosen}
    with path.open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["instance"] in names]
    if len(lines) < len(names):
        return {}

    def means(columns: dict[str, str]) -> Metrics:
        return {
            name: sum(float(line[column]) for line in lines) / len(lines) for name, column in columns.items()
        }

    found = {
        name: means({metric: f"{name}_{column}" for metric, column in _REFERENCE_COLUMNS.items()})
        for name in REFERENCES
    }
    return {**found, "bound": means(_BOUND_COLUMNS)}


def figures_of(rows: list[Row], results: list[Result], known: dict[str, Metrics], wall_s: float) -> Figures:
    """Flat figures: of the main row by the metric's name alone, of any other with its name before."""
    figures: Figures = {}
    for row in rows:
        own = [one for one in results if one.row == row.name]
        figures |= _named(row.name, mean_metrics([one.metrics for one in own]))
        prefix = _prefix(row.name)
        figures[f"{prefix}violations_count"] = sum(len(one.violations) for one in own)
        figures[f"{prefix}offers_count"] = sum(one.offers for one in own)
        figures[f"{prefix}declined_count"] = sum(one.declined for one in own)
        figures[f"{prefix}processor_s"] = round(sum(one.total_s for one in own), 1)
        figures[f"{prefix}solver_s"] = round(sum(one.solver_s for one in own), 1)
    for name, metrics in known.items():
        figures |= _named(name, metrics)
    count = len({one.instance for one in results})
    figures["instances_count"] = count
    if any(row.name == "main" for row in rows):
        main = mean_metrics([one.metrics for one in results if one.row == "main"])
        if "foodmatch" in known:
            figures["worse_than_foodmatch_count"] = len(missed(main, known["foodmatch"]))
        if count == INSTANCES_ALL:
            figures["goals_missed_count"] = len(missed(main, GOAL))
    figures["wall_s"] = round(wall_s, 1)
    return figures


def violations_of(made: Report) -> int:
    """Violations of all rows together."""
    return sum(int(made.figures.get(f"{_prefix(name)}violations_count") or 0) for name in ROWS)


def missed(metrics: Metrics, goal: Metrics) -> list[str]:
    """The metrics that are worse than the goal; less is better in each of them but the orders in a bundle."""
    return [
        name
        for name in METRICS
        if name in goal and name != "orders_per_bundle" and not metrics[name] <= goal[name]
    ]


def _prefix(name: str) -> str:
    return "" if name == "main" else f"{name}_"


def _named(name: str, metrics: Metrics) -> Figures:
    return {
        f"{_prefix(name)}{metric}": None if math.isnan(value) else round(value, 4)
        for metric, value in metrics.items()
    }


# -- out --------------------------------------------------------------------------------------------------------------


def _write_instances(path: Path, results: list[Result]) -> None:
    with path.open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(
            ("row", "instance", *METRICS, "violations", "offers", "declined", "solves", "processor_s")
        )
        for one in results:
            values = [f"{one.metrics[name]:.4f}" for name in METRICS]
            counts = (len(one.violations), one.offers, one.declined, one.solves)
            lines.writerow((one.row, one.instance, *values, *counts, f"{one.total_s:.2f}"))


_TITLES = {
    "undelivered_pct": "undel %",
    "ctd_mean_min": "CtD",
    "ctd_p90_min": "CtD p90",
    "overage_mean_min": "overage",
    "late_pct": "late %",
    "rtp_mean_min": "RtP",
    "rtp_p90_min": "RtP p90",
    "cost_per_order_usd": "$/order",
    "orders_per_bundle": "bundle",
}


def table(made: Report) -> str:
    """The rows, the references and the goal beneath each other, with what the main row misses."""
    figures = made.figures
    lines = [
        f"mdrp · {figures['instances_count']} instances · {made.machine['cpu']}, {made.machine['cores']} cores"
        f" · {made.commit}",
        f"  {'':<10}" + "".join(f"{title:>9}" for title in _TITLES.values()) + f"{'violated':>10}",
    ]
    for name in (*ROWS, *REFERENCES, "bound"):
        cells = [figures.get(_prefix(name) + metric) for metric in METRICS]
        if any(cell is not None for cell in cells):
            violated = figures.get(f"{_prefix(name)}violations_count")
            lines.append(_row(name, cells) + ("" if violated is None else f"{violated:>10}"))
    main = {metric: figures.get(metric) for metric in METRICS}
    if main["ctd_mean_min"] is not None:
        foodmatch = {metric: figures.get(f"foodmatch_{metric}") for metric in METRICS}
        lines.append(_verdicts("< foodmatch", main, foodmatch, ("yes", "no")))
        if figures["instances_count"] == INSTANCES_ALL:
            lines.append(_row("goal", [GOAL.get(metric) for metric in METRICS]))
            lines.append(_verdicts("", main, dict(GOAL), ("met", "missed")))
    lines.append(f"  all of it took {figures['wall_s']} s")
    return "\n".join(lines + [f"  note: {note}" for note in made.notes])


def _row(name: str, cells: list[float | None]) -> str:
    return f"  {name:<10}" + "".join(f"{'–' if cell is None else format(cell, '.3f'):>9}" for cell in cells)


def _verdicts(
    name: str, metrics: dict[str, float | None], goal: dict[str, float | None], words: tuple[str, str]
) -> str:
    cells = []
    for metric in METRICS:
        ours, theirs = metrics[metric], goal.get(metric)
        known = ours is not None and theirs is not None and metric != "orders_per_bundle"
        cells.append(words[0 if ours <= theirs else 1] if known else "")  # type: ignore[operator]
    return f"  {name:<10}" + "".join(f"{cell:>9}" for cell in cells)
