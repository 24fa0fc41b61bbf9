"""Two persistence actors, of which one and then the other is killed under load: nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
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
from tests.conftest import temporary
from tests.integration.live import LiveServer, Town, until

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

ORDERS = 24
EVENTS = ["ORDER_CREATED", "AGE_CHECK_PASSED", "PAYMENT_AUTHORIZED", "MERCHANT_ACCEPTED"]


@pytest.fixture(scope="module")
def pair(embedded_services: Services, template: str) -> Iterator[tuple[LiveServer, str]]:
    """A server with two persistence actors, and its database."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-pair-"))
    with temporary(embedded_services, template) as database_url:
        live = LiveServer(
            folder,
            DATABASE_URL=database_url,
            REDIS_URL=embedded_services.redis_url,
            PERSISTENCE_ACTORS="2",
            OUTBOX_LEASE_S="1",
        )
        try:
            live.start()
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
            if payload["seq"] not in seqs[payload["order_id"]]:
                seqs[payload["order_id"]].append(payload["seq"])
    finally:
        await redis.aclose()
    return seqs
