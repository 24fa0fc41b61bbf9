"""The benchmarks against a server: a given one, or a fresh one of their own that is gone afterwards."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from actors.remote import Handles
from bench.counters import know
from bench.dispatch.match import MatchOptions, run_match
from bench.dispatch.mdrp import MdrpOptions, run_mdrp, table, violations_of
from bench.dispatch.routes import RoutesOptions, run_routes
from bench.hostile.crowd import CrowdOptions, run_crowd
from bench.hostile.hostile import HostileOptions, run_hostile
from bench.latency.accept import AcceptOptions, run_accept
from bench.latency.plan import PlanOptions, run_plan
from bench.live.accounts import driver_tokens
from bench.live.run import Fresh, LiveOptions, run_live
from bench.live.soak import SoakOptions, run_soak
from bench.live.stage import LoadError, Target
from bench.live.storm import StormOptions, run_storm
from bench.live.usage import NoFiles, Processes
from bench.report import Report
from bench.throughput.ingest import IngestOptions, run_ingest
from bench.throughput.writes import WritesOptions, run_writes
from doorstep.cli.operators import employ_operator, find_operator
from doorstep.cluster.bootstrapper import client_of
from doorstep.cluster.rolling import RestartError
from doorstep.embedded.services import EmbeddedError
from doorstep.server import Server, StartError, running
from doorstep.settings.settings import Settings
from sim.demo.api import ServerRefused

Say = Callable[[str], None]

# All of a benchmark's clients come from one address.
ONE_CROWD = {
    "rate_limits": "off",
    "status_keep_s": 0.0,  # figures are read when a phase ends
    "http_connections_limit": 20_000,
    "http_connections_per_address": 20_000,
}


@asynccontextmanager
async def _server(settings: Settings, url: str | None, say: Say) -> AsyncIterator[tuple[str, str | None]]:
    """The URL to measure, and the Redis beside it where that is known."""
    if url is not None:
        know(url, settings.metrics_key())
        await find_operator(url, settings, secrets.token_urlsafe())
        yield url, settings.redis_url
        return
    async with _fresh(settings, say) as server:
        yield server.url, server.config.redis_url


@asynccontextmanager
async def _fresh(settings: Settings, say: Say, **changes: object) -> AsyncIterator[Server]:
    """A server with databases of its own, and room for a crowd unless `changes` to the settings say otherwise."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-bench-"))
    try:
        own = {"data_dir": folder, **ONE_CROWD, **changes}
        own |= dict.fromkeys(("database_url", "database_owner_url", "redis_url"))
        fresh = settings.model_copy(update=own)
        async with running(fresh, say) as server, client_of(server.data_dir, server.config.namespace):
            know(server.url, server.config.metrics_token)
            await employ_operator(server.url, server.config.database_url, secrets.token_urlsafe())
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def ingest(
    settings: Settings, url: str | None, options: IngestOptions, out: Path | None, say: Say
) -> int:
    """Location pings a second, beside a bare socket sink and GEOADD."""
    try:
        flooded = settings.model_copy(update={"ws_frames_per_s": 1e6, "ws_frames_burst": 1_000_000})
        async with _server(flooded, url, say) as (server, redis_url):
            report = await run_ingest(server, options, redis_url=redis_url, out=out, progress=say)
    except (StartError, EmbeddedError, ServerRefused) as error:
        say(str(error))
        return 1
    print(report.table())
    return 0


async def accept(
    settings: Settings, url: str | None, options: AcceptOptions, out: Path | None, say: Say
) -> int:
    """Milliseconds from accept to durable answer."""
    try:
        async with _server(settings.model_copy(update={"offer_lead_s": 3600.0}), url, say) as (server, _):
            report = await run_accept(server, options, out=out, progress=say)
    except (StartError, EmbeddedError, ServerRefused) as error:
        say(str(error))
        return 1
    print(report.table())
    return 0


async def plan(settings: Settings, options: PlanOptions, out: Path | None, say: Say) -> int:
    """Milliseconds from an order's opening to the plan that has it; always on a server of its own."""
    try:
        async with _fresh(settings, say) as server:
            call = Handles(server.config.namespace).call
            report = await run_plan(server.url, call, options, out=out, progress=say)
    except (StartError, EmbeddedError, ServerRefused, RuntimeError) as error:
        say(str(error))
        return 1
    print(report.table())
    return 0


async def live(settings: Settings, url: str | None, options: LiveOptions, out: Path | None, say: Say) -> int:
    """A whole market at full size: latencies, what is lost, processor and memory."""
    return await _market(lambda fresh: run_live(fresh, options, out=out, progress=say), settings, url, say)


async def soak(settings: Settings, options: SoakOptions, out: Path | None, say: Say) -> int:
    """The same for long: whether memory and latency stay flat; always on a server of its own."""
    return await _market(lambda fresh: run_soak(fresh, options, out=out, progress=say), settings, None, say)


async def storm(settings: Settings, options: StormOptions, out: Path | None, say: Say) -> int:
    """Gateways killed and restarted under all sockets; always on a server of its own."""
    return await _market(lambda fresh: run_storm(fresh, options, out=out, progress=say), settings, None, say)


async def _market(
    run: Callable[[Fresh], Awaitable[Report]], settings: Settings, url: str | None, say: Say
) -> int:
    # An offer is due as soon as there is a task, however far ahead its driver would have to set off.
    settings = settings.model_copy(update={"offer_lead_s": 3600.0})

    @asynccontextmanager
    async def target() -> AsyncIterator[Target]:
        if url is not None:
            know(url, settings.metrics_key())
            yield Target(url)
            return
        async with _fresh(settings, say) as server:
            yield Target(server.url, server.config, Handles(server.config.namespace).call)

    def fresh() -> AbstractAsyncContextManager[Target]:
        return target()

    try:
        report = await run(fresh)
    except (StartError, EmbeddedError, ServerRefused, LoadError, NoFiles, RestartError) as error:
        say(str(error))
        return 1
    print(report.table())
    return 0


async def hostile(settings: Settings, mob: int, options: HostileOptions, out: Path | None, say: Say) -> int:
    """What the well-behaved feel beside a flood, a slow reader and `mob` sockets of nonsense; a server of its own."""
    try:
        async with _fresh(settings, say) as server:
            # Besides the well-behaved: one floods, one does not read, the others are the mob.
            tokens = await driver_tokens(server.config, options.drivers + 2 + mob)
            gateways = Processes().memory("gateway")
            report = await run_hostile(server.url, tokens, options, rss_bytes=gateways, out=out, progress=say)
    except (StartError, EmbeddedError, OSError, TimeoutError) as error:
        say(str(error) or type(error).__name__)
        return 1
    print(report.table())
    return 0


async def crowd(settings: Settings, options: CrowdOptions, out: Path | None, say: Say) -> int:
    """What the well-behaved feel beside half-sent requests, endless heads and floods; a server of its own, with limits
    as they are by default."""
    plain = {name: Settings.model_fields[name].default for name in ONE_CROWD}
    try:
        async with _fresh(settings, say, **plain) as server:
            tokens = await driver_tokens(server.config, options.neighbours)
            gateways = Processes().memory("gateway")
            report = await run_crowd(server.url, tokens, options, rss_bytes=gateways, out=out, progress=say)
    except (StartError, EmbeddedError, OSError, TimeoutError) as error:
        say(str(error) or type(error).__name__)
        return 1
    print(report.table())
    return 0


async def writes(settings: Settings, options: WritesOptions, out: Path | None, say: Say) -> int:
    """Durable commands and orders a second, beside bare commits, COPY and inserts; always on a server of its own."""
    try:
        async with _fresh(settings, say) as server:
            call = Handles(server.config.namespace).call
            report = await run_writes(
                server.url, call, server.config, options, owner_url=server.owner_url, out=out, progress=say
            )
    except (StartError, EmbeddedError, ServerRefused, RuntimeError) as error:
        say(str(error))
        return 1
    print(report.table())
    return 0


def match(options: MatchOptions, out: Path | None, say: Say) -> int:
    """The FAST plan beside its bare parts and the dense optimum; needs no server."""
    print(run_match(options, out=out, progress=say).table())
    return 0


def mdrp(options: MdrpOptions, out: Path, say: Say) -> int:
    """Dispatch quality on recorded days; needs no server. 1: bad arguments, or the checker found a violation."""
    try:
        report = run_mdrp(options, out=out, progress=say)
    except ValueError as error:
        say(str(error))
        return 1
    print(table(report))
    return int(violations_of(report) > 0)


def routes(options: RoutesOptions, out: Path | None, say: Say) -> int:
    """The route solver beside its peers on public instances; needs no server. 1: bad arguments or no instances."""
    try:
        print(run_routes(options, out=out, progress=say).table())
    except ValueError as error:
        say(str(error))
        return 1
    return 0
