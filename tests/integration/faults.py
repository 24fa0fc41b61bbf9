"""Faults done to a running server from outside, and a recorder that uses it meanwhile: `make chaos`.

A fault is a line of `FAULTS`; what another part of the machine can do to a server is one more line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import asyncpg
import httpx
import msgspec
import psutil

from sim.demo.api import Account
from tests.integration.live import LiveServer, Town, new_key

LOOK_EVERY_S = 0.1
ANSWER_S = 1.0  # who waits longer is not served
QUIET_S = 6.0  # of good answers after the last bad one: it is over
NOTHING_S = 10.0  # without a bad answer: there was none
LONGEST_S = 75.0
FROZEN_S = 30.0
# Ray's pooled workers, one of which solves next.
SOLVERS = ("ray::solve_task", "ray::piece_task", "ray::IDLE", "ray::warm_task")

Undo = Callable[[], None]


class Fault(NamedTuple):
    """What is done to the server, which may be undone after a while, and how long each thing may be out on a machine
    with nothing else to do."""

    name: str
    do: Callable[[LiveServer], Undo]
    limit_s: float
    undo_after_s: float = FROZEN_S


def processes(server: LiveServer, *names: str) -> list[psutil.Process]:
    """The server's processes whose title or name begins so."""
    assert server._process is not None
    found = []
    for process in psutil.Process(server._process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "".join(process.cmdline()).startswith(names) or process.name() in names:
                found.append(process)
    return found


def kill(*names: str) -> Callable[[LiveServer], Undo]:
    """kill -9."""

    def do(server: LiveServer) -> Undo:
        for process in _some(server, names):
            process.kill()
        return lambda: None

    return do


def freeze(*names: str) -> Callable[[LiveServer], Undo]:
    """SIGSTOP, and SIGCONT at the end for what is still there."""

    def do(server: LiveServer) -> Undo:
        frozen = _some(server, names)
        for process in frozen:
            process.suspend()

        def thaw() -> None:
            for process in frozen:
                with contextlib.suppress(psutil.Error):
                    process.resume()

        return thaw

    return do


def _some(server: LiveServer, names: tuple[str, ...]) -> list[psutil.Process]:
    found = processes(server, *names)
    assert found, f"there is no {names}"
    return found


def fill_disk(server: LiveServer) -> Undo:
    """Nothing is free where the server's folder is, until the ballast goes."""
    ballast = server.folder / "ballast"
    with open(ballast, "wb") as file:
        for piece in (1 << 26, 1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), piece)
    return ballast.unlink


def lock_row(server: LiveServer) -> Undo:
    """Somebody's transaction holds the rows of an order that a driver is under way with."""
    held, over = threading.Event(), threading.Event()
    url = msgspec.json.decode((server.folder / "services.json").read_bytes())["database_owner_url"]

    async def hold() -> None:
        connection = await asyncpg.connect(url)
        async with connection.transaction():
            rows = await connection.fetch(
                "SELECT order_id FROM tasks JOIN orders USING (order_id)"
                " WHERE tasks.status = 'ASSIGNED' ORDER BY orders.updated_ms DESC LIMIT 1 FOR UPDATE"
            )
            assert rows, "nobody is under way"
            held.set()
            await asyncio.to_thread(over.wait, LONGEST_S)
        await connection.close()

    thread = threading.Thread(target=asyncio.run, args=(hold(),), daemon=True)
    thread.start()
    assert held.wait(ANSWER_S), "the row is not held"
    return over.set


# Killed parts are back in 5 s, frozen ones noticed and replaced in 10, a lost cluster works again in 15. When every
# solver is gone at once, fresh ones must load what they solve with.
FAULTS = [
    Fault("region killed", kill("ray::RegionActor"), 5, 0),
    Fault("persistence killed", kill("ray::PersistenceActor"), 5, 0),
    Fault("gateway killed", kill("ray::GatewayActor"), 5, 0),
    Fault("solvers killed", kill(*SOLVERS), 10, 0),
    Fault("region frozen", freeze("ray::RegionActor"), 10),
    Fault("persistence frozen", freeze("ray::PersistenceActor"), 10),
    Fault("gateway frozen", freeze("ray::GatewayActor"), 10),
    Fault("solvers frozen", freeze(*SOLVERS), 10),
    Fault("GCS killed", kill("gcs_server"), 15, 0),
    Fault("GCS frozen", freeze("gcs_server"), 15),
    Fault("raylet killed", kill("raylet"), 15, 0),
    Fault("raylet frozen", freeze("raylet"), 15),
    Fault("Postgres killed", kill("postgres"), 15, 0),
    # What is out as long as the fault lasts is counted from its end: nobody can write without a database.
    Fault("Postgres frozen", freeze("postgres"), 15 + FROZEN_S),
    Fault("disk full", fill_disk, 15 + FROZEN_S),
    Fault("row locked", lock_row, 2, undo_after_s=60),
]


class Seen(NamedTuple):
    """How long each thing was out, in seconds, and what the server said."""

    fault: str
    out_s: dict[str, float]
    told: list[str]

    def row(self) -> str:
        """As a line of the table."""
        cells = [f"{self.out_s[probe]:.1f}" for probe in PROBES]
        return f"| {self.fault} | {' | '.join(cells)} | {'; '.join(self.told) or '-'} |"


PROBES = ("writes", "region", "solves", "sockets")
_COLUMNS = ("fault", *(f"{probe} out (s)" for probe in PROBES), "who was told")
HEADER = f"| {' | '.join(_COLUMNS)} |\n|{' --- |' * len(_COLUMNS)}"


class Recorder:
    """Uses the server as outsiders do, each probe ten times a second and without patience."""

    def __init__(self, server: LiveServer, town: Town, operator: Account) -> None:
        self._server, self._town, self._operator = server, town, operator
        self._good: dict[str, float] = {}
        self._out_s: dict[str, float] = {}
        self._bad_at = 0.0
        self._solved: Any = None

    async def watch(self, fault: Fault) -> Seen:
        """Do this to the server and look until it is over."""
        probes = {
            "writes": self._write,
            "region": self._region,
            "solves": self._solve,
            "sockets": self._connect,
        }
        told_from = (self._server.folder / "server.log").stat().st_size
        began_s = self._bad_at = time.monotonic()
        self._unready: dict[str, str] = {}
        self._good, self._out_s = dict.fromkeys(PROBES, began_s), dict.fromkeys(PROBES, 0.0)
        tasks = [asyncio.create_task(self._probe(name, ask)) for name, ask in probes.items()]
        tasks.append(asyncio.create_task(self._look_at_readiness()))
        undo: Undo | None = fault.do(self._server)
        try:
            while (since_s := time.monotonic() - began_s) < LONGEST_S:
                if undo is not None and since_s > fault.undo_after_s:
                    undo()
                    undo = None
                if undo is None and since_s > NOTHING_S and time.monotonic() - self._bad_at > QUIET_S:
                    break
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                now_s = time.monotonic()
                self._out_s = {
                    name: max(out_s, now_s - self._good[name]) for name, out_s in self._out_s.items()
                }
        finally:
            if undo is not None:
                undo()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        unready = [f"/health/ready: {name} {why}" for name, why in self._unready.items()]
        return Seen(fault.name, self._out_s, [*self._told(told_from), *unready])

    async def _probe(self, name: str, ask: Callable[[], Awaitable[bool]]) -> None:
        while True:
            asked_s = time.monotonic()
            try:
                async with asyncio.timeout(ANSWER_S):
                    good = await ask()
            except (TimeoutError, OSError, httpx.HTTPError):
                good = False
            if good:
                # From the last good answer to this one; a look's own length is no outage.
                out_s = time.monotonic() - self._good[name]
                if out_s > ANSWER_S + LOOK_EVERY_S:
                    self._out_s[name] = max(self._out_s[name], out_s)
                self._good[name] = time.monotonic()
            elif name != "solves" or time.monotonic() - self._good[name] > ANSWER_S:
                self._bad_at = time.monotonic()
            await asyncio.sleep(max(0.0, LOOK_EVERY_S - (time.monotonic() - asked_s)))

    async def _write(self) -> bool:
        reply = await self._http.post(
            "/v1/orders",
            json=self._town.basket(),
            headers={
                "Authorization": f"Bearer {self._town.customer.token}",
                "Idempotency-Key": new_key(),
            },
        )
        return reply.is_success

    async def _region(self) -> bool:
        return (await self._stats()) is not None

    async def _solve(self) -> bool:
        """Whether the region has solved something since the last look: there is always something to solve."""
        stats = await self._stats()
        solved = stats and (stats["epoch"], stats["solve_count"])
        before, self._solved = self._solved, solved or self._solved
        return bool(solved) and solved != before

    async def _look_at_readiness(self) -> None:
        """Note what the server says is missing."""
        while True:
            with contextlib.suppress(OSError, httpx.HTTPError):
                reply = await self._http.get("/health/ready", timeout=NOTHING_S)
                parts = reply.json().get("parts", {}) if reply.status_code == 503 else {}
                self._unready |= {name: why for name, why in parts.items() if why != "ok"}
            await asyncio.sleep(1)

    async def _stats(self) -> dict[str, Any] | None:
        reply = await self._http.get(
            "/v1/regions/tx-dfw/stats", headers={"Authorization": f"Bearer {self._operator.token}"}
        )
        return reply.json() if reply.is_success else None

    async def _connect(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        try:
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return (await reader.read(64)).startswith(b"HTTP/1.1 200")
        finally:
            writer.close()

    async def __aenter__(self) -> Recorder:
        limits = httpx.Limits(
            max_keepalive_connections=0
        )  # a connection to a frozen process is not used again
        self._http = httpx.AsyncClient(base_url=self._server.url, trust_env=False, limits=limits)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def _told(self, since: int) -> Iterator[str]:
        with open(self._server.folder / "server.log", "rb") as log:
            log.seek(since)
            for line in log.read().decode(errors="replace").splitlines():
                if any(word in line for word in ("ended", "lost", "serves again", "stood still", "given")):
                    yield line.strip()


def left_of(folder: os.PathLike[str]) -> list[str]:
    """Processes that have this folder in their command line or environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            named = os.fspath(folder) in line or os.fspath(folder) in process.environ().get(
                "DOORSTEP_CONFIG_FILE", ""
            )
            if named and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(line[:120])
    return found


__all__ = ["FAULTS", "HEADER", "Fault", "Recorder", "Seen", "freeze", "kill", "left_of", "processes"]
