"""What the commands do that need the server's parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from doorstep.cli.operators import employ_operator, find_operator
from doorstep.embedded.services import Embedded, EmbeddedError, running_services
from doorstep.server import Server, StartError, running, until_signalled
from doorstep.settings.secret_files import local_secret
from doorstep.settings.settings import Settings
from persistence.migrate import migrate, require_schema, require_usable
from persistence.roles import ensure_role, fitness
from sim.demo.api import ServerRefused
from sim.demo.run import DemoOptions, run_demo
from sim.demo.summary import Summary

Say = Callable[[str], None]

# The demo's whole city has one address, and its days may be fast.
DEMO_LIMITS = (
    "sign_in=6000 per minute,anonymous=6000 per minute,pages=6000 per minute,machines=6000 per minute,"
    "order=6000 per minute,driver=60000 per minute,read=60000 per minute,write=60000 per minute,ops=60000 per minute"
)
CURTAIN_LIMIT_S = 20.0  # wall time that the demo gets to end when the server is stopped


async def serve(
    settings: Settings,
    say: Say,
    *,
    demo_drivers: int | None,
    address: str | None = None,
    detach: bool = False,
) -> int:
    """Run the server until Ctrl-C or SIGTERM, with a demonstration beside it if `demo_drivers` is given."""
    demo = demo_drivers is not None
    if demo and not settings.rate_limit_rules:
        settings = settings.model_copy(update={"rate_limit_rules": DEMO_LIMITS})
    try:
        async with running(settings, say, ops_open=demo, address=address, detach=detach) as server:
            say(f"Mission control  {server.url}/ops")
            say(f"API              {server.url}/docs")
            say(f"Ray dashboard    http://{server.dashboard_url}{_sign_in(settings, address)}")
            say(
                "Ctrl-C leaves the server to serve."
                if detach
                else "Ctrl-C stops the server and keeps the data."
            )
            waiting = asyncio.ensure_future(until_signalled())
            if demo_drivers is None:
                await asyncio.wait((waiting, server.given_up), return_when=asyncio.FIRST_COMPLETED)
                status = 0
            else:
                options = DemoOptions(
                    server=server.url, drivers=demo_drivers, password=demo_password(settings)
                )
                await employ_operator(server.url, server.config.database_url, options.password)
                status = await _beside(waiting, server, options, say)
            if server.given_up.done():
                say(server.given_up.result())
                return 1
            return status
    except (StartError, EmbeddedError) as error:
        say(str(error))
        return 1


def _sign_in(settings: Settings, address: str | None) -> str:
    """What the dashboard asks for, and where it is found."""
    if address is not None:
        return "  (asks for the cluster's token)"
    own = settings.data_dir != Settings.model_fields["data_dir"].default
    return f"  (asks for the token that `doorstep ray-token{f' --data-dir {settings.data_dir}' if own else ''}` prints)"


def demo_password(settings: Settings) -> str:
    """Of the demo's accounts: made once and kept in the data folder, so that the next run finds them again, and nobody
    who reads this source can sign in as one of them."""
    return local_secret(settings.data_dir, "demo_password")


async def _beside(signalled: asyncio.Future[None], server: Server, options: DemoOptions, say: Say) -> int:
    stop = asyncio.Event()
    demo = asyncio.ensure_future(run_demo(options, say, stop))
    await asyncio.wait((signalled, demo, server.given_up), return_when=asyncio.FIRST_COMPLETED)
    if demo.done() and (error := demo.exception()) is not None:
        say(f"The demo ended: {error}")
        return 1
    say("the demo's drivers go home")
    stop.set()
    await asyncio.wait((demo,), timeout=CURTAIN_LIMIT_S)
    demo.cancel()
    [summary] = await asyncio.gather(demo, return_exceptions=True)
    if isinstance(summary, Summary):
        print(summary.table())
    return 0


async def demo_command(settings: Settings, options: DemoOptions, out: Path | None, say: Say) -> int:
    """Drive a running server until the replay or the duration ends, or Ctrl-C; prints the summary."""
    stop = asyncio.Event()
    signalled = asyncio.ensure_future(until_signalled())
    signalled.add_done_callback(lambda _: stop.set())
    try:
        await find_operator(options.server, settings, options.password)
        summary = await run_demo(options, say, stop)
    except (ServerRefused, ValueError, OSError) as error:
        say(str(error))
        return 1
    finally:
        signalled.cancel()
    print(summary.table())
    if out is not None:
        summary.write(out)
    return 0 if summary.ok else 1


@asynccontextmanager
async def database(settings: Settings, say: Say) -> AsyncIterator[str]:
    """The database of the settings: as given, of the server that runs here, or started for this command.
    `DatabaseUnfit` when it does not answer or has another schema than this code's."""
    async with databases(settings, say) as (url, owner_url):
        await require_schema(owner_url)
        yield url


@asynccontextmanager
async def databases(settings: Settings, say: Say) -> AsyncIterator[tuple[str, str]]:
    """The same as the server's role and as the owner, who may be one, whatever the schema."""
    if settings.database_url is not None:
        yield settings.database_url, settings.database_owner_url or settings.database_url
        return
    beside = running_services(settings.data_dir)
    if beside is not None:
        yield beside.database_url, beside.database_owner_url
        return
    say("starting the embedded Postgres")
    embedded = Embedded(settings.data_dir, strict=settings.environment == "production")
    services = await embedded.start_or_stop()
    try:
        await ensure_role(services.database_owner_url, services.database_url)
        yield services.database_url, services.database_owner_url
    finally:
        await asyncio.to_thread(embedded.stop)


async def migrate_command(settings: Settings, say: Say) -> int:
    """Bring the schema up to date, and give the server's role what it needs."""
    try:
        async with databases(settings, say) as (url, owner_url):
            await require_usable(owner_url)
            say(f"The schema is at revision {await migrate(owner_url, url)}.")
            found = await fitness(url)
            if found.too_much is not None:
                say(f"warning: {found.too_much}; see docs/persistence.md on the two roles.")
    except EmbeddedError as error:
        say(str(error))
        return 1
    return 0


async def expire_command(settings: Settings, server: str, limit: int, say: Say) -> int:
    """Ask a running server to expire offers that are past their time."""
    async with httpx.AsyncClient(base_url=server, timeout=30) as client:
        try:
            response = await client.post(
                "/internal/dispatch/expire_offers",
                params={"limit": limit},
                headers={"X-Internal-Token": settings.internal_key()},
            )
        except httpx.HTTPError as error:
            say(f"The server at {server} does not answer: {error}")
            return 1
    print(response.text)
    return 0 if response.is_success else 1
