"""Starting a Ray cluster or joining one, and the server's actors in it: the one bootstrapper (ADR 0003, 0015)."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import ray
from msgspec.structs import replace

from actors.config import CONFIG_FILE_ENV, Config
from actors.remote import (
    RESIDENTS,
    PersistenceActor,
    RegionActor,
    publish_config,
    published_config,
    residents,
    start_actor,
    warm_up,
    withdraw_config,
)
from doorstep.settings import NODE_KINDS
from gateway.actor import GatewayActor

Progress = Callable[[str], None]

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0  # beside what a gateway may take to drain
LOOK_EVERY_S = 2.0  # for nodes that came
OBJECT_STORE_BYTES = 200 * 2**20  # solver requests and plans only

_log = logging.getLogger(__name__)


class ClusterError(Exception):
    """The Ray cluster cannot be used; the message says what to do."""


class Cluster:
    """The server's actors, in a Ray cluster of this machine's own or in one that is joined."""

    def __init__(
        self,
        config: Config,
        *,
        config_file: Path,
        dashboard_port: int,
        address: str | None = None,
        node_kinds: str = "auto",
    ) -> None:
        """`address`: of the cluster to join, as host:port or `auto`; None starts one. `node_kinds`: see the setting."""
        self.config = config
        self._config_file, self._dashboard_port = config_file, dashboard_port
        self._address, self._node_kinds = address, node_kinds
        self._actors: dict[str, Any] = {}
        self._growing: asyncio.Task[None] | None = None
        self._serves = self._adopted = False
        self.dashboard_url = ""
        self.gateway_hosts: list[str] = []  # nodes that carry gateways, where such are set apart

    async def start(self, progress: Progress) -> None:
        """Bring up Ray and every actor that is not there yet, and wait until all of them serve.

        `TimeoutError` after a minute, `ClusterError` when the cluster cannot be joined or lacks a kind of node.
        """
        if self._address is None:
            await self._own(progress)
        else:
            await self._join(self._address, progress)
        progress("starting the actors")
        await asyncio.to_thread(self._start_missing)
        async with asyncio.timeout(START_TIMEOUT_S):
            *_, warm = await asyncio.gather(
                *(actor.started.remote() for actor in self._actors.values()), warm_up(self.config)
            )
        if not warm:
            progress(
                "no node has a processor slot for solves: until one comes (--num-cpus), no offers are made"
            )
        self._serves = True
        if "gateway" in self.config.placed:
            self._growing = asyncio.create_task(self._grow(progress), name="grow")

    async def _own(self, progress: Progress) -> None:
        self.config.save(self._config_file)
        os.environ[CONFIG_FILE_ENV] = str(self._config_file.absolute())
        progress("starting the Ray cluster")
        logging.getLogger("ray").setLevel(logging.ERROR)  # it minds being started in a thread
        context = await asyncio.to_thread(
            ray.init,
            address="local",
            namespace=self.config.namespace,
            num_cpus=max(2, os.cpu_count() or 1),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=True,
            dashboard_host=LOOPBACK,
            dashboard_port=self._dashboard_port,
            log_to_driver=False,
            configure_logging=False,
        )
        # Ray has put a handler of its own in place, which aborts the process: databases would be left running.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        self.dashboard_url = context.dashboard_url or ""
        # For `doorstep restart`, `ray status --address` and the like, where several clusters run on one machine.
        address_file(self._config_file.parent).write_text(ray.get_runtime_context().gcs_address + "\n")

    async def _join(self, address: str, progress: Progress) -> None:
        progress(f"joining the Ray cluster at {address}")
        self.dashboard_url = await asyncio.to_thread(join, address, self.config.namespace)
        _require_token(self.config.environment)
        names, text = await asyncio.to_thread(self._found)
        if names and text is not None:
            # Actors that run were given it, the server's clock among it, and new ones must agree with them.
            self.config, self._adopted = msgspec.json.decode(text, type=Config), True
            progress(f"found {len(names)} actors: they and their configuration stay as they are")
            return
        self.config = replace(self.config, placed=await self._kinds(progress))
        await asyncio.to_thread(publish_config, self.config)

    def _found(self) -> tuple[list[str], bytes | None]:
        return residents(self.config.namespace), published_config(self.config.namespace)

    async def _kinds(self, progress: Progress) -> tuple[str, ...]:
        """The kinds of actors and tasks that have nodes of their own. Those that the setting names are waited for."""
        wanted = [kind for kind in self._node_kinds.split(",") if kind in NODE_KINDS]
        has = await asyncio.to_thread(_resources)
        if self._node_kinds == "auto":
            return tuple(kind for kind in NODE_KINDS if kind in has)
        if missing := [kind for kind in wanted if kind not in has]:
            progress(f"waiting for nodes that carry {', '.join(missing)}")
        with suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while any(kind not in has for kind in wanted):
                    await asyncio.sleep(LOOK_EVERY_S)
                    has = await asyncio.to_thread(_resources)
        if missing := [kind for kind in wanted if kind not in has]:
            raise ClusterError(
                f"No node of the cluster carries the resource {missing[0]}, which NODE_KINDS names:"
                f""" start one with `ray start --resources='{{"{missing[0]}": 1}}'`."""
            )
        return tuple(wanted)

    def _start_missing(self) -> list[str]:
        """Start what is not there yet; returns the names that are new to this process."""
        config, gateways = self.config, self.config.gateways
        if "gateway" in config.placed:
            gateways = int(_resources().get("gateway", 0) * config.gateways)
            self.gateway_hosts = [
                node["NodeManagerAddress"]
                for node in ray.nodes()  # type: ignore[no-untyped-call]
                if node["Alive"] and "gateway" in node["Resources"]
            ]
        wanted: dict[str, tuple[type[Any], str]] = {
            **{name: (PersistenceActor, name) for name in config.persistence_names},
            **{f"region:{region_id}": (RegionActor, region_id) for region_id in config.regions},
            **{f"gateway:{number}": (GatewayActor, f"gateway:{number}") for number in range(gateways)},
        }
        new = [name for name in wanted if name not in self._actors]
        for name in new:
            cls, argument = wanted[name]
            self._actors[name] = start_actor(cls, name, argument, config=config)
        return new

    async def _grow(self, progress: Progress) -> None:
        """Give nodes that come later their gateways. A node that goes leaves its own waiting for the next one."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if new := await asyncio.to_thread(self._start_missing):
                    progress(f"a node came: starting {', '.join(new)}")
            except Exception as error:
                _log.warning("cannot look for new nodes: %s: %s", type(error).__name__, error)

    async def stop(self, progress: Progress, *, detach: bool = False) -> None:
        """Drain in the order in which work flows: sockets first, then regions, then the store. Bounded in time.

        `detach`: let go of a joined cluster and leave the actors to serve.
        """
        if self._growing is not None:
            self._growing.cancel()
        if self._adopted if not self._serves else detach:  # one who failed to join stops nobody's server
            progress("the actors go on serving")
        else:
            progress("draining")
            await drain(self._actors, self.config)
            if self._address is not None and ray.is_initialized():
                await asyncio.to_thread(remove, self._actors, self.config.namespace)
        await asyncio.to_thread(ray.shutdown)


def _resources() -> dict[str, float]:
    """Of all nodes that live, by name."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources


def join(address: str, namespace: str) -> str:
    """Make this process a client of a running Ray cluster; returns where its dashboard is. `ClusterError`."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        context = ray.init(address=address, namespace=namespace, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ClusterError(
            f"The Ray cluster at {address} cannot be joined ({type(error).__name__}). One of its nodes must run on"
            " this machine (`ray start --address=HOST:PORT`), with RAY_AUTH_MODE and the token of the cluster."
        ) from error
    return context.dashboard_url or ""


async def drain(actors: dict[str, Any], config: Config) -> None:
    """Let actors, given by name, end what they have under way, kind by kind in the order in which work flows."""
    for kind in RESIDENTS:
        stopping = [actor.stop.remote() for name, actor in actors.items() if name.startswith(f"{kind}:")]
        with suppress(Exception):
            await asyncio.wait_for(asyncio.gather(*stopping), stop_timeout_s(config))


def remove(actors: dict[str, Any], namespace: str) -> None:
    """End these actors for good, and forget what they were configured with."""
    for actor in actors.values():
        ray.kill(actor)
    withdraw_config(namespace)


def stop_timeout_s(config: Config) -> float:
    """Seconds of wall time after which an actor that was told to stop is not waited for any more."""
    return STOP_TIMEOUT_S + 2 * config.limits.drain_s


def address_file(data_dir: Path) -> Path:
    """Where a server that has a Ray cluster of its own writes its address."""
    return data_dir / "ray_address"


def _require_token(environment: str) -> None:
    """In production a cluster that takes anybody who reaches its ports is none to join."""
    host = ray.get_runtime_context().gcs_address.rpartition(":")[0]
    open_to_all = os.environ.get("RAY_AUTH_MODE") != "token" and host not in (LOOPBACK, "localhost", "::1")
    if open_to_all and environment == "production":
        raise ClusterError(
            f"The Ray cluster at {host} runs whatever reaches its ports. In production set RAY_AUTH_MODE=token on"
            " every node and here, with one token (docs/cluster.md)."
        )
