"""What a server writes beside its data has a bound: logs of the databases, and what earlier runs of Ray left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from doorstep.data_folder import SESSIONS_KEPT, forget_sessions
from doorstep.embedded import servers
from doorstep.embedded.servers import RedisServer


def test_a_log_is_put_aside_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_LOG_LIMIT_BYTES", 1_000)
    server = RedisServer(tmp_path)
    server.bound_log()  # there is none yet
    aside = tmp_path / "redis.log.1"
    with open(server.log, "ab", buffering=0) as writer:  # as a server has it
        for line in range(500):
            writer.write(b"%04d " % line + b"x" * 45)
            server.bound_log()
            assert server.log.stat().st_size <= 1_000
    assert aside.stat().st_size <= 1_050
    assert aside.stat().st_mode & 0o077 == 0
    kept = aside.read_bytes() + server.log.read_bytes()
    assert kept.endswith(b"0499 " + b"x" * 45)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["redis.log", "redis.log.1"]


def test_what_earlier_runs_of_ray_left_goes_but_for_the_newest(tmp_path: Path) -> None:
    assert forget_sessions(tmp_path / "nothing") == 0
    names = [f"session_2026-11-{day:02d}_10-00-00_000000_{day}" for day in range(1, 10)]
    for name in names:
        (tmp_path / name / "logs").mkdir(parents=True)
        (tmp_path / name / "logs" / "raylet.out").write_text("x")
    (tmp_path / "prom_metrics_service_discovery.json").write_text("[]")
    os.symlink(tmp_path / names[-1], tmp_path / "session_latest")
    assert forget_sessions(tmp_path) == len(names) - SESSIONS_KEPT
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*names[-SESSIONS_KEPT:], "session_latest", "prom_metrics_service_discovery.json"}
    assert forget_sessions(tmp_path) == 0
