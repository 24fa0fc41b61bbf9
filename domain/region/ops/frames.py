"""What mission control and the statistics page see of a region: coalesced, bounded, free of personal data."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from msgspec import Struct, field

Point: TypeAlias = tuple[float, float]  # (lng, lat), as GeoJSON has it

DriverStateName: TypeAlias = Literal[
    "free", "offered", "to_pickup", "to_dropoff", "returning", "stale", "off"
]
DRIVER_STATES: tuple[DriverStateName, ...] = get_args(DriverStateName)
COUNTERS = (
    "orders", "delivered", "refused", "returned", "cancelled",
    "offers_made", "offers_accepted", "offers_rejected", "offers_expired", "offers_revoked",
)  # fmt: skip


class DriversView(Struct, frozen=True):
    """`positions`: (lng, lat, index into DRIVER_STATES) of at most `limit` drivers; `counts` and `total` are of all."""

    counts: dict[str, int]
    positions: list[tuple[float, float, int]]
    total: int


class DriversAsked(Struct, frozen=True, kw_only=True):
    """Which drivers: up to `limit` of these states (none: of all), those after this id."""

    limit: int
    states: tuple[str, ...] = ()
    after: str = ""


class DriverLine(Struct, frozen=True, kw_only=True):
    """A driver as the region knows them now. `seen_ms`: when they were at this place; None where that was never told,
    as is the place. `until_ms`: the end of the shift; `free_ms`: when what is held is expected to be done; `overrides`:
    steps of this duty that were taken far from where they belong, with a reason."""

    driver_id: str
    state: DriverStateName
    on_duty: bool
    connected: bool
    lat: float | None
    lng: float | None
    seen_ms: int | None
    until_ms: int | None
    free_ms: int | None
    task_ids: tuple[str, ...]
    offer_id: str | None
    overrides: int


class TaskPoint(Struct, frozen=True):
    """`waiting`: why an open task is not offered, see `solving.reasons.Waiting`; None unless it is open."""

    id: str
    kind: str
    status: str
    pickup: Point
    dropoff: Point
    waited_s: float
    waiting: str | None = None


class TasksView(Struct, frozen=True):
    """`counts` by status and, of the open ones, `waiting` by reason are of all tasks; `points` are bounded."""

    counts: dict[str, int]
    points: list[TaskPoint]
    waiting: dict[str, int] = field(default_factory=dict)


class OfferLine(Struct, frozen=True, rename={"from_": "from"}):
    id: str
    from_: Point
    to: Point
    expires_in_s: float


class Hex(Struct, frozen=True):
    """Tasks opened lately whose door lies in this H3 cell."""

    h3: str
    count: int


class DecisionLine(Struct, frozen=True):
    at_ms: int
    text: str


class Health(Struct, frozen=True):
    """Times in wall milliseconds. `lag_ms`: age of the oldest message that was not stepped yet, lately."""

    lag_ms: float = 0.0
    step_ms_p50: float = 0.0
    step_ms_p99: float = 0.0
    solve_ms_last: float = 0.0
    solve_count: int = 0
    append_ms_p50: float = 0.0
    append_ms_p99: float = 0.0
    inbox: int = 0


class RegionView(Struct, frozen=True, kw_only=True):
    """A region's state at one moment, made by `domain.region.machine.Region.view`."""

    region_id: str
    epoch: int
    now_ms: int
    drivers: DriversView
    tasks: TasksView
    offers: list[OfferLine]
    hexes: list[Hex]
    counters: dict[str, int]
    decisions: list[DecisionLine]


class OpsFrame(RegionView, frozen=True, kw_only=True):
    """One frame of the mission-control stream."""

    speed: float
    health: Health
