"""Dispatch quality does not slip: small days against recorded figures, under the bench's own policy.

A made-up evening runs everywhere; a slice of the public instances runs where they lie beside the project. After a
change of the dispatch that is meant, take the new figures from the message of the failed test.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.dispatch.mdrp import MdrpOptions, run_mdrp, violations_of
from bench.report import Figures

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "mdrplib" / "instances"
SLICE = "[0138]r50t75s2p100"  # 4 of them

# What may be lost against the record, by metric: less than what the planner is better than the plain ones.
SLACK = {"undelivered_pct": 0.25, "ctd_mean_min": 0.15, "overage_mean_min": 0.1, "rtp_mean_min": 0.15}
EVENING = {"undelivered_pct": 0.0, "ctd_mean_min": 32.6, "overage_mean_min": 1.16, "rtp_mean_min": 1.23}
PUBLIC = {"undelivered_pct": 0.21, "ctd_mean_min": 27.57, "overage_mean_min": 0.79, "rtp_mean_min": 0.52}


def evening(folder: Path) -> None:
    """Four hours of a town of 8 x 8 km with a peak in the middle: 240 orders from 25 restaurants, 48 couriers."""
    rng = np.random.default_rng(11)
    side, count, stores, couriers = 8000, 240, 25, 48

    def places(n: int, spread: float) -> list[tuple[int, int]]:
        points = np.clip(rng.normal(side / 2, spread, (n, 2)), 0, side)
        return [(int(x), int(y)) for x, y in points]

    placed = np.clip(rng.normal(120, 50, count), 0, 230).astype(int)
    ready = placed + np.clip(rng.normal(15, 6, count), 3, 40).astype(int)
    at = rng.integers(0, stores, count)
    begins = rng.integers(0, 120, couriers)
    tables = {
        "restaurants": ["restaurant\tx\ty"]
        + [f"r{n}\t{x}\t{y}" for n, (x, y) in enumerate(places(stores, 1500))],
        "orders": ["order\tx\ty\tplacement_time\trestaurant\tready_time"]
        + [
            f"o{n}\t{x}\t{y}\t{placed[n]}\tr{at[n]}\t{ready[n]}"
            for n, (x, y) in enumerate(places(count, 2500))
        ],
        "couriers": ["courier\tx\ty\ton_time\toff_time"]
        + [
            f"c{n}\t{x}\t{y}\t{begins[n]}\t{begins[n] + 150}"
            for n, (x, y) in enumerate(places(couriers, 2000))
        ],
        "instance_parameters": [
            "meters_per_minute\tpickup service minutes\tdropoff service minutes\ttarget click-to-door"
            "\tmaximum click-to-door\tpay per order\tguaranteed pay per hour",
            "320\t4\t4\t40\t90\t10\t15",
        ],
    }
    folder.mkdir(parents=True)
    for name, lines in tables.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")


def dispatched(instances: Path, out: Path, rows: str, only: str = "*") -> Figures:
    """The bench's figures; no rule is broken in any row."""
    made = run_mdrp(MdrpOptions(instances=instances, only=only, jobs=1, rows=rows), out=out)
    assert violations_of(made) == 0
    return made.figures


def worse(figures: Figures, than: dict[str, float], prefix: str = "") -> dict[str, tuple[float, float]]:
    """The metrics that are worse than these by more than the slack, with both values."""
    found = {}
    for name, record in than.items():
        value = figures[prefix + name]
        assert value is not None
        if value > record + SLACK[name]:
            found[name] = (value, record)
    return found


def record_of(figures: Figures) -> dict[str, float | int | None]:
    return {name: figures[name] for name in SLACK}


def test_a_made_up_evening_goes_as_well_as_recorded(tmp_path: Path) -> None:
    evening(tmp_path / "instances" / "evening")
    figures = dispatched(tmp_path / "instances", tmp_path / "out", "main,greedy")
    assert not worse(figures, EVENING), f"slipped; today's figures are {record_of(figures)}"
    assert worse(figures, EVENING, "greedy_").keys() >= {"ctd_mean_min", "rtp_mean_min"}, "the day is no test"


@pytest.mark.skipif(not DATA.is_dir(), reason="the public instances do not lie beside the project")
def test_a_slice_of_the_public_instances_goes_as_well_as_recorded(tmp_path: Path) -> None:
    figures = dispatched(DATA, tmp_path, "main", SLICE)
    assert figures["instances_count"] == 4
    assert not worse(figures, PUBLIC), f"slipped; today's figures are {record_of(figures)}"
    for name in ("ctd_mean_min", "overage_mean_min", "rtp_mean_min", "cost_per_order_usd"):
        assert figures[name] <= figures[f"foodmatch_{name}"], name  # type: ignore[operator]
