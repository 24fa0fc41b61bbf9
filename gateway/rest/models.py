"""Request and response bodies of the REST API.

Bodies are taken as they are: nothing is made into another type (`true` is no number, `"3"` none either), text has no
NUL, numbers are finite, unknown fields are refused. What JSON has no type for (ids, times) is read from its own form.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from domain.ground.times import rfc_3339
from domain.orders.decide import ITEMS_LIMIT, PRICE_LIMIT_CENTS, QUANTITY_LIMIT
from domain.orders.hours import DAY_MIN, OPENINGS_LIMIT
from domain.orders.lifecycle import OfferStatus, OrderStatus
from domain.orders.reasons import CancelReason, DeclineReason, RefuseReason, RejectReason
from domain.text import legible, tidy
from gateway.http.credentials import PASSWORD_MAX, email_of, password_of


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _digits(value: object) -> object:
    """Refuses what pydantic would take as a whole number beside its digits: `1.0`, `+1`, `1_0`, spaces."""
    if isinstance(value, str) and not re.fullmatch("[0-9]{1,18}", value):
        raise ValueError("is not a whole number in decimal digits")
    return value


def _instant(value: object) -> object:
    """Refuses what pydantic would take beside RFC 3339: seconds since the epoch, dates without a time."""
    return rfc_3339(value if isinstance(value, str) else "")


NOTE_LIMIT = 500  # characters of what is typed beside a reason
Clean = AfterValidator(_no_nul)
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(legible)]
Address = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(legible)]
Note = Annotated[str, StringConstraints(min_length=1, max_length=NOTE_LIMIT), AfterValidator(tidy)]
VendorToken = Annotated[str, StringConstraints(min_length=1, max_length=2048), Clean]
Email = Annotated[str, StringConstraints(min_length=3, max_length=254), AfterValidator(email_of)]
Password = Annotated[
    str, StringConstraints(min_length=1, max_length=4 * PASSWORD_MAX), AfterValidator(password_of)
]
Lat = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Lng = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
R = TypeVar("R", bound=StrEnum)
Code = Annotated[R, Field(strict=False)]  # of a closed list
Digits = BeforeValidator(_digits)  # for whole numbers in queries and headers
Id = Annotated[UUID, Field(strict=False)]
Instant = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_instant)]
Category = Literal["alcohol", "tobacco", "general"]
CheckMethod = Literal["scan", "manual_entry"]


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# -- accounts ---------------------------------------------------------------------------------------------------------


class Register(Body):
    """A new account. Dispatchers and administrators are made by operators, not here."""

    email: Email
    password: Password
    role: Literal["customer", "merchant", "driver"]
    name: Name


class Token(BaseModel):
    """An access token; `expires_in` in seconds of wall time."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int


class Registered(Token):
    """The new account, signed in."""

    user_id: str
    role: str


class Me(BaseModel):
    """Your own account."""

    user_id: str
    role: str
    email: str
    name: str


# -- merchants --------------------------------------------------------------------------------------------------------


class NewStore(Body):
    """A store in one of this server's markets."""

    name: Name
    region_id: Annotated[str, StringConstraints(min_length=1, max_length=64), Clean]
    lat: Lat
    lng: Lng
    address: Address


class OpeningBody(Body):
    """One opening: `weekday` from 0 (Monday); both ends in minutes from that day's midnight, on the market's clock.
    A `closes_min` above 1440 is on the next day."""

    weekday: Annotated[int, Field(ge=0, le=6)]
    opens_min: Annotated[int, Field(ge=0, lt=DAY_MIN)]
    closes_min: Annotated[int, Field(ge=1, lt=2 * DAY_MIN)]

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if not 0 < self.closes_min - self.opens_min <= DAY_MIN:
            raise ValueError(f"closes_min must be after opens_min, by at most {DAY_MIN}")
        return self


class HoursBody(Body):
    """A store's whole week; null: always open. Openings may touch and overlap."""

    hours: Annotated[tuple[OpeningBody, ...], Field(max_length=OPENINGS_LIMIT, strict=False)] | None


class HoursView(BaseModel):
    """A store's week on the clock of `timezone` (IANA); `closes_at` is the end of the present opening."""

    store_id: str
    version: int
    timezone: str
    hours: list[OpeningBody] | None
    open: bool
    closes_at: datetime | None


class StoreView(BaseModel):
    """A store. `hours`: its week on the market's clock, null where it is always open; `open`: whether it is now."""

    id: str
    merchant_id: str
    region_id: str
    name: str
    lat: float
    lng: float
    address: str
    hours: list[OpeningBody] | None
    open: bool


class NewProduct(Body):
    """A product of a store. What is not `general` needs a customer of age."""

    name: Name
    category: Category
    price_cents: Annotated[int, Field(ge=0, le=PRICE_LIMIT_CENTS)]


class ProductView(BaseModel):
    """A product."""

    id: str
    store_id: str
    name: str
    category: str
    price_cents: int


class Action(Body):
    """What the merchant does with an order. `prep_minutes`: until the goods are packed, for `accept`. `reason`: for
    `reject`, and a `note` beside it, which is kept apart and can be erased."""

    action: Literal["accept", "reject", "ready"]
    prep_minutes: Annotated[float, Field(ge=0, le=24 * 60, allow_inf_nan=False)] | None = None
    reason: Code[RejectReason] = RejectReason.UNSPECIFIED
    note: Note | None = None


# -- orders -----------------------------------------------------------------------------------------------------------


class Item(Body):
    """So many of a product."""

    product_id: Id
    quantity: Annotated[int, Field(ge=1, le=QUANTITY_LIMIT)]


class Dropoff(Body):
    """The door."""

    lat: Lat
    lng: Lng
    address: Address


class NewOrder(Body):
    """What to bring, from where, to which door."""

    store_id: Id
    items: Annotated[tuple[Item, ...], Field(min_length=1, max_length=ITEMS_LIMIT, strict=False)]
    dropoff: Dropoff


class OrderRef(BaseModel):
    """An order's state after a step. `version` is missing where the region decided: read the order for it."""

    model_config = ConfigDict(extra="allow")

    id: str
    status: OrderStatus
    version: int | None = None


class ItemView(BaseModel):
    product_id: str
    quantity: int


class DropoffView(BaseModel):
    lat: float
    lng: float
    address: str


class OrderView(BaseModel):
    """An order. Times are RFC 3339 on the server's clock; money is cents."""

    id: str
    status: str
    version: int
    region_id: str
    customer_id: str
    merchant_id: str
    store_id: str
    items: list[ItemView]
    dropoff: DropoffView
    min_age: int
    total_cents: int
    created_at: datetime
    ready_at: datetime | None
    due_at: datetime | None


class OrderPage(BaseModel):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    orders: list[OrderView]
    next_cursor: str | None


class VendorCheck(Body):
    """What the vendor's client gave; we never see a document."""

    vendor_token: VendorToken


class Cancel(Body):
    """Why, if you like, and what you want to say beside it, which is kept apart and can be erased."""

    reason: Code[CancelReason] = CancelReason.UNSPECIFIED
    note: Note | None = None


class Refuse(Body):
    """Why the goods are not handed over, and what you want to say beside it, which is kept apart and can be erased."""

    reason: Code[RefuseReason]
    note: Note | None = None


class NoteView(BaseModel):
    """What somebody typed beside a step of an order. `about`: `cancel`, `refuse` or `reject`."""

    id: str
    about: str
    author_id: str
    author_role: str
    at: datetime
    text: str


class DoorCheck(Body):
    """An ID check at the door: the vendor reads the ID, the driver sees whether the customer is sober. `method`: how
    the ID was read, by its barcode (`scan`) or, where that is unreadable, by the birth date keyed in (`manual_entry`).
    """

    method: CheckMethod
    vendor_token: VendorToken
    sober: bool


# -- drivers ----------------------------------------------------------------------------------------------------------


class Duty(Body):
    """On duty at a place, or off duty. The place may be left out where one was said lately. `until`: when the shift
    ends, on the server's clock, at most 24 h ahead; not known where it is left out. `begins`: when it begins, where
    that lies ahead: nothing is offered before, but plans count on it."""

    on: bool
    lat: Lat | None = None
    lng: Lng | None = None
    until: Instant | None = None
    begins: Instant | None = None


class Decline(Body):
    """Why, if you like."""

    reason: Code[DeclineReason] | None = None


# -- offers -----------------------------------------------------------------------------------------------------------


class OfferLogRow(BaseModel):
    """An offer with its outcome and the features it was made on. Times are RFC 3339 on the server's clock.

    `latency_s` is the time from `made_at` to `closed_at`, `seen_latency_s` to `seen_at`, in server seconds; `seen_at`
    is null where no client said that it showed the offer.
    """

    id: str
    region_id: str
    driver_id: str
    task_ids: list[str]
    status: OfferStatus
    reason: str | None
    made_at: datetime
    expires_at: datetime
    seen_at: datetime | None
    closed_at: datetime | None
    latency_s: float | None
    seen_latency_s: float | None
    features: dict[str, float]


class OfferLogPage(BaseModel):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    offers: list[OfferLogRow]
    next_cursor: str | None


class CandidateView(BaseModel):
    """A driver who came into question. Each of `terms` is in seconds of one order's delay, weighted; their sum over
    `p_accept`, which is among them, plus what earlier declines cost (`declined`) is the cost."""

    rank: int
    driver_id: str | None
    cost: float | None
    terms: dict[str, float | None]


class ExplanationView(BaseModel):
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
