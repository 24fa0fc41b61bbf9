"""Restarting every part of a server one after the other in the middle of offers: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from domain import protocol as wire
from tests.integration.live import TITLES, LiveServer, Town, until
from tests.integration.test_kill import _drive, _some_assigned

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

DRIVERS = 5
RESTART_LIMIT_S = 90.0


async def test_a_rolling_restart_in_the_middle_of_offers(server: LiveServer, town: Town) -> None:
    phones = [await town.driver(reconnect=True, away=0.005 * i) for i in range(1, DRIVERS + 1)]
    order_ids = {await town.order() for _ in range(DRIVERS)}
    waiting = set(order_ids)
    drives = [asyncio.create_task(_drive(town, phone, waiting)) for phone in phones]
    await until(_some_assigned(town, order_ids))
    before = {part: server.pid(part) for part in TITLES}

    restart = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doorstep", "restart", "all", "--data-dir", str(server.folder)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while restart.returncode is None:  # orders keep coming, whatever is down at the moment
        order_id = await town.order()
        order_ids.add(order_id)
        waiting.add(order_id)
        done, _ = await asyncio.wait([asyncio.ensure_future(restart.wait())], timeout=1.0)
        if done:
            break
    _, told = await asyncio.wait_for(restart.communicate(), RESTART_LIMIT_S)
    assert restart.returncode == 0, told.decode()
    assert told.decode().count("serves again") == len(TITLES)
    for part, pid in before.items():
        assert server.pid(part) not in (pid, None)

    async def all_delivered() -> bool:
        for drive in drives:
            if drive.done():
                drive.result()  # a driver never stops by itself, so this raises
        return not waiting

    try:
        await until(all_delivered, 60)
    finally:
        for drive in drives:
            drive.cancel()
    accepted = [
        task.order_id
        for phone in phones
        for frame in phone.frames
        if isinstance(frame, wire.OfferAccepted)
        for task in frame.tasks
    ]
    assert sorted(set(accepted)) == sorted(order_ids)
    for order_id in order_ids:
        types = await town.dossier_types(order_id)
        assert types.count("TASK_ASSIGNED") == types.count("DELIVERED") == 1
    assert {code for phone in phones for code in phone.closes} == {wire.CLOSE_RESTARTING}
