"""What processes, people and troubles ask of the simulated world that they live in."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from msgspec import Struct

from actors.clock import ServerClock
from actors.config import Config, Limits
from domain.marketplace.accounts import User
from domain.ports import IdentityVendor, PaymentVendor
from domain.region.machine import Region
from domain.region.messages import Device, Message, Ready
from domain.region.policy import RegionPolicy
from gateway.http.auth import Principal
from sim.bot.motion import Point
from sim.world import rest
from sim.world.checks.checker import Checker
from sim.world.faults import Faults
from sim.world.net import Net, Node
from sim.world.payment_vendor import Bank
from sim.world.simstore import SimStore
from sim.world.virtual import VirtualLoop


class Shop(Struct, frozen=True, kw_only=True):
    """A market's store, and what it sells."""

    region_id: str
    at: Point
    merchant_id: str
    store_id: str
    product_id: str


class Surroundings(Protocol):
    """Drawn from `seed`, and the same for everybody in it."""

    seed: int
    chance: Random
    loop: VirtualLoop
    net: Net
    faults: Faults
    store: SimStore
    checker: Checker
    bank: Bank
    identity: IdentityVendor
    payment: PaymentVendor
    limits: Limits
    speed: float
    regions: tuple[str, ...]
    persistences: int
    users: dict[str, User]
    shops: list[Shop]
    gateways: list[str]
    set_by_s: float  # by which the machine's clock was set, wall time
    over: bool

    def uid(self, name: str) -> str:
        """An id that hangs on the seed and a name alone."""
        ...

    async def never(self) -> None:
        """What does not return."""
        ...

    def now_s(self) -> float:
        """The server's time as it really is."""
        ...

    def say(self, text: Callable[[], str]) -> None:
        """For the transcript, if somebody reads along."""
        ...

    def policy_of(self, region_id: str) -> RegionPolicy:
        """What this market lives by."""
        ...

    def market_of(self, order_id: str) -> str:
        """An order's market; empty when there is no such order."""
        ...

    def is_poison(self, order_id: str) -> bool:
        """Whether the event bus does not take this order's events now."""
        ...

    def store_shut(self, order_id: str) -> bool:
        """Whether this order's store turns out to be closed."""
        ...

    def clock_of(self, node: Node) -> ServerClock:
        """A process's clock."""
        ...

    def config(self, clock: ServerClock) -> Config:
        """The server's configuration, with a process's own clock."""
        ...

    def any_gateway(self, chance: Random) -> Node | None:
        """A gateway as a load balancer finds one; None: it does not answer."""
        ...

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
        ...

    def stepped(self, node: Node, region: Region, now_ms: int, message: Message, ready: Ready) -> None:
        """A region took a message in."""
        ...

    def start(self, name: str) -> None:
        """The cluster starts a process, unless there is one of this name."""
        ...

    def died(self, node: Node) -> None:
        """The cluster notices that a process is gone and starts it anew."""
        ...
