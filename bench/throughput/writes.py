"""`doorstep bench writes`: durable commands a second, beside single-row commits and COPY; orders over REST, beside
one bare insert and beside a plain endpoint that does the same work.

Commands go to the persistence actors by the calls that gateways and regions make: order commands collected while calls
are under way, each region's records in one call at a time. The regions are markets that this server does not run, so
that nobody else decides on their orders. Everything of a round is measured in turn, and medians are compared. Orders
over REST: `bench.throughput.rest_orders`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import asyncpg
from msgspec import Struct, field

from actors.config import Config
from bench.report import Figures, Report, median, ratio, report
from bench.throughput.order_commands import Life, Shop, new_id, open_shop
from bench.throughput.rest_orders import ORDERS, REFERENCES, OrderPosts, Posted, order_figures
from domain.ground.markets import MARKETS
from domain.orders.commands import OrderCommand
from domain.orders.records import Done, Outcome, Record, RegionRecords
from gateway.deciders.collector import Collector
from persistence.reads.reads import Reads
from sim.concurrency import Progress
from sim.demo.api import Api
from sim.demo.summary import percentile

WARM_S = 1.5  # before it is counted
COPY_ROWS = 2_000  # in one COPY
DEADLINE_S = 60.0
DRAIN_S = 30.0
SEED = 1

# call(actor, method, *arguments), as a gateway calls
Call: TypeAlias = Callable[..., Awaitable[Any]]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_TABLE = "CREATE TABLE IF NOT EXISTS bench_rows (row_id uuid PRIMARY KEY, at_ms bigint NOT NULL, content text NOT NULL)"
_UNTOLD = "SELECT EXISTS (SELECT FROM outbox WHERE channel = 'bus' AND done_at IS NULL)"
_BYTES = """
SELECT (SELECT avg(pg_column_size(e.*)) FROM dossier_events e) + (SELECT avg(pg_column_size(o.*)) FROM outbox o)
"""


class WritesOptions(Struct, frozen=True, kw_only=True):
    """`lives`: orders under way at once. `seconds`: counted wall time of each measurement of a round. `commands`:
    measure them, too, or orders over REST alone."""

    commands: bool = True
    lives: int = 256
    connections: int = 64
    seconds: float = 8.0
    rounds: int = 3


class _Round(Struct):
    commands: list[float] = []
    commits: list[float] = []
    copies: list[float] = []
    posts: dict[str, list[Posted]] = field(
        default_factory=lambda: {name: [] for name in (ORDERS, *REFERENCES)}
    )
    latency_s: list[float] = []


async def run_writes(
    server: str,
    call: Call,
    config: Config,
    options: WritesOptions,
    *,
    owner_url: str,
    out: Path | None = None,
    progress: Progress = lambda line: None,
) -> Report:
    """Measure a fresh server of this configuration, whose actors `call` reaches; writes `summary.json` into `out`.
    `owner_url`: its database as the role that may make tables beside the server's.
    `RuntimeError` when it has no market to spare, or refuses what it should carry out."""
    seen = _Round()
    reads, sql = Reads.connect(config.database_url), await asyncpg.connect(owner_url)
    api = Api(server)
    try:
        await sql.execute(_TABLE)
        desk = await Desk.open(reads, call, config)
        orders = await OrderPosts.open(api, options.connections, WARM_S, options.seconds, progress)
        row_bytes = 0
        for number in range(1, options.rounds + 1):
            said = f"round {number} of {options.rounds}:"
            if options.commands:
                row_bytes = await _commands(desk, sql, options, seen, said, progress)
            seen.posts[ORDERS].append(await orders.of_server(server))
            await _drained(sql)
            for name in REFERENCES:
                seen.posts[name].append(await orders.of_reference(name, owner_url))
            rates = (f"{seen.posts[name][-1].per_s:,.0f} {name.replace('_', ' ')}/s" for name in seen.posts)
            progress(f"{said} {', '.join(rates)}")
    finally:
        await api.close()
        await sql.close()
        await reads.close()
    made = report("writes", options, _figures(seen, row_bytes, config, options), notes=_NOTES)
    if out is not None:
        made.write(out)
    return made


async def _commands(
    desk: Desk, sql: Connection, options: WritesOptions, seen: _Round, said: str, progress: Progress
) -> int:
    """One round of commands and of rows beside them; how many bytes such a row has."""
    seen.commands.append(await desk.run(options, seen.latency_s))
    progress(f"{said} {seen.commands[-1]:,.0f} durable commands/s")
    row_bytes: int = round(await sql.fetchval(_BYTES))
    await _drained(sql)
    seen.commits.append(await _single_commits(sql, row_bytes, options.seconds / 2))
    seen.copies.append(await _copies(sql, row_bytes, options.seconds / 2))
    progress(f"{said} {seen.commits[-1]:,.0f} single commits/s, {seen.copies[-1]:,.0f} rows/s by COPY")
    return row_bytes


_NOTES = (
    "a command: an order's step with its dossier event, outbox row and stored answer, an offer made, or one taken",
    "single commits: one row of a dossier event's and an outbox row's size, one connection; COPY: the same rows",
    "order_create: POST /v1/orders against FastAPI with one asyncpg insert, the same load",
    "same_work: against FastAPI with SQLAlchemy that does all of an order, one request a transaction, the same load",
    "us: processor time of an answered request in the processes of that kind",
)


def _figures(seen: _Round, row_bytes: int, config: Config, options: WritesOptions) -> Figures:
    commands, commits, copies = median(seen.commands), median(seen.commits), median(seen.copies)
    latency_s = sorted(seen.latency_s)
    p50_s, p99_s = (percentile(latency_s, share) if latency_s else None for share in (0.5, 0.99))
    return {
        "commands_per_s": commands,
        "command_p50_ms": _ms(p50_s),
        "command_p99_ms": _ms(p99_s),
        "single_commits_per_s": commits,
        "single_commit_ratio": ratio(commands, commits),
        "copy_rows_per_s": copies,
        "copy_ratio": ratio(commands, copies),
        **order_figures(seen.posts),
        "row_bytes": row_bytes,
        "connections_count": options.connections,
        "gateways_count": config.gateways,
        "persistence_actors_count": config.persistence_actors,
        "append_in_flight_count": config.limits.append_in_flight,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


# -- commands ---------------------------------------------------------------------------------------------------------


class Desk:
    """Hands commands to the persistence actors: an order's to the actor of the order, a region's to the region's."""

    def __init__(self, call: Call, config: Config) -> None:
        self._call, self._config, self._chance = call, config, Random(SEED)
        self._shops: list[Shop] = []
        self._regions: dict[str, Collector[Record, Outcome]] = {}
        limits = config.limits
        self._orders: dict[str, Collector[OrderCommand, Outcome]] = {
            name: Collector(
                name,
                self._commands_to(name),
                in_flight=limits.append_in_flight,
                batch_limit=limits.append_batch_limit,
                queue_limit=limits.append_queue_limit,
                deadline_s=DEADLINE_S,
                chance=self._chance,
            )
            for name in config.persistence_names
        }

    @classmethod
    async def open(cls, reads: Reads, call: Call, config: Config) -> Desk:
        """With a store in each market that this server does not run."""
        spare = [region_id for region_id in MARKETS if region_id not in config.regions]
        if not spare:
            raise RuntimeError("this needs a market that the server does not run: leave one out of REGIONS")
        desk = cls(call, config)
        for region_id in spare:
            actor = config.persistence_of(region_id)
            image = await call(actor, "open_region", region_id, config.clock.now_ms())
            desk._shops.append(await open_shop(reads, region_id, desk._chance))
            desk._regions[region_id] = Collector(
                region_id,
                desk._records_to(actor, region_id, image.epoch),
                in_flight=1,
                batch_limit=config.limits.append_batch_limit,
                queue_limit=config.limits.append_queue_limit,
                deadline_s=DEADLINE_S,
                chance=desk._chance,
            )
        return desk

    def _commands_to(self, actor: str) -> Callable[[list[OrderCommand]], Awaitable[Sequence[Outcome]]]:
        async def call(batch: list[OrderCommand]) -> Sequence[Outcome]:
            outcomes: list[Outcome] = await self._call(actor, "append", batch)
            return outcomes

        return call

    def _records_to(
        self, actor: str, region_id: str, epoch: int
    ) -> Callable[[list[Record]], Awaitable[Sequence[Outcome]]]:
        async def call(batch: list[Record]) -> Sequence[Outcome]:
            [outcome] = await self._call(actor, "append", [RegionRecords(region_id, epoch, tuple(batch))])
            return [outcome] * len(batch)

        return call

    async def run(self, options: WritesOptions, latency_s: list[float]) -> float:
        """Commands a second, while `options.lives` orders are under way; adds each command's time to `latency_s`."""
        ends = asyncio.Event()
        took_s: list[float] = []
        lives = [asyncio.create_task(self._live(n, ends, took_s)) for n in range(options.lives)]
        try:
            await _pause(WARM_S, lives)
            took_s.clear()
            started_s = time.perf_counter()
            await _pause(options.seconds, lives)
            rate = len(took_s) / (time.perf_counter() - started_s)
            latency_s += took_s
        finally:
            ends.set()
            await asyncio.gather(*lives)
        return rate

    async def _live(self, n: int, ends: asyncio.Event, took_s: list[float]) -> None:
        """One order after the other; each command waits for the answer to the one before."""
        shop = self._shops[n % len(self._shops)]
        while not ends.is_set():
            life = Life(shop, self._chance, self._config.clock.now_ms())
            orders = self._orders[self._config.persistence_of(life.order_id)]
            done: Done | None = None
            for command in life.commands():
                done = await _timed(orders.ask(command), took_s)
            assert done is not None
            assert done.opened is not None
            for record in life.records(done.opened[0]):
                await _timed(self._regions[shop.region_id].ask(record), took_s)


async def _timed(answer: Awaitable[Outcome], took_s: list[float]) -> Done:
    started_s = time.perf_counter()
    outcome = await answer
    took_s.append(time.perf_counter() - started_s)
    if not isinstance(outcome, Done) or outcome.answer.code is not None:
        raise RuntimeError(f"a command was refused: {outcome}")
    return outcome


async def _pause(seconds: float, tasks: list[asyncio.Task[None]]) -> None:
    """Let the tasks go on for so long; raises what one of them failed with."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


async def _drained(sql: Connection) -> None:
    """Wait until the bus has all events, or long enough: handing them on is no part of what is measured next."""
    give_up_s = time.monotonic() + DRAIN_S
    while time.monotonic() < give_up_s and await sql.fetchval(_UNTOLD):  # noqa: ASYNC110 - rows
        await asyncio.sleep(0.2)


# -- the references ---------------------------------------------------------------------------------------------------


async def _single_commits(sql: Connection, row_bytes: int, seconds: float) -> float:
    """Rows a second that one connection writes, each in a transaction of its own."""
    chance, content, done = Random(), "x" * row_bytes, 0
    insert = await sql.prepare("INSERT INTO bench_rows VALUES ($1, $2, $3)")
    started_s = time.perf_counter()
    while time.perf_counter() < started_s + seconds:
        await insert.fetch(new_id(chance), done, content)
        done += 1
    return done / (time.perf_counter() - started_s)


async def _copies(sql: Connection, row_bytes: int, seconds: float) -> float:
    """Rows a second by COPY, `COPY_ROWS` in a transaction. Making them does not count."""
    chance, content, done, took_s = Random(), "x" * row_bytes, 0, 0.0
    while took_s < seconds:
        rows = [(new_id(chance), done, content) for _ in range(COPY_ROWS)]
        started_s = time.perf_counter()
        await sql.copy_records_to_table("bench_rows", records=rows)
        took_s += time.perf_counter() - started_s
        done += COPY_ROWS
    return done / took_s
