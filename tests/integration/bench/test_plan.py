"""A short run of the plan benchmark: a server of its own, its actors, databases and all."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest

from tests.integration.live import free_port

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

RUN_LIMIT_S = 240.0


async def test_a_small_market_is_filled_and_measured(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doorstep", "bench", "plan", "--drivers", "50", "--tasks", "20"),
        *("--rate", "5", "--duration", "3", "--port", str(free_port()), "--out", str(out)),
        env=os.environ | {"DASHBOARD_PORT": str(free_port())},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RUN_LIMIT_S):
            said = (await run.communicate())[0].decode()
    finally:
        if run.returncode is None:
            run.terminate()
            await run.wait()
    assert run.returncode == 0, said
    figures = msgspec.json.decode((out / "summary.json").read_bytes())["figures"]
    assert figures["drivers_count"] == 50
    assert figures["open_tasks_count"] >= 20
    assert figures["open_tasks_end_count"] == 35
    assert figures["planned_count"] == 15, "every order of the measured time"
    assert figures["errors_count"] == figures["offers_count"] == 0
    assert figures["solves_count"] > 0
    # An order waits for the window to close (0.2 s) unless it came in late, and the plan takes its time.
    assert 0 < figures["task_to_plan_p50_ms"] <= figures["task_to_plan_p99_ms"] < 30_000
    for name in ("solve_p50_ms", "solve_p99_ms", "ping_to_step_p50_ms", "ping_to_step_p99_ms"):
        assert figures[name] > 0
    assert {"region_lag_p50_ms", "region_lag_p99_ms", "region_cpu_pct"} <= figures.keys()
