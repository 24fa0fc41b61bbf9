"""The gateway as an actor lives it: serving from construction on."""

from __future__ import annotations

import asyncio
import logging
import os

from actors.garbage import tune
from actors.remote import export, fetch_config, life
from gateway.server import GatewayServer


class GatewayActor(GatewayServer):
    """`gateway:<n>`: serves from its construction on, also after a restart."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        fetch_config()
        self._starting = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        try:
            await self.start()
            tune()
            self._exporting = asyncio.get_running_loop().create_task(export(self.figures))
        except Exception:
            logging.getLogger(__name__).exception("the gateway cannot serve")
            os._exit(1)  # Ray tries again

    async def started(self) -> str:
        """Wait until the gateway serves; returns which process it is."""
        await self._starting
        return life()
