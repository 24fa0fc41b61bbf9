"""The matching benchmark: small problems through all of it, and its references against each other."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from bench.dispatch.match import (
    MARKETS,
    MatchOptions,
    bare_graph,
    flow_cost,
    gap_pct,
    graph_of,
    market,
    parse_sizes,
    run_match,
)
from doorstep.cli.app import app
from solver.fast.matching import cheapest_matching
from solver.objective import active
from solver.registry import solve
from solver.terms import TERMS


def test_a_small_run_reports_every_figure(tmp_path: Path) -> None:
    lines: list[str] = []
    made = run_match(MatchOptions(sizes="150x700,200x600", rounds=1), out=tmp_path, progress=lines.append)
    figures = msgspec.json.decode((tmp_path / "summary.json").read_bytes())["figures"]
    assert figures == made.figures
    for size in ("150x700", "200x600"):
        assert figures[f"left_count_{size}"] == 0
        assert 0 <= figures[f"objective_gap_pct_{size}"] < 1
        for name in ("plan_ms", "floor_ratio", "flow_ratio", "dense_ratio", "pairs_count"):
            assert figures[f"{name}_{size}"] > 0
    assert any("round 1" in line for line in lines)


def test_the_command_writes_a_summary(tmp_path: Path) -> None:
    arguments = [
        "bench",
        "match",
        "--sizes",
        "5x9",
        "--rounds",
        "1",
        "--market",
        "even",
        "--out",
        str(tmp_path),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "plan_ms_5x9" in done.output
    assert (tmp_path / "summary.json").exists()


@pytest.mark.parametrize("arguments", [["--sizes", "5by9"], ["--sizes", "0x9"], ["--market", "moon"]])
def test_a_wrong_argument_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["bench", "match", *arguments]).exit_code == 1


def test_sizes_are_tasks_by_drivers() -> None:
    assert parse_sizes("2x4, 5000x20000") == [(2, 4), (5000, 20000)]


@pytest.mark.parametrize("name", MARKETS)
def test_a_market_is_the_same_for_the_same_seed_and_40_km_wide(name: str) -> None:
    options = MatchOptions(market=name)
    one, same = market(options, 30, 90), market(options, 30, 90)
    assert one.tasks.pickup_lat.tolist() == same.tasks.pickup_lat.tolist()
    assert one.drivers.accept_rate.tolist() == same.drivers.accept_rate.tolist()
    assert one.tasks.pickup_lat.tolist() != market(replace(options, seed=2), 30, 90).tasks.pickup_lat.tolist()
    assert np.ptp(one.drivers.lat) * 111.2 < 40.1
    assert len(set(one.tasks.pickup_lat.tolist())) < 30, "tasks share stores"


@pytest.mark.parametrize(("tasks", "drivers"), [(200, 700), (400, 60)])
def test_the_references_find_what_the_plan_finds(tasks: int, drivers: int) -> None:
    request = market(MatchOptions(), tasks, drivers)
    graph = graph_of(request)
    chosen = [
        pair
        for part in graph.parts
        for pair in part.pairs[cheapest_matching(part.task, part.driver, part.match_s)].tolist()
    ]
    assert flow_cost(graph, tasks) == pytest.approx(graph.match_s[chosen].sum(), abs=0.1 * len(chosen))
    bare, full = bare_graph(graph, tasks, drivers)
    assert full is (tasks <= drivers)
    assert bare.shape[0] == tasks
    assert len(solve(request).assignments) == min(tasks, drivers)
    if full:
        assert -1e-6 <= gap_pct(request, solve(request)) < 1


def test_a_task_that_is_left_shows_in_the_gap() -> None:
    request = market(MatchOptions(), 200, 700)
    plan = solve(request)
    some = replace(plan, assignments=plan.assignments[1:])
    assert gap_pct(request, some) > gap_pct(request, plan) + 0.5


def test_every_term_of_the_objective_counts() -> None:
    request = market(MatchOptions(), 5, 9)
    assert {name for name, _ in active(request.weights)} == set(TERMS)
    assert request.zones is not None
    assert request.zones.lack
