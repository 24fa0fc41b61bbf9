"""A whole server with its people in one process, on virtual time, made from a seed.

Real: the region with its shell and pump, the persistence shell with its relay, the gateway's sockets, positions, repeats
and routes, the solver, the demo's drivers. Simulated: the network between them, the database's connection (the store in
memory behind it decides and refuses as Postgres does), vendors, clocks, and what the cluster does about processes that
die. The weather (`sim/turmoil.py`) rages for a while, then clears, and everything must come to its end.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from random import Random
from typing import Any

from msgspec import Struct

from actors.clock import ServerClock
from actors.config import Config, Limits
from actors.persistence import PersistenceShell
from actors.region import RegionShell, Reply
from actors.relay import Relay
from actors.vendors import identity_vendor, payment_vendor
from domain.journal import digest
from domain.lifecycle import Role
from domain.messages import DriversSeen, Kick, Message, Push, Ready, TaskOpened
from domain.order import Product, Store
from domain.policy import RegionPolicy
from domain.ports import Command, PaymentResult, VendorError
from domain.records import OutboxEvent, Outcome, RegionImage
from domain.region import Region
from domain.solve import Plan, SolveRequest
from gateway.actor_backend import PERSISTENCE, ActorBackend
from gateway.auth import Principal
from gateway.collector import Unavailable
from gateway.services import Services, assemble
from persistence.memory_reads import MemoryReads
from sim import rest
from sim.brain import Brain
from sim.checker import Checker, Violation
from sim.motion import Point, offset
from sim.net import Net, Node
from sim.people import People
from sim.personas import CustomerShares, Door, DriverPersona, door_outcome
from sim.phones import TRAITS, Phone
from sim.simstore import SimStore
from sim.turmoil import KINDS, Turmoil
from sim.virtual import VirtualLoop
from solver.registry import solve

REGION = "tx-dfw"
EPOCH_S = 1_750_000_000  # the server's clock when a world begins, seconds since the Unix epoch
STEPS = 4_000  # messages after which the weather clears at the latest
RAGE_S = (15.0, 50.0)  # wall time that the weather rages
CALM_LIMIT_S = 400.0  # wall time of calm by which everything must have ended
SETTLE_S = 6.0  # wall time of calm after the last order, before all is compared
RESTART_S = (0.2, 2.0)  # wall time until the cluster has started a dead process again
SHARES = CustomerShares(
    under_age_at_checkout=0.1,
    under_age=0.08,
    expired_id=0.06,
    wrong_name=0.06,
    no_id=0.06,
    intoxicated=0.06,
    nobody_home=0.08,
)  # fmt: skip
SHUT_SHARE = 0.06  # orders of a store that turns out to be closed
TRAIT_SHARE = 0.12  # drivers with each of the traits


class Clock(ServerClock, frozen=True, kw_only=True):
    """One process's idea of the server's time; `wall` gives its wall time in seconds."""

    wall: Callable[[], float]

    def now_ms(self) -> int:
        """See `ServerClock`."""
        return self.anchor_ms + round(self.wall() * self.speed * 1000)


class Result(Struct, frozen=True, kw_only=True):
    """How a world went. `simulated_s` is server time; `decisions` a hash of all that its regions decided."""

    seed: int
    violation: Violation | None
    steps: int
    simulated_s: float
    decisions: str
    saw: dict[str, int]


class World:
    """Made from a seed; `run` lets it happen. `faults`: kinds that may strike; `steps`: see `STEPS`."""

    def __init__(
        self,
        seed: int,
        *,
        faults: Collection[str] = tuple(KINDS),
        steps: int = STEPS,
        told: Callable[[str], None] | None = None,
    ) -> None:
        self.seed, self._steps, self._told = seed, steps, told
        self._chance = chance = Random(f"{seed}:world")
        self.loop = VirtualLoop()
        self.turmoil = Turmoil(seed, faults)
        self.speed = chance.choice((10.0, 20.0, 30.0))
        self.policy = RegionPolicy(
            offer_ttl_s=chance.choice((20.0, 40.0)),
            fast_max_wait_s=chance.choice((10.0, 30.0)),
            driver_lost_s=300.0,
            push_ring=chance.choice((4, 64)),
        )
        self.limits = Limits(
            ping_flush_s=chance.choice((0.2, 0.5, 1.0)),
            ws_hello_timeout_s=5.0,
            region_call_deadline_s=10.0,
            outbox_retry_s=2.0,
            append_in_flight=chance.choice((1, 2)),
            append_batch_limit=chance.choice((1, 3, 512)),
            append_queue_limit=chance.choice((3, 20_000)),
            region_inbox_limit=chance.choice((4, 20_000)),
            gateway_outbox_limit=chance.choice((2, 50_000)),
            ws_outbox_limit=chance.choice((8, 256)),
            outbox_batch=chance.choice((1, 200)),
            vendor_timeout_s=2.0,
        )
        self.checker = Checker(
            self._door, round(self.policy.offer_ttl_s * 1000), lambda: self.turmoil.struck["refuse"] > 0
        )
        self.net = Net(self.loop, Random(f"{seed}:net"), self.turmoil)
        self._store = SimStore(self.checker.memory, self.loop, Random(f"{seed}:store"), self.turmoil)
        self._decided = blake2b(digest_size=16)
        self._twins: list[Node] = []
        self._calm_s: float | None = None
        self._ended_s: float | None = None
        self.over = False
        self._build(chance)

    def _build(self, chance: Random) -> None:
        self.store_at = Point(32.80, -96.80)
        self.merchant_id, self.store_id = self.uid("merchant"), self.uid("store")
        self.product_id = self.uid("beer")
        self.checker.memory.add_store(
            Store(
                store_id=self.store_id,
                merchant_id=self.merchant_id,
                region_id=REGION,
                lat=self.store_at.lat,
                lng=self.store_at.lng,
            ),
            [
                Product(
                    product_id=self.product_id, store_id=self.store_id, category="alcohol", price_cents=1250
                )
            ],
        )
        self.gateways = [f"gateway:{n}" for n in range(chance.choice((1, 2)))]
        for name in (PERSISTENCE, f"region:{REGION}", *self.gateways):
            self._start(name)
        self.phones: list[Phone] = []
        for number in range(chance.randint(2, 5)):
            self._hire(number, Random(f"{self.seed}:driver:{number}"))
        rage_s = chance.uniform(*RAGE_S)
        self.people = People(self, chance.randint(2, 6), rage_s)
        self.loop.outside_later(rage_s, self._clear_up)
        self.loop.outside_later(0.5, self._watch)
        for kind, strike in (("crash", self._crash), ("freeze", self._freeze), ("clock", self._set_clock)):
            if kind in self.turmoil.kinds:
                self.loop.outside_later(chance.uniform(1, 10), self._weather, kind, strike)

    def _hire(self, number: int, chance: Random) -> None:
        driver_id = self.uid(f"driver-{number}")
        # The first is honest, so that whatever can be brought is brought in the end.
        traits = frozenset(trait for trait in TRAITS if number and chance.random() < TRAIT_SHARE)
        persona = DriverPersona(
            lapse=1.0 if "sleeper" in traits else chance.choice((0.0, 0.1)),
            reject=chance.choice((0.0, 0.1, 0.3)) if number else 0.0,
        )
        for phone in range(2 if "twin" in traits else 1):
            brain = Brain(
                name=f"d{number}.{phone}",
                persona=persona,
                rng=Random(f"{self.seed}:brain:{number}:{phone}"),
                start=offset(self.store_at, chance.uniform(-2500, 2500), chance.uniform(-2500, 2500)),
                door=self._door,
                speed=self.speed,
            )
            token = self._gateway_tokens().issue(driver_id, Role.DRIVER)
            self.phones.append(
                Phone(
                    self,
                    driver_id,
                    token,
                    brain,
                    traits,
                    Random(f"{brain.name}:{self.seed}"),
                    self.store_shut,
                )
            )

    # -- what the parts ask -------------------------------------------------------------------------------------------

    def uid(self, name: str) -> str:
        """An id that hangs on the seed and a name alone."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.seed}/{name}"))

    def now_s(self) -> float:
        """The server's time as it really is."""
        return EPOCH_S + self.loop.time() * self.speed

    def say(self, text: Callable[[], str]) -> None:
        """For the transcript, if somebody reads along."""
        if self._told is not None:
            self._told(f"{self.loop.time() * self.speed:9.2f} {text()}")

    def store_shut(self, order_id: str) -> bool:
        """Whether this order's store turns out to be closed."""
        return Random(f"{self.seed}:shut:{order_id}").random() < SHUT_SHARE

    def _door(self, order_id: str) -> Door:
        return door_outcome(self.seed, order_id, SHARES)

    def any_gateway(self, chance: Random) -> Node | None:
        """A gateway as a load balancer finds one; None: none answers."""
        node = self.net.nodes.get(chance.choice(self.gateways))
        return node if node is not None and node.alive else None

    async def post(
        self, who: Principal, path: str, body: rest.Body, key: str, chance: Random
    ) -> tuple[int, rest.Body]:
        """A REST request over any gateway; status 0: no answer came."""
        self.say(lambda: f"{who.role} {who.id} POST {path} {body} key {key}")
        try:
            status, answer, fault = await self.net.call(
                chance.choice(self.gateways), "rest", who, path, key, body
            )
        except Unavailable:
            return 0, {}
        self.say(lambda: f"{who.role} {who.id} gets {status} {answer} for {key}")
        if fault is not None or status == 500:
            self.checker.failed(who.id, path, answer.get("code", ""), fault or str(answer))
        elif status < 300:
            self.checker.answered(f"{who.id}|{path}", key, True, answer)
        elif status not in (429, 503):
            self.checker.answered(f"{who.id}|{path}", key, False, answer)
        return status, answer

    # -- processes ----------------------------------------------------------------------------------------------------

    def _start(self, name: str) -> None:
        if self.over or name in self.net.nodes:
            return
        node = Node(self.loop, name)
        self.net.nodes[name] = node
        kind = name.partition(":")[0]
        node.target = {"persistence": self._persistence, "region": self._region, "gateway": self._gateway}[
            kind
        ](node)
        self.say(lambda: f"{name} starts")

    def _died(self, node: Node) -> None:
        """The cluster notices that a process is gone and starts it anew."""
        self.checker.saw[f"died {node.name.partition(':')[0]}"] += 1
        self.say(lambda: f"{node.name} is dead")
        node.kill()
        held = self.net.nodes.get(node.name) is node
        self.net.abandon(node)
        if held:
            self.loop.outside_later(self._chance.uniform(*RESTART_S), self._start, node.name)

    def _clock(self, node: Node) -> Clock:
        drift = 1.0
        if "clock" in self.turmoil.kinds:
            drift = self._chance.uniform(0.998, 1.002)
        node.ahead_s = 0.0
        return Clock(
            speed=self.speed,
            anchor_ms=EPOCH_S * 1000,
            wall=lambda: self.loop.time() * drift + node.ahead_s,
        )

    def _persistence(self, node: Node) -> Any:
        clock = self._clock(node)
        vendors = Vendors(self)

        async def tell_region(region_id: str, opened: list[TaskOpened]) -> None:
            await self.net.call(f"region:{region_id}", "post", opened)

        relay = Relay(
            self._store,
            bus=vendors,
            payment=vendors,
            tell_region=tell_region,
            clock=clock,
            limits=self.limits,
        )
        shell = PersistenceShell(self._store, relay, clock, self.limits)

        async def start() -> None:
            shell.start()

        node.spawn(start())
        return shell

    def _region(self, node: Node) -> Any:
        async def send(gateway_id: str, pushes: list[Push | Kick]) -> None:
            await self.net.call(gateway_id, "push", pushes)

        target = RegionTarget(
            RegionShell(
                REGION,
                store=NetStore(self.net),
                policy=self.policy,
                limits=self.limits,
                clock=self._clock(node),
                solve=self._solve,
                send=send,
                on_death=lambda _: self._died(node),
                journal=Watcher(self, node),
            )
        )
        node.spawn(target.shell.start())
        return target

    async def _solve(self, request: SolveRequest) -> Plan:
        wait_s = self._chance.uniform(0.001, 0.02)
        if self.turmoil.strikes("solver", 0.1):
            wait_s = self.turmoil.amount("solver", 0.05, 10.0)
        await asyncio.sleep(wait_s)
        if self.turmoil.strikes("solver", 0.1):
            raise RuntimeError("the solver's process died")
        return solve(request)

    def _gateway(self, node: Node) -> Any:
        clock = self._clock(node)
        config = self._config(clock)
        vendors = Vendors(self)
        services = assemble(
            config,
            node.name,
            backend=ActorBackend(self.net.call, (REGION,), self.limits, self._chance),
            reads=MemoryReads(self.checker.memory),
            identity=vendors,
            payment=vendors,
            now_us=lambda: round((EPOCH_S + clock.wall()) * 1e6),
            chance=self._chance,
        )
        node.spawn(services.pings.run())
        return GatewayTarget(services)

    def _config(self, clock: ServerClock) -> Config:
        return Config(
            environment="test",
            namespace="sim",
            database_url="",
            redis_url="",
            regions=(REGION,),
            clock=clock,
            jwt_secret="the same in every gateway of a simulated world",
            jwt_ttl_s=86_400,
            internal_token="",
            host="",
            port=0,
            policy=self.policy,
            limits=self.limits,
        )

    def _gateway_tokens(self) -> Any:
        return self.net.nodes[self.gateways[0]].target.services.tokens

    # -- weather ------------------------------------------------------------------------------------------------------

    def _weather(self, kind: str, strike: Callable[[], None]) -> None:
        if self.turmoil.strikes(kind, 0.35):
            strike()
        if self.turmoil.raging:
            self.loop.outside_later(self._chance.uniform(0.5, 8.0), self._weather, kind, strike)

    def _victim(self, kind: str) -> Node | None:
        nodes = [node for node in self.net.nodes.values() if node.alive and not node.frozen]
        return nodes[self.turmoil.choice(kind, len(nodes))] if nodes else None

    def _crash(self) -> None:
        if (node := self._victim("crash")) is not None:
            self._died(node)

    def _freeze(self) -> None:
        node = self._victim("freeze")
        if node is None:
            return
        self.say(lambda: f"{node.name} freezes")
        self.checker.saw[f"froze {node.name.partition(':')[0]}"] += 1
        node.freeze()
        self._excuse(node)
        noticed_s = self.turmoil.amount("freeze", 0.05, 6.0)
        self.loop.outside_later(noticed_s, self._replace, node)
        self.loop.outside_later(self.turmoil.amount("freeze", 0.05, 20.0), self._thaw, node)

    def _replace(self, node: Node) -> None:
        """The cluster holds a frozen process for dead; it may wake beside its successor."""
        if node.frozen and node.alive:
            self.checker.saw["twins"] += 1
            self._twins.append(node)
            self.net.abandon(node)
            self.loop.outside_later(self._chance.uniform(*RESTART_S), self._start, node.name)

    def _thaw(self, node: Node) -> None:
        if node.frozen and node.alive:
            self.say(lambda: f"{node.name} wakes")
            self._excuse(node)
            node.thaw()
            if node in self._twins:
                # The cluster ends the twin when it sees it; until then it goes on.
                self.loop.outside_later(self._chance.uniform(0.5, 10.0), node.kill)

    def _set_clock(self) -> None:
        if (node := self._victim("clock")) is not None:
            node.ahead_s += self.turmoil.amount("clock", 0.01, 0.5) * self._chance.choice((-1, 1))
            self.say(lambda: f"{node.name}'s clock is {node.ahead_s:+.2f} s off")
            self._excuse(node)

    def _excuse(self, node: Node) -> None:
        """Whatever this process is late with is not its fault."""
        if isinstance(node.target, RegionTarget):
            self.checker.excused_regions |= {life for life in node.target.lives}

    def _clear_up(self) -> None:
        if self._calm_s is not None:
            return
        self.say(lambda: "the weather clears")
        self._calm_s = self.loop.time()
        self.turmoil.end()
        for node in [*self.net.nodes.values(), *self._twins]:
            self._thaw(node)
        for phone in self.phones:
            if phone.brain.name.endswith(".1"):
                phone.switch_off()  # the second phone of a twin goes into a drawer
            elif phone.away and phone.brain.tasks:
                self.loop.outside_later(self._chance.uniform(0, 30), phone.switch_on)

    def _watch(self) -> None:
        """See whether it is all over."""
        now_s = self.loop.time()
        if self._calm_s is None:
            if self.net.delivered >= self._steps:
                self._clear_up()
        elif now_s > self._calm_s + CALM_LIMIT_S:
            self._end()
        elif self.people.placing or self.checker.unfinished() or self._waiting():
            self._ended_s = None
        elif self._ended_s is None:
            self._ended_s = now_s
        elif now_s >= self._ended_s + SETTLE_S:
            self._end()
        if not self.over:
            self.loop.outside_later(0.5, self._watch)

    def _waiting(self) -> bool:
        return any(self.checker.memory.outbox.values())

    def _end(self) -> None:
        self.over = True
        node = self.net.nodes.get(f"region:{REGION}")
        region = node.target.region if node is not None else None
        shown: dict[str, set[str]] = {}
        for phone in self.phones:
            lost = phone.brain.stats["lost_frames"]
            self.checker.must(not lost, "pushes", f"{phone.driver_id}'s phone missed {lost} pushes")
            if not phone.away:
                shown.setdefault(phone.driver_id, set()).update(phone.shown)
        self.checker.quiet(region, shown)

    # -- all of it ----------------------------------------------------------------------------------------------------

    def stepped(self, node: Node, region: Region, now_ms: int, message: Message, ready: Ready) -> None:
        """A region took a message in."""
        self._decided.update(digest(ready))
        if self._told is not None and not isinstance(message, DriversSeen):
            self.say(lambda: f"{node.name}/{region.epoch} <- {message}")
            for record in ready.records:
                self.say(lambda record=record: f"{node.name}/{region.epoch} !  {record}")
        self.checker.stepped(region, now_ms, message, ready)

    def run(self) -> Result:
        """Let it happen, until everything has ended or a promise is broken."""
        checker = self.checker
        self.loop.run(lambda: self.over or checker.violation is not None, 1e9)
        self.loop.close()
        saw = Counter(checker.saw)
        saw.update({f"fault {kind}": count for kind, count in self.turmoil.struck.items()})
        for phone in self.phones:
            saw.update({f"phone {name}": phone.brain.stats[name] for name in ("resumed", "lost_frames")})
        return Result(
            seed=self.seed,
            violation=checker.violation,
            steps=self.net.delivered,
            simulated_s=self.loop.time() * self.speed,
            decisions=self._decided.hexdigest(),
            saw={name: count for name, count in sorted(saw.items()) if count},
        )


class Watcher:
    """`actors.pump.Journal`: passes on what a region's process takes in."""

    def __init__(self, world: World, node: Node) -> None:
        self._world, self._node = world, node
        self._region: Region | None = None

    def began(self, region: Region, now_ms: int) -> None:
        """See `Journal`."""
        self._region = self._node.target.region = region
        self._node.target.lives.append(region.epoch)
        self._world.checker.saw["region lives"] += 1
        self._world.say(lambda: f"{self._node.name} begins life {region.epoch}")

    def stepped(self, now_ms: int, message: Message, ready: Ready) -> None:
        """See `Journal`."""
        assert self._region is not None
        self._world.stepped(self._node, self._region, now_ms, message, ready)


class RegionTarget:
    """What is called in a region's process."""

    def __init__(self, shell: RegionShell) -> None:
        self.shell = shell
        self.region: Region | None = None
        self.lives: list[int] = []

    async def post(self, messages: list[Message]) -> list[Reply]:
        return await self.shell.post(messages)

    async def seen(self, batch: DriversSeen) -> int:
        return self.shell.seen(batch)


class GatewayTarget:
    """What is called in a gateway's process, by regions and by clients."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def push(self, batch: list[Push | Kick]) -> None:
        self.services.hub.deliver(batch)

    async def rest(
        self, who: Principal, path: str, key: str, body: rest.Body
    ) -> tuple[int, rest.Body, str | None]:
        return await rest.post(self.services, who, path, key, body)


class NetStore:
    """`domain.ports.RegionStore` through the persistence process."""

    def __init__(self, net: Net) -> None:
        self._net = net

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        outcomes: list[Outcome] = await self._net.call(PERSISTENCE, "append", list(commands))
        return outcomes

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        image: RegionImage = await self._net.call(PERSISTENCE, "open_region", region_id, now_ms)
        return image


class Vendors:
    """Identity, payment and event bus, when they answer."""

    def __init__(self, world: World) -> None:
        config = world._config(ServerClock())
        self._world = world
        self._identity, self._payment = identity_vendor(config), payment_vendor(config)

    async def _answers(self) -> None:
        turmoil = self._world.turmoil
        if turmoil.strikes("vendor", 0.05):
            await asyncio.sleep(turmoil.amount("vendor", 0.01, 5.0))
        if turmoil.strikes("vendor", 0.1):
            raise VendorError("no answer")

    async def verify_age(self, **question: Any) -> Any:
        await self._answers()
        return await self._identity.verify_age(**question)

    async def check_id(self, **question: Any) -> Any:
        await self._answers()
        return await self._identity.check_id(**question)

    async def authorize(self, **question: Any) -> Any:
        await self._answers()
        return await self._payment.authorize(**question)

    async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult:
        await self._answers()
        self._world.checker.settled(request_id.partition(":")[2], "capture")
        return await self._payment.capture(
            request_id=request_id, vendor_ref=vendor_ref, amount_cents=amount_cents
        )

    async def void(self, *, request_id: str, vendor_ref: str) -> PaymentResult:
        await self._answers()
        self._world.checker.settled(request_id.partition(":")[2], "void")
        return await self._payment.void(request_id=request_id, vendor_ref=vendor_ref)

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        await self._answers()
        self._world.checker.published(events)
        await self._answers()
