"""Short runs of the load tools: a server of its own each, its gateways, databases and all."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration.live import free_port

RUN_LIMIT_S = 240.0

pytestmark = [pytest.mark.integration, pytest.mark.cluster, pytest.mark.timeout(RUN_LIMIT_S + 30)]


async def _bench(name: str, out: Path, *arguments: str) -> dict[str, Any]:
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doorstep", "bench", name, *arguments),
        *("--port", str(free_port()), "--out", str(out)),
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
    summary: dict[str, Any] = msgspec.json.decode((out / "summary.json").read_bytes())
    assert not summary["figures"]["errors_count"], said
    return summary


async def test_a_small_fleet_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = await _bench("live", out, "--drivers", "30", "--orders-per-min", "240", "--duration", "5")
    figures = summary["figures"]
    assert figures["orders_count"] == figures["accepted_count"] == figures["delivered_count"] == 40, (
        "20 to warm up, 20 that are measured"
    )
    assert figures["lost_count"] == figures["twice_count"] == figures["pings_skipped_count"] == 0
    assert 28 <= figures["pings_per_s"] <= 32
    assert 0.8 <= figures["pings_taken_ratio"] <= 1.3
    for name in ("offer", "accept", "order_create"):
        assert 0 < figures[f"{name}_p50_ms"] <= figures[f"{name}_p99_ms"] < 30_000
    assert 0 < figures["reconnect_p99_s"] <= figures["reconnect_all_s"] < 60
    for name in (
        "bytes_per_driver",
        "cpu_gateway_pct",
        "cpu_region_pct",
        "cpu_generator_pct",
        "rss_postgres_mb",
    ):
        assert figures[name] > 0, name
    assert figures["region_lag_p99_ms"] >= 0
    assert any("goal lost_count <= 0: 0, met" in note for note in summary["notes"])
    windows = msgspec.json.decode((out / "windows.json").read_bytes())["30"]
    assert sum(window["values"]["offer_count"] for window in windows) <= 20


@pytest.mark.slow  # kills and drains of gateways are in tests/integration/cluster as well
async def test_drivers_come_back_to_gateways_that_were_killed_and_drained(tmp_path: Path) -> None:
    summary = await _bench("storm", tmp_path / "out", "--drivers", "30")
    figures = summary["figures"]
    assert figures["lost_count"] == figures["twice_count"] == 0
    assert figures["orders_count"] == figures["delivered_count"] > 20
    for blow in ("kill", "drain"):
        assert 0 < figures[f"{blow}_p50_s"] <= figures[f"{blow}_p99_s"] <= figures[f"{blow}_all_s"] < 60
        assert figures[f"{blow}_on_duty_s"] is not None
