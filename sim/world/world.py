"""A whole server with its people in one process, on virtual time, made from a seed.

Real: the region with its shell and pump, the persistence shell with its relay, the gateway's sockets, repeats
and routes, the solver, the demo's drivers. Simulated: the network between them, the database's connection (the store in
memory behind it decides and refuses as Postgres does), vendors, clocks, and what a cluster does about processes that
die. Faults (`sim/world/faults.py`) strike for a while, then end, and everything must come to its end.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Collection
from hashlib import blake2b
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from actors.clock import ServerClock
from actors.config import Config, persistence_names
from actors.vendors import identity_vendor, payment_vendor
from domain.errors import IdempotencyKeyReused
from domain.marketplace.accounts import User
from domain.orders.lifecycle import Role
from domain.orders.state import Product, Store
from domain.ports import Channel
from domain.region.log.journal import digest
from domain.region.log.trace import message_line, ready_lines
from domain.region.machine import Region
from domain.region.messages import Device, DriversSeen, Message, Ready
from domain.region.policy import RegionPolicy
from gateway.deciders.collector import Unavailable
from gateway.http.auth import Principal, Tokens
from sim.bot.driver_bot import DriverBot
from sim.bot.motion import Point, offset
from sim.bot.personas import CustomerShares, Door, DriverPersona, door_outcome
from sim.world import rest
from sim.world.checks.checker import Checker, Violation
from sim.world.checks.recovery import RecoveryRules
from sim.world.fault_injection import RESTART_S, FaultInjection
from sim.world.faults import KINDS, Faults
from sim.world.net import Net, Node
from sim.world.payment_vendor import Bank
from sim.world.people import People
from sim.world.phones import TRAITS, TUNNEL, Phone
from sim.world.pollers import Poller
from sim.world.processes import EPOCH_S, PROCESSES, Clock
from sim.world.server_config import make_limits, make_policy
from sim.world.simstore import SimStore
from sim.world.surroundings import Shop
from sim.world.virtual import TimeStandsStill, VirtualLoop

STEPS = 4_000  # messages after which faults end at the latest
FAULTS_S = (8.0, 30.0)  # wall time that faults strike
CALM_LIMIT_S = 400.0  # wall time of calm by which everything must have ended
SETTLE_S = 6.0  # wall time of calm after the last order, before all is compared
SECRET = "the same in every gateway of a simulated world"
SHARES = CustomerShares(
    under_age=0.08, expired_id=0.06, wrong_name=0.06, no_id=0.06, intoxicated=0.06, nobody_home=0.08
)
SHUT_SHARE = 0.06  # orders of a store that turns out to be closed
RUSH_SHARE = 0.4  # worlds in which all orders are placed at once
TRAIT_SHARE = 0.12  # drivers with each of the traits
TUNNEL_SHARE = 0.25  # drivers who go through tunnels
REGIONS = ("tx-dfw", "tx-hou")
STORES = (Point(32.80, -96.80), Point(29.76, -95.37))
DRIVERS_LIMIT = 10  # of a market
TWO_MARKETS_SHARE, TWO_PERSISTENCES_SHARE = 0.3, 0.3  # worlds with so many
HURT_SHARE = 0.5  # worlds of two markets in which one alone is hurt
CLIENT_TIMEOUT_S = 30.0  # after which people ask again


class Result(Struct, frozen=True, kw_only=True):
    """How a world went. `simulated_s` is server time; `decisions` a hash of all that its regions decided."""

    seed: int
    violation: Violation | None
    steps: int
    simulated_s: float
    decisions: str
    saw: dict[str, int]


class World:
    """Made from a seed; `run` lets it happen. `faults`: kinds that may strike; `steps`: see `STEPS`; `told` hears the
    transcript, line by line with the server's time in seconds."""

    def __init__(
        self,
        seed: int,
        *,
        faults: Collection[str] = tuple(KINDS),
        steps: int = STEPS,
        told: Callable[[float, str], None] | None = None,
    ) -> None:
        self.seed, self._steps, self._told = seed, steps, told
        self.chance = chance = Random(f"{seed}:world")
        self.loop = VirtualLoop()  # type: ignore[abstract]  # of asyncio's loop it has what runs here
        # Drawn by itself, so that what a world is made of else does not change with it.
        shape = Random(f"{seed}:shape")
        self.regions: tuple[str, ...] = REGIONS if shape.random() < TWO_MARKETS_SHARE else REGIONS[:1]
        hurt = self.regions[0] if len(self.regions) > 1 and shape.random() < HURT_SHARE else None
        self.persistences = 2 if shape.random() < TWO_PERSISTENCES_SHARE else 1
        self.faults = Faults(seed, faults, hurt)
        self.speed = chance.choice((15.0, 25.0, 35.0))
        self.policy = make_policy(chance, self.faults)
        # The second market has a policy of its own.
        own = replace(self.policy, promise_s=1800.0, prep_s=300.0)
        self.policies = dict.fromkeys(self.regions[1:], own)
        self.limits = make_limits(chance, self.faults, self.policy, self.speed)
        self.bank = Bank()
        config = self.config(ServerClock())
        self.identity, self.payment = identity_vendor(config), payment_vendor(config)
        self.checker = Checker(self)
        self.net = Net(self.loop, Random(f"{seed}:net"), self.faults)
        self.store = SimStore(
            self.checker.memory,
            self.loop,
            Random(f"{seed}:store"),
            self.faults,
            lock_timeout_s=self.limits.db_lock_timeout_s,
            on_refusal=self.checker.refused,
            on_spoilt=self.checker.spoilt,
        )
        self.recovery = RecoveryRules(self)
        self._poison: dict[str, bool] = {}
        self.over = False
        self._decided = blake2b(digest_size=16)
        self.set_by_s = 0.0  # by which the machine's clock was set, wall time
        self._calm_s: float | None = None
        self._ended_s: float | None = None
        self._build(chance)

    def _build(self, chance: Random) -> None:
        self.users: dict[str, User] = {}
        self.shops = [self._open_shop(region_id) for region_id in self.regions]
        self.gateways = [f"gateway:{n}" for n in range(chance.choice((1, 2)))]
        regions = (f"region:{region_id}" for region_id in self.regions)
        for name in (*persistence_names(self.persistences), *regions, *self.gateways):
            self.start(name)
        self.phones: list[Phone] = []
        drivers = chance.randint(2, 4)
        for shop in self.shops:
            for nth in range(drivers):
                number = DRIVERS_LIMIT * self.shops.index(shop) + nth
                self._hire(number, shop, Random(f"{self.seed}:driver:{number}"))
        rage_s = chance.uniform(*FAULTS_S)
        # A rush makes bundles: more orders at once than there are drivers.
        rush = chance.random() < RUSH_SHARE
        self.people = People(
            self, chance.randint(4, 8) if rush else chance.randint(1, 5), 2.0 if rush else rage_s
        )
        self.loop.outside_later(rage_s, self._clear_up)
        self.loop.outside_later(0.5, self._watch)
        self.injection = FaultInjection(self)

    def _open_shop(self, region_id: str) -> Shop:
        """A store with one product near the middle of a market."""
        number = self.regions.index(region_id)
        shop = Shop(
            region_id=region_id,
            at=STORES[number],
            merchant_id=self.uid(f"merchant-{number}"),
            store_id=self.uid(f"store-{number}"),
            product_id=self.uid(f"beer-{number}"),
        )
        store = Store(
            store_id=shop.store_id,
            merchant_id=shop.merchant_id,
            region_id=region_id,
            lat=shop.at.lat,
            lng=shop.at.lng,
        )
        beer = Product(
            product_id=shop.product_id, store_id=shop.store_id, category="alcohol", price_cents=1250
        )
        self.checker.memory.add_store(store, [beer])
        return shop

    def _hire(self, number: int, shop: Shop, chance: Random) -> None:
        driver_id = self.uid(f"driver-{number}")
        token = Tokens(SECRET, 86_400).issue(driver_id, Role.DRIVER)
        self.users[driver_id] = User(
            user_id=driver_id,
            email=f"driver{number}@example.org",
            password_hash="-",
            role=Role.DRIVER,
            name="Driver",
            created_ms=0,
        )
        # The first of a market is honest, so that whatever can be brought is brought in the end.
        others, honest = [trait for trait in TRAITS if trait != TUNNEL], number % DRIVERS_LIMIT == 0
        traits = frozenset(trait for trait in others if not honest and chance.random() < TRAIT_SHARE)
        if "sweep" in self.faults.kinds:
            traits |= {"thrifty"}
        # Drawn by itself, so that whoever has other traits has them with and without tunnels.
        if Random(f"{self.seed}:tunnel:{number}").random() < TUNNEL_SHARE:
            traits |= {TUNNEL}
        persona = DriverPersona(
            lapse=1.0 if "sleeper" in traits else chance.choice((0.0, 0.1)),
            reject=0.0 if honest else chance.choice((0.0, 0.1, 0.3)),
        )
        for phone in range(2 if "twin" in traits else 1):
            bot = DriverBot(
                name=f"d{number}.{phone}",
                persona=persona,
                rng=Random(f"{self.seed}:brain:{number}:{phone}"),
                start=offset(shop.at, chance.uniform(-2500, 2500), chance.uniform(-2500, 2500)),
                door=self.door,
                speed=self.speed,
            )
            whims = Random(f"{self.seed}:phone:{number}:{phone}")
            kind = Poller if "poller" in traits else Phone
            self.phones.append(kind(self, driver_id, token, bot, traits, whims, self.store_shut))

    def may_refuse(self) -> bool:
        """Whether the database has refused something by our own will, or an operator's."""
        return self.faults.struck["refuse"] > 0 or self.faults.struck["hand"] > 0

    # -- what the parts ask -------------------------------------------------------------------------------------------

    def uid(self, name: str) -> str:
        """An id that hangs on the seed and a name alone."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.seed}/{name}"))

    async def never(self) -> None:
        """What does not return."""
        await self.loop.create_future()

    def policy_of(self, region_id: str) -> RegionPolicy:
        """What this market lives by."""
        return self.policies.get(region_id, self.policy)

    def market_of(self, order_id: str) -> str:
        """An order's market; empty when there is no such order."""
        order = self.checker.memory.order(order_id)
        return "" if order is None else order.region_id

    def is_poison(self, order_id: str) -> bool:
        """Whether the event bus does not take this order's events now. It is so from its first one on."""
        if order_id not in self._poison:
            self._poison[order_id] = self.faults.strikes("poison", 0.2, self.market_of(order_id))
        return self._poison[order_id] and self.faults.active

    def was_poison(self, order_id: str) -> bool:
        """Whether the event bus did not take this order's events for a while."""
        return self._poison.get(order_id, False)

    def now_s(self) -> float:
        """The server's time as it really is."""
        return EPOCH_S + self.loop.time() * self.speed

    def clock_of(self, node: Node) -> Clock:
        """A process's clock: a little fast or slow where clocks are bad, and set by a fault now and then."""
        drift = self.chance.uniform(0.998, 1.002) if "clock" in self.faults.kinds else 1.0
        return Clock(
            speed=self.speed,
            anchor_ms=EPOCH_S * 1000,
            wall=lambda: self.loop.time() * drift + node.ahead_s,
            set_by=lambda: self.set_by_s,
        )

    def config(self, clock: ServerClock) -> Config:
        """The server's configuration, with a process's own clock."""
        return Config(
            environment="test",
            namespace="sim",
            database_url="",
            redis_url="",
            regions=self.regions,
            persistence_actors=self.persistences,
            clock=clock,
            jwt_secret=SECRET,
            jwt_ttl_s=86_400,
            internal_token="",
            host="",
            port=0,
            policy=self.policy,
            policies=self.policies,
            limits=self.limits,
        )

    def say(self, text: Callable[[], str]) -> None:
        """For the transcript, if somebody reads along."""
        if self._told is not None:
            self._told(self.loop.time() * self.speed, text())

    def store_shut(self, order_id: str) -> bool:
        """Whether this order's store turns out to be closed."""
        return Random(f"{self.seed}:shut:{order_id}").random() < SHUT_SHARE

    def door(self, order_id: str) -> Door:
        """What the driver finds at this order's door."""
        return door_outcome(self.seed, order_id, SHARES)

    def any_gateway(self, chance: Random) -> Node | None:
        """A gateway as a load balancer finds one; None: it does not answer."""
        node = self.net.nodes.get(chance.choice(self.gateways))
        return node if node is not None and node.alive else None

    async def post(
        self,
        who: Principal,
        path: str,
        body: rest.Body,
        key: str,
        chance: Random,
        device: Device | None = None,
        market: str = "",
    ) -> tuple[int, rest.Body]:
        """A REST request over any gateway; status 0: no answer came. `market`: whose request it is."""
        self.say(lambda: f"{who.role} {who.id} POST {path} {body}, key {key}")
        gateway, asked_s = chance.choice(self.gateways), self.loop.time()
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                status, answer, fault = await self.net.call(
                    gateway, "rest", who, path, key, body, device, market=market
                )
        except (Unavailable, TimeoutError):
            self.say(lambda: f"{who.role} {who.id} gets no answer to {key}")
            return 0, {}
        finally:
            self.recovery.answered(market, lambda: f"POST {path}, key {key},", self.loop.time() - asked_s)
        self.say(lambda: f"{who.role} {who.id} gets {status} to {key}: {answer}")
        if fault is not None or status == 500:
            self.checker.failed(who.id, path, answer.get("code", ""), fault or str(answer))
        elif status < 300:
            self.checker.answered(f"{who.id}|{path}|{body}", key, True, answer)
        elif status not in (429, 503) and answer.get("code") != IdempotencyKeyReused.code:
            self.checker.answered(f"{who.id}|{path}|{body}", key, False, answer)
        return status, answer

    def stepped(self, node: Node, region: Region, now_ms: int, message: Message, ready: Ready) -> None:
        """A region took a message in."""
        self._decided.update(digest(ready))
        if self._told is not None and not isinstance(message, DriversSeen):
            self.say(lambda: f"{node.name}/{region.epoch} < {message_line(message)}")
            for line in ready_lines(ready):
                if not line.startswith(("nothing", "reply", "push")):
                    self._told(self.loop.time() * self.speed, f"{node.name}/{region.epoch} > {line}")
        self.checker.stepped(region, now_ms, message, ready)

    # -- processes ----------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """The cluster starts a process, unless there is one of this name."""
        if self.over or name in self.net.nodes:
            return
        self.say(lambda: f"{name} starts")
        node = self.net.nodes[name] = Node(self.loop, name)
        node.target = PROCESSES[name.partition(":")[0]](self, node)

    def died(self, node: Node) -> None:
        """The cluster notices that a process is gone and starts it anew."""
        self.checker.saw[f"died {node.name.partition(':')[0]}"] += 1
        self.say(lambda: f"{node.name} is dead")
        node.kill()
        is_current = self.net.nodes.get(node.name) is node
        self.net.abandon(node)
        if is_current:
            self.loop.outside_later(self.chance.uniform(*RESTART_S), self.start, node.name)

    # -- all of it ----------------------------------------------------------------------------------------------------

    def _clear_up(self) -> None:
        if self._calm_s is not None:
            return
        self.say(lambda: "no more faults")
        self._calm_s = self.loop.time()
        self.faults.end()
        self.injection.clear_up()
        for phone in self.phones:
            if phone.bot.name.endswith(".1"):
                phone.switch_off()  # the second phone of a twin goes into a drawer
            elif phone.away and (phone.has_goods or "twin" in phone.traits or self.chance.random() < 0.5):
                # Whoever has goods in the car (perhaps by the other phone's doing) is found; others may stay away.
                self.loop.outside_later(self.chance.uniform(0, 30), phone.switch_on)

    def _watch(self) -> None:
        """See whether it is all over."""
        now_s = self.loop.time()
        self.recovery.look(now_s)
        if self._calm_s is None:
            if self.net.delivered >= self._steps:
                self._clear_up()
        elif now_s > self._calm_s + CALM_LIMIT_S:
            self._end()
        elif self.people.placing or self.checker.unfinished() or any(map(self.checker.waiting, Channel)):
            self._ended_s = None
        elif not all(phone.is_heard for phone in self.phones):
            self._ended_s = None  # whoever waits to connect again knows nothing of what happened meanwhile
        elif any(node.alive for node in self.injection.twins):
            self._ended_s = None  # whose socket hangs at a twin is not told either, until the cluster ends it
        elif self._ended_s is None:
            self._ended_s = now_s
        elif now_s >= self._ended_s + SETTLE_S:
            self._end()
        if not self.over:
            self.loop.outside_later(0.5, self._watch)

    def _end(self) -> None:
        self.over = True
        nodes = {region_id: self.net.nodes.get(f"region:{region_id}") for region_id in self.regions}
        regions = {of: node.target.region if node is not None else None for of, node in nodes.items()}
        shown: dict[str, set[str]] = {}
        for phone in self.phones:
            lost = phone.bot.stats["lost_frames"]
            self.checker.must(not lost, "pushes", f"{phone.driver_id}'s phone missed {lost} pushes")
            kept = 0 if phone.away else len(phone.bot.unanswered)
            self.checker.must(not kept, "phone", f"{phone.driver_id}'s phone keeps {kept} steps to itself")
            if not phone.away:
                shown.setdefault(phone.driver_id, set()).update(phone.shown)
        self.checker.quiet(regions, shown)

    def run(self) -> Result:
        """Let it happen, until everything has ended or a promise is broken."""
        checker = self.checker
        try:
            self.loop.run(lambda: self.over or checker.violation is not None, float("inf"))
        except TimeStandsStill:
            checker.broken("liveness", "somebody spins without letting time go on")
        finally:
            self.loop.close()
        saw = Counter(checker.saw)
        saw["two markets"] = len(self.regions) > 1
        saw["one market hurt"] = self.faults.hurt is not None
        saw["two persistence actors"] = self.persistences > 1
        saw.update({f"fault {kind}": count for kind, count in self.faults.struck.items()})
        for phone in self.phones:
            saw["phone resumed"] += phone.bot.stats["resumed"]
            saw["done offline"] += phone.bot.stats["done_offline"]
            saw.update(f"trait {trait}" for trait in phone.traits)
        return Result(
            seed=self.seed,
            violation=checker.violation,
            steps=self.net.delivered,
            simulated_s=self.loop.time() * self.speed,
            decisions=self._decided.hexdigest(),
            saw={name: count for name, count in sorted(saw.items()) if count},
        )
