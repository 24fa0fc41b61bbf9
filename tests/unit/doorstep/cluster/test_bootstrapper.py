"""What is decided before Ray is asked: which node gets what, what a node may say itself, who may start a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.clock import ServerClock
from actors.config import Config
from actors.remote import _resources
from actors.warmup import tiny
from domain.region.policy import RegionPolicy
from doorstep.cluster.lease import LeaseTaken, only_one
from doorstep.settings.cluster import NODE_KINDS
from doorstep.settings.settings import SettingsError, load_settings
from solver.registry import SOLVERS, solve


def config(**fields: object) -> Config:
    given: dict[str, object] = {
        "environment": "test",
        "namespace": "doorstep",
        "database_url": "postgresql://there/doorstep",
        "redis_url": "redis://there/0",
        "regions": ("tx-dfw",),
        "clock": ServerClock(speed=1.0, anchor_ms=0, anchor_wall_ms=0),
        "jwt_secret": "s",
        "jwt_ttl_s": 60,
        "internal_token": "t",
        "host": "127.0.0.1",
        "port": 8000,
    }
    return Config(**given | fields)  # type: ignore[arg-type]


def test_nothing_is_tied_to_nodes_that_are_not_set_apart() -> None:
    assert [_resources(kind, config()) for kind in NODE_KINDS] == [{}] * 4
    assert _resources("region", config(placed=("gateway",))) == {}


@pytest.mark.parametrize("gateways", [1, 2, 3, 7, 64])
def test_a_node_has_room_for_its_gateways_and_no_more(gateways: int) -> None:
    share = _resources("gateway", config(placed=("gateway",), gateways=gateways))["gateway"]
    counted = round(share * 10_000)  # as Ray counts
    assert gateways * counted <= 10_000 < (gateways + 1) * counted


def test_regions_share_a_node_without_end() -> None:
    assert _resources("region", config(placed=("region",)))["region"] <= 0.001


def test_a_node_has_its_own_addresses_folders_and_apps(tmp_path: Path) -> None:
    shared = config(web_dist="/elsewhere", record_dir="/records")
    environment = {
        "HOST": "0.0.0.0",
        "PORT": "8001",
        "OSRM_URL": "http://osrm:5000",
        "RECORD_DIR": "",
        "JWT_SECRET": "not for a node to say",
    }
    own = shared.on_node(environment, web_dist=tmp_path)
    assert (own.host, own.port, own.roads.osrm_url) == ("0.0.0.0", 8001, "http://osrm:5000")
    assert own.web_dist == str(tmp_path)
    assert (own.record_dir, own.jwt_secret) == ("/records", "s")
    assert shared.on_node({}, web_dist=tmp_path / "missing").web_dist is None


@pytest.mark.parametrize("value", ["auto", "none", "region", "region, gateway,persistence,solver"])
def test_kinds_of_nodes(value: str) -> None:
    assert load_settings(node_kinds=value).node_kinds == value.replace(" ", "")


@pytest.mark.parametrize("value", ["regions", "auto,region", "none,solver"])
def test_unknown_kinds_are_refused_with_a_sentence(value: str) -> None:
    with pytest.raises(SettingsError, match="NODE_KINDS: must be auto, none, or of region, gateway"):
        load_settings(node_kinds=value)


@pytest.mark.parametrize("solver", SOLVERS)
def test_warming_up_makes_a_plan(solver: str) -> None:
    assert solve(tiny(solver, RegionPolicy())).assignments


@pytest.mark.integration
async def test_one_at_a_time_looks_after_a_database(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doorstep.cluster.lease.TRY_FOR_S", 0.0)
    async with only_one(fresh_database_url, "doorstep"):
        with pytest.raises(LeaseTaken):
            async with only_one(fresh_database_url, "doorstep"):
                pass
        async with only_one(fresh_database_url, "another"):
            pass
    async with only_one(fresh_database_url, "doorstep"):
        pass


REFUSED = [
    (["--address", "auto"], "--address needs DATABASE_URL"),
    (["--address", "auto", "--demo"], "--demo is for one machine"),
    (["--detach"], "--detach needs --address"),
]


@pytest.mark.parametrize(("flags", "sentence"), REFUSED)
def test_what_makes_no_sense_is_refused_with_a_sentence(
    flags: list[str], sentence: str, tmp_path: Path
) -> None:
    done = _doorstep("up", *flags, "--data-dir", str(tmp_path))
    assert done.returncode in (1, 2)
    assert done.stderr.startswith(sentence)


def test_restarting_nothing_is_refused_with_a_sentence(tmp_path: Path) -> None:
    for command in (("restart", "all"), ("drain",)):
        done = _doorstep(*command, "--data-dir", str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.startswith(f"No server has run in {tmp_path}")
    assert _doorstep("restart", "solvers").returncode == 2


def _doorstep(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
    }
    return subprocess.run(
        [sys.executable, "-m", "doorstep", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
