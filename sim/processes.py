"""The processes of a simulated world: the product's own parts, each with the clock, store and network of its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from actors.clock import ServerClock
from actors.config import persistence_names
from actors.persistence import PersistenceShell
from actors.region import RegionShell, Reply
from actors.relay import Relay
from actors.vendors import identity_vendor, payment_vendor
from domain.messages import Device, DriversSeen, Kick, Message, Push, Ready, TaskOpened
from domain.ports import AgeResult, Command, IdResult, PaymentResult, VendorError
from domain.records import OutboxEvent, Outcome, RegionImage
from domain.region import Region
from domain.solve import Plan, SolveRequest
from gateway.actor_backend import ActorBackend
from gateway.auth import Principal
from gateway.services import Services, assemble
from persistence.memory_reads import MemoryReads
from sim import rest
from sim.net import Net, Node
from solver.registry import solve

if TYPE_CHECKING:
    from sim.world import World

REGION = "tx-dfw"
(PERSISTENCE,) = persistence_names(1)
EPOCH_S = 1_750_000_000  # the server's clock when a world begins, seconds since the Unix epoch


class Clock(ServerClock, frozen=True, kw_only=True):
    """One process's idea of the server's time; `wall` gives its wall time in seconds."""

    wall: Callable[[], float]

    def now_ms(self) -> int:
        """See `ServerClock`."""
        return self.anchor_ms + round(self.wall() * self.speed * 1000)


class PersistenceProcess:
    """`persistence:0`."""

    def __init__(self, world: World, node: Node) -> None:
        clock, vendors = world.clock_of(node), Vendors(world)

        async def tell_region(region_id: str, opened: list[TaskOpened]) -> list[Reply]:
            replies: list[Reply] = await world.net.call(f"region:{region_id}", "post", opened)
            return replies

        relay = Relay(
            world.store,
            bus=vendors,
            payment=vendors,
            tell_region=tell_region,
            clock=clock,
            limits=world.limits,
        )
        self._shell = PersistenceShell(world.store, relay, clock, world.limits)
        node.spawn(self._start())

    async def _start(self) -> None:
        self._shell.start()

    async def append(self, commands: list[Command]) -> list[Outcome]:
        return await self._shell.append(commands)

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        return await self._shell.open_region(region_id, now_ms)

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        return await self._shell.look_at_region(region_id, now_ms)


class RegionProcess:
    """`region:<id>`. `region` is its present life, `lives` the epochs of all. It is its own journal."""

    def __init__(self, world: World, node: Node) -> None:
        self.region: Region | None = None
        self.lives: list[int] = []
        self._world, self._node = world, node
        self._shell = RegionShell(
            REGION,
            store=_RemoteStore(world.net),
            policy=world.policy,
            limits=world.limits,
            clock=world.clock_of(node),
            solve=self._solve,
            send=self._send,
            on_death=lambda _: world.died(node),
            journal=self,
        )
        node.spawn(self._shell.start())

    async def post(self, messages: list[Message]) -> list[Reply]:
        return await self._shell.post(messages)

    async def seen(self, batch: DriversSeen) -> int:
        return self._shell.seen(batch)

    async def _send(self, gateway_id: str, pushes: list[Push | Kick]) -> None:
        await self._world.net.call(gateway_id, "push", pushes)

    async def _solve(self, request: SolveRequest) -> Plan:
        turmoil = self._world.turmoil
        if turmoil.strikes("solver", 0.1):
            await asyncio.sleep(turmoil.amount("solver", 0.05, 10.0))
        else:
            await asyncio.sleep(0.005)
        if turmoil.strikes("solver", 0.1):
            raise RuntimeError("the solver's process died")
        return solve(request)

    def began(self, region: Region, now_ms: int) -> None:
        """See `actors.pump.Journal`."""
        self.region = region
        self.lives.append(region.epoch)
        self._world.checker.saw["region lives"] += 1
        self._world.say(lambda: f"{self._node.name} begins life {region.epoch}")

    def failed(self, now_ms: int, message: Message) -> None:
        """See `actors.pump.Journal`."""
        self._world.checker.broken("no 500", f"a region failed at {message}")

    def stepped(self, now_ms: int, message: Message, ready: Ready) -> None:
        """See `actors.pump.Journal`."""
        assert self.region is not None
        self._world.stepped(self._node, self.region, now_ms, message, ready)


class GatewayProcess:
    """`gateway:<n>`, called by regions and by clients."""

    def __init__(self, world: World, node: Node) -> None:
        clock, vendors = world.clock_of(node), Vendors(world)
        self.services: Services = assemble(
            world.config(clock),
            node.name,
            backend=ActorBackend(world.net.call, (REGION,), world.limits, world.chance),
            reads=MemoryReads(world.checker.memory, world.users),
            identity=vendors,
            payment=vendors,
            now_us=lambda: round((EPOCH_S + clock.wall()) * 1e6),
            chance=world.chance,
        )
        node.spawn(self.services.pings.run())

    async def push(self, batch: list[Push | Kick]) -> None:
        self.services.hub.deliver(batch)

    async def rest(
        self, who: Principal, path: str, key: str, body: rest.Body, device: Device | None
    ) -> tuple[int, rest.Body, str | None]:
        return await rest.post(self.services, who, path, key, body, device)


# kind of process -> what runs in it
PROCESSES: dict[str, Callable[[World, Node], PersistenceProcess | RegionProcess | GatewayProcess]] = {
    "persistence": PersistenceProcess,
    "region": RegionProcess,
    "gateway": GatewayProcess,
}


class _RemoteStore:
    """`domain.ports.RegionStore` through the persistence process."""

    def __init__(self, net: Net) -> None:
        self._net = net

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        outcomes: list[Outcome] = await self._net.call(PERSISTENCE, "append", list(commands))
        return outcomes

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        image: RegionImage = await self._net.call(PERSISTENCE, "open_region", region_id, now_ms)
        return image

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        image: RegionImage = await self._net.call(PERSISTENCE, "look_at_region", region_id, now_ms)
        return image


class Vendors:
    """The fake identity and payment vendors and an event bus, when they answer."""

    def __init__(self, world: World) -> None:
        config = world.config(ServerClock())
        self._world = world
        self._identity, self._payment = identity_vendor(config), payment_vendor(config)

    async def _answers(self) -> None:
        turmoil = self._world.turmoil
        if turmoil.strikes("vendor", 0.05):
            await asyncio.sleep(turmoil.amount("vendor", 0.01, 5.0))
        if turmoil.strikes("vendor", 0.1):
            raise VendorError("no answer")

    async def verify_age(self, *, request_id: str, vendor_token: str, min_age: int) -> AgeResult:
        await self._answers()
        return await self._identity.verify_age(
            request_id=request_id, vendor_token=vendor_token, min_age=min_age
        )

    async def check_id(self, *, request_id: str, vendor_token: str, min_age: int) -> IdResult:
        await self._answers()
        return await self._identity.check_id(
            request_id=request_id, vendor_token=vendor_token, min_age=min_age
        )

    async def authorize(self, *, request_id: str, amount_cents: int, vendor_token: str) -> PaymentResult:
        await self._answers()
        return await self._payment.authorize(
            request_id=request_id, amount_cents=amount_cents, vendor_token=vendor_token
        )

    async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult:
        await self._answers()
        self._world.checker.settled(request_id.partition(":")[2], "capture")
        return await self._payment.capture(
            request_id=request_id, vendor_ref=vendor_ref, amount_cents=amount_cents
        )

    async def void(self, *, request_id: str, vendor_ref: str) -> PaymentResult:
        await self._answers()
        purpose, _, what = request_id.partition(":")
        if not what.startswith("authorize:"):  # the order's own hold, not one that it had no use for
            self._world.checker.settled(what, purpose)
        return await self._payment.void(request_id=request_id, vendor_ref=vendor_ref)

    async def release(self, *, request_id: str) -> PaymentResult:
        await self._answers()
        return await self._payment.release(request_id=request_id)

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        await self._answers()
        self._world.checker.published(events)
        await self._answers()  # the events are out, and nobody says so
