"""`doorstep replay LOG --set NAME=VALUE`: the table, its files, and what is refused in a sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domain.region.messages import OfferSeenBy
from doorstep.cli.app import app
from doorstep.cli.whatif import verdict
from sim.days.whatif import METRICS, Metric
from tests.support.build import at
from tests.support.recording import Recorded, record


def deliveries(story: Recorded) -> None:
    """Six deliveries with two minutes between them, while another driver is far away."""
    story.drive("bob", at(north_km=30))
    for _ in range(6):
        story.delivered()
        story.wait(120)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "logs" / "tx-dfw"
    record(folder, deliveries, segment_bytes=2_000)
    return folder


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """A small day in the format of the Grubhub instances."""
    folder = tmp_path / "0o3"
    folder.mkdir()
    tables = {
        "restaurants": ["restaurant x y", "r1 0 0"],
        "couriers": ["courier x y on_time off_time", "c1 0 0 0 600", "c2 3000 0 0 600"],
        "orders": [
            "order x y placement_time restaurant ready_time",
            *(f"o{n} {400 * n} 900 {20 * n} r1 {20 * n + 8}" for n in range(1, 7)),
        ],
    }
    for name, rows in tables.items():
        text = "\n".join("\t".join(row.split()) for row in rows)
        (folder / f"{name}.txt").write_text(text + "\n")
    parameters = {
        "meters_per_minute": 320,
        "pickup service minutes": 4,
        "dropoff service minutes": 4,
        "target click-to-door": 40,
        "maximum click-to-door": 90,
        "pay per order": 10,
        "guaranteed pay per hour": 15,
    }
    lines = ("\t".join(parameters), "\t".join(map(str, parameters.values())))
    (folder / "instance_parameters.txt").write_text("\n".join(lines) + "\n")
    return folder


def replay(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    result = CliRunner().invoke(app, ["replay", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def row(out: str, label: str) -> list[str]:
    """The cells of a line of the table."""
    line = next(line for line in out.splitlines() if line.startswith(label))
    return line[len(label) :].split()


def test_a_log_is_tried_with_other_settings(log: Path) -> None:
    status, out, err = replay(log, "--set", "beta=4", "--set", "ttl_s=20")
    assert status == 0, err
    first, second, head = out.splitlines()[:3]
    assert first.startswith("recorded day tx-dfw 2025-06-15")
    assert first.endswith("6 orders, 2 couriers · seed 1")
    assert second == "  changed: weights.lateness 2 -> 4, offer_ttl_s 30 -> 20"
    assert head.split() == ["as", "it", "was", "changed", "difference"]
    for metric in METRICS:
        assert len(row(out, metric.label)) >= 3, metric
    assert row(out, "orders delivered") == ["6", "6", "0"]
    assert row(out, "brought to the door by the log's end")[0] == "6"
    assert "note: couriers take 100 % of the offers that they answer" in out
    assert "reading 000001.log" in err


def test_the_folder_above_and_a_single_segment_will_do(log: Path) -> None:
    assert replay(log.parent, "--set", "beta=2")[0] == 0
    assert replay(log / "000001.log", "--set", "beta=2")[0] == 0


def test_a_benchmark_day_is_tried(instance: Path) -> None:
    status, out, err = replay(instance, "--set", "fleet=0.5", "--given", "answer_s=10", "--seeds", "2")
    assert status == 0, err
    assert out.startswith("Grubhub day 0o3 · 6 orders, 2 couriers · means of 2 runs\n")
    assert "  in both: scene.answer_s – -> 10\n  changed: scene.fleet 1 -> 0.5\n" in out
    assert row(out, "orders delivered")[:4] == ["6", "6", "0", "0"]
    assert "note: the day is a benchmark's" in out


def test_what_couriers_are_paid_can_be_said(instance: Path) -> None:
    _, plain, _ = replay(instance, "--set", "beta=2")
    _, other, _ = replay(instance, "--set", "beta=2", "--pay-per-hour", "30")
    assert row(plain, "pay, $ an order")[0] == "50.00", "two couriers, ten hours, six orders"
    assert row(other, "pay, $ an order")[0] == "100.00"


def test_a_day_without_waiting_says_why_a_ttl_does_nothing(instance: Path) -> None:
    _, out, _ = replay(instance, "--set", "ttl_s=20")
    assert (
        "couriers of this day answer at once, so that ttl_s changes nothing: try --given answer_s=15" in out
    )
    assert "changed: offer_ttl_s never -> 20" in out


def test_files_are_written(instance: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    status, _, err = replay(instance, "--set", "speed=0.5", "--out", out)
    assert status == 0, err
    told = json.loads((out / "whatif.json").read_text())
    assert told["settings"] == {"scene.speed": 0.5}
    assert set(told["baseline"]) == set(told["difference"]) == {metric.name for metric in METRICS}
    assert told["difference"]["ctd_mean_min"] > 0
    assert (out / "whatif.png").read_bytes().startswith(b"\x89PNG")
    assert f"written to {out}" in err


def test_without_matplotlib_there_is_no_picture(
    instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, err = replay(instance, "--set", "beta=2", "--out", tmp_path / "out")
    assert status == 0
    assert "matplotlib is not installed: no picture" in err
    assert (tmp_path / "out" / "whatif.json").is_file()
    assert not (tmp_path / "out" / "whatif.png").exists()


def test_help_lists_what_can_be_set(log: Path) -> None:
    status, out, _ = replay("--set", "help")
    assert status == 0
    assert row(out, "weights.lateness (beta)") == ["2", "per", "s"]
    assert row(out, "offer_ttl_s (ttl_s)") == ["30", "s"]
    assert row(out, "planning.sacrifice") == ["false"]
    assert "promise_s" not in out
    _, of_log, _ = replay(log, "--set", "help")
    assert row(of_log, "planning.bundle_tries") == ["0"], "the log's own policy"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["--set", "bta=2"], "There is no setting bta. Did you mean beta?"),
        (["--set", "beta=2", "--given", "ttl_s=0"], "offer_ttl_s is at least 1, and not 0."),
        (["--set", "driver_lost_s=10"], "driver_lost_s must not be less than driver_stale_s"),
        (["--set", "beta=2", "--solve"], "--solve compares a log's plans, and goes without --set."),
    ],
)
def test_what_cannot_be_tried_is_refused(log: Path, settings: list[str], sentence: str) -> None:
    status, out, err = replay(log, *settings)
    assert (status, out) == (2, "")
    assert sentence in err


def test_a_day_that_cannot_be_read_is_refused(instance: Path, tmp_path: Path) -> None:
    for path, sentence in (
        (tmp_path / "nowhere", "There is no file or folder"),
        (tmp_path, "There is no log in"),
    ):
        status, out, err = replay(path, "--set", "beta=2")
        assert (status, out) == (2, "")
        assert sentence in err
    (instance / "couriers.txt").unlink()
    status, _, err = replay(instance, "--set", "beta=2")
    assert status == 2
    assert "couriers.txt is missing." in err
    status, _, err = replay("--set", "beta=2")
    assert status == 2
    assert "Name the log or the folder of the day" in err
    assert replay()[0] == 2


def test_a_folder_that_cannot_be_written_is_refused(instance: Path) -> None:
    status, _, err = replay(instance, "--set", "beta=2", "--out", instance / "orders.txt" / "out")
    assert status == 2
    assert "cannot be used: Not a directory." in err


def test_an_offer_that_was_shown_is_counted_once(tmp_path: Path) -> None:
    def tell(story: Recorded) -> None:
        story.step(OfferSeenBy("ann", story.offered("ann")))

    record(tmp_path / "log", tell)
    _, out, _ = replay(tmp_path / "log")
    assert row(out, "offers made") == ["1"]


def test_a_verdict_needs_a_difference_that_shows() -> None:
    less, more, neither = (Metric("m", "m", 2, good) for good in (-1, 1, 0))
    assert verdict(less, 0.5) == "worse"
    assert verdict(less, -0.5) == "better"
    assert verdict(more, 0.5) == "better"
    assert verdict(neither, 0.5) == ""
    assert verdict(less, 0.004) == ""
    assert verdict(less, float("nan")) == ""
    assert verdict(less, 0.5, error=0.3) == "", "two standard errors"
    assert verdict(less, 0.5, error=0.2) == "worse"
