"""Starting a Ray cluster or joining one, the server's actors in it, and watching over all of it: the one bootstrapper
(ADR 0003, 0015, 0017). It lives in the process of `doorstep/cluster/head.py`."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
import ray
from msgspec.structs import replace

from actors.config import CONFIG_FILE_ENV, Config
from actors.remote import (
    RESIDENTS,
    PersistenceActor,
    RegionActor,
    kill_worker,
    publish_config,
    published_config,
    residents,
    start_actor,
    warm_up,
    withdraw_config,
)
from actors.remote import replace as replace_actor
from doorstep.cluster.heartbeat import Frozen, Heard, Pulse
from doorstep.cluster.session import Session
from doorstep.cluster.supervisor import START_TIMEOUT_S, stop_timeout_s
from doorstep.data_folder import forget_sessions, write_private
from doorstep.settings.cluster import NODE_KINDS
from doorstep.settings.secret_files import ray_token_file
from gateway.actor import GatewayActor

Progress = Callable[[str], None]

LOOPBACK = "127.0.0.1"
LOOK_EVERY_S = 2.0  # for nodes that came
HELPERS_NICENESS = 10  # of Ray's dashboard
OBJECT_STORE_BYTES = 200 * 2**20  # solver requests and plans only

# Processes of Ray's own whose end is the cluster's.
VITAL = {"gcs_server": "Ray's GCS", "raylet": "Ray's raylet"}
# Workers that anybody may be given for a solve; agents of Ray's have titles of their own.
POOLED = ("ray::IDLE", "ray::solve_task", "ray::piece_task", "ray::warm_task")

_log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """A question to Ray's head, whether it counts this node in, and when it was asked."""

    answer: asyncio.Future[bool]
    at_s: float


class ClusterLost(Exception):
    """The cluster has ended or does not answer; the message says which part of it."""


class ClusterError(Exception):
    """The Ray cluster cannot be used; the message says what to do."""


class Cluster:
    """The server's actors, in a Ray cluster of this machine's own or in one that is joined."""

    def __init__(
        self,
        config: Config,
        *,
        data_dir: Path,
        ray_folder: str | None,
        dashboard_port: int,
        address: str | None = None,
        node_kinds: str,
        session: Session | None = None,
        lost: int = 0,
    ) -> None:
        """`address`: of the cluster to join, as host:port or `auto`; None starts one, with its sockets and logs in
        `ray_folder`. `node_kinds`: see the setting. `session`: this process's; `lost`: clusters before this one that
        were lost."""
        self.config = config
        self._data_dir, self._ray_folder, self._dashboard_port = data_dir, ray_folder, dashboard_port
        self._address, self._node_kinds = address, node_kinds
        self._session, self._lost = session, lost
        self._actors: dict[str, Any] = {}
        self._vital: dict[int, str] = {}
        self._watched: dict[str, asyncio.Task[None]] = {}
        self._asked: Asked | None = None
        self._growing: asyncio.Task[None] | None = None
        self._serves = self._adopted = False
        self.dashboard_url = ""
        self.gateway_hosts: list[str] = []  # nodes that carry gateways, where such are set apart

    async def start(self, progress: Progress) -> None:
        """Bring up Ray and every actor that is not there yet, and wait until all of them serve.

        `TimeoutError` after a minute, `ClusterError` when the cluster cannot be joined or lacks a kind of node,
        `ClusterLost` when its own ends meanwhile.
        """
        if self._address is None:
            await self._own(progress)
        else:
            await self._join(self._address, progress)
        progress("starting the actors")
        await asyncio.to_thread(self._start_missing)
        async with asyncio.timeout(START_TIMEOUT_S):
            starting = asyncio.gather(
                *(actor.started.remote() for actor in self._actors.values()), warm_up(self.config)
            )
            while not (await asyncio.wait((starting,), timeout=self.config.limits.heartbeat_s))[0]:
                self._require_cluster()
            *_, warm = starting.result()
        if not warm:
            progress(
                "no node has a processor slot for solves: until one comes (--num-cpus), no offers are made"
            )
        self._serves = True
        if "gateway" in self.config.placed:
            self._growing = asyncio.create_task(self._grow(progress), name="grow")

    async def _own(self, progress: Progress) -> None:
        config_file = self._data_dir / "config.json"
        self.config.save(config_file)
        os.environ[CONFIG_FILE_ENV] = str(config_file.absolute())
        progress("starting the Ray cluster")
        if self._ray_folder is not None:
            await asyncio.to_thread(forget_sessions, Path(self._ray_folder))
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
            _temp_dir=self._ray_folder,
        )
        self.dashboard_url = context.dashboard_url or ""
        children = psutil.Process().children()
        self._vital = {child.pid: VITAL[child.name()] for child in children if child.name() in VITAL}
        _yield_to_actors([child for child in children if child.pid not in self._vital])
        # For `doorstep restart`, `ray status --address` and the like, where several clusters run on one machine.
        write_private(address_file(self._data_dir), ray.get_runtime_context().gcs_address + "\n")

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

    # -- watching ------------------------------------------------------------------------------------------------------

    async def watch(self, progress: Progress, beat: Callable[[], None]) -> None:
        """Look after everything for ever; `beat` after each look that found the cluster there. `ClusterLost` when it is
        not: a joined one is away where its node on this machine is, since its head may come back."""
        limits, frozen = self.config.limits, Frozen(self.config.limits.silent_s)
        while True:
            for name in self._actors:
                if name not in self._watched:
                    self._watched[name] = asyncio.create_task(self._pulse(name, progress).watch(), name=name)
            if self._session is not None:
                for pid in frozen.look(time.monotonic(), _stopped(self._session)):
                    progress(f"a solver's process stood still for {limits.silent_s:g} s and is ended")
                    kill_worker(pid)
            self._require_cluster()
            beat()
            await asyncio.sleep(limits.heartbeat_s)

    def _require_cluster(self) -> None:
        """`ClusterLost` when a process of Ray's own has ended, when its head has not answered for too long, or when it
        has given this node up, as it does with one whose raylet is frozen. One question is under way at a time."""
        for pid, what in self._vital.items():
            if not _lives(pid):
                raise ClusterLost(f"{what} has ended")
        now_s, silent_s = time.monotonic(), self.config.limits.silent_s
        asked, self._asked = self._asked, None
        if asked is not None and not asked.answer.done():
            if self._address is None and now_s - asked.at_s > silent_s:
                raise ClusterLost(f"Ray's GCS has not answered for {silent_s:g} s")
            self._asked = asked
            return
        if asked is not None and asked.answer.exception() is None and not asked.answer.result():
            raise ClusterLost("Ray's node on this machine is given up")
        node_id = ray.get_runtime_context().get_node_id()
        self._asked = Asked(asyncio.ensure_future(asyncio.to_thread(_alive, node_id)), now_s)

    def _pulse(self, name: str, progress: Progress) -> Pulse:
        actor = self._actors[name]

        async def ask(replaced: int) -> Heard:
            return Heard(*await actor.beat.remote(replaced))

        async def end(heard: Heard | None) -> None:
            await replace_actor(actor, heard.node_id if heard else None, heard.pid if heard else 0)

        return Pulse(
            name, ask, end, progress, self.config.limits, start_s=START_TIMEOUT_S, replaced=self._lost
        )

    async def stop(self, progress: Progress, *, detach: bool = False) -> None:
        """Drain in the order in which work flows: sockets first, then regions, then the store. Bounded in time.

        `detach`: let go of a joined cluster and leave the actors to serve.
        """
        for task in (self._growing, *self._watched.values()):
            if task is not None:
                task.cancel()
        if self._adopted if not self._serves else detach:  # one who failed to join stops nobody's server
            progress("the actors go on serving")
        else:
            progress("draining")
            await drain(self._actors, self.config)
            if self._address is not None and ray.is_initialized():
                await asyncio.to_thread(remove, self._actors, self.config.namespace)
        if self._address is not None:  # a cluster of its own is ended from outside
            await asyncio.to_thread(ray.shutdown)


def _yield_to_actors(helpers: list[psutil.Process]) -> None:
    """Ray's dashboard is a dozen processes that load at the same time as the actors, which have the right of way."""
    for helper in helpers:
        for process in (helper, *helper.children(recursive=True)):
            with suppress(psutil.Error):
                process.nice(HELPERS_NICENESS)


def _alive(node_id: str) -> bool:
    """Whether the cluster counts this node in. Waits where its head is away."""
    return any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _stopped(session: Session) -> list[int]:
    """The pooled workers of this session that are stopped."""
    found = []
    for process in session.members():
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_STOPPED and "".join(process.cmdline()).startswith(POOLED):
                found.append(process.pid)
    return found


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


@asynccontextmanager
async def client_of(data_dir: Path, namespace: str) -> AsyncIterator[None]:
    """This process as one more client of the Ray cluster that a server of this folder has. `ClusterError`."""
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(ray_token_file(data_dir).absolute())
    os.environ.pop("RAY_AUTH_TOKEN", None)
    await asyncio.to_thread(join, address_file(data_dir).read_text().strip(), namespace)
    try:
        yield
    finally:
        await asyncio.to_thread(ray.shutdown)


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


def address_file(data_dir: Path) -> Path:
    """Where a server that has a Ray cluster of its own writes its address."""
    return data_dir / "ray_address"


def _require_token(environment: str) -> None:
    """In production a cluster that takes anybody who reaches its ports is none to join, on loopback neither."""
    if os.environ.get("RAY_AUTH_MODE") != "token" and environment == "production":
        host = ray.get_runtime_context().gcs_address.rpartition(":")[0]
        raise ClusterError(
            f"The Ray cluster at {host} runs whatever reaches its ports. In production set RAY_AUTH_MODE=token on"
            " every node and here, with one token (docs/cluster.md)."
        )
