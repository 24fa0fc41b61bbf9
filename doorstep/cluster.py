"""Starting and stopping the Ray cluster and its actors: the one bootstrapper."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray

from actors.config import CONFIG_FILE_ENV, Config
from actors.remote import PersistenceActor, RegionActor, start_actor, warm_up
from gateway.actor import GatewayActor

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
OBJECT_STORE_BYTES = 200 * 2**20  # solver requests and plans only


class Cluster:
    """A Ray cluster on this machine and the server's actors in it."""

    def __init__(self, config: Config, config_file: Path, dashboard_port: int) -> None:
        self.config = config
        self._config_file, self._dashboard_port = config_file, dashboard_port
        self._actors: dict[str, Any] = {}
        self.dashboard_url = ""

    async def start(self, progress: Callable[[str], None]) -> None:
        """Start Ray and every actor, and wait until all of them serve. `TimeoutError` after a minute."""
        self.config.save(self._config_file)
        os.environ[CONFIG_FILE_ENV] = str(self._config_file.absolute())
        progress("starting the Ray cluster")
        logging.getLogger("ray").setLevel(logging.ERROR)  # it minds being started in a thread
        context = await asyncio.to_thread(
            ray.init,
            namespace=self.config.namespace,
            num_cpus=max(2, os.cpu_count() or 1),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=True,
            dashboard_host=LOOPBACK,
            dashboard_port=self._dashboard_port,
            log_to_driver=False,
            configure_logging=False,
        )
        self.dashboard_url = context.dashboard_url or ""
        # For `ray status --address` and the like, where several clusters run on one machine.
        address_file = self._config_file.with_name("ray_address")
        address_file.write_text(ray.get_runtime_context().gcs_address + "\n")
        progress("starting the actors")
        self._start("persistence:0", PersistenceActor, "persistence:0")
        for region_id in self.config.regions:
            self._start(f"region:{region_id}", RegionActor, region_id)
        self._start("gateway:0", GatewayActor, "gateway:0")
        await asyncio.wait_for(
            asyncio.gather(self._all("started"), warm_up(self.config.policy.solver)), START_TIMEOUT_S
        )

    def _start(self, name: str, cls: type[Any], *args: object) -> None:
        self._actors[name] = start_actor(cls, name, *args, namespace=self.config.namespace)

    async def _all(self, method: str) -> None:
        await asyncio.gather(*(getattr(actor, method).remote() for actor in self._actors.values()))

    async def stop(self, progress: Callable[[str], None]) -> None:
        """Drain in the order in which work flows: sockets first, then regions, then the store. Bounded in time."""
        progress("draining")
        for prefix in ("gateway:", "region:", "persistence:"):
            stopping = [
                actor.stop.remote() for name, actor in self._actors.items() if name.startswith(prefix)
            ]
            with suppress(Exception):
                await asyncio.wait_for(asyncio.gather(*stopping), STOP_TIMEOUT_S)
        await asyncio.to_thread(ray.shutdown)
