"""`doorstep up --record`: what a real server decided is decided again by `doorstep replay`."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from doorstep.embedded.services import Services
from tests.integration.live import LiveServer, Town

pytestmark = [pytest.mark.integration, pytest.mark.cluster]


@pytest.fixture
def recording(embedded_services: Services, fresh_database_url: str) -> Iterator[LiveServer]:
    """A server of this test's own, to be stopped by it, that records into `log` in its folder."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-record-"))
    server = LiveServer(folder, DATABASE_URL=fresh_database_url, REDIS_URL=embedded_services.redis_url)
    try:
        server.start("--record", str(folder / "log"))
        yield server
    finally:
        server.stop()  # does nothing when it was stopped already
        shutil.rmtree(folder, ignore_errors=True)


async def test_a_recorded_order_replays_to_the_same_decisions(recording: LiveServer) -> None:
    town = await Town.found(recording.url)
    driver = await town.driver()
    order_id = await town.order()
    task = await driver.accept(await driver.offer())
    await driver.to_the_door(task)
    assert (await driver.check_id(order_id)).ok
    assert (await driver.deliver(order_id)).ok
    await town.leave()
    assert recording.stop() == 0, recording.log()

    command = [sys.executable, "-m", "doorstep", "replay", str(recording.folder / "log"), "--solve"]
    replay = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert replay.returncode == 0, replay.stdout + replay.stderr
    figures = dict(line.split(None, 1) for line in replay.stdout.splitlines()[:-1])
    assert (figures["lives"], figures["assignments"]) == ("1", "1")
    assert "0 differ" in figures["plans"]
    assert replay.stdout.splitlines()[-1] == "every decision agrees"
