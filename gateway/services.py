"""What the routes and sockets work with, put together once for each gateway."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from uuid import UUID

from actors.config import Config
from actors.vendors import road_router
from domain.errors import NotFound
from domain.ground.fixes import Bounds, boxes
from domain.ground.markets import MARKETS
from domain.ground.times import in_ms
from domain.ports import IdentityVendor, PaymentVendor
from gateway.deciders.observed import Observed
from gateway.deciders.ops_feed import Feeds
from gateway.deciders.ports import Backend, Marketplace, ReadSide
from gateway.deciders.roads import RoadQueries
from gateway.http.account_status import Accounts
from gateway.http.admission import Admission
from gateway.http.auth import Passwords, Tokens
from gateway.http.cache import AnswerCache
from gateway.http.listener.connection_limits import ConnectionLimits
from gateway.http.metrics import Metrics, Others
from gateway.http.ratelimit import Limiter, limiter_of
from gateway.sockets.handshakes import Handshakes
from gateway.sockets.hub import Hub, OpenSocket
from gateway.sockets.positions import Pings
from gateway.sockets.recheck import Recheck
from gateway.sockets.standings import Standings


@dataclass
class Services:
    """The parts. Made by `assemble`; `config` says which markets there are and every limit."""

    config: Config
    gateway_id: str
    backend: Backend
    reads: ReadSide
    marketplace: Marketplace
    identity: IdentityVendor
    payment: PaymentVendor
    hub: Hub
    pings: Pings
    feeds: Feeds
    tokens: Tokens
    accounts: Accounts
    standings: Standings
    passwords: Passwords
    roads: RoadQueries
    metrics: Metrics
    limiter: Limiter
    admission: Admission
    connections: ConnectionLimits
    cache: AnswerCache
    recheck: Recheck
    handshakes: Handshakes
    open_sockets: set[OpenSocket]
    others: Others | None = None
    forgetful: set[str] = field(
        default_factory=set
    )  # regions that do not remember all that they have answered
    bounds: Bounds = field(init=False)  # of what positions are believed
    # Seeded by the system, not asked of it for each id: that call gives other threads the interpreter.
    chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        limits, speed = self.config.limits, self.config.clock.speed
        self.bounds = Bounds(
            age_ms=in_ms(limits.fix_age_s * speed),
            clock_ms=in_ms(limits.fix_clock_s * speed),
            accuracy_m=limits.fix_accuracy_m,
            speed_mps=limits.fix_speed_mps,
            slack_m=limits.fix_slack_m,
            confirmations=limits.fix_confirmations,
            boxes=boxes(self.config.regions, limits.fix_reach_m),
        )

    def now_us(self) -> int:
        """The time by which what is newer is told from what is older, see `ServerClock.even_us`."""
        return self.config.clock.even_us()

    def new_id(self) -> str:
        """A random UUID for something that comes into being."""
        return str(UUID(int=self.chance.getrandbits(128), version=4))

    def region(self, region_id: str) -> str:
        """The region's id if this server serves it, else `NotFound`."""
        if region_id not in self.config.regions:
            raise NotFound("There is no such region.")
        return region_id

    def centre_of(self, region_id: str) -> tuple[float, float]:
        """Latitude and longitude of a market's centre."""
        market = MARKETS[region_id]
        return market.lat, market.lng

    async def region_of_driver(self, driver_id: str, otherwise: str) -> str:
        """Where the driver's task or open offer is, which keeps its region, else `otherwise`."""
        regions = self.config.regions
        if len(regions) == 1:
            return regions[0]
        held = await self.reads.driver_region(driver_id)
        return held if held in regions else otherwise


def assemble(
    config: Config,
    gateway_id: str,
    *,
    backend: Backend,
    reads: ReadSide,
    marketplace: Marketplace,
    identity: IdentityVendor,
    payment: PaymentVendor,
    others: Others | None = None,
    chance: random.Random | None = None,
) -> Services:
    """Put the parts of one gateway together. `others` tells the other parts' numbers,
    `chance` makes ids."""
    hub, metrics = Hub(config.clock.even_us), Metrics(gateway_id)
    open_sockets: set[OpenSocket] = set()
    chance = chance or random.Random()

    def region_began_anew(region_id: str) -> None:
        # Those with a known position are told by it; the others have no other way.
        for socket in hub.in_region(region_id):
            if not pings.is_current(socket.driver_id):
                socket.reattach()

    pings = Pings(
        gateway_id,
        backend.seen,
        flush_s=config.limits.ping_flush_s,
        keep_s=config.clock.wall_s(
            max(config.policy_of(region_id).driver_stale_s for region_id in config.regions)
        ),
        on_new_epoch=region_began_anew,
        clock_ms=config.clock.now_ms,
    )
    services = Services(
        config=config,
        gateway_id=gateway_id,
        backend=Observed(backend, metrics),
        reads=reads,
        marketplace=marketplace,
        identity=identity,
        payment=payment,
        hub=hub,
        pings=pings,
        feeds=Feeds(backend.frame, frame_s=config.limits.ops_frame_s),
        tokens=Tokens(config.jwt_secret, config.jwt_ttl_s),
        accounts=Accounts(reads, config.limits.account_keep_s),
        standings=Standings(reads, config.limits.account_keep_s),
        passwords=Passwords(),
        roads=RoadQueries(road_router(config)),
        metrics=metrics,
        limiter=limiter_of(config, metrics),
        others=others,
        open_sockets=open_sockets,
        admission=Admission(config.limits, lambda: len(open_sockets), chance),
        connections=ConnectionLimits(config.limits),
        cache=AnswerCache(config.limits.status_keep_s),
        handshakes=Handshakes(config.limits.ws_waiting_limit, config.limits.ws_waiting_per_address),
        recheck=Recheck(reads, lambda: open_sockets, config.limits.ws_recheck_s),
        chance=chance,
    )
    metrics.gauge("doorstep_ws_sockets", "Driver sockets open", lambda: len(services.open_sockets))
    metrics.gauge("doorstep_ws_waiting", "Of them without a hello", lambda: services.handshakes.waiting)
    metrics.count("doorstep_pings_sent", "Positions handed to regions since the start", lambda: pings.sent)
    metrics.count("doorstep_pushes_sent", "Pushes handed to sockets since the start", lambda: hub.pushed)
    metrics.count("doorstep_pushes_dropped", "Pushes for sockets that are gone", lambda: hub.dropped)
    metrics.add(lambda: [services.admission.figures(gateway_id)])
    metrics.add(lambda: services.connections.figures(gateway_id))
    metrics.gauge("doorstep_ops_viewers", "Open mission-control streams", lambda: services.feeds.viewers)
    return services
