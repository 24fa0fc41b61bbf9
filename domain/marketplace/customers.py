"""Customers and the doors that they order to."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import AddressNotDeliverable, OutsideServiceArea
from domain.ground.markets import MARKETS, serves
from domain.ground.postal import is_box, is_zip_of
from domain.marketplace.change import Command, Decision

ADDRESSES_LIMIT = 20  # of a customer
LINE_LIMIT, UNIT_LIMIT, INSTRUCTIONS_LIMIT = 120, 32, 500  # characters


class Language(StrEnum):
    """What a customer is written to in."""

    EN = "en"
    ES = "es"


class Customer(Struct, frozen=True, kw_only=True):
    """A customer's profile. `name`: who opens the door, as drivers are told; `phone`: E.164."""

    customer_id: str
    name: str
    created_ms: int
    phone: str | None = None
    language: Language = Language.EN
    version: int = 1


class Address(Struct, frozen=True, kw_only=True):
    """A door: its address, where it is (WGS84 degrees) and how it is found. Of a customer's addresses the one with the
    latest `preferred_ms` is the default: erased, it leaves that to the one before."""

    address_id: str
    customer_id: str
    region_id: str
    line: str
    unit: str
    city: str
    state: str
    zip: str
    lat: float
    lng: float
    instructions: str
    created_ms: int
    preferred_ms: int | None = None
    version: int = 1


class Place(Struct, frozen=True, kw_only=True):
    """What makes an address, as it is said."""

    region_id: str
    line: str
    unit: str
    city: str
    state: str
    zip: str
    lat: float
    lng: float
    instructions: str


class ChangeCustomer(Struct, frozen=True, kw_only=True):
    """A profile as it is by now; None leaves a field as it is, an empty `phone` is none."""

    customer_id: str
    name: str | None = None
    phone: str | None = None
    language: Language | None = None


class AddAddress(Struct, frozen=True, kw_only=True):
    """A new address of this customer."""

    address_id: str
    customer_id: str
    place: Place
    is_default: bool


class ChangeAddress(Struct, frozen=True):
    """An address as it is by now."""

    address_id: str
    place: Place


class PreferAddress(Struct, frozen=True):
    """Make it the default."""

    address_id: str


class EraseAddress(Struct, frozen=True):
    """Forget an address for good. Orders keep the door that they were sent to."""

    address_id: str


def change_customer(action: ChangeCustomer, before: Customer, command: Command) -> Decision:
    """What is said, and the rest as it was."""
    after = replace(
        before,
        name=before.name if action.name is None else action.name,
        phone=before.phone if action.phone is None else action.phone or None,
        language=action.language or before.language,
    )
    return Decision(shown=after, changed=after, event="changed")


def add_address(action: AddAddress, before: Customer, command: Command) -> Decision:
    """A door that can be delivered to; see `_require_door`."""
    _require_door(action.place)
    address = Address(
        address_id=action.address_id,
        customer_id=before.customer_id,
        created_ms=command.at_ms,
        preferred_ms=command.at_ms if action.is_default else None,
        **_fields(action.place),
    )
    return Decision(shown=address, new=(address,), event="added")


def change_address(action: ChangeAddress, before: Address, command: Command) -> Decision:
    """As `add_address`."""
    _require_door(action.place)
    after = replace(before, **_fields(action.place))
    return Decision(shown=after, changed=after, event="changed")


def prefer_address(action: PreferAddress, before: Address, command: Command) -> Decision:
    """The latest one that was preferred is the default."""
    after = replace(before, preferred_ms=command.at_ms)
    return Decision(shown=after, changed=after, event="preferred")


def erase_address(action: EraseAddress, before: Address, command: Command) -> Decision:
    """The row goes: nothing of it is kept."""
    return Decision(shown=before, removed=before, event="erased")


def _require_door(place: Place) -> None:
    """It is a door in its market, in its state, with a ZIP code of that state."""
    market = MARKETS[place.region_id]
    if not serves(market, place.lat, place.lng):
        raise OutsideServiceArea("The pin is not inside a market that is served.")
    if place.state != market.jurisdiction:
        raise AddressNotDeliverable("The pin is in another state than the address.")
    if not is_zip_of(place.state, place.zip):
        raise AddressNotDeliverable("The ZIP code is not one of that state.")
    if is_box(place.line) or is_box(place.unit):
        raise AddressNotDeliverable("A box has no door at which an ID can be shown.")


def _fields(place: Place) -> dict[str, Any]:
    return {name: getattr(place, name) for name in Place.__struct_fields__}
