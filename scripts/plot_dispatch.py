"""The pictures of docs/dispatch.md: what three parameters do, on public instances.

python scripts/plot_dispatch.py ../shared/data/mdrplib/instances [GLOB]
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
from msgspec.structs import replace

from bench.dispatch.mdrp import Row, policy_for, write_solution
from bench.dispatch.mdrp_check import Metrics, check, mean_metrics
from domain.region.policy import RegionPolicy
from sim.days.mdrplib import instances, read_mdrplib
from sim.days.simulate import run_day

mpl.use("Agg")
from matplotlib import pyplot as plt

OUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "dispatch-parameters.png"
MAIN = Row(name="main", solver="fast", look_min=1, accept="always")
# Name on the axis, where it is, and the values tried.
SWEEPS: tuple[tuple[str, tuple[str, ...], tuple[float, ...]], ...] = (
    ("offer_lead_s: offers before the driver must set off", ("offer_lead_s",), (60, 180, 300, 600, 1200)),
    ("bundle_tries: bundles tried in a plan", ("planning", "bundle_tries"), (0, 2, 5, 30)),
    ("queue: weight of the orders behind", ("planning", "queue"), (0, 0.5, 1, 2)),
)
SHOWN = (("rtp_mean_min", "ready to pick-up, min"), ("undelivered_pct", "undelivered, %"))


def changed(policy: RegionPolicy, path: tuple[str, ...], value: float) -> RegionPolicy:
    """The policy with one field set."""
    new: Any = value if path[-1] != "bundle_tries" else int(value)
    if len(path) == 1:
        return replace(policy, **{path[0]: new})
    return replace(policy, planning=replace(policy.planning, **{path[1]: new}))


def measured(job: tuple[Path, tuple[str, ...], float]) -> Metrics:
    """One instance under one value."""
    folder, path, value = job
    day = read_mdrplib(folder)
    outcome = run_day(day, changed(policy_for(MAIN, day), path, value), look_s=60.0)
    with TemporaryDirectory() as scratch:
        solution = Path(scratch) / "solution.csv"
        write_solution(solution, outcome)
        verdict = check(folder, solution)
    assert not verdict.violations, verdict.violations[:3]
    return verdict.metrics


def main() -> None:
    """Run the sweeps over all cores and draw them."""
    folders = instances(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "[01]*t100*p100")
    figure, axes = plt.subplots(len(SHOWN), len(SWEEPS), figsize=(12, 5.4), squeeze=False)
    with ProcessPoolExecutor() as pool:
        for column, (name, path, values) in enumerate(SWEEPS):
            jobs = [(folder, path, value) for value in values for folder in folders]
            found = list(pool.map(measured, jobs))
            for row, (metric, label) in enumerate(SHOWN):
                means = [
                    mean_metrics(found[i * len(folders) : (i + 1) * len(folders)])[metric]
                    for i in range(len(values))
                ]
                print(f"{name}: {metric}", dict(zip(values, (round(mean, 3) for mean in means), strict=True)))
                axis = axes[row][column]
                axis.plot(range(len(values)), means, "o-")
                axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
                axis.set_ylim(bottom=0)
                axis.grid(alpha=0.3)
                if not column:
                    axis.set_ylabel(label)
                if row == len(SHOWN) - 1:
                    axis.set_xlabel(name)
    figure.suptitle(f"{len(folders)} public instances")
    figure.tight_layout()
    figure.savefig(OUT, dpi=110)
    print(OUT.name)


if __name__ == "__main__":
    main()
