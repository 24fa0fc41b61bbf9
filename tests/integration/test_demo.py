"""The demo against a fast server, with every actor killed once in the middle of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from doorstep.embedded import Services
from sim.demo import DemoOptions, run_demo
from tests.conftest import temporary
from tests.integration.live import LiveServer, until

pytestmark = pytest.mark.integration

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
    options = DemoOptions(server=fast_server.url, drivers=DRIVERS, prefix="kill", orders_per_min=1.5)
    demo = asyncio.create_task(run_demo(options, lines.append, stop))

    def delivered() -> int:
        numbers = [line.split(" delivered")[0].rsplit(" ", 1)[1] for line in lines if " delivered" in line]
        return int(numbers[-1]) if numbers else 0

    async def more_than(count: int) -> bool:
        assert not demo.done(), lines[-3:]
        return delivered() > count

    for part in ("region", "persistence", "gateway"):
        before = delivered()
        await until(lambda floor=before: more_than(floor), 90)  # type: ignore[misc]
        fast_server.kill(part)
    before = delivered()
    await until(lambda: more_than(before), 60)
    stop.set()
    summary = await demo
    assert summary.dossiers_broken == 0
    assert summary.counts_agree
    assert summary.lost_frames == 0
    assert summary.delivered > 0
    assert summary.dossiers_verified >= summary.delivered
    assert summary.reconnects >= DRIVERS - 5  # the gateway's sockets, and nobody else's, were lost
    assert summary.reconnects <= DRIVERS + 5
