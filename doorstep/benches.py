"""The benchmarks against a server: a given one, or a fresh one of their own that is gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from actors.remote import Handles
from bench.accept import AcceptOptions, run_accept
from bench.ingest import IngestOptions, run_ingest
from bench.match import MatchOptions, run_match
from bench.mdrp import MdrpOptions, run_mdrp, table, violations_of
from bench.plan import PlanOptions, run_plan
from bench.routes import RoutesOptions, run_routes
from doorstep.embedded import EmbeddedError
from doorstep.server import Server, StartError, running
from doorstep.settings import Settings
from sim.api import ServerRefused

Say = Callable[[str], None]


@asynccontextmanager
async def _server(settings: Settings, url: str | None, say: Say) -> AsyncIterator[tuple[str, str | None]]:
    """The URL to measure, and the Redis beside it where that is known."""
    if url is not None:
        yield url, settings.redis_url
        return
    async with _fresh(settings, say) as server:
        yield server.url, server.config.redis_url


@asynccontextmanager
async def _fresh(settings: Settings, say: Say) -> AsyncIterator[Server]:
    """A server with databases of its own."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-bench-"))
    try:
        fresh = settings.model_copy(update={"data_dir": folder, "database_url": None, "redis_url": None})
        async with running(fresh, say) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def ingest(
    settings: Settings, url: str | None, options: IngestOptions, out: Path | None, say: Say
) -> int:
    """Location pings a second, beside a bare socket sink and GEOADD."""
    try:
        async with _server(settings, url, say) as (server, redis_url):
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
