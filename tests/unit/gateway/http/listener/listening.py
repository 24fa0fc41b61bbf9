"""A gateway that listens on a port of its own, in the test's process, and raw connections to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.server import _Uvicorn, _uvicorn_config
from tests.support.gateway_world import World, running, until


@asynccontextmanager
async def serving(app: Any = None, **changes: Any) -> AsyncIterator[tuple[World, int]]:
    """A gateway on a port of its own, in this process."""
    async with running(**changes) as world, listening(world, app) as port:
        yield world, port


@asynccontextmanager
async def listening(world: World, app: Any = None) -> AsyncIterator[int]:
    """The port on which the world's gateway listens."""
    config = _uvicorn_config(app or world.app, world.services, world.services.config)
    server = _Uvicorn(config)
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    watching = asyncio.create_task(world.services.connections.run())
    await until(lambda: server.started)
    try:
        yield listener.getsockname()[1]
    finally:
        watching.cancel()
        server.should_exit = True
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await serving


class Line:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int, data: bytes = b"") -> Line:
        line = cls(*await asyncio.open_connection("127.0.0.1", port))
        line.writer.write(data)
        return line

    async def rest(self) -> bytes:
        """All that comes until the other side ends."""
        async with asyncio.timeout(20):
            data = await self.reader.read()
        self.writer.close()
        return data
