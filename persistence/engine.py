"""Connections: one SQLAlchemy engine (asyncpg) per process, with limits on every wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import asyncpg
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import greenlet_spawn

from domain.errors import StoreBusy, StoreUnavailable
from persistence.pool import CONNECT_TIMEOUT_S, IDLE_TIMEOUT_S, LOCK_TIMEOUT_S, POOL_SIZE, STATEMENT_TIMEOUT_S

RETRY_AFTER_S = 1  # what a client is told
# So that the locks of a machine that lost its power are free within half a minute.
KEEPALIVES = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
# Of SQLSTATE: connection exception, insufficient resources, operator intervention (a statement's time limit, too).
LOCK_NOT_AVAILABLE = "55P03"
AWAY_CLASSES = ("08", "53", "57")

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def async_url(database_url: str) -> URL:
    """`postgresql://...` as SQLAlchemy wants it; a Unix socket is named by `?host=/directory`."""
    return make_url(database_url).set(drivername="postgresql+asyncpg")


def create_engine(
    database_url: str,
    *,
    pool_size: int = POOL_SIZE,
    statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    idle_timeout_s: float = IDLE_TIMEOUT_S,
    name: str = "doorstep",
    by_key: bool = False,
) -> AsyncEngine:
    """An engine of at most `pool_size` connections. A wait for one of them ends after `connect_timeout_s`, too, one for
    a row that somebody has locked after `lock_timeout_s`; a transaction that stands idle is ended by the server after
    `idle_timeout_s`. `name`: what the server calls the sessions.

    `by_key`: plan every join as a look-up by index. An append knows the keys of all its rows, and a plan made while a
    table was small would otherwise go on reading the whole table when it has grown.
    """
    engine = create_async_engine(
        async_url(database_url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=connect_timeout_s,
        pool_use_lifo=True,  # the connection used last, whose server process has its plans and pages at hand
        connect_args={
            "timeout": connect_timeout_s,
            "command_timeout": statement_timeout_s + 5,  # the server's own limit comes first
            "server_settings": {
                "application_name": name,
                "statement_timeout": str(round(statement_timeout_s * 1000)),
                "lock_timeout": str(round(lock_timeout_s * 1000)),
                "idle_in_transaction_session_timeout": str(round(idle_timeout_s * 1000)),
                **KEEPALIVES,
                "jit": "off",  # short statements only
                **(
                    {"enable_hashjoin": "off", "enable_mergejoin": "off", "enable_seqscan": "off"}
                    if by_key
                    else {}
                ),
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


@asynccontextmanager
async def driver_connection(engine: AsyncEngine) -> AsyncIterator[Connection]:
    """An asyncpg connection of the engine's pool; each statement commits by itself.

    SQLAlchemy's own connection, which stands between the two for all that is not hot, takes longer than a short
    query itself.
    """
    pooled = await engine.raw_connection()
    connection = pooled.driver_connection
    assert isinstance(connection, asyncpg.Connection)
    try:
        yield connection
    finally:
        if connection.is_closed() or connection.is_in_transaction():
            await greenlet_spawn(pooled.invalidate)
        await greenlet_spawn(pooled.close)


@contextmanager
def reached() -> Iterator[None]:
    """Says of a database that is away, starting or too busy that it is: `StoreUnavailable` in place of what the driver
    raises. A change that was under way may have been made. `StoreBusy` where a row is locked: nothing was done."""
    try:
        yield
    except Exception as error:
        if _is_locked(error):
            raise StoreBusy(retry_after_s=RETRY_AFTER_S) from error
        if not _is_away(error):
            raise
        raise StoreUnavailable(retry_after_s=RETRY_AFTER_S) from error


def _is_locked(error: Exception) -> bool:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) == LOCK_NOT_AVAILABLE


def _is_away(error: Exception) -> bool:
    if isinstance(error, OSError | PoolTimeout):  # asyncpg's own time-outs are of the former
        return True
    cause: BaseException | None = error
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        cause = error.orig
    return str(getattr(cause, "sqlstate", None))[:2] in AWAY_CLASSES


def create_plain_engine(database_url: str) -> AsyncEngine:
    """An engine without pool and time limits, for migrations."""
    return create_async_engine(async_url(database_url), poolclass=NullPool)


def _refuse_closed(dbapi_connection: object, _record: object, _proxy: object) -> None:
    """A connection that the server closed while it lay in the pool is replaced; this costs no round trip."""
    if dbapi_connection.driver_connection.is_closed():  # type: ignore[attr-defined]
        raise DisconnectionError
