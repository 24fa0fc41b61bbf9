"""`doorstep up`: databases, the lease, migrations, clock, cluster, and at the end all of it in reverse."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from actors.clock import ServerClock
from actors.config import Config, Limits
from domain.ground.markets import MARKETS
from domain.region.policy import Geofence, RegionPolicy
from doorstep.cluster.lease import LeaseTaken, only_one
from doorstep.cluster.session import end_orphans
from doorstep.cluster.supervisor import HeadError, Supervisor
from doorstep.data_folder import FolderLock, close_folder
from doorstep.embedded.services import Embedded, EmbeddedError
from doorstep.policies import PolicyError, load_policies
from doorstep.roads import RoadsError, require_roads, road_options, travel_model
from doorstep.settings.settings import Settings
from integrations.registry import PORTS
from persistence.migrate import migrate, require_schema, require_usable
from persistence.reads.reads import last_event_ms
from persistence.roles import ensure_role, fitness

Progress = Callable[[str], None]

NAMESPACE = "doorstep"
WATCH_EVERY_S = 1.0
CLOCK_MOVED_S = 5.0  # NTP's small corrections are nobody's business
WEB_DIST = Path(__file__).parent.parent / "web" / "dist"


class StartError(Exception):
    """The server cannot start; the message says what to do."""


class Server:
    """What runs: where it answers, what it was configured with, and whether it is still there."""

    def __init__(self, supervisor: Supervisor, data_dir: Path, owner_url: str) -> None:
        """`owner_url`: of the database, for whoever must do more than the server may; no actor knows it."""
        serving = supervisor.serving
        assert serving is not None
        self.config, self.dashboard_url, self.data_dir = serving.config, serving.dashboard_url, data_dir
        self._gateway_hosts = serving.gateway_hosts
        self.given_up = supervisor.given_up  # says why, when it cannot go on
        self.owner_url = owner_url

    @property
    def url(self) -> str:
        host = "localhost" if self.config.host in ("127.0.0.1", "0.0.0.0") else self.config.host
        if self.config.host == "0.0.0.0" and self._gateway_hosts:
            host = self._gateway_hosts[0]
        return f"http://{host}:{self.config.port}"


@asynccontextmanager
async def running(
    settings: Settings,
    progress: Progress,
    *,
    ops_open: bool = False,
    address: str | None = None,
    detach: bool = False,
) -> AsyncIterator[Server]:
    """The whole server for the time of the context. `StartError` or `EmbeddedError` when it cannot.

    `address`: of a Ray cluster to run it in, instead of one of its own; with `detach` its actors outlive the context.
    """
    unknown = [region_id for region_id in settings.region_ids if region_id not in MARKETS]
    if unknown:
        raise StartError(
            f"REGIONS names {unknown[0]}, which is not a market. There are: {', '.join(MARKETS)}."
        )
    if address is not None:
        _require_own_stores(settings)
    elif os.environ.get("RAY_AUTH_MODE") != "token":
        raise StartError(
            "RAY_AUTH_MODE must be token: without it any user of this machine becomes the server's."
        )
    close_folder(settings.data_dir, strict=settings.environment == "production" and address is None)
    lock = FolderLock(settings.data_dir.absolute(), "cluster.lock")
    if address is None:
        lock.take()
    try:
        if address is None:
            if ended := await asyncio.to_thread(end_orphans, settings.data_dir):
                progress(f"ended {ended} processes that a killed server had left")
            _require_free_port(settings.host, settings.port)
        async with _inside(settings, progress, ops_open=ops_open, address=address, detach=detach) as server:
            yield server
    finally:
        lock.release()


@asynccontextmanager
async def _inside(
    settings: Settings, progress: Progress, *, ops_open: bool, address: str | None, detach: bool
) -> AsyncIterator[Server]:
    try:
        if address is None:
            require_roads(settings)
        else:
            travel_model(settings.travel_table)  # road tiles are on other nodes
    except RoadsError as error:
        raise StartError(str(error)) from None
    if settings.record_dir is not None and address is None:
        _require_writable(settings.record_dir)
        progress(f"recording what regions decide in {settings.record_dir}")
    embedded = None
    if settings.database_url is None or settings.redis_url is None:
        progress("starting the embedded Postgres and Redis")
        embedded = Embedded(settings.data_dir, strict=settings.environment == "production")
        await embedded.start_or_stop()
    try:
        database_url = settings.database_url or (embedded.database_url if embedded else "")
        redis_url = settings.redis_url or (embedded.redis_url if embedded else "")
        owner_url = settings.database_owner_url or database_url
        if embedded is not None and settings.database_url is None:
            owner_url = embedded.database_owner_url
        await require_usable(owner_url)
        await ensure_role(owner_url, database_url)
        given_up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        async with _only_one(database_url, given_up):
            if settings.run_migrations_on_startup:
                progress("bringing the schema up to date")
                await migrate(owner_url, database_url)
            else:
                await require_schema(owner_url)
            await _require_plain_role(database_url, settings.environment, progress)
            config = await _configure(settings, database_url, redis_url, ops_open)
            dashboard_port = settings.dashboard_port
            if address is None and not _is_free("127.0.0.1", dashboard_port):
                dashboard_port = _any_free_port()
                progress(f"port {settings.dashboard_port} is taken: the Ray dashboard gets {dashboard_port}")
            supervisor = Supervisor(
                config,
                data_dir=settings.data_dir,
                dashboard_port=dashboard_port,
                address=address,
                node_kinds=settings.node_kinds,
                progress=progress,
                given_up=given_up,
            )
            watch = asyncio.ensure_future(_keep_running(embedded, config.clock, progress))
            try:
                try:
                    await supervisor.start()
                except HeadError as error:
                    raise StartError(str(error)) from None
                yield Server(supervisor, settings.data_dir, owner_url)
            finally:
                await supervisor.stop(detach=detach)
                watch.cancel()
    finally:
        if embedded is not None:
            progress("stopping the embedded Postgres and Redis")
            await asyncio.to_thread(embedded.stop)


@asynccontextmanager
async def _only_one(database_url: str, given_up: asyncio.Future[str]) -> AsyncIterator[None]:
    def lost() -> None:
        if not given_up.done():
            given_up.set_result(
                "The database was away, and another `doorstep up` looks after a server on it by now: this one ends."
            )

    try:
        async with only_one(database_url, NAMESPACE, lost):
            yield
    except LeaseTaken:
        raise StartError(
            "Another `doorstep up` looks after a server on this database. Stop that one first, or give another"
            " DATABASE_URL."
        ) from None


async def _require_plain_role(database_url: str, environment: str, progress: Progress) -> None:
    """A server that could drop its tables or switch their triggers off is refused in production, and warned of
    elsewhere; one that may not do its work is refused everywhere."""
    found = await fitness(database_url)
    if found.too_little is not None:
        raise StartError(
            f"DATABASE_URL: {found.too_little}. Run `doorstep migrate` with DATABASE_OWNER_URL, which gives it."
        )
    if found.too_much is not None:
        sentence = (
            f"DATABASE_URL: {found.too_much}; give the server a role of its own, and the owner's as"
            " DATABASE_OWNER_URL (docs/persistence.md)."
        )
        if environment == "production":
            raise StartError(sentence)
        progress(f"warning: {sentence}")


async def _configure(settings: Settings, database_url: str, redis_url: str, ops_open: bool) -> Config:
    clock = ServerClock.begin(settings.speed, after_ms=await last_event_ms(database_url))
    limits = {name: getattr(settings, name) for name in Limits.__struct_fields__ if hasattr(settings, name)}
    return Config(
        environment=settings.environment,
        namespace=NAMESPACE,
        server_id=uuid4().hex,
        database_url=database_url,
        redis_url=redis_url,
        regions=settings.region_ids,
        persistence_actors=settings.persistence_actors,
        gateways=settings.gateways,
        clock=clock,
        jwt_secret=settings.jwt_key(),
        jwt_ttl_s=settings.jwt_ttl_s,
        internal_token=settings.internal_key(),
        metrics_token=settings.metrics_key(),
        host=settings.host,
        port=settings.port,
        web_dist=str(WEB_DIST) if WEB_DIST.is_dir() else None,
        tile_url=settings.tile_url,
        allowed_origins=settings.origins,
        log_level=settings.log_level,
        otlp_endpoint=settings.otel_exporter_otlp_endpoint,
        trace_sample=settings.trace_sample,
        identity_vendor=settings.identity_vendor,
        payment_vendor=settings.payment_vendor,
        event_bus_vendor=settings.event_bus_vendor,
        vendor_options={port: settings.options_of(port) for port in PORTS},
        ops_open=ops_open or settings.ops_open,
        record_dir=str(settings.record_dir.absolute()) if settings.record_dir is not None else None,
        policy=policy_of(settings),
        policies=policies_of(settings, policy_of(settings)),
        roads=road_options(settings),
        limits=Limits(**limits),
    )


def policy_of(settings: Settings) -> RegionPolicy:
    """What regions live by: the settings of the same names; offers are explained where explanations are kept."""
    names = (name for name in RegionPolicy.__struct_fields__ if hasattr(settings, name))
    given = {name: getattr(settings, name) for name in names}
    given["geofence"] = None
    if settings.geofenced:
        given["geofence"] = Geofence(
            store_m=settings.geofence_store_m,
            door_m=settings.geofence_door_m,
            return_m=settings.geofence_return_m,
            position_age_s=settings.geofence_age_s,
        )
    given["travel"] = travel_model(settings.travel_table)
    return RegionPolicy(**given | {"explain": settings.explain_keep_s > 0})


def policies_of(settings: Settings, base: RegionPolicy) -> dict[str, RegionPolicy]:
    """Of the markets that have a policy of their own. `StartError` for a file that cannot be used."""
    if settings.region_policies is None:
        return {}
    try:
        return load_policies(settings.region_policies, settings.region_ids, base)
    except PolicyError as error:
        raise StartError(str(error)) from None


async def _keep_running(embedded: Embedded | None, clock: ServerClock, progress: Progress) -> None:
    """Bring an embedded database that died back, at the same address, and tell when the machine's clock was set."""
    told_s = 0.0
    while True:
        await asyncio.sleep(WATCH_EVERY_S)
        moved_s = clock.wall_moved_s()
        if abs(moved_s - told_s) > CLOCK_MOVED_S:
            progress(
                f"the machine's clock was set by {moved_s - told_s:+.0f} s: the server's goes on as it was until the"
                " next start"
            )
            told_s = moved_s
        if embedded is None:
            continue
        try:
            for name in await asyncio.to_thread(embedded.ensure_running):
                progress(f"{name} had stopped and was started again")
        except EmbeddedError as error:
            progress(str(error))


def _require_own_stores(settings: Settings) -> None:
    """Other nodes cannot reach the embedded databases, which answer on the loopback interface only."""
    for name, url in (("DATABASE_URL", settings.database_url), ("REDIS_URL", settings.redis_url)):
        if url is None:
            raise StartError(f"--address needs {name}: the embedded one cannot be reached by other nodes.")


def _require_free_port(host: str, port: int) -> None:
    if not _is_free(host, port):
        raise StartError(f"Port {port} on {host} cannot be used. Give another with --port.")


def _require_writable(folder: Path) -> None:
    """Make the folder for logs; it will hold people's whereabouts, so it is its owner's alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StartError(
            f"Nothing can be recorded in {folder}: {error.strerror}. Give another folder with --record."
        ) from None


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until_signalled() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
