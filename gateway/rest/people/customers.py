"""Customers: their profile, the doors that they order to, and what their age checks came to.

What changes are answered with names what was changed and holds nothing that was typed: answers are kept for repeats,
and what is erased must be gone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Struct
from pydantic import AfterValidator, Field, StringConstraints
from starlette.responses import Response

from domain.errors import NotFound
from domain.ground.phones import PHONE_LIMIT, phone_of
from domain.ground.postal import ZIP
from domain.ground.times import instant
from domain.marketplace.customers import (
    ADDRESSES_LIMIT,
    INSTRUCTIONS_LIMIT,
    LINE_LIMIT,
    UNIT_LIMIT,
    AddAddress,
    Address,
    ChangeAddress,
    ChangeCustomer,
    Customer,
    EraseAddress,
    Language,
    Place,
    PreferAddress,
)
from domain.orders.lifecycle import Role
from domain.orders.records import CheckOutcome
from domain.text import legible, tidy
from gateway.deciders.nearest_market import nearest_region
from gateway.http.auth import Me
from gateway.http.idempotency import Mutation
from gateway.http.policy import DESK, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, carry_out, etag, json_response, shown
from gateway.rest.kit.lists import Rows, next_cursor
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Body, Code, Lat, Lng, Name
from gateway.services import Services
from persistence.reads.reports import AgeCheck

routes = Routes("customers")

_READERS = (Role.CUSTOMER, *DESK)
Phone = Annotated[
    str,
    StringConstraints(max_length=PHONE_LIMIT),
    AfterValidator(phone_of),
    Field(examples=["+12145550100"], description="E.164."),
]
_Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LINE_LIMIT),
    AfterValidator(legible),
    Field(examples=["1500 Marilla Street"]),
]
_City = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100),
    AfterValidator(legible),
    Field(examples=["Dallas"]),
]


class ChangedCustomer(Body):
    """What has changed; what is left out stays. `phone` null: none."""

    name: Name | None = None
    phone: Phone | None = None
    language: Code[Language] | None = None


class AddressBody(Body):
    """A door. `state`: two letters; `lat` and `lng`: where it is, inside a market."""

    line: _Line
    unit: Annotated[
        str,
        StringConstraints(max_length=UNIT_LIMIT),
        AfterValidator(tidy),
        Field(examples=["Apt 4"]),
    ] = ""
    city: _City
    state: Annotated[str, StringConstraints(pattern="^[A-Z]{2}$"), Field(examples=["TX"])]
    zip: Annotated[str, StringConstraints(pattern=f"^{ZIP.pattern}$"), Field(examples=["75201"])]
    lat: Lat
    lng: Lng
    instructions: Annotated[
        str,
        StringConstraints(max_length=INSTRUCTIONS_LIMIT),
        AfterValidator(tidy),
        Field(examples=["the bell sticks"]),
    ] = ""


class NewAddress(AddressBody):
    """A door of yours, and whether it is the one that you order to if you say nothing."""

    instructions: Annotated[
        str,
        StringConstraints(max_length=INSTRUCTIONS_LIMIT),
        AfterValidator(tidy),
        Field(examples=["ring twice"]),
    ] = ""
    is_default: bool = False


class CustomerView(Struct, frozen=True):
    """A customer's profile."""

    id: str
    version: int
    name: str
    phone: str | None
    language: Language
    created_at: datetime


class ChangedView(Struct, frozen=True):
    """What was changed, and its version by now."""

    id: str
    customer_id: str
    version: int


class AddressView(Struct, frozen=True):
    """A door. `region_id`: the market that it is in."""

    id: str
    customer_id: str
    version: int
    region_id: str
    line: str
    unit: str
    city: str
    state: str
    zip: str
    lat: float
    lng: float
    instructions: str
    is_default: bool
    created_at: datetime


class AgeVerificationView(Struct, frozen=True):
    """What an age check came to. One is `valid` that was passed, for its own order, until that ends: the next order is
    checked anew."""

    id: str
    order_id: str
    min_age: int
    at: datetime
    outcome: CheckOutcome
    valid: bool


class AgeVerificationPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    age_verifications: list[AgeVerificationView]
    next_cursor: str | None


@routes.get("/v1/customers/{customer_id}", Policy(roles=_READERS, owner="customer_id"), CustomerView)
async def read(customer_id: Uid, _: Me, services: Parts) -> Response:
    """A customer's profile. The ETag is its version, for If-Match."""
    customer = await services.marketplace.find("customer", str(customer_id))
    if customer is None:
        raise NotFound("There is no such customer.")
    view = CustomerView(
        id=customer.customer_id,
        version=customer.version,
        name=customer.name,
        phone=customer.phone,
        language=customer.language,
        created_at=instant(customer.created_ms),
    )
    return json_response(view, headers=etag(view.version))


@routes.patch(
    "/v1/customers/{customer_id}",
    Policy(roles=(Role.CUSTOMER, Role.ADMIN), owner="customer_id", key=Need.MAY, version=Need.MUST),
    ChangedView,
)
async def change(customer_id: Uid, body: ChangedCustomer, _: Me, call: Mutation, services: Parts) -> Response:
    """Say what has changed of a profile."""
    phone = body.phone
    if phone is None and "phone" in body.model_fields_set:
        phone = ""
    action = ChangeCustomer(customer_id=str(customer_id), name=body.name, phone=phone, language=body.language)
    after = await carry_out(services, call.covers(body), action, _changed, ChangedView)
    return shown(after.view, after.replayed, version=after.view.version)


@routes.post(
    "/v1/customers/{customer_id}/addresses",
    Policy(roles=(Role.CUSTOMER,), owner="customer_id", key=Need.MUST),
    ChangedView,
    status=201,
    refuses=("OUTSIDE_SERVICE_AREA", "ADDRESS_NOT_DELIVERABLE", "LIMIT_REACHED"),
)
async def add_address(customer_id: Uid, body: NewAddress, _: Me, call: Mutation, services: Parts) -> Response:
    """Keep a door of yours. It is checked that one can deliver there: state, ZIP code and pin agree, and a box is no
    door."""
    action = AddAddress(
        address_id=services.new_id(),
        customer_id=str(customer_id),
        place=_place(services, body),
        is_default=body.is_default,
    )
    added = await carry_out(services, call.covers(body), action, _address_changed, ChangedView)
    return shown(added.view, added.replayed, 201, version=added.view.version)


@routes.get(
    "/v1/customers/{customer_id}/addresses",
    Policy(roles=_READERS, owner="customer_id"),
    list[AddressView],
)
async def addresses(customer_id: Uid, _: Me, services: Parts) -> Response:
    """A customer's doors, newest first."""
    return json_response(await _addresses(services, str(customer_id)))


@routes.get(
    "/v1/customers/{customer_id}/addresses/{address_id}",
    Policy(roles=_READERS, owner="customer_id"),
    AddressView,
)
async def address(customer_id: Uid, address_id: Uid, _: Me, services: Parts) -> Response:
    """One door. The ETag is its version, for If-Match."""
    for view in await _addresses(services, str(customer_id)):
        if view.id == str(address_id):
            return json_response(view, headers=etag(view.version))
    raise NotFound("There is no such address.")


@routes.put(
    "/v1/customers/{customer_id}/addresses/{address_id}",
    Policy(roles=(Role.CUSTOMER,), owner="customer_id", key=Need.MAY, version=Need.MUST),
    ChangedView,
    refuses=("OUTSIDE_SERVICE_AREA", "ADDRESS_NOT_DELIVERABLE"),
)
async def change_address(
    customer_id: Uid, address_id: Uid, body: AddressBody, _: Me, call: Mutation, services: Parts
) -> Response:
    """Say what a door is by now. Orders keep the door that they were sent to."""
    action = ChangeAddress(str(address_id), _place(services, body))
    after = await carry_out(services, call.covers(body), action, _address_changed, ChangedView)
    return shown(after.view, after.replayed, version=after.view.version)


@routes.post(
    "/v1/customers/{customer_id}/addresses/{address_id}/default",
    Policy(roles=(Role.CUSTOMER,), owner="customer_id", key=Need.MUST, version=Need.MAY),
    ChangedView,
)
async def prefer_address(
    customer_id: Uid, address_id: Uid, _: Me, call: Mutation, services: Parts
) -> Response:
    """Make it the door that you order to if you say nothing."""
    action = PreferAddress(str(address_id))
    after = await carry_out(services, call, action, _address_changed, ChangedView)
    return shown(after.view, after.replayed, version=after.view.version)


@routes.delete(
    "/v1/customers/{customer_id}/addresses/{address_id}",
    Policy(roles=(Role.CUSTOMER,), owner="customer_id", key=Need.MAY, version=Need.MAY),
    status=204,
)
async def erase_address(
    customer_id: Uid, address_id: Uid, _: Me, call: Mutation, services: Parts
) -> Response:
    """Forget a door for good. Orders keep the door that they were sent to, for as long as the law wants them kept."""
    await carry_out(services, call, EraseAddress(str(address_id)), _address_changed, ChangedView)
    return Response(status_code=204)


@routes.get(
    "/v1/customers/{customer_id}/age-verifications",
    Policy(roles=_READERS, owner="customer_id"),
    AgeVerificationPage,
)
async def age_verifications(customer_id: Uid, _: Me, services: Parts, rows: Rows) -> Response:
    """What a customer's age checks came to, newest first."""
    found = await services.reads.reports.age_checks(str(customer_id), rows.after, rows.limit)
    page = [_check(check) for check in found[: rows.limit]]
    more = next_cursor([(check.at_ms, check.attempt_id) for check in found], rows.limit)
    return json_response(AgeVerificationPage(page, more))


async def _addresses(services: Services, customer_id: str) -> list[AddressView]:
    found = await services.marketplace.page("address", customer_id, None, ADDRESSES_LIMIT)
    preferred: list[Address] = [one for one in found if one.preferred_ms is not None]
    default = max(preferred, key=lambda one: (one.preferred_ms or 0, one.address_id), default=None)
    return [_address(one, one is default) for one in found]


def _place(services: Services, body: AddressBody) -> Place:
    return Place(
        region_id=nearest_region(services.config.regions, body.lat, body.lng),
        line=body.line,
        unit=body.unit,
        city=body.city,
        state=body.state,
        zip=body.zip,
        lat=body.lat,
        lng=body.lng,
        instructions=body.instructions,
    )


def _changed(customer: Customer) -> ChangedView:
    return ChangedView(customer.customer_id, customer.customer_id, customer.version)


def _address_changed(address: Address) -> ChangedView:
    return ChangedView(address.address_id, address.customer_id, address.version)


def _address(address: Address, is_default: bool) -> AddressView:
    return AddressView(
        id=address.address_id,
        customer_id=address.customer_id,
        version=address.version,
        region_id=address.region_id,
        line=address.line,
        unit=address.unit,
        city=address.city,
        state=address.state,
        zip=address.zip,
        lat=address.lat,
        lng=address.lng,
        instructions=address.instructions,
        is_default=is_default,
        created_at=instant(address.created_ms),
    )


def _check(check: AgeCheck) -> AgeVerificationView:
    return AgeVerificationView(
        id=check.attempt_id,
        order_id=check.order_id,
        min_age=check.min_age,
        at=instant(check.at_ms),
        outcome=check.outcome,
        valid=check.outcome is CheckOutcome.PASS and not check.is_over,
    )
