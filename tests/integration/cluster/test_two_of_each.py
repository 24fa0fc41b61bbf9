"""A server with two persistence actors and two markets. One of a kind is killed or frozen, and nothing is lost, done
twice, or held up that is not its own; and what the server recorded meanwhile is decided again by `doorstep replay`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from redis.asyncio import Redis

from actors.config import persistence_of
from doorstep.embedded.services import Services
from integrations.event_bus.redis_streams import STREAM_PREFIX
from sim.demo.api import Account
from tests.conftest import temporary
from tests.integration.live import STORE_LAT, STORE_LNG, LiveServer, Town, until

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

ORDERS = 24
EVENTS = ["ORDER_CREATED", "AGE_CHECK_PASSED", "PAYMENT_AUTHORIZED", "MERCHANT_ACCEPTED"]
HELD_UP_S = 2.0  # by what is not one's own, at most
MARKETS = {"tx-dfw": (STORE_LAT, STORE_LNG), "tx-hou": (29.7604, -95.3698)}
ROUNDS = 3


@pytest.fixture(scope="module")
def pair(embedded_services: Services, template: str) -> Iterator[tuple[LiveServer, str]]:
    """A server with two persistence actors and two markets that records, and its database."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-pair-"))
    with temporary(embedded_services, template) as database_url:
        live = LiveServer(
            folder,
            DATABASE_URL=database_url,
            REDIS_URL=embedded_services.redis_url,
            PERSISTENCE_ACTORS="2",
            OUTBOX_LEASE_S="1",
            REGIONS=",".join(MARKETS),
            SILENT_S="60",  # nobody replaces what is frozen
        )
        try:
            live.start("--record", str(folder / "log"))
            yield live, database_url
            assert live.stop() == 0, live.log()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def town(pair: tuple[LiveServer, str]) -> AsyncIterator[Town]:
    town = await Town.found(pair[0].url)
    yield town
    await town.leave()


async def test_a_killed_one_of_two_loses_nothing(
    pair: tuple[LiveServer, str], town: Town, redis_url: str
) -> None:
    server, database_url = pair
    placing: list[asyncio.Task[str]] = []
    for half in range(2):
        before = server.pids("persistence")
        assert len(before) == 2
        placing += [asyncio.create_task(town.order()) for _ in range(ORDERS // 2)]
        await asyncio.wait(placing[half * ORDERS // 2 :], return_when=asyncio.FIRST_COMPLETED)
        victim = sorted(before)[half]
        os.kill(victim, signal.SIGKILL)

        async def both_again(dead: int = victim) -> bool:
            now = server.pids("persistence")
            return len(now) == 2 and dead not in now

        await until(both_again, 30)
    order_ids = await asyncio.gather(*placing)
    assert {persistence_of(order_id, 2) for order_id in order_ids} == {"persistence:0", "persistence:1"}
    for order_id in order_ids:
        assert (await town.dossier_types(order_id))[: len(EVENTS)] == EVENTS
    sql = await asyncpg.connect(database_url)
    try:
        # Both have had leases, and whoever has them now hands everything on.
        async def all_told() -> bool:
            waiting = "SELECT count(*) FROM outbox WHERE done_at IS NULL AND channel <> 'payments'"
            return bool(await sql.fetchval(waiting) == 0)

        await until(all_told, 30)
        twice = "SELECT aggregate_id FROM outbox WHERE channel = 'tasks' GROUP BY aggregate_id HAVING count(*) > 1"
        assert await sql.fetch(twice) == []
    finally:
        await sql.close()
    published = await told(redis_url)
    for order_id in order_ids:
        assert published[order_id][: len(EVENTS)] == list(range(1, len(EVENTS) + 1))


async def told(redis_url: str) -> dict[str, list[int]]:
    """The dossier events that went out, by order, each at its first time."""
    redis = Redis.from_url(redis_url)
    seqs: dict[str, list[int]] = defaultdict(list)
    try:
        entries: Any = await redis.xrange(f"{STREAM_PREFIX}tx-dfw")
        for _, fields in entries:
            payload = msgspec.json.decode(fields[b"payload"])
            if "seq" not in payload:
                continue  # of a store, say, which has no dossier
            if payload["seq"] not in seqs[payload["order_id"]]:
                seqs[payload["order_id"]].append(payload["seq"])
    finally:
        await redis.aclose()
    return seqs


# -- two markets ------------------------------------------------------------------------------------------------------


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


async def test_a_frozen_market_holds_up_no_other(pair: tuple[LiveServer, str]) -> None:
    """No call to it fails, and none returns. The other notices nothing."""
    server, _ = pair
    towns = [await Town.found(server.url, name, *place) for name, place in MARKETS.items()]
    operator = await server.operator(towns[0].api)
    for town in towns:
        await town.driver()
        await round_of(town)  # all of it is warm
    pid = min(server.pids("region"))
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
    # The market that was frozen goes on where it was.
    driver = frozen.phones[0]
    task = await driver.accept(await driver.offer(60))
    assert task.order_id == late
    for town in towns:
        await town.leave()


# -- what was recorded ------------------------------------------------------------------------------------------------


# Slow: once in three whole runs its log held no assignment, and why is not known. Its server's words are shown then.
@pytest.mark.slow
async def test_what_was_recorded_replays_to_the_same_decisions(pair: tuple[LiveServer, str]) -> None:
    """Last in this module: it ends the server."""
    server, _ = pair
    assert await asyncio.to_thread(server.stop) == 0, server.log()
    for market in MARKETS:
        line = [sys.executable, "-m", "doorstep", "replay", str(server.folder / "log" / market), "--solve"]
        replay = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, timeout=60)
        assert replay.returncode == 0, replay.stdout + replay.stderr
        figures = dict(line.split(None, 1) for line in replay.stdout.splitlines()[:-1])
        assert figures["lives"] == "1"
        # One when it was warm, and what came after the frost.
        assert int(figures["assignments"]) > 1, f"{market}: {replay.stdout}\n{server.log()}"
        assert "0 differ" in figures["plans"]
        assert replay.stdout.splitlines()[-1] == "every decision agrees"
