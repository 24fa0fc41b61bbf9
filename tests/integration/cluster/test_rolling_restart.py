"""Restarting every part of a server one after the other in the middle of offers: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from domain import protocol as wire
from tests.integration.crew import Crew
from tests.integration.live import TITLES, LiveServer, Town

pytestmark = [pytest.mark.integration, pytest.mark.cluster, pytest.mark.timeout(180)]

DRIVERS = 5
RESTART_LIMIT_S = 90.0


async def test_a_rolling_restart_in_the_middle_of_offers(server: LiveServer, town: Town) -> None:
    crew = await Crew.at_work(town, DRIVERS, reconnect=True)
    before = {part: server.pid(part) for part in TITLES}

    restart = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doorstep", "restart", "all", "--data-dir", str(server.folder)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while restart.returncode is None:  # orders keep coming, whatever is down at the moment
        await crew.order()
        done, _ = await asyncio.wait([asyncio.ensure_future(restart.wait())], timeout=1.0)
        if done:
            break
    _, told = await asyncio.wait_for(restart.communicate(), RESTART_LIMIT_S)
    assert restart.returncode == 0, told.decode()
    assert told.decode().count("serves again") == len(TITLES)
    for part, pid in before.items():
        assert server.pid(part) not in (pid, None)

    await crew.delivered(60)
    await crew.assert_nothing_lost_or_twice()
    assert {code for phone in crew.phones for code in phone.closes} == {wire.CLOSE_RESTARTING}
