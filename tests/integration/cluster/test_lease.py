"""One server looks after a database, also when the database was away for a while."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from doorstep.cluster.lease import LeaseTaken, only_one
from doorstep.embedded.services import Embedded
from tests.integration.live import LiveServer
from tests.integration.live import until as eventually

pytestmark = pytest.mark.integration

_LOCK = "$1, hashtext($2)", 0x646F6F73, "doorstep"
_HOLDER = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 1685024627
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'doorstep up' AND datname = current_database()"
)


@pytest.fixture
def own() -> Iterator[Embedded]:
    """A Postgres that may be killed."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-test-"))
    try:
        with Embedded(folder) as embedded:
            yield embedded
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def rival(fresh_database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(fresh_database_url)
    yield connection
    await connection.close()


async def wait_in_line(rival: asyncpg.Connection[asyncpg.Record]) -> asyncio.Task[None]:
    """Stand in line for the lock: Postgres gives it to who waits in the moment in which it is free."""
    statement, *arguments = _LOCK
    waiting = asyncio.ensure_future(rival.execute(f"SELECT pg_advisory_lock({statement})", *arguments))
    await asyncio.sleep(0)
    return waiting  # type: ignore[return-value]


async def test_after_a_restart_of_postgres_it_is_held_again(
    own: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doorstep.cluster.lease.TRY_FOR_S", 0.5)
    lost = list[bool]()
    url = own.database_owner_url
    async with only_one(url, "doorstep", lambda: lost.append(True)):
        assert own.postgres.pid is not None
        os.kill(own.postgres.pid, signal.SIGKILL)

        async def dead() -> bool:
            return not own.postgres.alive()

        await eventually(dead)
        await asyncio.to_thread(own.ensure_running)

        async def held() -> bool:
            connection = await asyncpg.connect(url)
            try:
                return bool(await connection.fetchval(_HOLDER))
            finally:
                await connection.close()

        await eventually(held, deadline_s=5)
        with pytest.raises(LeaseTaken):
            async with only_one(url, "doorstep"):
                pass
    assert lost == []
    async with only_one(url, "doorstep"):  # given back at the end
        pass


async def test_a_session_that_ends_is_followed_by_another(
    fresh_database_url: str, rival: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doorstep.cluster.lease.TRY_FOR_S", 0.2)
    async with only_one(fresh_database_url, "doorstep"):
        for _ in range(3):
            before = await rival.fetchval(_HOLDER)
            assert len(await rival.fetch(_END)) == 1

            async def followed(before: int = before) -> bool:
                return await rival.fetchval(_HOLDER) not in (None, before)

            await eventually(followed, deadline_s=5)
            with pytest.raises(LeaseTaken):
                async with only_one(fresh_database_url, "doorstep"):
                    pass


async def test_who_lost_it_to_another_is_told_once(
    fresh_database_url: str, rival: asyncpg.Connection[asyncpg.Record]
) -> None:
    killer = await asyncpg.connect(fresh_database_url)
    lost = asyncio.Event()
    async with only_one(fresh_database_url, "doorstep", lost.set):
        waiting = await wait_in_line(rival)

        async def in_line() -> bool:
            return bool(await killer.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await eventually(in_line)
        await killer.execute(_END)
        async with asyncio.timeout(5):
            await waiting
            await lost.wait()
    await killer.close()


@pytest.mark.cluster
def test_a_server_that_lost_its_database_to_another_ends_with_one_line(
    fresh_database_url: str, redis_url: str
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="doorstep-live-"))
    live = LiveServer(folder, DATABASE_URL=fresh_database_url, REDIS_URL=redis_url)
    try:
        live.start()

        async def take_it() -> None:
            rival, killer = [await asyncpg.connect(fresh_database_url) for _ in range(2)]
            waiting = await wait_in_line(rival)

            async def in_line() -> bool:
                return bool(await killer.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

            await eventually(in_line)
            named = "SELECT count(*) FROM leases WHERE holder ~ '^[0-9a-f]{32}/persistence:0/[0-9a-f]{32}$'"
            assert await killer.fetchval(named) >= 3  # of this process of this server alone
            await killer.execute(_END)
            await waiting
            assert await asyncio.to_thread(live.ended) == 1
            await rival.close()
            await killer.close()

        asyncio.run(take_it())
        assert live.log().count("another `doorstep up` looks after a server on it by now") == 1
        assert "Traceback" not in live.log()
    finally:
        live.stop()  # if it runs still
        shutil.rmtree(folder, ignore_errors=True)
