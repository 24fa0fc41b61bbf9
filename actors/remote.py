"""The one file of this package that knows Ray: plain classes become remote here, with their names and options."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import ray
from ray.actor import ActorHandle
from ray.util.metrics import Gauge

from actors.config import Config, load_config
from actors.logs import configure
from actors.persistence import PersistenceShell
from actors.recorder import MB, Recorder
from actors.region import RegionShell, Reply
from actors.relay import Relay
from actors.vendors import travel_times
from domain.messages import DriversSeen, Kick, Message, Push, TaskOpened
from domain.ops import OpsFrame
from domain.ports import Command
from domain.records import Outcome, RegionImage
from domain.solve import Plan, SolveRequest
from integrations.event_bus.redis_streams import RedisStreams
from integrations.registry import PAYMENT

R = TypeVar("R")

if TYPE_CHECKING:
    from persistence.postgres import PostgresStore

# Solvers and the database's libraries are imported where they are used: each actor's process loads what it needs and
# no more, which brings a killed one back the better part of a second sooner.

# Solver work yields to the region and the gateways on a busy machine.
SOLVER_NICENESS = 5
METRICS_EVERY_S = 5.0
LAST_WORDS_S = 1.0  # for the log of a region whose process is about to end


def start_actor(cls: type[Any], name: str, *args: object, namespace: str) -> ActorHandle[Any]:
    """Start a detached actor under its name; a killed one comes back by itself.

    Resident actors take no CPU slot of Ray's, since they wait most of the time; calls are never repeated by Ray,
    because only the caller knows whether a repeat is harmless.
    """
    remote = ray.remote(cls).options(
        name=name,
        namespace=namespace,
        lifetime="detached",
        max_restarts=-1,
        max_task_retries=0,
        num_cpus=0,
        max_concurrency=10_000,
    )
    handle: ActorHandle[Any] = remote.remote(*args)
    return handle


class NoSuchActor(LookupError):
    """No actor of this name is registered (yet, or any more)."""


class Handles:
    """Actor handles by name, looked up once and again after a failure."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._known: dict[str, ActorHandle[Any]] = {}

    async def call(self, name: str, method: str, *args: object) -> Any:
        """Call an actor's method by names. `NoSuchActor`, Ray's actor errors, or the callee's own exception."""
        handle = self._known.get(name)
        if handle is None:
            # A look-up asks the cluster and blocks, so it must not hold up this actor's loop.
            try:
                handle = await asyncio.to_thread(ray.get_actor, name, namespace=self._namespace)
            except ValueError as error:
                raise NoSuchActor(name) from error
            self._known[name] = handle
        try:
            return await getattr(handle, method).remote(*args)
        except ray.exceptions.RayActorError:
            self._known.pop(name, None)
            raise
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None


class RemoteStore:
    """`domain.ports.RegionStore` through a persistence actor."""

    def __init__(self, handles: Handles, name: str) -> None:
        self._handles, self._name = handles, name

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        outcomes: list[Outcome] = await self._handles.call(self._name, "append", list(commands))
        return outcomes

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        image: RegionImage = await self._handles.call(self._name, "open_region", region_id, now_ms)
        return image


# -- solving ----------------------------------------------------------------------------------------------------------


@ray.remote(num_cpus=1, max_retries=0)
def solve_task(request: SolveRequest) -> Plan:
    """One solve; the large parts of a large problem are spread over further tasks."""
    from solver.registry import SOLVERS, here

    os.setpriority(os.PRIO_PROCESS, 0, SOLVER_NICENESS)

    def spread(work: Callable[..., R], pieces: Sequence[tuple[Any, ...]]) -> list[R]:
        if len(pieces) < 2:
            return here(work, pieces)
        done: list[R] = ray.get([piece_task.remote(work, piece) for piece in pieces])  # type: ignore[arg-type]
        return done

    travel = travel_times(_config().roads, request.travel)
    return SOLVERS[request.solver](request, travel, spread)


@cache
def _config() -> Config:
    """A worker process serves one server all its life."""
    return load_config()


@ray.remote(num_cpus=1, max_retries=0)
def piece_task(work: Callable[..., R], piece: tuple[Any, ...]) -> R:
    """One independent piece of a solver's work."""
    os.setpriority(os.PRIO_PROCESS, 0, SOLVER_NICENESS)
    return work(*piece)


@ray.remote(num_cpus=1, max_retries=0)
def load_solvers() -> None:
    """Import what a solve needs."""
    from solver.registry import SOLVERS

    assert SOLVERS


async def warm_up(solver: str) -> None:
    """Let a worker process load the solvers now instead of under the first order."""
    await load_solvers.remote()


async def _solve_remotely(request: SolveRequest) -> Plan:
    plan: Plan = await solve_task.remote(request)
    return plan


# -- actors -----------------------------------------------------------------------------------------------------------


class RegionActor:
    """`region:<id>`. Restores itself when it starts; calls before that are refused with REGION_UNAVAILABLE."""

    def __init__(self, region_id: str) -> None:
        config = load_config()
        configure(config.log_level)
        handles = Handles(config.namespace)

        async def send(gateway_id: str, pushes: list[Push | Kick]) -> None:
            await handles.call(gateway_id, "push", pushes)

        self._recorder: Recorder | None = None
        if config.record_dir is not None:
            folder, limits = Path(config.record_dir) / region_id, config.limits
            self._recorder = Recorder(folder, limits.record_segment_mb * MB, limits.record_total_mb * MB)

        def die(_reason: str) -> None:
            if self._recorder is not None:
                self._recorder.close(LAST_WORDS_S)
            os._exit(1)  # a plain return would count as an intended end, without a restart

        self._shell = RegionShell(
            region_id,
            store=RemoteStore(handles, "persistence:0"),
            policy=config.policy_of(region_id),
            limits=config.limits,
            clock=config.clock,
            solve=_solve_remotely,
            send=send,
            on_death=die,
            journal=self._recorder,
        )
        self._starting = asyncio.get_running_loop().create_task(self._shell.start())
        self._metrics = asyncio.get_running_loop().create_task(self._export())

    async def post(self, messages: list[Message]) -> list[Reply]:
        return await self._shell.post(messages)

    async def seen(self, batch: DriversSeen) -> int:
        return self._shell.seen(batch)

    async def frame(self) -> OpsFrame:
        return self._shell.frame()

    async def stats(self) -> dict[str, float | int | str]:
        return self._shell.stats()

    async def lately(self, wall_s: float) -> dict[str, list[float]]:
        return self._shell.lately(wall_s)

    async def started(self) -> int:
        """Wait until the region serves; returns this process's id."""
        await self._starting
        return os.getpid()

    async def stop(self) -> None:
        await self._shell.stop()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)

    async def _export(self) -> None:
        """The region's figures as metrics of Ray, for the dashboard and whatever scrapes it."""
        await self._starting
        gauges: dict[str, Gauge] = {}
        while True:
            await asyncio.sleep(METRICS_EVERY_S)
            try:
                stats = self._shell.stats()
            except Exception:  # between two lives there is nothing to tell
                continue
            for name, value in stats.items():
                if isinstance(value, int | float):
                    gauge = gauges.setdefault(name, Gauge(f"doorstep_region_{name}", tag_keys=("region",)))
                    gauge.set(value, {"region": str(stats["region_id"])})


class PersistenceActor:
    """`persistence:<n>`."""

    def __init__(self, name: str) -> None:
        config = load_config()
        configure(config.log_level)
        handles = Handles(config.namespace)
        store = make_store(config)

        async def tell_region(region_id: str, opened: list[TaskOpened]) -> None:
            await handles.call(f"region:{region_id}", "post", opened)

        relay = Relay(
            store,
            bus=RedisStreams(config.redis_url),
            payment=PAYMENT[config.payment_vendor](),
            tell_region=tell_region,
            clock=config.clock,
            limits=config.limits,
        )
        self._shell = PersistenceShell(store, relay, config.clock, config.limits)
        self._shell.start()

    async def append(self, commands: list[Command]) -> list[Outcome]:
        return await self._shell.append(commands)

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        return await self._shell.open_region(region_id, now_ms)

    async def started(self) -> int:
        """Answers once the actor serves; returns this process's id."""
        return os.getpid()

    async def stop(self) -> None:
        await self._shell.stop()


def make_store(config: Config) -> PostgresStore:
    """The store of this configuration."""
    from persistence.postgres import PostgresStore

    limits = config.limits
    return PostgresStore(
        config.database_url,
        pool_size=limits.db_pool_size,
        statement_timeout_s=limits.db_statement_timeout_s,
        connect_timeout_s=limits.db_connect_timeout_s,
    )
