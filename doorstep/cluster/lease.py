"""One bootstrapper for one database: whoever starts the actors holds a lock of Postgres' as long as it looks after
them, so that neither two commands nor two Ray clusters bring up twins. Fencing (ADR 0002) is what makes twins harmless;
this makes them rare."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import asyncpg

_KEY = 0x646F6F73  # "doos", beside the one of migrations
TRY_FOR_S = 5.0  # the session of one that was killed is gone by then
TRY_EVERY_S = 0.2
LOOK_EVERY_S = 1.0  # whether the lock is still held
ANSWER_S = 5.0  # after which a look came to nothing
# So that the lock of a machine that lost its power is free within half a minute.
_SESSION = {
    "application_name": "doorstep up",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_TAKE = "SELECT pg_try_advisory_lock($1, hashtext($2))"
_OWN = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_HOLDER = """
SELECT a.pid, a.backend_start FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid::bigint = $1
  AND l.objid::bigint = hashtext($2)::bigint & 4294967295
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class LeaseTaken(Exception):
    """Another process looks after the server of this database."""


@asynccontextmanager
async def only_one(
    database_url: str, namespace: str, lost: Callable[[], None] = lambda: None
) -> AsyncIterator[None]:
    """Hold the lock for the time of the context. `LeaseTaken` when another process does, asyncpg's errors and `OSError`
    when the database cannot be reached.

    A restart of Postgres ends the lock. It is taken again as soon as the database is back; `lost` is called, once, when
    somebody else was sooner."""
    lock = _Lock(database_url, namespace)
    try:
        await lock.take()
        keeping = asyncio.ensure_future(lock.keep(lost))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
    finally:
        await lock.close()


class _Lock:
    """The lock, and the session that holds it."""

    def __init__(self, database_url: str, namespace: str) -> None:
        self._url, self._namespace = database_url, namespace
        self._connection: _Connection | None = None
        self._session: Any = None  # that has the lock
        self._ended = asyncio.Event()  # the connection did

    async def take(self) -> None:
        """`LeaseTaken` when another holds it for `TRY_FOR_S`."""
        self._connection = await asyncpg.connect(self._url, server_settings=_SESSION)
        end_s = asyncio.get_running_loop().time() + TRY_FOR_S
        while not await self._connection.fetchval(_TAKE, _KEY, self._namespace):
            if asyncio.get_running_loop().time() > end_s:
                raise LeaseTaken(self._namespace)
            await asyncio.sleep(TRY_EVERY_S)
        await self._taken(self._connection)

    async def _taken(self, connection: _Connection) -> None:
        self._session = await connection.fetchrow(_OWN)
        self._connection, self._ended = connection, asyncio.Event()
        connection.add_termination_listener(self._terminated)

    def _terminated(self, connection: Any) -> None:
        if connection is self._connection:
            self._ended.set()

    async def keep(self, lost: Callable[[], None]) -> None:
        """Look after it for ever, or until another has it."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._ended.wait()
            while not await self._holds():
                try:
                    async with asyncio.timeout(ANSWER_S):
                        again = await self._again()
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    again = True  # nobody can have it while the database is away
                if not again:
                    lost()
                    return
                await asyncio.sleep(TRY_EVERY_S)

    async def _holds(self) -> bool:
        """Whether its session answers. One that does not may still have it."""
        assert self._connection is not None
        try:
            await self._connection.fetchval("SELECT 1", timeout=ANSWER_S)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def _again(self) -> bool:
        """Take it in another session unless the former one has it still; False when somebody else does."""
        connection = await asyncpg.connect(self._url, server_settings=_SESSION, timeout=ANSWER_S)
        try:
            if not await connection.fetchval(_TAKE, _KEY, self._namespace):
                holder = await connection.fetchrow(_HOLDER, _KEY, self._namespace)
                return holder is None or holder == self._session
            former = self._connection
            await self._taken(connection)
            if former is not None:
                former.terminate()
            return True
        finally:
            if connection is not self._connection:
                connection.terminate()

    async def close(self) -> None:
        """Give it back."""
        if self._connection is not None:
            with suppress(Exception):
                await self._connection.close(timeout=TRY_FOR_S)
