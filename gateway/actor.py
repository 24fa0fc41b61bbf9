"""The gateway as an actor lives it: serving from construction on.

Whoever looks an actor up by its name imports the module of its class, and Ray lets nothing else be unpickled in that
process meanwhile: a region that sends its first push would stand still until it had all of a web server. So what a
gateway is made of is imported where one is made.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from actors.garbage import tune
from actors.remote import Heart, export, fetch_config, life
from actors.telemetry.metrics import Family
from domain.region.messages import Kick, Push

if TYPE_CHECKING:
    from gateway.server import GatewayServer


class GatewayActor(Heart):
    """`gateway:<n>`: serves from its construction on, also after a restart."""

    def __init__(self, name: str) -> None:
        from gateway.server import GatewayServer

        self._server = GatewayServer(name)
        fetch_config()
        self._starting = asyncio.get_running_loop().create_task(self._serve(self._server))

    async def _serve(self, server: GatewayServer) -> None:
        try:
            await server.start()
            self._heart = server.process
            tune()
            self._exporting = asyncio.get_running_loop().create_task(export(server.figures))
        except Exception:
            logging.getLogger(__name__).exception("the gateway cannot serve")
            os._exit(1)  # Ray tries again

    async def started(self) -> str:
        """Wait until the gateway serves; returns which process it is."""
        await self._starting
        return life()

    async def push(self, batch: list[Push | Kick]) -> None:
        """See `GatewayServer`."""
        await self._server.push(batch)

    def figures(self) -> list[Family]:
        """See `GatewayServer`."""
        return self._server.figures()

    async def stop(self) -> None:
        """See `GatewayServer`."""
        await self._server.stop()
