"""The arrays that a region hands to a solver, and the plan that comes back: advice, which the region checks again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct, field

from domain.ground.arrays import F64, I64, Bool
from domain.ground.travel import Haversine, TravelModel, TravelTimes

NEVER_MS = 2**53  # a time that does not come


class Weights(Struct, frozen=True, kw_only=True):
    """Weights of the objective's terms (row B4; see `solver/objective.py`), per second of each term unless the name
    says otherwise. The unit of cost is one second of one order's delay."""

    travel: float = 0.1  # alpha: seconds of driving to the pick-up
    lateness: float = 2.0  # beta: seconds past the promised time
    delay: float = 1.0  # gamma: seconds at the door behind 'picked up when ready and driven straight'
    delay_squared_per_min: float = 0.03  # ... and of its square, in minutes: rather two short than one long
    risk: float = 1.0  # rho: probability of a refusal x seconds of the way back to the store
    fairness: float = 20.0  # lambda: seconds per order that the driver is ahead of the guaranteed pay
    zone: float = 0.0  # mu: seconds of moving a driver from a zone that lacks drivers to one that does not
    retry_s: float = 30.0  # seconds lost when an offer is not taken
    declined: float = 1.0  # seconds that the request puts on pairs that were declined before
    more: dict[str, float] = {}  # of further terms, by their names in the registry

    def of(self, term: str) -> float:
        """The weight of a term of the registry, 0 when it is not named."""
        weight: float = (
            self.more.get(term, 0.0) if term not in self.__struct_fields__ else getattr(self, term)
        )
        return weight


class Services(Struct, frozen=True, kw_only=True):
    """Seconds that stops take beside driving."""

    pickup_before_s: float = 120.0  # from the arrival at the store until the goods are in hand
    pickup_after_s: float = 0.0  # ... and from then until the vehicle moves
    door_before_s: float = 120.0  # from the arrival at the door until the goods are handed over
    door_after_s: float = 0.0


class Planning(Struct, frozen=True, kw_only=True):
    """How the solver looks ahead (see docs/dispatch.md)."""

    ahead_s: float = 3600.0  # drivers who will be free within this time are planned with
    left_out_s: float = 18_000.0  # price of leaving an order out of the plan
    left_out_floor_s: float = 9_600.0  # ... which in a queue may fall to this,
    left_out_pressure: float = (
        3.0  # by so much per waiting order a driver and second of driver time that it takes
    )
    sacrifice: bool = False  # an order may be left out for being late itself; else that is added to the price
    waiting: float = 0.5  # the price rises by so much per second since the order was opened
    saved_time: float = 4.0  # seconds that a bundle is credited per second of driver time that it saves
    queue: float = 1.0  # a second of delay counts so much more for every order planned right behind
    bundle_ready_gap_s: float = 1200.0  # largest difference of the ready times in a bundle
    bundle_detour_s: float = 1200.0  # largest detour for the other order's door
    bundle_ahead_s: float = 900.0  # only orders that are ready within this time
    bundle_delay_s: float = 6.0  # only orders that would be late by more than this together
    bundle_tries: int = 30  # bundles tried in one plan; 0 makes none
    rounds: int = 3  # times that the matching is repeated with the exact times of the last one
    rounds_from_s: float = 180.0  # ... when the plan costs more than this
    moves: int = 24  # moves of the local search in one plan; 0 makes none
    moves_orders: int = 24  # orders looked at for a move
    moves_drivers: int = 20  # drivers looked at for each of them
    moves_from_s: float = 60.0  # plans cheaper than this are not searched
    moves_gain_s: float = 30.0  # least gain of a move
    expected: float = 0.2  # weight of an order that is only expected against one that is there; 0: none
    expected_window_s: float = 1200.0  # orders of this last while are expected to come again
    expected_left_out_s: float = 3600.0


class TaskColumns(Struct, frozen=True, kw_only=True):
    """n open tasks; times are server milliseconds, `NEVER_MS` where there is no limit."""

    ids: list[str]
    pickup_lat: F64
    pickup_lng: F64
    dropoff_lat: F64
    dropoff_lng: F64
    opened_ms: I64
    ready_ms: I64
    due_ms: I64  # promised at the door
    latest_ms: I64  # at the door by then, or not at all
    closes_ms: I64  # the store takes refused goods back until then
    refusal: F64  # probability in [0, 1] that the goods go back
    # from the last plan, or 'picked up when ready, nothing behind, no shift's end'
    planned_ms: I64  # pick-up
    behind: F64  # orders planned right behind
    until_ms: I64  # end of the shift of the driver it was planned for
    wider: I64 | None = None  # times as many drivers are looked at for it as for others


class DriverColumns(Struct, frozen=True, kw_only=True):
    """m drivers to plan with. `lat`, `lng`: where they will be free at `free_ms`."""

    ids: list[str]
    lat: F64
    lng: F64
    free_ms: I64
    until_ms: I64  # the shift's end: no pick-up after it
    idle: Bool  # free of tasks and offers: may be made an offer
    accept_rate: F64  # in (0, 1]: the smoothed share of offers taken
    ahead: F64  # orders brought beyond what the guaranteed pay covers so far


class Zones(Struct, frozen=True, kw_only=True):
    """H3 cells and how much each lacks drivers, from -1 (drivers without orders) to 1 (orders without drivers)."""

    resolution: int
    lack: dict[str, float]


class SolveRequest(Struct, frozen=True, kw_only=True):
    """One problem. Pair i (`declined_task[i]`, `declined_driver[i]`) was declined before: it costs
    `declined_penalty_s[i]` more, infinity bars it."""

    request_id: int
    solver: str
    now_ms: int
    offer_by_ms: int  # what must set off before then is to be offered now: the next look may be too late
    tasks: TaskColumns
    drivers: DriverColumns
    declined_task: I64
    declined_driver: I64
    declined_penalty_s: F64
    expected: TaskColumns | None = None  # orders that are not there yet; `opened_ms` lies ahead
    pressure: float = 0.0  # orders that the last plan brought late, per driver
    zones: Zones | None = None
    weights: Weights = field(default_factory=Weights)
    services: Services = field(default_factory=Services)
    planning: Planning = field(default_factory=Planning)
    travel: TravelModel = field(default_factory=Haversine)
    candidates: int = 16  # drivers considered per task at least
    explain: bool = True  # offers come with an explanation


class Candidate(Struct, frozen=True, kw_only=True):
    """A driver who came into question: each term in seconds, weighted; their sum over `p_accept`, which is among them,
    plus what earlier declines cost is the cost."""

    driver_id: str
    cost: float
    terms: dict[str, float]


class Explanation(Struct, frozen=True, kw_only=True):
    """Why an offer went to its driver: the candidates, cheapest first, and how many others were pruned for what.
    `gap`: the runner-up's cost less the chosen one's, negative where the plan as a whole was cheaper this way."""

    candidates: tuple[Candidate, ...]
    pruned: dict[str, int]
    runner_up: str | None = None
    gap: float | None = None


class Assignment(Struct, frozen=True, kw_only=True):
    """A proposal: offer these tasks, in the order of their doors, to this driver now, who must leave by `leave_ms`."""

    task_ids: tuple[str, ...]
    driver_id: str
    cost: float
    features: dict[str, float]
    leave_ms: int = 0
    explanation: Explanation | None = None


class Forecast(Struct, frozen=True, kw_only=True):
    """What a plan foresees of its tasks, in columns: pick-up, orders right behind, and its driver's shift end. Plain
    numbers, so that plans compare."""

    ids: tuple[str, ...]
    pickup_ms: tuple[int, ...]
    behind: tuple[float, ...]
    until_ms: tuple[int, ...]


class Plan(Struct, frozen=True, kw_only=True):
    """What a solver proposes: what is to be offered now, and the rest, which may come out better yet. `forecast`: all
    tasks that it has a driver for, now or later; `left_out`: those that it
    has none for, because whoever could take them serves others or cannot be there in time. `components`: connected
    parts of the candidate graph; `pairs`: its edges."""

    request_id: int
    assignments: tuple[Assignment, ...]
    forecast: Forecast | None = None
    left_out: tuple[str, ...] = ()
    pressure: float = 0.0
    components: int = 0
    pairs: int = 0


R = TypeVar("R")


class Spread(Protocol):
    """Does independent pieces of work, here or on many machines, and returns their results in order."""

    def __call__(self, work: Callable[..., R], pieces: Sequence[tuple[Any, ...]]) -> list[R]: ...


class Solver(Protocol):
    """Pure: the same request and travel times give the same plan, but for those that the registry names."""

    def __call__(self, request: SolveRequest, travel: TravelTimes, spread: Spread) -> Plan: ...
