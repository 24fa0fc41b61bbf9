"""Worlds: the same ones every time, with all that they should show, and nothing broken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from doorstep.cli.app import app
from sim.world.campaign import ENOUGH, Order, Summary, run_campaign
from sim.world.faults import KINDS, Faults
from sim.world.net import Node
from sim.world.phones import TRAITS
from sim.world.transcript import tell
from sim.world.world import World

LEAST_SPEED = 100  # simulated seconds in one of the wall, on a machine that has other things to do as well
SMOKE = 60  # worlds of the short campaign
_DECISIONS = """
from sim.world.campaign import quietly
from sim.world.world import World
with quietly():
    print([World(seed).run().decisions for seed in (7, 8, 9)])
"""


def decisions_with(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", _DECISIONS], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(600)  # it takes all cores, and others may want them too
@pytest.mark.parametrize("seeds", [SMOKE, pytest.param(ENOUGH, marks=pytest.mark.slow)])
def test_a_campaign_sees_what_so_many_worlds_should_and_nothing_is_broken(seeds: int) -> None:
    told: list[str] = []
    order = Order(seeds=seeds)
    summary = run_campaign(order, told.append)
    assert summary.violations == [], told
    assert summary.worlds == seeds
    assert summary.missed(order) == []
    assert summary.speed > LEAST_SPEED


def test_a_seed_decides_everything_in_every_process() -> None:
    first = decisions_with("1")
    assert first == decisions_with("2")
    assert first.strip() == str([World(seed).run().decisions for seed in (7, 8, 9)])


def test_a_listener_changes_nothing() -> None:
    lines: list[str] = []
    assert tell(7, lines.append) is None
    assert any("hears" in line for line in lines)
    heard = World(7, told=lambda at_s, text: None).run()
    assert heard == World(7).run()


def test_a_world_without_faults_has_none() -> None:
    result = World(11, faults=()).run()
    assert result.violation is None
    assert not [name for name in result.saw if name.startswith(("fault", "died", "froze"))]


def test_nothing_is_judged_while_a_twin_has_sockets() -> None:
    """A driver on the socket of a gateway that was replaced hears nothing until the cluster has ended it."""
    world = World(11, faults=())
    usual_s = world.run().simulated_s / world.speed
    world = World(11, faults=())
    twin = Node(world.loop, "gateway:0")
    world.injection.twins.append(twin)
    world.loop.outside_later(usual_s + 50, twin.kill)
    assert world.run().simulated_s / world.speed > usual_s + 50


def test_leaving_a_fault_out_leaves_the_others_as_they_were() -> None:
    whole, fewer = Faults(3), Faults(3, [kind for kind in KINDS if kind != "lose"])
    for kind in KINDS:
        strikes = [one.strikes(kind, 0.5) for one in (whole, fewer) for _ in range(20)]
        assert kind == "lose" or strikes[:20] == strikes[20:]
    assert fewer.struck["lose"] == 0


def test_every_fault_and_every_trait_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sim.md").read_text()
    for kind, meaning in KINDS.items():
        assert f"| `{kind}` | {meaning} |" in page
    for trait, meaning in TRAITS.items():
        assert f"| {trait} | {meaning} |" in page


def test_a_campaign_that_saw_nothing_fails() -> None:
    summary = Summary(saw=Counter(World(11, faults=()).run().saw), violations=[], worlds=ENOUGH)
    missed = summary.missed(Order(seeds=ENOUGH))
    assert "fault crash" in missed
    assert "fault crash" not in summary.missed(Order(seeds=ENOUGH, faults=("delay",)))


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--seed", "7"], 0, "every promise held"),
        (["--seed", "7", "--trace", "--faults", "none"], 0, "gateway:0 starts"),
        (["--seeds", "3", "--workers", "1"], 0, "violations"),
        (["--faults", "rain"], 1, "There is no fault 'rain'"),
        (["--seeds", "0"], 2, "--seeds"),
    ],
)
def test_the_command(arguments: list[str], status: int, says: str) -> None:
    result = CliRunner().invoke(app, ["sim", *arguments])
    assert result.exit_code == status, result.output
    assert says in result.output
