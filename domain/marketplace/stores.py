"""Stores: opened by a merchant, inside a market that is served, and open by their week's hours."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import OutsideServiceArea
from domain.ground.markets import MARKETS, serves
from domain.marketplace.change import Command, Decision
from domain.orders.hours import Hours


class Store(Struct, frozen=True, kw_only=True):
    """A merchant's store. `version` rises with each change."""

    store_id: str
    merchant_id: str
    region_id: str
    name: str
    lat: float
    lng: float
    address: str
    hours: Hours = None
    version: int = 1


class OpenStore(Struct, frozen=True, kw_only=True):
    """A new store of the merchant who asks."""

    store_id: str
    region_id: str
    name: str
    lat: float
    lng: float
    address: str


class SetHours(Struct, frozen=True):
    """A store's whole week."""

    store_id: str
    hours: Hours


def open_store(action: OpenStore, before: None, command: Command) -> Decision:
    """It must lie inside its market."""
    if not serves(MARKETS[action.region_id], action.lat, action.lng):
        raise OutsideServiceArea("The store is not inside its market.")
    store = Store(
        store_id=action.store_id,
        merchant_id=command.merchant_id,
        region_id=action.region_id,
        name=action.name,
        lat=action.lat,
        lng=action.lng,
        address=action.address,
    )
    return Decision(shown=store, new=(store,), event="opened")


def set_hours(action: SetHours, before: Store, command: Command) -> Decision:
    """Orders that were accepted keep the closing time that they were accepted by."""
    after = replace(before, hours=action.hours)
    return Decision(shown=after, changed=after, event="hours_set")
