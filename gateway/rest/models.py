"""Request bodies of the REST API; what it answers with is in `gateway.rest.views`.

Bodies are taken as they are: nothing is made into another type (`true` is no number, `"3"` none either), text has no
NUL, numbers are finite, unknown fields are refused. What JSON has no type for (ids, times) is read from its own form.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from domain.ground.times import rfc_3339
from domain.orders.commands import ITEMS_LIMIT, PRICE_LIMIT_CENTS, QUANTITY_LIMIT
from domain.orders.reasons import CancelReason, DeclineReason, OverrideReason, RefuseReason, RejectReason
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


# -- merchants --------------------------------------------------------------------------------------------------------


class NewProduct(Body):
    """A product of a store. What is not `general` needs a customer of age."""

    name: Name
    category: Category
    price_cents: Annotated[int, Field(ge=0, le=PRICE_LIMIT_CENTS)]


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


class StepPlace(Body):
    """Where you take the step; without it, the last position counts. `override`: why it holds though that is not near
    (`TOO_FAR` otherwise); operators see it."""

    lat: Annotated[Lat | None, Field(examples=[32.7767])] = None
    lng: Annotated[Lng | None, Field(examples=[-96.797])] = None
    override: Annotated[Code[OverrideReason] | None, Field(examples=["GPS_WRONG"])] = None


class DoorCheck(StepPlace):
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
