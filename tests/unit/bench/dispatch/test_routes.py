"""The routes benchmark: small made-up instances in the two public formats, through all of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from bench.dispatch.route_data import read_set
from bench.dispatch.route_peers import PEERS
from bench.dispatch.routes import _SOLVERS, DATA, RoutesOptions, run_routes
from solver.routes.problem import RoutePlan, check
from solver.routes.solve import solve_routes

# A depot and three pairs on a line of 3-4-5 triangles; the third pair needs a vehicle of its own.
LILIM = """\
3 10 1
0 0 0 0 0 60 0 0 0
1 3 4 5 0 100 2 0 4
2 6 8 5 0 100 2 0 5
3 0 9 5 0 10 2 0 6
4 9 12 -5 20 100 2 1 0
5 12 16 -5 20 150 2 2 0
6 0 12 -5 0 15 2 3 0
"""
LILIM_BEST = """\
benchmark,clients,instance,when,routes,distance,who,detailed,url
LiLim,100,lx101,2001-01-01,3,90.0,x,x,x
LiLim,100,lx101,2002-01-01,2,64.0,x,x,x
LiLim,200,lx102,2002-01-01,2,64.0,x,x,x
"""
SB = """\
NAME: toy-n100-1
LOCATION: Nowhere
TYPE: PDPTW
SIZE: 5
CAPACITY: 9
NODES
0 41.3 2.1 0 0 240 0 0 0
1 41.3 2.1 5 0 240 5 0 3
2 41.3 2.1 5 0 240 5 0 4
3 41.3 2.1 -5 0 240 5 1 0
4 41.3 2.1 -5 0 240 5 2 0
EDGES
0 1 2 3 4
9 0 5 1 5
9 5 0 5 1
1 5 2 0 5
1 5 5 5 0
EOF
"""
SB_BEST = "instance;size;vehicles;cost;reference;date\ntoy-n100-1;100;1;6;R;06-apr-23\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder, files in {
        "lilim": {"lx101.txt": LILIM, "lx102.txt": LILIM, "NOTE.txt": "not one", "bks_all.csv": LILIM_BEST},
        "sartori_buriol": {"toy-n100-1.txt": SB, "how_to_read.txt": "not one", "bks.dat": SB_BEST},
    }.items():
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
    return tmp_path


def test_li_lim_is_read_as_it_is_written(data: Path) -> None:
    (one,) = read_set(data, "lilim")
    assert (one.name, one.best_vehicles, one.best_cost) == ("lx101", 2, 64.0)
    shipments, vehicles = one.problem.shipments, one.problem.vehicles
    assert one.problem.travel[0, :4].tolist() == [0.0, 5.0, 10.0, 9.0]
    assert list(zip(shipments.pickup.tolist(), shipments.door.tolist(), strict=True)) == [
        (1, 4),
        (2, 5),
        (3, 6),
    ]
    assert shipments.amount.tolist() == [5, 5, 5]
    assert shipments.pickup_to.tolist() == [100.0, 100.0, 10.0]
    assert shipments.door_from.tolist() == [20.0, 20.0, 0.0]
    assert shipments.door_service.tolist() == [2.0, 2.0, 2.0]
    assert (len(vehicles.start), vehicles.capacity[0], vehicles.shift_to[0]) == (3, 10, 60.0)
    assert vehicles.fixed[0] > one.problem.travel.sum(axis=1).max()


def test_sartori_buriol_is_read_with_its_one_way_minutes(data: Path) -> None:
    (one,) = read_set(data, "sb")
    assert (one.best_vehicles, one.best_cost) == (1, 6.0)
    assert one.problem.travel[1].tolist() == [9.0, 0.0, 5.0, 1.0, 5.0]
    assert one.problem.shipments.door.tolist() == [3, 4]
    assert (one.problem.vehicles.capacity == 9).all()
    assert len(one.problem.vehicles.start) == 2


@pytest.mark.parametrize("who", PEERS)
def test_every_peer_solves_the_small_ones(who: str, data: Path) -> None:
    for name, vehicles, cost in (("lilim", 2, 64.0), ("sb", 1, 6.0)):
        (one,) = read_set(data, name)
        plan = PEERS[who](one.problem, 0.3, 1)
        assert check(one.problem, plan) == []
        assert (len(plan.routes), plan.unserved) == (vehicles, ())
        assert plan.travel == pytest.approx(cost)


def test_a_run_reports_every_figure_that_is_promised(data: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    out = tmp_path / "out"
    made = run_routes(RoutesOptions(data=str(data)), out=out, progress=lines.append)
    figures = msgspec.json.decode((out / "summary.json").read_bytes())["figures"]
    assert figures == made.figures
    for start in ("", "vroom_", "pyvrp_", "ortools_"):
        for end in ("vehicles", "cost", "seconds_mean", "gap_pct", "unserved_count"):
            assert f"{start}lilim_{end}" in figures
            assert f"{start}sb_{end}" in figures
    assert (figures["best_lilim_vehicles"], figures["best_sb_cost"]) == (2, 6.0)
    assert (figures["lilim_vehicles"], figures["lilim_cost"], figures["lilim_gap_pct"]) == (2, 64.0, 0.0)
    assert figures["lilim_seconds_mean"] < 5
    assert any("lx101" in line and "best known 2 / 64.0" in line for line in lines)


def test_a_given_time_needs_no_vroom_and_only_the_named_are_run(data: Path) -> None:
    made = run_routes(RoutesOptions(data=str(data), seconds=0.2, peers="", only="toy"))
    assert "lilim_vehicles" not in made.figures
    assert made.figures["sb_vehicles"] == 1
    assert 0.1 < (made.figures["sb_seconds_mean"] or 0) < 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (RoutesOptions(peers="vroom,jsprit"), "no such peer: jsprit"),
        (RoutesOptions(peers="pyvrp"), "seconds must be given"),
        (RoutesOptions(only="zz"), "no such instances"),
        (RoutesOptions(only="toy", data="/nowhere"), "no such instances"),
    ],
)
def test_bad_arguments_are_refused_in_words(data: Path, options: RoutesOptions, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run_routes(replace(options, data=str(data)) if options.data == str(DATA) else options)


def test_a_file_that_is_not_an_instance_is_named(data: Path) -> None:
    (data / "lilim" / "lx101.txt").write_text("three 10 1\n")
    with pytest.raises(ValueError, match=r"lx101\.txt is not an instance"):
        read_set(data, "lilim")


def test_a_plan_that_breaks_a_rule_ends_the_run(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(problem: object, limit_s: float, seed: int) -> RoutePlan:
        return RoutePlan(routes=(), unserved=(), travel=0.0, fixed=0.0)

    monkeypatch.setitem(_SOLVERS, "pyvrp", late)
    with pytest.raises(RuntimeError, match="pyvrp on lx101: shipment 0 is picked up 0"):
        run_routes(RoutesOptions(data=str(data), seconds=0.1, peers="pyvrp"))


@pytest.mark.skipif(not (DATA / "lilim").is_dir(), reason="the public instances are not here")
def test_real_instances_are_solved_within_reach_of_the_best_known() -> None:
    """By moves, not by time, so that a slow machine finds the same."""
    for name, wanted in (("lilim", ("lr101", "lc201", "lrc207")), ("sb", ("ber-n100-4",))):
        for one in read_set(DATA, name):
            if one.name in wanted:
                plan = solve_routes(one.problem, time_limit_s=60, seed=1, moves=200)
                assert check(one.problem, plan) == []
                assert plan.unserved == ()
                assert len(plan.routes) == one.best_vehicles
                assert plan.travel <= 1.12 * one.best_cost
                assert np.isfinite(plan.fixed)
