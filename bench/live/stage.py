"""The stage of `bench live`, `soak` and `storm`: a server, a load process beside it, and everybody connected."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import msgspec
from msgspec import Struct

from actors.config import Config
from bench.counters import counted, samples
from bench.live.accounts import gather_party, homes
from bench.live.job import Check, Command, Connect, Line, LiveJob, Place, Result, Said, Settle, Window
from bench.live.orders import NEAR_STORES
from bench.live.usage import Processes, Usage
from bench.throughput.ingest import COUNTER
from sim.concurrency import Progress
from sim.demo.city import REGION_ID, build_city
from sim.demo.summary import percentile

SETTLE_S = 30.0  # for the last orders to be delivered
CHECK_LIMIT_S = 600.0
CONNECT_PER_DRIVER_S, CONNECT_MIN_S = 0.02, 60.0  # deadline of the first connection of all
QUIET_S = 3.0  # before memory is looked at
# Orders before anything is measured: the first solve of a worker process loads the solvers.
WARM_UP_ORDERS_PER_MIN, WARM_UP_S = 240.0, 5.0
REGION = f"region:{REGION_ID}"
LAG_METRIC = "doorstep_region_lag_lately_seconds"
# As many tasks as were accepted by more drivers than one, and never taken from anybody in between.
_TWICE = """
    SELECT count(*) FROM (
        SELECT unnest(task_ids) AS task_id FROM offers WHERE status = 'ACCEPTED'
        GROUP BY 1 HAVING count(DISTINCT driver_id) > 1
    ) AS shared JOIN tasks USING (task_id) WHERE NOT EXISTS (
        SELECT 1 FROM dossier_events AS e WHERE e.order_id = tasks.order_id AND e.type = 'TASK_RELEASED')
"""

Call: TypeAlias = Callable[..., Awaitable[Any]]


class LoadError(RuntimeError):
    """The load process ended, or did not do what it was asked in time."""


class Crew(Struct, frozen=True, kw_only=True):
    """Who drives. `seed`: of homes, orders and doors."""

    drivers: int
    ping_hz: float = 1.0
    seed: int = 1


class Target:
    """The server that is measured. `config` and `call` (an actor's method by names) are known of one of our own."""

    def __init__(self, url: str, config: Config | None = None, call: Call | None = None) -> None:
        self.url, self.config, self.call = url.rstrip("/"), config, call

    async def lags_ms(self, wall_s: float) -> list[float]:
        """How late the region's deadlines were in the last so many seconds; of a foreign server its own p99."""
        if self.call is not None:
            try:
                return list((await self.call(REGION, "lately", wall_s))["lag"])
            except Exception:  # between two lives of the region there is nothing to tell
                return []
        return [lag_s * 1000 for lag_s in await samples(self.url, LAG_METRIC)]

    async def pings(self) -> tuple[float, float]:
        """Pings that the server has taken in since it started, and the monotonic time of that."""
        asked_s = time.monotonic()
        taken = await counted(self.url, COUNTER)
        return taken, (asked_s + time.monotonic()) / 2

    async def on_duty(self) -> int | None:
        """Drivers whom the region may offer something or who hold something; None of a foreign server."""
        if self.call is None:
            return None
        try:
            counts: dict[str, int] = (await self.call(REGION, "frame")).drivers.counts
        except Exception:
            return 0
        return sum(number for state, number in counts.items() if state not in ("off", "stale"))

    async def query(self, sql: str) -> int | None:
        """A number from the database; None of a foreign server."""
        if self.config is None:
            return None
        connection = await asyncpg.connect(self.config.database_url)
        try:
            return int(await connection.fetchval(sql))
        finally:
            await connection.close()

    async def twice(self) -> int | None:
        """Tasks that the offer log has given to two drivers."""
        return await self.query(_TWICE)

    async def database_bytes(self) -> int | None:
        """Size of the database."""
        return await self.query("SELECT pg_database_size(current_database())")

    async def waiting(self) -> dict[str, int]:
        """Why tasks are open, by reason."""
        if self.call is None:
            return {}
        frame = await self.call(REGION, "frame")
        return dict(frame.tasks.waiting)


class LoadProcess:
    """The other process. Commands may run side by side; of one kind there is one at a time."""

    def __init__(self, process: asyncio.subprocess.Process, progress: Progress) -> None:
        self._process, self._progress = process, progress
        self._asked: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self.windows: list[Window] = []
        self.on_window: Callable[[Window], None] = lambda window: None
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, job: LiveJob, progress: Progress) -> LoadProcess:
        """Start it and hand it the job."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.live.load"), stdin=pipe, stdout=pipe, limit=16 * 2**20
        )
        load = cls(process, progress)
        await load._write(job)
        return load

    async def ask(self, command: Command, limit_s: float) -> dict[str, Any]:
        """Have a command carried out; `LoadError` when that takes longer than `limit_s`."""
        name = type(command).__name__
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[name] = answer
        try:
            await self._write(command)
            async with asyncio.timeout(limit_s):
                return await answer
        except TimeoutError:
            raise LoadError(f"the load process did not finish {name} within {limit_s:g} s") from None
        except (ConnectionError, BrokenPipeError):
            raise LoadError("the load process has ended") from None
        finally:
            del self._asked[name]

    async def _write(self, line: LiveJob | Command) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(line) + b"\n")
        await self._process.stdin.drain()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        decode = msgspec.json.Decoder(Line).decode
        while text := await self._process.stdout.readline():
            line = decode(text)
            if isinstance(line, Said):
                self._progress(line.text)
            elif isinstance(line, Window):
                self.windows.append(line)
                self.on_window(line)
            elif (answer := self._asked.get(line.name)) is not None and not answer.done():
                assert isinstance(line, Result)
                answer.set_result(line.values)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(LoadError("the load process has ended; its words are above"))

    async def stop(self) -> None:
        """End it; kill it when it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


class Stage(Struct, kw_only=True):
    """Everybody is connected, and a few orders were brought. `alone` and `full`: use before the first socket and with
    all of them; `connected` and `warmed`: what the load said of the one and the other."""

    target: Target
    load: LoadProcess
    processes: Processes
    crew: Crew
    connected: dict[str, Any]
    warmed: dict[str, Any]
    alone: Usage
    full: Usage

    @property
    def bytes_per_driver(self) -> int | None:
        """What gateways and region took for each driver; None of a foreign server."""
        grown = sum(
            self.full.rss_bytes.get(kind, 0) - self.alone.rss_bytes.get(kind, 0)
            for kind in ("gateway", "region")
        )
        return round(grown / self.crew.drivers) if self.target.config is not None else None

    async def finish(self, progress: Progress) -> dict[str, Any]:
        """Let the last orders come to their end, and hold every answer against the dossiers and the database: what
        `Settle` and `Check` of the load say, with `twice_count` of both."""
        progress("letting the last orders come to their end")
        settled = await self.load.ask(Settle(SETTLE_S), SETTLE_S + 30)
        waiting = await self.target.waiting() if settled["open"] else {}
        progress(f"reading {settled['orders']:,} dossiers")
        checked = await self.load.ask(Check(), CHECK_LIMIT_S)
        in_database = await self.target.twice()
        checked["twice_count"] += in_database or 0
        return settled | {"waiting": waiting} | checked


@asynccontextmanager
async def staged(target: Target, crew: Crew, progress: Progress) -> AsyncIterator[Stage]:
    """Gather everybody, start the load process, connect all drivers and bring a few orders.

    `LoadError` when somebody cannot connect.
    """
    city = build_city(crew.seed, stores=NEAR_STORES)
    progress(f"making accounts of {crew.drivers:,} drivers, and {NEAR_STORES} stores")
    party = await gather_party(target.url, target.config, crew.drivers, city, progress)
    address = urlsplit(target.url)
    host = address.hostname or "127.0.0.1"
    job = LiveJob(
        host="127.0.0.1" if host == "localhost" else host,
        port=address.port or 80,
        run=f"live-{time.time_ns() // 1_000_000:x}",
        seed=crew.seed,
        ping_hz=crew.ping_hz,
        drivers=party.drivers,
        homes=homes(city, crew.drivers, crew.seed),
        merchant=party.merchant,
        customers=party.customers,
        stands=party.stands,
    )
    processes = Processes()
    alone = processes.look()
    load = await LoadProcess.start(job, progress)
    try:
        limit_s = CONNECT_MIN_S + CONNECT_PER_DRIVER_S * crew.drivers
        progress(f"connecting {crew.drivers:,} drivers")
        connected = await load.ask(Connect(limit_s), limit_s + 30)
        if connected["connected"] < crew.drivers:
            raise LoadError(
                f"{connected['connected']} of {crew.drivers} drivers could connect: {connected['counts']}"
            )
        await asyncio.sleep(QUIET_S)
        full = processes.look()
        warm_up = Place(WARM_UP_ORDERS_PER_MIN, WARM_UP_S, 2 * WARM_UP_S, measured=False)
        await load.ask(warm_up, WARM_UP_S + 60)
        warmed = await load.ask(Settle(SETTLE_S), SETTLE_S + 30)
        yield Stage(
            target=target,
            load=load,
            processes=processes,
            crew=crew,
            connected=connected,
            warmed=warmed,
            alone=alone,
            full=full,
        )
    finally:
        await load.stop()


def taken_ratio(before: tuple[float, float], after: tuple[float, float], placed: dict[str, Any]) -> float:
    """Pings taken in a second over pings sent in a second; 1 but for a percent, as both ends are read under load."""
    taken_per_s = (after[0] - before[0]) / (after[1] - before[1])
    sent_per_s = max(1, placed["pings_sent"]) / placed["took_s"]
    return float(round(taken_per_s / sent_per_s, 4))


def p99(values: list[float]) -> float | None:
    """The 99th percentile, None of nothing."""
    return round(percentile(sorted(values), 0.99), 2) if values else None
