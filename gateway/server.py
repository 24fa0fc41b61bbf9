"""The gateway's life: bind, serve, drain, stop. A plain class; `actors/remote.py` makes it an actor."""

from __future__ import annotations

import asyncio
import contextlib
import math
import resource
import socket
from collections.abc import Iterator
from functools import partial

import structlog
import uvicorn
from fastapi import FastAPI

from actors.config import Config, load_config
from actors.telemetry import tracing
from actors.telemetry.logs import configure
from actors.telemetry.metrics import Family, Process
from actors.vendors import identity_vendor, payment_vendor
from domain.protocol import CLOSE_RESTARTING
from domain.region.messages import Kick, Push
from gateway.app import build_app
from gateway.deciders.actor_backend import ActorBackend
from gateway.deciders.ray import connect, others
from gateway.http.listener.server import bounded_requests
from gateway.rest.apidocs import described
from gateway.services import Services, assemble
from gateway.sockets.server import bounded_socket
from persistence.marketplace.carry_out import Marketplace
from persistence.reads.reads import Reads

_log = structlog.stdlib.get_logger(__name__)

BACKLOG = 4096
FILES_SPARE = 1_000  # open files of a gateway besides its drivers' sockets
RETIRE_AT_ONCE = 100  # sockets, before others get their turn
# A peer that takes nothing for so long is gone: without it a stuck connection would outlive its close.
TCP_USER_TIMEOUT_MS = 30_000


class _Uvicorn(uvicorn.Server):
    """Signals belong to the process that owns the cluster, not to an actor in it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class GatewayServer:
    """One gateway, named `gateway:<n>`. `start` again after a restart of its process; everything else comes back."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.services: Services | None = None
        self._cluster: ActorBackend | None = None
        self._server: _Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None
        self._works: list[asyncio.Task[None]] = []  # for ever in the background
        self._reads: Reads | None = None
        self.process: Process | None = None

    async def start(self) -> None:
        """Load the configuration, bind and serve; returns once connections are accepted. `OSError`: port taken."""
        if self._serving is not None and not self._serving.done():
            return
        config = load_config()
        configure(config.log_level)
        tracing.configure(config, self.name)
        listener = listen(config.host, config.port)
        try:
            self._reads = Reads.connect(
                config.database_url,
                pool_size=config.limits.db_pool_size,
                statement_timeout_s=config.limits.db_statement_timeout_s,
                connect_timeout_s=config.limits.db_connect_timeout_s,
                lock_timeout_s=config.limits.db_lock_timeout_s,
                idle_timeout_s=config.limits.db_idle_timeout_s,
                name=f"doorstep {self.name}",
            )
            self._cluster = connect(config)
            self.services = assemble(
                config,
                self.name,
                backend=self._cluster,
                reads=self._reads,
                marketplace=Marketplace(self._reads.engine),
                identity=identity_vendor(config),
                payment=payment_vendor(config),
                others=others(config, self.name),
            )
            self.process = Process(self.name)
            self.process.watch()
            self.services.metrics.add(self.process.figures)
            self.services.metrics.add(partial(self._cluster.figures, {"gateway": self.name}))
            sockets, connections = room_for(
                config.limits.ws_sockets_limit, config.limits.http_connections_limit
            )
            self.services.admission.leave_room(sockets)
            self.services.connections.limit = connections
            for work in (
                self.services.pings,
                self.services.admission,
                self.services.recheck,
                self.services.connections,
            ):
                self._works.append(asyncio.create_task(work.run(), name=type(work).__name__))
            app = build_app(self.services)
            described(app)
            self._server = _Uvicorn(_uvicorn_config(app, self.services, config))
            self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="uvicorn")
            while not self._server.started:
                if self._serving.done():
                    self._serving.result()
                    raise RuntimeError("the HTTP server ended before it began")
                await asyncio.sleep(0.01)
        except BaseException:
            listener.close()
            raise
        _log.info("gateway serving", gateway=self.name, host=config.host, port=config.port)

    async def push(self, batch: list[Push | Kick]) -> None:
        """Hand a region's pushes to their sockets. Nothing is awaited before, so calls keep their order."""
        if self.services is not None:
            self.services.hub.deliver(batch)

    def figures(self) -> list[Family]:
        """This gateway's numbers, for the page of another one and for Ray."""
        return self.services.metrics.figures() if self.services is not None else []

    async def drain(self) -> None:
        """Stop accepting, close every socket with 1012 once it has its answers, let requests end.

        Sockets get `drain_s`, the last fifth of it without waiting for answers, and requests as much after them.
        Clients are told to come again spread over `drain_spread_s`.
        """
        if self._server is None or self._serving is None or self.services is None:
            return
        services, drain_s = self.services, self.services.config.limits.drain_s
        until_s = asyncio.get_running_loop().time() + drain_s
        services.admission.draining = True
        for server in getattr(self._server, "servers", ()):
            server.close()
        await services.feeds.close()
        for number, driver_socket in enumerate(list(services.open_sockets)):
            if number % RETIRE_AT_ONCE == 0:
                services.pings.flush()  # in batches; what a socket has not sent when it closes goes by itself
                await asyncio.sleep(0)
            driver_socket.retire(services.admission.restart_reason())
        await self._closed_by(until_s - drain_s / 5)
        for driver_socket in list(services.open_sockets):
            driver_socket.close(CLOSE_RESTARTING, services.admission.restart_reason())
        await self._closed_by(until_s)
        self._server.should_exit = True
        await asyncio.wait([self._serving], timeout=drain_s)
        _log.info("gateway drained", gateway=self.name, sockets_left=len(services.open_sockets))

    async def _closed_by(self, until_s: float) -> None:
        """Wait for the last socket to close, until then on the event loop's clock."""
        loop = asyncio.get_running_loop()
        assert self.services is not None
        while self.services.open_sockets and loop.time() < until_s:  # noqa: ASYNC110 - once in a life
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Drain and let everything go."""
        await self.drain()
        for task in (self._serving, *self._works):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self.services is not None:
            await self.services.limiter.close()
        if self.process is not None:
            self.process.stop()
        await asyncio.to_thread(tracing.stop)
        if self._cluster is not None:
            await self._cluster.close()
        if self._reads is not None:
            await self._reads.close()
        self._works.clear()
        self._serving = self._server = self._cluster = self._reads = self.services = None


def _uvicorn_config(app: FastAPI, services: Services, config: Config) -> uvicorn.Config:
    limits = config.limits
    return uvicorn.Config(
        app,
        http=bounded_requests(services.connections),
        ws=bounded_socket(limits.ws_write_buffer_bytes, limits.ws_fragments_limit),
        # Somewhat more than the protocol allows: a frame just over the limit is then closed with 1009 in good order,
        # after it was read, and only a much larger one is cut off unread.
        ws_max_size=4 * limits.ws_max_frame_bytes,
        ws_ping_interval=limits.ws_heartbeat_s,
        ws_ping_timeout=limits.ws_heartbeat_s,
        ws_per_message_deflate=False,  # frames are small; a compressor for each of ten thousand sockets is not
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whom to believe about addresses is TRUSTED_PROXIES' business
        # Idle connections are `connection_limits`' business: this is longer than all its times together.
        timeout_keep_alive=1
        + math.ceil(limits.http_idle_timeout_s + limits.http_head_timeout_s + limits.http_body_timeout_s),
        timeout_graceful_shutdown=max(1, round(limits.drain_s)),
    )


def room_for(sockets: int, connections: int) -> tuple[int, int]:
    """How many of so many sockets and other connections may be open in this process, whose limit of open files is
    raised as far as it may be. Beyond that limit nothing could be accepted, not even to be turned away."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = sockets + connections + FILES_SPARE
    if resource.RLIM_INFINITY != soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= files:
        return sockets, connections
    room = max(2, soft - FILES_SPARE)
    connections = min(connections, max(1, room // 4))
    fits = min(sockets, room - connections)
    if fits < sockets:
        _log.warning("fewer sockets than WS_SOCKETS_LIMIT: open files are limited", sockets=fits, files=soft)
    return fits, connections


def listen(host: str, port: int) -> socket.socket:
    """A bound socket that several gateways of a node may share. `OSError` when somebody else has the port."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
