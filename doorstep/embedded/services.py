"""A real Postgres and a real Redis out of `data_dir`, from wheels: nothing to install, nothing left behind.

Both are plain child processes on the loopback interface, each with a free port and a generated password. They sit
in sessions of their own, so that Ctrl-C at the terminal reaches the server first and the databases are stopped
last. A run that was killed leaves them alive: the next start finds and stops them before it starts its own.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from doorstep.data_folder import AlreadyRunning, FolderLock, close_folder, write_private
from doorstep.embedded.account import EmbeddedError
from doorstep.embedded.servers import PostgresServer, RedisServer

__all__ = [
    "AlreadyRunning",
    "Embedded",
    "EmbeddedError",
    "Services",
    "running_services",
    "temporary_database",
]


class Services(NamedTuple):
    """Where the running pair answers. The URLs hold passwords: they belong in no log."""

    database_url: str  # as the server's role, which `persistence.migrate` makes
    redis_url: str
    database_owner_url: str


class Embedded:
    """The pair of servers of one data folder; also a context manager.

    One process at a time: `start` raises `AlreadyRunning` for the second. `stop` may be called twice, and runs at
    interpreter exit if nobody called it.
    """

    def __init__(self, data_dir: Path | str, *, start_timeout_s: float = 60.0, strict: bool = False) -> None:
        """`start_timeout_s` is the wait for each server; a Postgres that recovers from a crash needs some of it.
        `strict`: a folder that others can look into is refused instead of closed."""
        self.data_dir, self._strict = Path(data_dir).absolute(), strict
        self._timeout_s = start_timeout_s
        self._lock, self._held = FolderLock(self.data_dir), False
        self._owner_pid = os.getpid()
        self.postgres = PostgresServer(self.data_dir)
        self.redis = RedisServer(self.data_dir)

    @property
    def services(self) -> Services:
        """The URLs; they stay the same from `start` to `stop`."""
        return Services(self.postgres.url, self.redis.url, self.postgres.owner_url)

    @property
    def database_url(self) -> str:
        """`postgresql://doorstep_server:…@127.0.0.1:port/doorstep`, as asyncpg takes it."""
        return self.postgres.url

    @property
    def database_owner_url(self) -> str:
        """The same as the role that owns the cluster and the tables, for migrations."""
        return self.postgres.owner_url

    @property
    def redis_url(self) -> str:
        """`redis://:…@127.0.0.1:port/0`."""
        return self.redis.url

    def start(self) -> Services:
        """Start both and wait until they answer. The first start in a folder also creates the database.

        Raises `AlreadyRunning`, or `EmbeddedError` with the end of the log of the server that would not start.
        """
        close_folder(self.data_dir, strict=self._strict)
        self._lock.take()
        self._owner_pid, self._held = os.getpid(), True
        try:
            self.postgres.start(self._timeout_s)
            self.redis.start(self._timeout_s)
            self._announce()
        except BaseException:
            self.stop()
            raise
        atexit.register(self.stop)
        return self.services

    async def start_or_stop(self) -> Services:
        """`start` for an event loop; cancelled on the way, it stops what has been started and then ends."""
        starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            for server in (self.postgres, self.redis):
                server.give_up()
            await asyncio.wait((starting,))
            if starting.exception() is None:
                await asyncio.to_thread(self.stop)
            raise

    def ensure_running(self) -> list[str]:
        """Start again, at the same address, whichever server has died, and keep their logs small; returns the names of
        those that had died.

        Raises `EmbeddedError` when one will not come back.
        """
        back = []
        for server in (self.postgres, self.redis):
            server.bound_log()
            if not server.alive():
                server.start(self._timeout_s)
                back.append(server.name)
        return back

    def stop(self) -> None:
        """Stop both cleanly and give the folder free. Takes a second; up to 30 s before a server is killed."""
        if os.getpid() != self._owner_pid:  # a forked child inherits the exit hook, not the servers
            return
        self.redis.stop()
        self.postgres.stop()
        if self._held:
            with suppress(FileNotFoundError):
                _services_file(self.data_dir).unlink()
            self._lock.release()
            self._held = False
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _announce(self) -> None:
        write_private(_services_file(self.data_dir), json.dumps(self.services._asdict()))


def running_services(data_dir: Path | str) -> Services | None:
    """The services that another process runs in this folder, for commands beside a running server; else None."""
    folder = Path(data_dir).absolute()
    if FolderLock(folder).held_by_another():  # else a services file would be a leftover
        with suppress(FileNotFoundError, ValueError):
            return Services(**json.loads(_services_file(folder).read_text()))
    return None


@asynccontextmanager
async def temporary_database(
    database_url: str, *, prefix: str = "doorstep_test", template: str = "template1"
) -> AsyncIterator[str]:
    """A copy of the database `template`, an empty one if not said otherwise, beside the one of `database_url`; dropped
    at the end even with connections left open.

    Yields its URL. The role needs CREATEDB, so it is the owner's. Raises asyncpg's errors when the server cannot be
    reached, or somebody is connected to the template.
    """
    name = f"{prefix}_{secrets.token_hex(6)}"
    await _execute(database_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))
    finally:
        await _execute(database_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _services_file(data_dir: Path) -> Path:
    return data_dir / "services.json"
