"""The one file of this package that knows Ray: plain classes become remote here, with their names and options."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import ray
from ray.actor import ActorHandle
from ray.experimental import internal_kv
from ray.util.metrics import Gauge
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.config import CONFIG_FILE_ENV, Config, config_folder, give_config, load_config
from actors.garbage import tune
from actors.persistence.carriers.registry import carriers
from actors.persistence.peers import Peers
from actors.persistence.relay import Relay
from actors.persistence.shell import PersistenceShell
from actors.region.recorder import MB, Recorder
from actors.region.shell import RegionShell, Reply
from actors.telemetry import tracing
from actors.telemetry.logs import configure
from actors.telemetry.metrics import Family, Process
from actors.telemetry.tracing import carried
from actors.vendors import event_bus, payment_vendor, travel_times
from actors.warmup import tiny
from actors.wire import APPEND, POST, WIRES
from domain.orders.records import Outcome, RegionImage
from domain.ports import Command
from domain.region.messages import DriversSeen, Kick, Push, TaskOpened
from domain.region.ops.frames import DriverLine, DriversAsked, OpsFrame
from domain.solve import Plan, SolveRequest

R = TypeVar("R")

if TYPE_CHECKING:
    from persistence.orders.postgres import PostgresStore

# Solvers and the database's libraries are imported where they are used: each actor's process loads what it needs and
# no more, which brings a killed one back the better part of a second sooner.

# Solver work yields to the region and the gateways on a busy machine.
SOLVER_NICENESS = 5
METRICS_EVERY_S = 10.0  # as often as Ray hands them on
LAST_WORDS_S = 1.0  # for the log of a region whose process is about to end


_LIFE = uuid4().hex  # of this process; its number may come again on another node
KV_NAMESPACE = b"doorstep"
RESIDENTS = ("gateway", "region", "persistence")  # in the order in which work flows
SHARE = 0.001  # of a node's resource that an actor or a task takes: it says where, not how many
HEART = "heart"  # group of calls with a thread and an event loop of their own
WARM_HOLD_S = 0.5
WARM_LIMIT = 16  # worker processes made ready at start, at most


def life() -> str:
    """Which process this is, of all that ever were: the id of its node, a slash and its own."""
    return f"{_node()}/{_LIFE}"


@cache
def _node() -> str:
    node_id: str = ray.get_runtime_context().get_node_id()
    return node_id


def as_actor(cls: type[Any]) -> Any:
    """The class as Ray has it."""
    return ray.remote(concurrency_groups={HEART: 1})(cls)  # type: ignore[call-overload]


def start_actor(cls: type[Any], name: str, *args: object, config: Config) -> ActorHandle[Any]:
    """Start a detached actor under its name, or find the one that has it; a killed one comes back by itself.

    Resident actors take no CPU slot of Ray's, since they wait most of the time; calls are never repeated by Ray,
    because only the caller knows whether a repeat is harmless. Calls leave no line in the dashboard's list of tasks: at
    hundreds a second they are all that it would hold, and what it costs to tell of them is the actors' time.
    """
    remote = as_actor(cls).options(
        name=name,
        namespace=config.namespace,
        get_if_exists=True,
        lifetime="detached",
        max_restarts=-1,
        max_task_retries=0,
        num_cpus=0,
        resources=_resources(name.partition(":")[0], config),
        scheduling_strategy="SPREAD",
        max_concurrency=10_000,
        enable_task_events=False,
    )
    handle: ActorHandle[Any] = remote.remote(*args)
    return handle


def _resources(kind: str, config: Config) -> dict[str, float]:
    """What ties an actor or task of this kind to the nodes that carry the resource `kind`, where there are such nodes.
    A whole `gateway` is as many gateway actors as each node is to have; the others share without end."""
    if kind not in config.placed:
        return {}
    # Ray counts in ten-thousandths, and the parts of a whole must fit.
    return {kind: 10_000 // config.gateways / 10_000 if kind == "gateway" else SHARE}


def residents(namespace: str) -> list[str]:
    """The names of all resident actors that live or are coming back, in the order in which work flows."""
    names = [
        one["name"]
        for one in ray.util.list_named_actors(all_namespaces=True)
        if one["namespace"] == namespace
    ]
    kinds = {kind: place for place, kind in enumerate(RESIDENTS)}
    return sorted(
        (name for name in names if name.partition(":")[0] in kinds),
        key=lambda name: (kinds[name.partition(":")[0]], name),
    )


# -- the configuration of a server on many nodes ----------------------------------------------------------------------


def publish_config(config: Config) -> None:
    """Put the configuration where every process of the cluster finds it."""
    internal_kv._internal_kv_put(
        config.namespace.encode(), config.text(), overwrite=True, namespace=KV_NAMESPACE
    )


def published_config(namespace: str) -> bytes | None:
    """The text of what was published last and not withdrawn."""
    text: bytes | None = internal_kv._internal_kv_get(namespace.encode(), namespace=KV_NAMESPACE)
    return text


def withdraw_config(namespace: str) -> None:
    """Forget the configuration."""
    internal_kv._internal_kv_del(namespace.encode(), namespace=KV_NAMESPACE)


def fetch_config() -> Config:
    """This process's configuration: of the file that its environment names, else what was published in its namespace.
    `KeyError` when there is neither."""
    if CONFIG_FILE_ENV not in os.environ:
        namespace = ray.get_runtime_context().namespace
        text = published_config(namespace)
        if text is None:
            raise KeyError(f"no configuration in {namespace}")
        give_config(text)
    return load_config()


class NoSuchActor(LookupError):
    """No actor of this name is registered (yet, or any more)."""


class Handles:
    """Actor handles by name, looked up once and again after a failure."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._known: dict[str, ActorHandle[Any]] = {}
        self._looking: dict[str, asyncio.Task[ActorHandle[Any]]] = {}

    async def call(self, name: str, method: str, *args: Any) -> Any:
        """Call an actor's method by names. `NoSuchActor`, Ray's actor errors, or the callee's own exception."""
        handle = self._known.get(name) or await self._look_up(name)
        remote, wire = getattr(handle, method).remote, WIRES.get(method)
        try:
            if wire is None:
                return await remote(*args)
            [items] = args
            return wire.decode_answers(await remote(wire.encode(items)))
        except ray.exceptions.ActorUnavailableError:  # it is coming back, and the handle follows it
            raise
        except ray.exceptions.RayActorError:
            self._known.pop(name, None)
            raise
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None

    def meet(self, *names: str) -> None:
        """Begin to look these up: who is known can be called while the cluster's head is away."""
        for name in names:
            if name not in self._looking:
                looking = asyncio.ensure_future(
                    asyncio.to_thread(ray.get_actor, name, namespace=self._namespace)
                )
                self._looking[name] = looking
                looking.add_done_callback(partial(self._found, name))

    async def _look_up(self, name: str) -> ActorHandle[Any]:
        """Ask the cluster, once for all who wait. In a thread: it blocks, for a minute when the head is away."""
        self.meet(name)
        try:
            return await asyncio.shield(self._looking[name])
        except ValueError as error:
            raise NoSuchActor(name) from error

    def _found(self, name: str, looking: asyncio.Task[ActorHandle[Any]]) -> None:
        del self._looking[name]
        if not looking.cancelled() and looking.exception() is None:
            self._known[name] = looking.result()


class RemoteStore:
    """`domain.ports.RegionStore` through a persistence actor. One that is frozen neither fails nor answers:
    `TimeoutError` after `deadline_s`."""

    def __init__(self, handles: Handles, name: str, deadline_s: float) -> None:
        self._handles, self._name, self._deadline_s = handles, name, deadline_s

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        async with asyncio.timeout(self._deadline_s):
            outcomes: list[Outcome] = await self._handles.call(
                self._name, "append", [carried(command) for command in commands]
            )
        return outcomes

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        async with asyncio.timeout(self._deadline_s):
            image: RegionImage = await self._handles.call(self._name, "open_region", region_id, now_ms)
        return image

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        async with asyncio.timeout(self._deadline_s):
            image: RegionImage = await self._handles.call(self._name, "look_at_region", region_id, now_ms)
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
        done: list[R] = ray.get([_placed(piece_task).remote(work, piece) for piece in pieces])
        return done

    travel = travel_times(_config().roads, request.travel)
    return SOLVERS[request.solver](request, travel, spread)


@cache
def _config() -> Config:
    """A worker process serves one server all its life."""
    return fetch_config()


@ray.remote(num_cpus=1, max_retries=0)
def piece_task(work: Callable[..., R], piece: tuple[Any, ...]) -> R:
    """One independent piece of a solver's work."""
    os.setpriority(os.PRIO_PROCESS, 0, SOLVER_NICENESS)
    return work(*piece)


@ray.remote(num_cpus=1, max_retries=0)
def warm_task(requests: Sequence[SolveRequest]) -> int:
    """Solve these here, roads and all; returns the process id. Holds on a moment, so that each of several such tasks
    gets a process of its own."""
    from solver.registry import SOLVERS, here

    for request in requests:
        SOLVERS[request.solver](request, travel_times(_config().roads, request.travel), here)
    time.sleep(WARM_HOLD_S)
    return os.getpid()


async def warm_up(config: Config) -> int:
    """Let worker processes load and compile now what the first solves need, one for each processor slot that solves
    may take at once; returns how many did. Ray keeps as many idle workers as it has slots."""
    policies = {
        id(policy): policy for policy in (config.policy_of(region) for region in config.regions)
    }.values()
    requests = [
        tiny(solver, policy)
        for policy in policies
        for solver in (policy.solver, policy.batch_solver)
        if solver
    ]
    slots = 0
    for node in await asyncio.to_thread(ray.nodes):
        if node["Alive"] and ("solver" not in config.placed or "solver" in node["Resources"]):
            slots += int(node["Resources"].get("CPU", 0))
    options = {"resources": _resources("solver", config), "scheduling_strategy": "SPREAD"}
    calls = [warm_task.options(**options).remote(requests) for _ in range(min(slots, WARM_LIMIT))]
    return len(set(await asyncio.gather(*calls)))


async def _solve_remotely(request: SolveRequest) -> Plan:
    """`asyncio.CancelledError` ends the solve as well, pieces included."""
    solving = _placed(solve_task).remote(request)
    try:
        plan: Plan = await solving
    except asyncio.CancelledError:
        ray.cancel(solving, force=True, recursive=True)
        raise
    return plan


@cache
def _placed(task: Any) -> Any:
    """The task where solves belong."""
    resources = _resources("solver", _config())
    return task.options(resources=resources) if resources else task


@ray.remote(num_cpus=0, max_retries=0)
def kill_task(pid: int) -> None:
    """End a process of this node, which may be frozen."""
    kill_worker(pid)


def kill_worker(pid: int) -> None:
    """SIGKILL to a worker of Ray's; nothing happens where the number is some other program's by now."""
    import psutil

    with suppress(psutil.Error):
        worker = psutil.Process(pid)
        if "".join(worker.cmdline()).startswith("ray::"):
            worker.kill()


async def replace(actor: ActorHandle[Any], node_id: str | None, pid: int) -> None:
    """End an actor's process, frozen or not, so that Ray starts another. `node_id` None: where it is is not known, and
    Ray is asked to."""
    if node_id is None:
        await asyncio.to_thread(ray.kill, actor, no_restart=False)
    elif node_id == _node():
        kill_worker(pid)
    else:
        there = NodeAffinitySchedulingStrategy(node_id, soft=False)
        await kill_task.options(scheduling_strategy=there).remote(pid)


# -- actors -----------------------------------------------------------------------------------------------------------


class Heart:
    """What every resident actor has: an answer to whether it is there. It comes from a thread of its own, so that one
    who has much to do is not taken for one who is frozen."""

    _heart: Process | None = None

    @ray.method(concurrency_group=HEART)
    async def beat(self, replaced: int) -> tuple[str, int, float]:
        """The node, the process, and for how many seconds its event loop has not come round. `replaced`: how often this
        part has been, for the metrics."""
        process = self._heart
        if process is None:
            return _node(), os.getpid(), 0.0
        process.replaced = replaced
        return _node(), os.getpid(), process.behind_s()


class RegionActor(Heart):
    """`region:<id>`. Restores itself when it starts; calls before that are refused with REGION_UNAVAILABLE."""

    def __init__(self, region_id: str) -> None:
        config = fetch_config()
        configure(config.log_level)
        tracing.configure(config, f"region:{region_id}")
        handles = Handles(config.namespace)

        async def send(gateway_id: str, pushes: list[Push | Kick]) -> None:
            async with asyncio.timeout(config.limits.push_deadline_s):
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
            store=RemoteStore(handles, config.persistence_of(region_id), config.limits.store_call_deadline_s),
            policy=config.policy_of(region_id),
            limits=config.limits,
            clock=config.clock,
            solve=_solve_remotely,
            send=send,
            on_death=die,
            journal=self._recorder,
        )
        tune()
        self._starting = asyncio.get_running_loop().create_task(self._shell.start())
        self._process = self._heart = Process(f"region:{region_id}")
        self._process.watch()
        self._exporting = asyncio.get_running_loop().create_task(export(self.figures))

    async def post(self, messages: bytes) -> bytes:
        return POST.encode_answers(await self._shell.post(POST.decode(messages)))

    async def seen(self, batch: DriversSeen) -> int:
        return self._shell.seen(batch)

    async def frame(self) -> OpsFrame:
        return self._shell.frame()

    async def stats(self) -> dict[str, float | int | str]:
        return self._shell.stats()

    async def drivers(self, asked: DriversAsked) -> list[DriverLine]:
        return self._shell.drivers(asked)

    async def lately(self, wall_s: float) -> dict[str, list[float]]:
        return self._shell.lately(wall_s)

    def figures(self) -> list[Family]:
        return self._shell.figures() + self._process.figures()

    async def started(self) -> str:
        """Wait until the region serves; returns which process it is."""
        await self._starting
        return life()

    async def stop(self) -> None:
        await self._shell.stop()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)
        await asyncio.to_thread(tracing.stop)


class PersistenceActor(Heart):
    """`persistence:<n>`."""

    def __init__(self, name: str) -> None:
        config = fetch_config()
        configure(config.log_level)
        tracing.configure(config, name)
        from persistence.marketplace.carry_out import Marketplace
        from persistence.outbox.backlog import backlog

        handles = Handles(config.namespace)
        store = make_store(config, name)
        heir_of = f"{config.server_id}/{name}"  # Ray starts another process when the former one is dead
        holder = f"{heir_of}/{_LIFE}"

        async def tell_region(region_id: str, opened: list[TaskOpened]) -> list[Reply]:
            replies: list[Reply] = await handles.call(f"region:{region_id}", "post", opened)
            return replies

        relay = Relay(
            store,
            carriers(
                store,
                config.limits,
                bus=event_bus(config),
                payment=payment_vendor(config),
                tell_region=tell_region,
                clock=config.clock,
                records=Marketplace(store.engine),
            ),
            lease_s=config.limits.outbox_lease_s,
            holder=holder,
            heir_of=heir_of,
            wake_others=Peers(
                handles.call,
                [one for one in config.persistence_names if one != name],
                config.limits.outbox_deadline_s,
            ).wake,
        )
        self._shell = PersistenceShell(
            store,
            relay,
            config.clock,
            config.limits,
            name=name,
            holder=holder,
            backlog=partial(backlog, store.engine),
        )
        self._shell.start()
        tune()
        self._process = self._heart = Process(name, disk=config_folder())
        self._process.watch()
        self._exporting = asyncio.get_running_loop().create_task(export(self.figures))

    async def append(self, commands: bytes) -> bytes:
        return APPEND.encode_answers(await self._shell.append(APPEND.decode(commands)))

    async def look(self) -> None:
        self._shell.look()

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        return await self._shell.open_region(region_id, now_ms)

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        return await self._shell.look_at_region(region_id, now_ms)

    def figures(self) -> list[Family]:
        return self._shell.figures() + self._process.figures()

    async def started(self) -> str:
        """Answers once the actor serves; returns which process it is."""
        return life()

    async def stop(self) -> None:
        await self._shell.stop()
        await asyncio.to_thread(tracing.stop)


async def export(figures: Callable[[], list[Family]]) -> None:
    """Hand an actor's figures to Ray for ever. Each sample becomes a gauge under its own name, buckets and totals too:
    Ray's own histograms take single values only, and its counters differences."""
    gauges: dict[str, Gauge] = {}
    while True:
        try:
            for family in figures():
                for suffix, labels, value in family.samples:
                    name = family.name + suffix
                    if name not in gauges:
                        gauges[name] = Gauge(name, family.help, tag_keys=tuple(labels))
                    gauges[name].set(value, dict(labels))
        except Exception:  # the dashboard may go without; dispatch does not
            logging.getLogger(__name__).exception("figures could not be handed to Ray")
        await asyncio.sleep(METRICS_EVERY_S)


def make_store(config: Config, name: str) -> PostgresStore:
    """The store of this configuration, whose sessions bear the name of the actor."""
    from persistence.orders.postgres import PostgresStore

    limits = config.limits
    return PostgresStore(
        config.database_url,
        name=f"doorstep {name}",
        lock_timeout_s=limits.db_lock_timeout_s,
        idle_timeout_s=limits.db_idle_timeout_s,
        pool_size=limits.db_pool_size,
        statement_timeout_s=limits.db_statement_timeout_s,
        connect_timeout_s=limits.db_connect_timeout_s,
        policy_of=config.policy_of,
    )
