"""Starting and stopping the Ray cluster and its actors: the one bootstrapper."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

# Read by Ray's processes when they start, so they are set before Ray is imported. Names and values: ADR 0003.
RAY_ENVIRONMENT = {
    "RAY_worker_niceness": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
    # "No cluster beyond this machine", whatever the variable's name says: every port of Ray is then on loopback, where
    # the dashboard opens without a token.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
for _name, _value in RAY_ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402

from actors.config import CONFIG_FILE_ENV, Config  # noqa: E402
from actors.remote import PersistenceActor, RegionActor, start_actor, warm_up  # noqa: E402
from gateway.server import GatewayServer  # noqa: E402


class GatewayActor(GatewayServer):
    """`gateway:<n>`: serves from its construction on, also after a restart."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._starting = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        try:
            await self.start()
        except Exception:
            logging.getLogger(__name__).exception("the gateway cannot serve")
            os._exit(1)  # Ray tries again

    async def started(self) -> int:
        """Wait until the gateway serves; returns this process's id."""
        await self._starting
        return os.getpid()


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
        progress("starting the actors")
        self._start("persistence:0", PersistenceActor, "persistence:0")
        for region_id in self.config.regions:
            self._start(f"region:{region_id}", RegionActor, region_id)
        self._start("gateway:0", GatewayActor, "gateway:0")
        await asyncio.wait_for(asyncio.gather(self._all("started"), warm_up()), START_TIMEOUT_S)

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
