"""The processes of a simulated world: the product's own parts, each with the clock, store and network of its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from actors.clock import ServerClock
from actors.config import persistence_names, persistence_of
from actors.persistence.carriers.registry import carriers
from actors.persistence.peers import Peers
from actors.persistence.relay import Relay
from actors.persistence.shell import PersistenceShell
from actors.region.shell import RegionShell, Reply
from domain.orders.records import OutboxEvent, Outcome, RegionImage
from domain.ports import AgeResult, Command, EventsRefused, IdResult, PaymentResult, RefundState, VendorError
from domain.region.machine import Region
from domain.region.messages import Device, DriversSeen, Kick, Message, Push, Ready, TaskOpened
from domain.solve import Plan, SolveRequest
from gateway.deciders.actor_backend import ActorBackend
from gateway.http.auth import Principal
from gateway.services import Services, assemble
from persistence.reads.memory import MemoryMarketplace, MemoryReads
from sim.world import rest
from sim.world.net import Net, Node
from sim.world.payment_vendor import read_token
from sim.world.surroundings import Surroundings
from solver.registry import solve

EPOCH_S = 1_750_000_000  # the server's clock when a world begins, seconds since the Unix epoch


class Clock(ServerClock, frozen=True, kw_only=True):
    """One process's idea of the server's time; `wall` gives its wall time in seconds, `set_by` by how much the machine
    was set meanwhile, which nobody is to notice."""

    wall: Callable[[], float]
    set_by: Callable[[], float]

    def now_ms(self) -> int:
        """See `ServerClock`."""
        return self.anchor_ms + round(self.wall() * self.speed * 1000)

    def even_us(self) -> int:
        """See `ServerClock`."""
        return round((EPOCH_S + self.wall()) * 1e6)


class PersistenceProcess:
    """`persistence:<n>`."""

    def __init__(self, world: Surroundings, node: Node) -> None:
        clock, vendors = world.clock_of(node), Vendors(world)
        others = [name for name in persistence_names(world.persistences) if name != node.name]

        async def tell_region(region_id: str, opened: list[TaskOpened]) -> list[Reply]:
            replies: list[Reply] = await world.net.call(f"region:{region_id}", "post", opened)
            return replies

        relay = Relay(
            world.store,
            carriers(
                world.store, world.limits, bus=vendors, payment=vendors, tell_region=tell_region, clock=clock
            ),
            lease_s=world.limits.outbox_lease_s,
            holder=node.name,
            wake_others=Peers(world.net.call, others, 5.0).wake,
        )
        self._shell = PersistenceShell(world.store, relay, clock, world.limits, name=node.name)
        node.spawn(self._start())

    async def _start(self) -> None:
        self._shell.start()

    async def append(self, commands: list[Command]) -> list[Outcome]:
        return await self._shell.append(commands)

    async def look(self) -> None:
        self._shell.look()

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        return await self._shell.open_region(region_id, now_ms)

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        return await self._shell.look_at_region(region_id, now_ms)


class RegionProcess:
    """`region:<id>`. `region` is its present life, `lives` the epochs of all. It is its own journal."""

    def __init__(self, world: Surroundings, node: Node) -> None:
        self.region: Region | None = None
        self.lives: list[int] = []
        self.region_id = node.name.partition(":")[2]
        self._world, self._node = world, node
        self._shell = RegionShell(
            self.region_id,
            store=_RemoteStore(
                world.net,
                persistence_of(self.region_id, world.persistences),
                self.region_id,
                world.limits.store_call_deadline_s,
            ),
            policy=world.policy_of(self.region_id),
            limits=world.limits,
            clock=world.clock_of(node),
            solve=self._solve,
            send=self._send,
            on_death=lambda _: world.died(node),
            journal=self,
        )
        node.spawn(self._shell.start())

    @property
    def serves(self) -> bool:
        """Whether it takes messages."""
        return self._shell._pump is not None

    async def post(self, messages: list[Message]) -> list[Reply]:
        return await self._shell.post(messages)

    async def seen(self, batch: DriversSeen) -> int:
        return self._shell.seen(batch)

    async def _send(self, gateway_id: str, pushes: list[Push | Kick]) -> None:
        async with asyncio.timeout(self._world.limits.push_deadline_s):
            await self._world.net.call(gateway_id, "push", pushes, market=self.region_id)

    async def _solve(self, request: SolveRequest) -> Plan:
        faults = self._world.faults
        self._world.checker.saw[f"solved by {request.solver}"] += 1
        if faults.strikes("solver", 0.1, self.region_id):
            await asyncio.sleep(faults.amount("solver", 0.05, 10.0))
        else:
            await asyncio.sleep(0.005)
        if faults.strikes("hang", 0.02, self.region_id):
            await self._world.never()
        if faults.strikes("solver", 0.1, self.region_id):
            raise RuntimeError("the solver's process died")
        return solve(request)

    def began(self, region: Region, now_ms: int) -> None:
        """See `actors.region.pump.Journal`."""
        self.region = region
        self.lives.append(region.epoch)
        self._world.checker.saw["region lives"] += 1
        self._world.say(lambda: f"{self._node.name} begins life {region.epoch}")

    def failed(self, now_ms: int, message: Message) -> None:
        """See `actors.region.pump.Journal`."""
        self._world.checker.broken("no 500", f"a region failed at {message}")

    def stepped(self, now_ms: int, message: Message, ready: Ready) -> None:
        """See `actors.region.pump.Journal`."""
        assert self.region is not None
        self._world.stepped(self._node, self.region, now_ms, message, ready)


class GatewayProcess:
    """`gateway:<n>`, called by regions and by clients."""

    def __init__(self, world: Surroundings, node: Node) -> None:
        clock, vendors = world.clock_of(node), Vendors(world)
        reads = MemoryReads(world.checker.memory, world.users)
        self.services: Services = assemble(
            world.config(clock),
            node.name,
            backend=ActorBackend(
                world.net.call,
                world.regions,
                world.limits,
                world.chance,
                persistence_actors=world.persistences,
            ),
            reads=reads,
            marketplace=MemoryMarketplace(reads),
            identity=vendors,
            payment=vendors,
            chance=world.chance,
        )
        node.spawn(self.services.pings.run())

    async def push(self, batch: list[Push | Kick]) -> None:
        self.services.hub.deliver(batch)

    async def current(self, who: Principal) -> rest.Body:
        return await rest.current(self.services, who)

    async def rest(
        self, who: Principal, path: str, key: str, body: rest.Body, device: Device | None
    ) -> tuple[int, rest.Body, str | None]:
        return await rest.post(self.services, who, path, key, body, device)


# kind of process -> what runs in it
PROCESSES: dict[str, Callable[[Surroundings, Node], PersistenceProcess | RegionProcess | GatewayProcess]] = {
    "persistence": PersistenceProcess,
    "region": RegionProcess,
    "gateway": GatewayProcess,
}


class _RemoteStore:
    """`domain.ports.RegionStore` through a persistence process; as `actors.remote.RemoteStore`, with its deadline."""

    def __init__(self, net: Net, name: str, market: str, deadline_s: float) -> None:
        self._net, self._name, self._market, self._deadline_s = net, name, market, deadline_s

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        async with asyncio.timeout(self._deadline_s):
            outcomes: list[Outcome] = await self._net.call(
                self._name, "append", list(commands), market=self._market
            )
        return outcomes

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        async with asyncio.timeout(self._deadline_s):
            image: RegionImage = await self._net.call(
                self._name, "open_region", region_id, now_ms, market=self._market
            )
        return image

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        async with asyncio.timeout(self._deadline_s):
            image: RegionImage = await self._net.call(
                self._name, "look_at_region", region_id, now_ms, market=self._market
            )
        return image


class Vendors:
    """The fake identity and payment vendors and an event bus, when they answer."""

    def __init__(self, world: Surroundings) -> None:
        self._world = world
        self._identity, self._payment = world.identity, world.payment

    async def _answers(self, market: str = "") -> None:
        faults = self._world.faults
        if faults.strikes("vendor", 0.05, market):
            await asyncio.sleep(faults.amount("vendor", 0.01, 5.0))
        if faults.strikes("hang", 0.02, market):
            await self._world.never()
        if faults.strikes("vendor", 0.1, market):
            raise VendorError("no answer")

    def _market_of(self, vendor_ref: str) -> str:
        hold = self._world.bank.holds.get(vendor_ref)
        return "" if hold is None else self._world.market_of(hold.order_id)

    async def verify_age(self, *, request_id: str, vendor_token: str, min_age: int) -> AgeResult:
        await self._answers()
        plain, _ = read_token(vendor_token)
        return await self._identity.verify_age(request_id=request_id, vendor_token=plain, min_age=min_age)

    async def check_id(self, *, request_id: str, vendor_token: str, min_age: int) -> IdResult:
        await self._answers()
        return await self._identity.check_id(
            request_id=request_id, vendor_token=vendor_token, min_age=min_age
        )

    async def authorize(self, *, request_id: str, amount_cents: int, vendor_token: str) -> PaymentResult:
        plain, order_id = read_token(vendor_token)
        market = self._world.market_of(order_id)
        await self._answers(market)
        if request_id in self._world.bank.released:
            raise VendorError("the request was let go")
        result = await self._payment.authorize(
            request_id=request_id, amount_cents=amount_cents, vendor_token=plain
        )
        if result.ok:
            hold = self._world.bank.hold(request_id, result.vendor_ref, order_id, amount_cents)
            hold.stuck |= self._world.faults.strikes("bank", 0.1, market)
            self._world.checker.money.held(hold)
            if self._world.faults.strikes("bank", 0.1, market):
                raise VendorError("granted, and no word of it")
        return result

    async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult:
        await self._answers(self._market_of(vendor_ref))
        self._world.checker.money.settled(vendor_ref, "capture")
        return PaymentResult(self._world.bank.capture(vendor_ref, amount_cents), vendor_ref)

    async def refund(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> RefundState:
        raise VendorError("nobody asks for a refund in a simulated world")

    async def refund_state(self, *, request_id: str) -> RefundState | None:
        return None

    async def void(self, *, request_id: str, vendor_ref: str) -> PaymentResult:
        await self._answers(self._market_of(vendor_ref))
        self._world.checker.money.settled(vendor_ref, "void")
        return PaymentResult(self._world.bank.void(vendor_ref), vendor_ref)

    async def release(self, *, request_id: str) -> PaymentResult:
        ref = self._world.bank.refs.get(request_id, "")
        await self._answers(self._market_of(ref))
        if ref:
            self._world.checker.money.settled(ref, "void")
        return PaymentResult(self._world.bank.release(request_id), ref)

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        await self._answers()
        bad = {event.event_id: "poison" for event in events if self._world.is_poison(event.aggregate_id)}
        if bad and self._world.seed % 2:
            raise ConnectionError("the bus cannot bear one of these")
        self._world.checker.published([event for event in events if event.event_id not in bad])
        if bad:
            raise EventsRefused(bad)
        await self._answers()  # the events are out, and nobody says so
