"""The bench on a made-up instance, and its checker against each way to break the rules.

A kilometre takes a minute. Two restaurants, three orders, two couriers; the solution below is right to the minute.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from bench.dispatch.mdrp import (
    GOAL,
    ROWS,
    MdrpOptions,
    Result,
    figures_of,
    missed,
    references,
    rows_of,
    run_mdrp,
    table,
    violations_of,
)
from bench.dispatch.mdrp_check import COLUMNS, METRICS, check, main, mean_metrics, percentile
from bench.report import report
from doorstep.cli.app import app

RESTAURANTS = "restaurant\tx\ty\nr1\t0\t0\nr2\t6000\t0\n"
COURIERS = "courier\tx\ty\ton_time\toff_time\nc1\t-3000\t4000\t0\t240\nc2\t6000\t0\t0\t120\n"
ORDERS = (
    "order\tx\ty\tplacement_time\trestaurant\tready_time\n"
    "o1\t4000\t0\t10\tr1\t20\no2\t4000\t2500\t12\tr1\t22\no3\t6000\t3000\t70\tr2\t110\n"
)
PARAMETERS = (
    "meters_per_minute\tpickup service minutes\tdropoff service minutes\ttarget click-to-door\tmaximum click-to-door"
    "\tpay per order\tguaranteed pay per hour\n1000\t4\t4\t40\t90\t10\t15\n"
)
# c1 brings o1 and o2 together: 5 minutes to r1, there at 17; both ready at 22; 4 to o1, 3 (2.5 km) on to o2. c2 stands
# at r2.
SOLUTION = """order,courier,assignment,assigned_min,arrive_restaurant_min,pickup_min,dropoff_min
o1,c1,0,12,17,22,30
o2,c1,0,12,17,22,37
o3,c2,1,70,70,110,117
"""


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    folder = tmp_path / "instances" / "tiny"
    folder.mkdir(parents=True)
    (folder / "restaurants.txt").write_text(RESTAURANTS)
    (folder / "couriers.txt").write_text(COURIERS)
    (folder / "orders.txt").write_text(ORDERS)
    (folder / "instance_parameters.txt").write_text(PARAMETERS)
    return folder


def violations(instance: Path, *changes: tuple[str, str]) -> list[str]:
    """What the checker says of the solution with these lines changed."""
    text = SOLUTION
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = instance.parent / "solution.csv"
    path.write_text(text)
    return check(instance, path).violations


# -- the checker ------------------------------------------------------------------------------------------------------


def test_a_right_solution_passes_with_its_metrics(instance: Path) -> None:
    path = instance.parent / "solution.csv"
    path.write_text(SOLUTION)
    verdict = check(instance, path)
    assert verdict.violations == []
    # Click to door 20, 25, 47; ready to pick-up 2, 0, 0; pay: c1 max(20, 4 h x 15), c2 max(10, 2 h x 15).
    assert verdict.metrics == pytest.approx(
        {
            "undelivered_pct": 0,
            "ctd_mean_min": 92 / 3,
            "ctd_p90_min": 25 + 0.8 * 22,
            "overage_mean_min": 7 / 3,
            "late_pct": 100 / 3,
            "rtp_mean_min": 2 / 3,
            "rtp_p90_min": 1.6,
            "cost_per_order_usd": 90 / 3,
            "orders_per_bundle": 1.5,
        }
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("o3,c2,1,70,70,110,117", "o3,c2,1,69,70,110,117", "before it was placed"),
        ("0,12,17,22,30", "0,12,16,22,30", "at the restaurant at 16, not possible before 17"),
        ("0,12,17,22,37", "0,12,17,22,36", "dropped at 36, not possible before 37"),
        ("0,12,17,22,30", "0,12,17,22,29", "dropped at 29, not possible before 30"),
        ("70,70,110,117", "70,70,109,117", "picked up at 109, not possible before 110"),
        ("70,70,110,117", "70,109,110,117", "picked up at 110, not possible before 111"),
        ("70,70,110,117", "70,70,121,128", "picked up at 121, after the shift's end at 120"),
        ("o2,c1", "o1,c1", "o1 is brought twice"),
        ("o3,c2", "o9,c2", "no such order"),
        ("o3,c2", "o3,c9", "no such order or courier"),
        ("o3,c2,1,70,70,110,117", "o3,c1,0,12,17,22,39", "2 restaurants"),
        ("o2,c1,0,12,17,22,37", "o2,c2,0,12,17,22,37", "2 couriers"),
        ("o2,c1,0,12,17,22,37", "o2,c1,0,13,17,22,37", "2 times of assignment"),
        ("o2,c1,0,12,17,22,37", "o2,c1,0,12,18,22,37", "2 arrivals"),
        ("o2,c1,0,12,17,22,37", "o2,c1,0,12,17,23,38", "2 times of pick-up"),
        ("o2,c1,0,", "o2,c1,2,", "at the restaurant at 17, not possible before"),  # two trips at once
        ("o3,c2,1,70,70,110", "o3,c2,1,70,70,110.5", "line 4: not whole minutes"),
        ("order,courier", "courier,order", "has the columns"),
    ],
)  # fmt: skip
def test_every_broken_rule_is_found(instance: Path, old: str, new: str, says: str) -> None:
    found = violations(instance, (old, new))
    assert any(says in line for line in found), found


def test_a_bundle_waits_for_the_last_of_its_goods_and_orders(instance: Path) -> None:
    """o2 is ready at 22 and placed at 12, both two minutes after o1."""
    [found] = violations(instance, ("17,22,30", "17,21,29"), ("17,22,37", "17,21,36"))
    assert "picked up at 21, not possible before 22" in found
    [found] = violations(instance, ("0,12,17,22,30", "0,11,17,22,30"), ("0,12,17,22,37", "0,11,17,22,37"))
    assert "assigned at 11, before it was placed" in found


def test_the_shift_binds_the_start_too(instance: Path) -> None:
    """With c1 on duty from 15 on it cannot be at r1 before 20."""
    (instance / "couriers.txt").write_text(COURIERS.replace("4000\t0\t240", "4000\t15\t240"))
    assert any("not possible before 20" in line for line in violations(instance))


def test_the_door_is_left_two_minutes_after_the_hand_over(instance: Path) -> None:
    """c2, back from o3's door at 119, is at r2 again at 122."""
    (instance / "couriers.txt").write_text(COURIERS.replace("0\t120", "0\t300"))
    (instance / "orders.txt").write_text(ORDERS + "o4\t6000\t0\t100\tr2\t100\n")
    last = "o3,c2,1,70,70,110,117\n"
    assert violations(instance, (last, last + "o4,c2,2,117,122,124,128\n")) == []
    [found] = violations(instance, (last, last + "o4,c2,2,117,121,124,128\n"))
    assert "at the restaurant at 121, not possible before 122" in found


def test_too_late_is_undelivered_and_still_paid(instance: Path) -> None:
    """91 minutes after placement: no violation, not delivered."""
    path = instance.parent / "solution.csv"
    (instance / "couriers.txt").write_text(COURIERS.replace("4000\t0\t240", "4000\t0\t40"))
    path.write_text(SOLUTION.replace("110,117", "110,161"))
    verdict = check(instance, path)
    assert verdict.violations == []
    assert verdict.metrics["undelivered_pct"] == pytest.approx(100 / 3)
    assert verdict.metrics["ctd_mean_min"] == 22.5
    assert verdict.metrics["cost_per_order_usd"] == (20 + 30) / 2


def test_a_drive_is_whole_minutes_without_rounding_errors(instance: Path) -> None:
    """3-4-5: exactly 5 minutes to r1; a metre more takes 6."""
    assert violations(instance) == []
    (instance / "couriers.txt").write_text(COURIERS.replace("-3000\t4000", "-3000\t4001"))
    assert any("not possible before 18" in line for line in violations(instance))


def test_nothing_brought_is_no_violation(instance: Path) -> None:
    path = instance.parent / "solution.csv"
    path.write_text(",".join(COLUMNS) + "\n")
    verdict = check(instance, path)
    assert verdict.violations == []
    assert verdict.metrics["undelivered_pct"] == 100
    assert math.isnan(verdict.metrics["ctd_mean_min"])


def test_no_solution_is_a_violation(instance: Path) -> None:
    [found] = check(instance, instance / "none.csv").violations
    assert "cannot be read" in found


def test_the_checker_is_a_command(instance: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solutions = instance.parent / "solutions"
    (solutions / "tiny").mkdir(parents=True)
    (solutions / "tiny" / "solution.csv").write_text(SOLUTION)
    assert main([str(instance.parent), str(solutions)]) == 0
    (solutions / "tiny" / "solution.csv").write_text(SOLUTION.replace("22,30", "22,29"))
    assert main([str(instance.parent), str(solutions)]) == 1
    said = capsys.readouterr().out
    assert "tiny: o1 by c1: dropped at 29" in said
    assert "1 instances, 1 violations" in said
    assert main([str(instance.parent), str(instance)]) == 2


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 2.5), (90, 3.7), (100, 4)])
def test_percentiles_lie_between_ranks(percent: float, value: float) -> None:
    assert percentile([4, 1, 3, 2], percent) == pytest.approx(value)


def test_the_checker_shares_no_code_with_the_simulator() -> None:
    source = Path(check.__code__.co_filename).read_text()
    assert not any(
        f"from {room}" in source or f"import {room}" in source for room in ("sim", "domain", "solver")
    )


# -- the bench --------------------------------------------------------------------------------------------------------


def options(instance: Path, **changes: object) -> MdrpOptions:
    return replace(MdrpOptions(instances=instance.parent, jobs=1), **changes)


def test_all_rows_of_a_small_instance(instance: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    out = tmp_path / "out"
    made = run_mdrp(options(instance), out=out, progress=lines.append)
    figures = msgspec.json.decode((out / "summary.json").read_bytes())["figures"]
    assert figures == made.figures
    assert violations_of(made) == 0
    assert figures["instances_count"] == 1
    for name in ROWS:
        prefix = "" if name == "main" else f"{name}_"
        assert figures[f"{prefix}undelivered_pct"] == 0
        assert figures[f"{prefix}ctd_mean_min"] >= 28, "a courier at the restaurant takes so long"
        path = out / ("" if name == "main" else name) / "tiny" / "solution.csv"
        assert check(instance, path).violations == []
        assert len(path.read_text().splitlines()) == 4
    assert len(lines) == len(ROWS)
    with (out / "instances.csv").open() as file:
        assert [row["row"] for row in csv.DictReader(file)] == list(ROWS)
    printed = table(made)
    assert all(name in printed for name in ROWS)
    assert "goal" not in printed, "it is about all instances"


def test_the_command_prints_a_table(instance: Path, tmp_path: Path) -> None:
    arguments = [
        "bench",
        "mdrp",
        "--instances",
        str(instance.parent),
        "--out",
        str(tmp_path / "out"),
        "--jobs",
        "1",
    ]
    done = CliRunner().invoke(app, [*arguments, "--rows", "main,greedy"])
    assert done.exit_code == 0, done.output
    assert "main" in done.output
    assert "greedy" in done.output
    assert (tmp_path / "out" / "summary.json").exists()
    assert CliRunner().invoke(app, [*arguments, "--rows", "best"]).exit_code == 1
    assert CliRunner().invoke(app, [*arguments, "--only", "large"]).exit_code == 1


def test_many_processes_find_the_same(instance: Path, tmp_path: Path) -> None:
    one = run_mdrp(options(instance, rows="main,greedy"), out=tmp_path / "one")
    two = run_mdrp(options(instance, rows="main,greedy", jobs=2), out=tmp_path / "two")
    for name in (*METRICS, *(f"greedy_{metric}" for metric in METRICS)):
        assert one.figures[name] == two.figures[name]
    solution = Path("tiny") / "solution.csv"
    assert (tmp_path / "one" / solution).read_bytes() == (tmp_path / "two" / solution).read_bytes()


def test_a_row_that_would_be_the_main_one_again_is_left_out(instance: Path) -> None:
    def names(**changes: object) -> list[str]:
        return [row.name for row in rows_of(options(instance, **changes))]

    assert names() == list(ROWS)
    assert names(accept="uniform") == ["main", "horizon5", "greedy"]
    assert names(horizon_min=5) == ["main", "greedy", "uniform"]
    assert names(rows="uniform", accept="uniform") == ["uniform"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rows": "main,best"}, "no row best"),
        ({"accept": "never"}, "and not never"),
        ({"horizon_min": 2}, "1 or 5"),
        ({"only": "large*"}, "no instance large"),
    ],
)
def test_a_wrong_option_is_named(
    instance: Path, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        run_mdrp(options(instance, **changes), out=tmp_path)


def test_references_are_means_over_the_same_instances(instance: Path) -> None:
    columns = {"undelivered_pct": "pct_undelivered", "overage_mean_min": "ctd_overage_mean"}
    names = [columns.get(name, name.removesuffix("_min").removesuffix("_usd")) for name in METRICS]
    header = [f"{who}_{name}" for who in ("reyes", "foodmatch") for name in names]
    lines = [
        ",".join(["instance", "lb_ctd_mean", "lb_overage_mean", *header]),
        ",".join(["tiny", "20", "1", *["4"] * 9, *["2"] * 9]),
        ",".join(["other", "90", "9", *["9"] * 18]),
    ]
    path = instance.parent.parent / "reference_results.csv"
    path.write_text("\n".join(lines))
    found = references(instance.parent, [instance])
    assert found["reyes"] == dict.fromkeys(METRICS, 4)
    assert found["foodmatch"] == dict.fromkeys(METRICS, 2)
    assert found["bound"] == {"ctd_mean_min": 20, "overage_mean_min": 1}
    path.unlink()
    assert references(instance.parent, [instance]) == {}


def test_violations_and_missed_goals_are_counted() -> None:
    metrics = {**dict.fromkeys(METRICS, 1.0), "rtp_mean_min": 0.9, "undelivered_pct": 0.5}
    assert missed(metrics, GOAL) == []
    assert missed({**metrics, "rtp_mean_min": 0.96}, GOAL) == ["rtp_mean_min"]
    assert missed({**metrics, "rtp_mean_min": math.nan}, GOAL) == ["rtp_mean_min"]
    [row] = rows_of(MdrpOptions(instances=Path(), rows="main"))
    result = Result(
        row="main", instance="tiny", metrics=metrics, violations=("a", "b"), offers=3, declined=1, solves=9,
        total_s=1.0, solver_s=0.5,
    )  # fmt: skip
    figures = figures_of([row], [result], {"foodmatch": dict.fromkeys(METRICS, 0.95)}, 1.0)
    assert figures["violations_count"] == 2
    assert violations_of(report("mdrp", MdrpOptions(instances=Path()), figures)) == 2
    assert figures["worse_than_foodmatch_count"] == 6  # all but the two that are below 0.95, and the bundles
    assert "goals_missed_count" not in figures


def test_a_mean_leaves_out_what_is_not_a_number() -> None:
    some, none = dict.fromkeys(METRICS, 2.0), dict.fromkeys(METRICS, math.nan)
    assert mean_metrics([some, none]) == some
    assert math.isnan(mean_metrics([none])["ctd_mean_min"])
