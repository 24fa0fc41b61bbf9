"""Two markets on one server, one of them frozen: no call to it fails, and none returns. The other notices nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from sim.demo.api import Account
from tests.integration.live import STORE_LAT, STORE_LNG, LiveServer, Town, until

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

HELD_UP_S = 2.0  # by what is not one's own, at most
MARKETS = {"tx-dfw": (STORE_LAT, STORE_LNG), "tx-hou": (29.7604, -95.3698)}
ROUNDS = 3


async def answers(town: Town, operator: Account) -> bool:
    """Whether the town's market tells its figures at once."""
    try:
        async with asyncio.timeout(1.5):
            return (await town.api.request("GET", f"/v1/regions/{town.region_id}/stats", account=operator)).ok
    except TimeoutError:
        return False


async def round_of(town: Town) -> float:
    """One order from the basket to the closing; returns the seconds from the merchant's word to the closed order."""
    driver = town.phones[0]
    order_id = await town.order()
    began_s = time.monotonic()
    task = await driver.accept(await driver.offer())
    await driver.to_the_door(task)
    assert (await driver.check_id(order_id)).ok
    assert (await driver.deliver(order_id)).ok

    async def closed() -> bool:
        return bool((await town.get(f"/v1/orders/{order_id}", town.customer))["status"] == "CLOSED")

    await until(closed, 30)
    town.orders.remove(order_id)
    return time.monotonic() - began_s


async def test_a_frozen_market_holds_up_no_other(fresh_database_url: str, redis_url: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="doorstep-live-"))
    live = LiveServer(
        folder,
        DATABASE_URL=fresh_database_url,
        REDIS_URL=redis_url,
        REGIONS=",".join(MARKETS),
        SILENT_S="60",  # nobody replaces it meanwhile
    )
    try:
        await asyncio.to_thread(live.start)
        towns = [await Town.found(live.url, name, *place) for name, place in MARKETS.items()]
        operator = await live.operator(towns[0].api)
        for town in towns:
            await town.driver()
            await round_of(town)  # all of it is warm
        pid = min(live.pids("region"))
        os.kill(pid, signal.SIGSTOP)
        try:
            there = [await answers(town, operator) for town in towns]
            assert sorted(there) == [False, True]
            lively, frozen = towns if there[0] else reversed(towns)
            late = await frozen.order()  # its rows take it, and its region cannot be told
            took_s = [await round_of(lively) for _ in range(ROUNDS)]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        assert max(took_s) < HELD_UP_S, took_s
        # The market that was frozen, or replaced meanwhile, goes on where it was.
        driver = frozen.phones[0]
        task = await driver.accept(await driver.offer(60))
        assert task.order_id == late
    finally:
        assert await asyncio.to_thread(live.stop) == 0
        shutil.rmtree(folder, ignore_errors=True)
