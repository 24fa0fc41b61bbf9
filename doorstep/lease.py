"""One bootstrapper for one database: whoever starts the actors holds a lock of Postgres' as long as it looks after
them, so that neither two commands nor two Ray clusters bring up twins. Fencing (ADR 0002) is what makes twins harmless;
this makes them rare."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

_KEY = 0x646F6F73  # "doos", beside the one of migrations
TRY_FOR_S = 5.0  # the session of one that was killed is gone by then
TRY_EVERY_S = 0.2
# So that the lock of a machine that lost its power is free within half a minute.
_SESSION = {
    "application_name": "doorstep up",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class LeaseTaken(Exception):
    """Another process looks after the server of this database."""


@asynccontextmanager
async def only_one(database_url: str, namespace: str) -> AsyncIterator[None]:
    """Hold the lock for the time of the context. `LeaseTaken` when another process does, asyncpg's errors and `OSError`
    when the database cannot be reached. A restart of Postgres ends the lock and not the context."""
    connection = await asyncpg.connect(database_url, server_settings=_SESSION)
    try:
        end_s = asyncio.get_running_loop().time() + TRY_FOR_S
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1, hashtext($2))", _KEY, namespace):
            if asyncio.get_running_loop().time() > end_s:
                raise LeaseTaken(namespace)
            await asyncio.sleep(TRY_EVERY_S)
        yield
    finally:
        with suppress(Exception):
            await connection.close(timeout=TRY_FOR_S)
