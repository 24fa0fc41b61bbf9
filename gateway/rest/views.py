"""What routes answer with: the very structs that OpenAPI shows. Times are RFC 3339 on the server's clock, money is
cents."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from domain.marketplace.party import Job
from domain.orders.lifecycle import OfferStatus, OrderStatus, Role
from domain.orders.records import Json
from domain.protocol import OfferView, TaskView

# -- accounts ---------------------------------------------------------------------------------------------------------


class Token(Struct, frozen=True, kw_only=True):
    """An access token; `expires_in` in seconds of wall time."""

    access_token: str
    expires_in: int
    token_type: str = "bearer"


class Registered(Token, frozen=True, kw_only=True):
    """The new account, signed in."""

    user_id: str
    role: Role


class AccountView(Struct, frozen=True):
    """Your own account. `merchant_id`, `job`: of the merchant that it works for, null for none."""

    user_id: str
    role: Role
    email: str
    name: str
    merchant_id: str | None = None
    job: Job | None = None


# -- merchants --------------------------------------------------------------------------------------------------------


class ProductView(Struct, frozen=True):
    """A product."""

    id: str
    store_id: str
    name: str
    category: str
    price_cents: int


# -- orders -----------------------------------------------------------------------------------------------------------


class OrderRef(Struct, frozen=True, omit_defaults=True):
    """An order's state after a step. `version` is missing where the region decided: read the order for it. The region
    says which `task` it is about, and of a check at the door whether it was `passed` and why not."""

    id: str
    status: OrderStatus
    version: int | UnsetType = UNSET
    order_id: str | UnsetType = UNSET
    task: TaskView | UnsetType = UNSET
    passed: bool | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class ItemView(Struct, frozen=True):
    """So many of a product, in cents apiece; the tax is on all of the line."""

    product_id: str
    quantity: int
    price_cents: int
    tax_cents: int


class DropoffView(Struct, frozen=True):
    """The door."""

    lat: float
    lng: float
    address: str


class OrderView(Struct, frozen=True, kw_only=True):
    """An order. What it comes to is the sum of goods, delivery fee, tax on both, and tip."""

    id: str
    status: OrderStatus
    version: int
    region_id: str
    customer_id: str
    merchant_id: str
    store_id: str
    items: tuple[ItemView, ...]
    dropoff: DropoffView
    min_age: int
    goods_cents: int
    fee_cents: int
    tax_cents: int
    tip_cents: int
    total_cents: int
    created_at: datetime
    ready_at: datetime | None
    due_at: datetime | None


class OrderPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    orders: list[OrderView]
    next_cursor: str | None


class DossierEvent(Struct, frozen=True, kw_only=True):
    """A link of an order's chain: `hash` is over `prev_hash` and the rest, see docs/architecture.md."""

    order_id: str
    seq: int
    type: str
    status: OrderStatus
    at_ms: int
    at: datetime
    actor: str
    payload: dict[str, Json]
    prev_hash: str
    hash: str


class DossierView(Struct, frozen=True):
    """An order's events, oldest first."""

    order_id: str
    events: list[DossierEvent]


class NoteView(Struct, frozen=True):
    """What somebody typed beside a step of an order. `about`: `cancel`, `refuse` or `reject`."""

    id: str
    about: str
    author_id: str
    author_role: str
    at: datetime
    text: str


# -- drivers ----------------------------------------------------------------------------------------------------------


class WorkView(Struct, frozen=True):
    """A driver's open offers and tasks under way. The next step's `Device-N` is above `last_n`."""

    offers: tuple[OfferView, ...]
    tasks: tuple[TaskView, ...]
    last_n: int


class DutyView(Struct, frozen=True):
    """What was said, and the market that it was said in."""

    driver_id: str
    on: bool
    region_id: str


class OfferTakenView(Struct, frozen=True):
    """The offer that was taken, and its tasks with their doors."""

    offer_id: str
    tasks: tuple[TaskView, ...]


class OfferDeclinedView(Struct, frozen=True):
    """The offer that was declined."""

    offer_id: str


# -- offers -----------------------------------------------------------------------------------------------------------


class OfferLogRow(Struct, frozen=True, kw_only=True):
    """An offer with its outcome and the features it was made on.

    `latency_s` is the time from `made_at` to `closed_at`, `seen_latency_s` to `seen_at`, in server seconds; `seen_at`
    is null where no client said that it showed the offer.
    """

    id: str
    region_id: str
    driver_id: str
    task_ids: tuple[str, ...]
    status: OfferStatus
    reason: str | None
    made_at: datetime
    expires_at: datetime
    seen_at: datetime | None
    closed_at: datetime | None
    latency_s: float | None
    seen_latency_s: float | None
    features: dict[str, float]


class OfferLogPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    offers: list[OfferLogRow]
    next_cursor: str | None


class CandidateView(Struct, frozen=True):
    """A driver who came into question. Each of `terms` is in seconds of one order's delay, weighted; their sum over
    `p_accept`, which is among them, plus what earlier declines cost (`declined`) is the cost."""

    rank: int
    driver_id: str | None
    cost: float | None
    terms: dict[str, float | None]


class ExplanationView(Struct, frozen=True):
    """Why an offer went to its driver: the candidates, cheapest first, and how many others were pruned for what.

    `chosen` and `runner_up` are ranks of candidates; `gap` is the runner-up's cost less the chosen one's, in seconds of
    one order's delay, negative where the plan as a whole was cheaper this way.
    """

    offer: OfferLogRow
    candidates: list[CandidateView]
    chosen: int | None
    runner_up: int | None
    gap: float | None
    pruned: dict[str, int]


# -- roads, operations, machines --------------------------------------------------------------------------------------


class LineString(Struct, frozen=True, tag_field="type", tag="LineString"):
    """GeoJSON: longitude and latitude of each point."""

    coordinates: list[tuple[float, float]]


class RouteView(Struct, frozen=True):
    """A drive. `engine` worked it out; `haversine` knows no roads and gives a straight line with estimates."""

    engine: str
    duration_s: float
    distance_m: float
    geometry: LineString


class RegionView(Struct, frozen=True):
    """A market. `center`: longitude and latitude; the server's clock is at `now_ms` and goes `speed` times as fast."""

    id: str
    name: str
    center: tuple[float, float]
    zoom: float
    now_ms: int
    speed: float


class OpsConfigView(Struct, frozen=True):
    """What mission control has to know before anybody signs in."""

    tile_url: str | None
    auth_required: bool
    regions: list[RegionView]


class LiveView(Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class MissingView(Struct, frozen=True):
    """The parts that a market misses."""

    missing: list[str]


class ReadyView(Struct, frozen=True):
    """Each part with `ok` or what is wrong with it, and each market with what it misses."""

    status: Literal["ok", "degraded", "unavailable"]
    parts: dict[str, str]
    markets: dict[str, MissingView]


class TickView(Struct, frozen=True):
    """How a market stands after a tick: tasks that nobody has, and offers that were past their time."""

    region_id: str
    open_tasks: Annotated[int, Meta(ge=0)]
    expired: Annotated[int, Meta(ge=0)]


class ExpiredView(Struct, frozen=True):
    """Offers that were past their time, in all and by market."""

    expired: int
    regions: dict[str, int]
