"""A whole server with its people in one process, on virtual time, made from a seed.

Real: the region with its shell and pump, the persistence shell with its relay, the gateway's sockets, repeats
and routes, the solver, the demo's drivers. Simulated: the network between them, the database's connection (the store in
memory behind it decides and refuses as Postgres does), vendors, clocks, and what a cluster does about processes that
die. The weather (`sim/turmoil.py`) rages for a while, then clears, and everything must come to its end.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Collection
from hashlib import blake2b
from random import Random

from msgspec import Struct

from actors.clock import ServerClock
from actors.config import Config, Limits
from domain.journal import digest
from domain.lifecycle import Role
from domain.messages import Device, DriversSeen, Message, Ready
from domain.order import Product, Store
from domain.outline import message_line, ready_lines
from domain.policy import RegionPolicy
from domain.region import Region
from domain.solve import Planning
from gateway.auth import Principal, Tokens
from gateway.collector import Unavailable
from persistence.views import User
from sim import rest
from sim.brain import Brain
from sim.checker import Checker, Violation
from sim.motion import Point, offset
from sim.net import Net, Node
from sim.people import People
from sim.personas import CustomerShares, Door, DriverPersona, door_outcome
from sim.phones import TRAITS, TUNNEL, Phone
from sim.processes import EPOCH_S, PERSISTENCE, PROCESSES, REGION, Clock, RegionProcess
from sim.simstore import SimStore
from sim.turmoil import KINDS, Turmoil
from sim.virtual import TimeStandsStill, VirtualLoop

STEPS = 4_000  # messages after which the weather clears at the latest
RAGE_S = (8.0, 30.0)  # wall time that the weather rages
CALM_LIMIT_S = 400.0  # wall time of calm by which everything must have ended
SETTLE_S = 6.0  # wall time of calm after the last order, before all is compared
RESTART_S = (0.2, 2.0)  # wall time until the cluster has started a dead process again
SECRET = "the same in every gateway of a simulated world"
SHARES = CustomerShares(
    under_age=0.08, expired_id=0.06, wrong_name=0.06, no_id=0.06, intoxicated=0.06, nobody_home=0.08
)
SHUT_SHARE = 0.06  # orders of a store that turns out to be closed
RUSH_SHARE = 0.4  # worlds in which all orders are placed at once
TRAIT_SHARE = 0.12  # drivers with each of the traits
TUNNEL_SHARE = 0.25  # drivers who go through tunnels


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
        self.turmoil = Turmoil(seed, faults)
        self.speed = chance.choice((15.0, 25.0, 35.0))
        self.policy = RegionPolicy(
            offer_ttl_s=chance.choice((30.0, 60.0)),
            fast_max_wait_s=chance.choice((10.0, 30.0)),
            driver_lost_s=300.0,
            push_ring=chance.choice((4, 64)),
            batch_solver="",  # its routes are not the same each time (solver/names.py), and a world must be
            offer_lead_s=chance.choice((60.0, 300.0, 3600.0)),
            offer_ahead_s=chance.choice((0.0, 0.0, 300.0)),
            planning=chance.choice((Planning(), Planning(), Planning(bundle_tries=0))),
        )
        self.limits = Limits(
            # A region that lost sight of a socket finds it again with the next ping, well within an offer's time.
            ping_flush_s=self.policy.offer_ttl_s / 2 / self.speed,
            ws_hello_timeout_s=5.0,
            region_call_deadline_s=10.0,
            outbox_pace_s=0.02,  # the more happens at the same time
            outbox_retry_s=3.0,
            vendor_timeout_s=2.0,
            rate_limits="off",  # they live on wall time
            # Now and then so tight that they are met.
            append_in_flight=chance.choice((1, 2)),
            append_batch_limit=chance.choice((1, 3, 512)),
            append_queue_limit=chance.choice((3, 20_000)),
            region_inbox_limit=(inbox := chance.choice((4, 20_000))),
            region_shed_at=inbox // 2,
            gateway_outbox_limit=chance.choice((8, 50_000)),
            ws_outbox_limit=chance.choice((8, 256)),
            outbox_batch=chance.choice((1, 200)),
        )
        self.checker = Checker(self._door, self.policy, lambda: self.turmoil.struck["refuse"] > 0)
        self.net = Net(self.loop, Random(f"{seed}:net"), self.turmoil)
        self.store = SimStore(self.checker.memory, self.loop, Random(f"{seed}:store"), self.turmoil)
        self.over = False
        self._decided = blake2b(digest_size=16)
        self._twins: list[Node] = []
        self._calm_s: float | None = None
        self._ended_s: float | None = None
        self._build(chance)

    def _build(self, chance: Random) -> None:
        self.store_at = Point(32.80, -96.80)
        self.merchant_id, self.store_id = self.uid("merchant"), self.uid("store")
        self.product_id = self.uid("beer")
        shop = Store(
            store_id=self.store_id,
            merchant_id=self.merchant_id,
            region_id=REGION,
            lat=self.store_at.lat,
            lng=self.store_at.lng,
        )
        beer = Product(
            product_id=self.product_id, store_id=self.store_id, category="alcohol", price_cents=1250
        )
        self.users: dict[str, User] = {}
        self.checker.memory.add_store(shop, [beer])
        self.gateways = [f"gateway:{n}" for n in range(chance.choice((1, 2)))]
        for name in (PERSISTENCE, f"region:{REGION}", *self.gateways):
            self._start(name)
        self.phones: list[Phone] = []
        for number in range(chance.randint(2, 4)):
            self._hire(number, Random(f"{self.seed}:driver:{number}"))
        rage_s = chance.uniform(*RAGE_S)
        # A rush makes bundles: more orders at once than there are drivers.
        rush = chance.random() < RUSH_SHARE
        self.people = People(
            self, chance.randint(4, 8) if rush else chance.randint(1, 5), 2.0 if rush else rage_s
        )
        self.loop.outside_later(rage_s, self._clear_up)
        self.loop.outside_later(0.5, self._watch)
        for kind, strike in (("crash", self._crash), ("freeze", self._freeze), ("clock", self._set_clock)):
            if kind in self.turmoil.kinds:
                self.loop.outside_later(chance.uniform(1, 10), self._weather, kind, strike)

    def _hire(self, number: int, chance: Random) -> None:
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
        # The first is honest, so that whatever can be brought is brought in the end.
        others = [trait for trait in TRAITS if trait != TUNNEL]
        traits = frozenset(trait for trait in others if number and chance.random() < TRAIT_SHARE)
        # Drawn by itself, so that whoever has other traits has them with and without tunnels.
        if Random(f"{self.seed}:tunnel:{number}").random() < TUNNEL_SHARE:
            traits |= {TUNNEL}
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
            whims = Random(f"{self.seed}:phone:{number}:{phone}")
            self.phones.append(Phone(self, driver_id, token, brain, traits, whims, self.store_shut))

    # -- what the parts ask -------------------------------------------------------------------------------------------

    def uid(self, name: str) -> str:
        """An id that hangs on the seed and a name alone."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.seed}/{name}"))

    def now_s(self) -> float:
        """The server's time as it really is."""
        return EPOCH_S + self.loop.time() * self.speed

    def clock_of(self, node: Node) -> Clock:
        """A process's clock: a little fast or slow where clocks are bad, and set by the weather now and then."""
        drift = self.chance.uniform(0.998, 1.002) if "clock" in self.turmoil.kinds else 1.0
        return Clock(
            speed=self.speed,
            anchor_ms=EPOCH_S * 1000,
            wall=lambda: self.loop.time() * drift + node.ahead_s,
        )

    def config(self, clock: ServerClock) -> Config:
        """The server's configuration, with a process's own clock."""
        return Config(
            environment="test",
            namespace="sim",
            database_url="",
            redis_url="",
            regions=(REGION,),
            clock=clock,
            jwt_secret=SECRET,
            jwt_ttl_s=86_400,
            internal_token="",
            host="",
            port=0,
            policy=self.policy,
            limits=self.limits,
        )

    def say(self, text: Callable[[], str]) -> None:
        """For the transcript, if somebody reads along."""
        if self._told is not None:
            self._told(self.loop.time() * self.speed, text())

    def store_shut(self, order_id: str) -> bool:
        """Whether this order's store turns out to be closed."""
        return Random(f"{self.seed}:shut:{order_id}").random() < SHUT_SHARE

    def _door(self, order_id: str) -> Door:
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
    ) -> tuple[int, rest.Body]:
        """A REST request over any gateway; status 0: no answer came."""
        self.say(lambda: f"{who.role} {who.id} POST {path} {body}, key {key}")
        gateway = chance.choice(self.gateways)
        try:
            status, answer, fault = await self.net.call(gateway, "rest", who, path, key, body, device)
        except Unavailable:
            self.say(lambda: f"{who.role} {who.id} gets no answer to {key}")
            return 0, {}
        self.say(lambda: f"{who.role} {who.id} gets {status} to {key}: {answer}")
        if fault is not None or status == 500:
            self.checker.failed(who.id, path, answer.get("code", ""), fault or str(answer))
        elif status < 300:
            self.checker.answered(f"{who.id}|{path}", key, True, answer)
        elif status not in (429, 503):
            self.checker.answered(f"{who.id}|{path}", key, False, answer)
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

    def _start(self, name: str) -> None:
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
            self.loop.outside_later(self.chance.uniform(*RESTART_S), self._start, node.name)

    # -- weather ------------------------------------------------------------------------------------------------------

    def _weather(self, kind: str, strike: Callable[[], None]) -> None:
        if self.turmoil.strikes(kind, 0.35):
            strike()
        if self.turmoil.raging:
            self.loop.outside_later(self.chance.uniform(0.5, 8.0), self._weather, kind, strike)

    def _victim(self, kind: str) -> Node | None:
        nodes = [node for node in self.net.nodes.values() if node.alive and not node.frozen]
        return nodes[self.turmoil.choice(kind, len(nodes))] if nodes else None

    def _crash(self) -> None:
        if (node := self._victim("crash")) is not None:
            self.died(node)

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
            self.loop.outside_later(self.chance.uniform(*RESTART_S), self._start, node.name)

    def _thaw(self, node: Node) -> None:
        if node.frozen and node.alive:
            self.say(lambda: f"{node.name} wakes")
            self._excuse(node)
            node.thaw()
            if node in self._twins:
                # The cluster ends the twin when it sees it; until then it goes on.
                self.loop.outside_later(self.chance.uniform(0.5, 10.0), node.kill)

    def _set_clock(self) -> None:
        if (node := self._victim("clock")) is not None:
            node.ahead_s += self.turmoil.amount("clock", 0.01, 0.5) * self.chance.choice((-1, 1))
            self.say(lambda: f"{node.name}'s clock is {node.ahead_s:+.2f} s off")
            self._excuse(node)

    def _excuse(self, node: Node) -> None:
        """Whatever this process is late with is not its fault."""
        if isinstance(node.target, RegionProcess):
            self.checker.excused_regions.update(node.target.lives)

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
            elif phone.away and (phone.has_goods or "twin" in phone.traits or self.chance.random() < 0.5):
                # Whoever has goods in the car (perhaps by the other phone's doing) is found; others may stay away.
                self.loop.outside_later(self.chance.uniform(0, 30), phone.switch_on)

    # -- all of it ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """See whether it is all over."""
        now_s = self.loop.time()
        if self._calm_s is None:
            if self.net.delivered >= self._steps:
                self._clear_up()
        elif now_s > self._calm_s + CALM_LIMIT_S:
            self._end()
        elif self.people.placing or self.checker.unfinished() or any(self.checker.memory.outbox.values()):
            self._ended_s = None
        elif not all(phone.is_heard for phone in self.phones):
            self._ended_s = None  # whoever waits to connect again knows nothing of what happened meanwhile
        elif any(node.alive for node in self._twins):
            self._ended_s = None  # whose socket hangs at a twin is not told either, until the cluster ends it
        elif self._ended_s is None:
            self._ended_s = now_s
        elif now_s >= self._ended_s + SETTLE_S:
            self._end()
        if not self.over:
            self.loop.outside_later(0.5, self._watch)

    def _end(self) -> None:
        self.over = True
        node = self.net.nodes.get(f"region:{REGION}")
        region = node.target.region if node is not None else None
        shown: dict[str, set[str]] = {}
        for phone in self.phones:
            lost = phone.brain.stats["lost_frames"]
            self.checker.must(not lost, "pushes", f"{phone.driver_id}'s phone missed {lost} pushes")
            kept = 0 if phone.away else len(phone.brain.unanswered)
            self.checker.must(not kept, "phone", f"{phone.driver_id}'s phone keeps {kept} steps to itself")
            if not phone.away:
                shown.setdefault(phone.driver_id, set()).update(phone.shown)
        self.checker.quiet(region, shown)

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
        saw.update({f"fault {kind}": count for kind, count in self.turmoil.struck.items()})
        for phone in self.phones:
            saw["phone resumed"] += phone.brain.stats["resumed"]
            saw["done offline"] += phone.brain.stats["done_offline"]
            saw.update(f"trait {trait}" for trait in phone.traits)
        return Result(
            seed=self.seed,
            violation=checker.violation,
            steps=self.net.delivered,
            simulated_s=self.loop.time() * self.speed,
            decisions=self._decided.hexdigest(),
            saw={name: count for name, count in sorted(saw.items()) if count},
        )
