"""The demo against a fast server, with every actor killed once in the middle of it."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from doorstep.embedded.services import Services
from sim.bot.personas import DriverShares
from sim.demo.run import DemoOptions, run_demo
from tests.conftest import temporary
from tests.integration.live import LiveServer, until

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

SPEED = "30"
DRIVERS = 40


@pytest.fixture(scope="module")
def fast_server(embedded_services: Services) -> Iterator[LiveServer]:
    folder = Path(tempfile.mkdtemp(prefix="doorstep-demo-"))
    with temporary(embedded_services) as database_url:
        live = LiveServer(folder, DATABASE_URL=database_url, REDIS_URL=embedded_services.redis_url)
        try:
            live.start("--speed", SPEED)
            yield live
            assert live.stop() == 0, live.log()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


async def test_the_demo_survives_every_kill(fast_server: LiveServer) -> None:
    lines: list[str] = []
    stop = asyncio.Event()
    options = DemoOptions(
        server=fast_server.url,
        drivers=DRIVERS,
        orders_per_min=1.5,
        driver_shares=DriverShares(tunnel_drivers=0.0),  # every socket that breaks is the gateway's
    )
    await fast_server.employ_operator()
    demo = asyncio.create_task(run_demo(options, lines.append, stop))

    def figure(after: str, before: str) -> int:
        """The number between these words in the newest progress line."""
        found = re.findall(f"{after}(\\d+){before}", "\n".join(lines))
        return int(found[-1]) if found else 0

    async def reached(after: str, before: str, least: int) -> bool:
        assert not demo.done(), lines[-3:]
        return figure(after, before) >= least

    for part in ("region", "persistence", "gateway"):
        more = figure("", " delivered") + 1
        await until(partial(reached, "", " delivered", more), 90)
        fast_server.kill(part)
    await until(partial(reached, "reconnects ", "", DRIVERS), 60)
    more = figure("", " delivered") + 1
    await until(partial(reached, "", " delivered", more), 60)
    stop.set()
    summary = await demo
    assert summary.dossiers_broken == 0
    assert summary.counts_agree
    assert summary.lost_frames == 0
    assert summary.delivered > 0
    assert summary.dossiers_verified >= summary.delivered
    assert DRIVERS <= summary.reconnects <= DRIVERS + 5  # the gateway's sockets were lost, and no others
