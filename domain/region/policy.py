"""The numbers a region lives by. The composition root fills them from settings."""

from __future__ import annotations

from msgspec import Struct, field

from domain.ground.travel import Haversine, TravelModel
from domain.marketplace.earnings import MoneyPolicy
from domain.solve import Planning, Services, Weights


class Escalation(Struct, frozen=True, kw_only=True):
    """What is done for a task once so many offers of it came to nothing. `bump_cents`: more pay, shown with the offer
    for whoever settles it; `alert`: operators are told."""

    after: int
    parallel: int = 1  # drivers asked at once: the first to accept gets it, the others' offers are revoked
    wider: int = 1  # times as many drivers are looked at
    bump_cents: int = 0
    alert: bool = False


ESCALATION = (
    Escalation(after=0),
    Escalation(after=2, parallel=2),
    Escalation(after=4, parallel=3, wider=2, bump_cents=100),
    Escalation(after=6, parallel=3, wider=4, bump_cents=200, alert=True),
)


class Geofence(Struct, frozen=True, kw_only=True):
    """How near drivers must be to say that they did something; else the step needs a reason that operators see.

    Where a driver is: what the device says with the step, as far as the driver can have come there since the last
    position that was believed; without that, this position, unless it is too old. Nobody is held at a door: goods may
    be refused anywhere.
    """

    store_m: float = 250.0  # arriving at the store, and taking the goods there
    door_m: float = 200.0  # arriving at the door, checking the ID and handing over there
    return_m: float = 250.0  # back at the store with what was refused
    position_age_s: float = 120.0
    speed_mps: float = 60.0  # nobody came further than so fast ...
    grace_m: float = 500.0  # ... and this, which covers what positions are wrong by


class RegionPolicy(Struct, frozen=True, kw_only=True):
    """Durations in seconds on the server's clock; every buffer has its limit here."""

    offer_ttl_s: float = 30.0  # from an offer's making to its display, and from there to its end
    fast_window_s: float = 0.2  # how long a new task or freed driver waits for company
    fast_max_wait_s: float = 3.0  # open tasks are looked at again at least this often
    solve_timeout_s: float = 10.0  # a solve that is not back by then is given up
    driver_stale_s: float = 90.0  # a driver not heard of for so long gets no offer
    driver_lost_s: float = 600.0  # ... and for so long loses what is not picked up yet
    driver_forget_s: float = 86_400.0  # ... and for so long, without a socket or a task, is as one who is new
    geofence: Geofence | None = field(
        default_factory=Geofence
    )  # None: steps are taken wherever they are said
    hold_limit: int = 4  # tasks that a driver holds at most where an operator gives them
    decline_cooldown_s: float = (
        60.0  # who declined a task is not asked again so soon; who ignored one gets none
    )
    decline_penalty_s: float = 3600.0  # after that, a task goes to those who did not decline it first
    escalation: tuple[Escalation, ...] = ESCALATION  # rising; the first after 0
    promise_s: float = 45 * 60.0  # merchant's acceptance until the door
    prep_s: float = (
        10 * 60.0
    )  # merchant's acceptance until the goods are packed, where the merchant gives no estimate
    candidates: int = 16
    solver: str = "fast"
    # In a queue, every so often another solver makes the plan of a look: routes of several stops (row B3).
    batch_solver: str = "batch"  # none: never
    batch_every_s: float = 30.0
    batch_tasks: int = 60  # so many open tasks, and more of them than drivers, are a queue,
    batch_pressure: float = 1.0  # ... and so are as many late orders a driver in the last plan
    solve_tasks_limit: int = 5_000  # open tasks in one solve, oldest first
    solve_drivers_limit: int = 1_000  # drivers in one solve, those nearest to each store (`solving.nearby`)
    answers_limit: int = 50_000  # remembered answers
    closed_offers_limit: int = 20_000  # remembered outcomes of offers
    ended_tasks_limit: int = 20_000  # remembered tasks that have ended
    repush_s: float = 60.0  # a restarted region tells of offers that ended within this time
    push_ring: int = 64  # unacknowledged pushes kept per driver
    decisions_limit: int = 30
    view_points: int = 500  # tasks, and as many offers, in one mission-control frame
    demand_window_s: float = 3600.0  # tasks opened in this time make up the demand hexes
    demand_limit: int = 20_000
    hex_resolution: int = 7  # H3, about 5 km2 a cell
    weights: Weights = field(default_factory=Weights)
    services: Services = field(default_factory=Services)
    planning: Planning = field(default_factory=Planning)
    travel: TravelModel = field(default_factory=Haversine)
    money: MoneyPolicy = field(default_factory=MoneyPolicy)
    # An offer is made so long before its driver must set off, which leaves time to answer and to ask others; until then
    # a better assignment may come up. At least the time between two looks.
    offer_lead_s: float = 300.0
    # A driver on the way to the last door is offered the next trip so long before being done; 0: only who is free.
    offer_ahead_s: float = 0.0
    refusal_prior: float = 0.1  # share of goods that go back, until the region has seen enough doors
    give_up_s: float | None = (
        None  # an order is not brought so long after it was opened, where a market wants that
    )
    guaranteed_orders_per_h: float = 1.5  # orders whose pay the hourly guarantee covers
    explain: bool = True  # offers come with an explanation
    waits_limit: int = 2_000  # lately planned tasks whose wait for a plan is remembered
    expected_limit: int = 2_000  # lately opened tasks remembered for what is expected
    zone_resolution: int = 7  # H3 cells that lack drivers or have too many

    def __post_init__(self) -> None:
        # Else a driver could lose a task for silence and be offered another in the same breath.
        if self.driver_lost_s < self.driver_stale_s:
            raise ValueError("driver_lost_s must not be less than driver_stale_s")
        steps = [step.after for step in self.escalation]
        if steps[:1] != [0] or steps != sorted(set(steps)):
            raise ValueError("escalation steps rise, the first after 0 offers")

    def escalated(self, tries: int) -> Escalation:
        """The step for a task of which so many offers came to nothing."""
        return next(step for step in reversed(self.escalation) if tries >= step.after)
