"""The gateway's life: bind, serve, drain, stop. A plain class; `actors/remote.py` makes it an actor."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import structlog
import uvicorn

from actors.config import Config, load_config
from actors.logs import configure
from actors.vendors import identity_vendor, payment_vendor
from domain.messages import Kick, Push
from gateway.actor_backend import ActorBackend
from gateway.app import build_app
from gateway.cluster import connect
from gateway.connection import CLOSE_RESTARTING
from gateway.services import Services, assemble
from persistence.reads import Reads

_log = structlog.stdlib.get_logger(__name__)

DRAIN_S = 5.0  # wall seconds that sockets and requests get to end by themselves
BACKLOG = 4096
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
        self._flushing: asyncio.Task[None] | None = None
        self._reads: Reads | None = None

    async def start(self) -> None:
        """Load the configuration, bind and serve; returns once connections are accepted. `OSError`: port taken."""
        if self._serving is not None and not self._serving.done():
            return
        config = load_config()
        configure(config.log_level)
        listener = listen(config.host, config.port)
        try:
            self._reads = Reads.connect(
                config.database_url,
                pool_size=config.limits.db_pool_size,
                statement_timeout_s=config.limits.db_statement_timeout_s,
                connect_timeout_s=config.limits.db_connect_timeout_s,
            )
            self._cluster = connect(config)
            self.services = assemble(
                config,
                self.name,
                backend=self._cluster,
                reads=self._reads,
                identity=identity_vendor(config),
                payment=payment_vendor(config),
            )
            self.services.metrics.gauge(
                "doorstep_calls_retried", "Calls to actors that were repeated", self._cluster.retries
            )
            self._flushing = asyncio.create_task(self.services.pings.run(), name="pings")
            self._server = _Uvicorn(_uvicorn_config(self.services, config))
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

    async def drain(self) -> None:
        """Stop accepting, close every socket with 1012, let requests end; at most twice `DRAIN_S`."""
        if self._server is None or self._serving is None or self.services is None:
            return
        for server in getattr(self._server, "servers", ()):
            server.close()
        await self.services.feeds.close()
        for driver_socket in list(self.services.open_sockets):
            driver_socket.close(CLOSE_RESTARTING, "the server restarts")
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + DRAIN_S
        while self.services.open_sockets and loop.time() < give_up_s:  # noqa: ASYNC110 - once in a life
            await asyncio.sleep(0.02)
        self._server.should_exit = True
        await asyncio.wait([self._serving], timeout=DRAIN_S)
        _log.info("gateway drained", gateway=self.name, sockets_left=len(self.services.open_sockets))

    async def stop(self) -> None:
        """Drain and let everything go."""
        await self.drain()
        for task in (self._serving, self._flushing):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._cluster is not None:
            await self._cluster.close()
        if self._reads is not None:
            await self._reads.close()
        self._serving = self._flushing = self._server = self._cluster = self._reads = self.services = None


def _uvicorn_config(services: Services, config: Config) -> uvicorn.Config:
    limits = config.limits
    return uvicorn.Config(
        build_app(services),
        http="httptools",
        ws="websockets-sansio",
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
        timeout_keep_alive=30,
        timeout_graceful_shutdown=round(DRAIN_S),
    )


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
