"""A real Postgres and a real Redis out of `data_dir`, from wheels: nothing to install, nothing left behind.

Both are plain child processes on the loopback interface, each with a free port and a generated password. They sit
in sessions of their own, so that Ctrl-C at the terminal reaches the server first and the databases are stopped
last. A run that was killed leaves them alive: the next start finds and stops them before it starts its own.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from doorstep.embedded_account import EmbeddedError
from doorstep.embedded_servers import PostgresServer, RedisServer

__all__ = [
    "AlreadyRunning",
    "Embedded",
    "EmbeddedError",
    "Services",
    "running_services",
    "temporary_database",
]


class AlreadyRunning(EmbeddedError):
    """Another process uses this data folder; `pid` is its process id, or None while it is still starting."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        who = f"pid {pid}" if pid is not None else "still starting"
        super().__init__(
            f"Doorstep is already running in {data_dir} ({who}). "
            "Stop that one first, or set DATA_DIR to another folder."
        )
        self.pid = pid


class Services(NamedTuple):
    """Where the running pair answers. The URLs hold passwords: they belong in no log."""

    database_url: str
    redis_url: str


class Embedded:
    """The pair of servers of one data folder; also a context manager.

    One process at a time: `start` raises `AlreadyRunning` for the second. `stop` may be called twice, and runs at
    interpreter exit if nobody called it.
    """

    def __init__(self, data_dir: Path | str, *, start_timeout_s: float = 60.0) -> None:
        """`start_timeout_s` is the wait for each server; a Postgres that recovers from a crash needs some of it."""
        self.data_dir = Path(data_dir).absolute()
        self._timeout_s = start_timeout_s
        self._lock: IO[str] | None = None
        self._owner_pid = os.getpid()
        self.postgres = PostgresServer(self.data_dir)
        self.redis = RedisServer(self.data_dir)

    @property
    def services(self) -> Services:
        """The URLs; they stay the same from `start` to `stop`."""
        return Services(self.postgres.url, self.redis.url)

    @property
    def database_url(self) -> str:
        """`postgresql://doorstep:…@127.0.0.1:port/doorstep`, as asyncpg takes it."""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """`redis://:…@127.0.0.1:port/0`."""
        return self.redis.url

    def start(self) -> Services:
        """Start both and wait until they answer. The first start in a folder also creates the database.

        Raises `AlreadyRunning`, or `EmbeddedError` with the end of the log of the server that would not start.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self.postgres.start(self._timeout_s)
            self.redis.start(self._timeout_s)
            self._announce()
        except BaseException:
            self.stop()
            raise
        atexit.register(self.stop)
        return self.services

    def ensure_running(self) -> list[str]:
        """Start again, at the same address, whichever server has died; returns the names of those.

        Raises `EmbeddedError` when one will not come back.
        """
        back = []
        for server in (self.postgres, self.redis):
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
        if self._lock is not None:
            with suppress(FileNotFoundError):
                _services_file(self.data_dir).unlink()
            self._lock.truncate(0)
            self._lock.close()  # which lets go of the lock
            self._lock = None
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _take_lock(self) -> None:
        # Opened for appending: a refused second start must not wipe the pid of the first.
        lock = open(self.data_dir / "lock", "a+", encoding="ascii")  # noqa: SIM115 - held until stop
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise AlreadyRunning(self.data_dir, _lock_pid(self.data_dir)) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock
        self._owner_pid = os.getpid()

    def _announce(self) -> None:
        path = _services_file(self.data_dir)
        with suppress(FileNotFoundError):
            path.unlink()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self.services._asdict(), file)


def running_services(data_dir: Path | str) -> Services | None:
    """The services that another process runs in this folder, for commands beside a running server; else None."""
    folder = Path(data_dir).absolute()
    try:
        with open(folder / "lock", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None  # nobody holds it: a services file would be a leftover
    except FileNotFoundError:
        return None
    except BlockingIOError:
        with suppress(FileNotFoundError, ValueError):
            return Services(**json.loads(_services_file(folder).read_text()))
        return None


@asynccontextmanager
async def temporary_database(database_url: str, *, prefix: str = "doorstep_test") -> AsyncIterator[str]:
    """An empty database beside the one of `database_url`, dropped at the end even with connections left open.

    Yields its URL. The role needs CREATEDB. Raises asyncpg's errors when the server cannot be reached.
    """
    name = f"{prefix}_{secrets.token_hex(6)}"
    await _execute(database_url, f'CREATE DATABASE "{name}"')
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


def _lock_pid(data_dir: Path) -> int | None:
    with suppress(FileNotFoundError, ValueError):
        return int((data_dir / "lock").read_text())
    return None
