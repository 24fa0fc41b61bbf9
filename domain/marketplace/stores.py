"""Stores: opened by a merchant, inside a market that is served; open by their week's hours but for holidays, busy or
closed for good when their merchant says so."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import InvalidRequest, OutsideServiceArea, WrongState
from domain.ground.markets import MARKETS, serves
from domain.ground.zones import Zone
from domain.marketplace.change import Command, Decision
from domain.orders.hours import Holiday, Hours

PAUSE_LIMIT_MS = 7 * 24 * 3_600_000  # of one pause
PREP_LIMIT_MIN = 24 * 60


class Store(Struct, frozen=True, kw_only=True):
    """A merchant's store. `holidays`: days with other hours than the week's. `prep_min`: minutes until an order is
    packed where nobody says more, None for the market's; `zone`: where it delivers to, None for the whole market.
    `paused_until_ms`: it takes no orders before; `closed_ms`: since when it takes none any more. `version` rises with
    each change."""

    store_id: str
    merchant_id: str
    region_id: str
    name: str
    lat: float
    lng: float
    address: str
    hours: Hours = None
    holidays: tuple[Holiday, ...] = ()
    prep_min: int | None = None
    zone: Zone | None = None
    paused_until_ms: int | None = None
    closed_ms: int | None = None
    version: int = 1


class OpenStore(Struct, frozen=True, kw_only=True):
    """A new store of the merchant who asks."""

    store_id: str
    region_id: str
    name: str
    lat: float
    lng: float
    address: str


class ChangeStore(Struct, frozen=True, kw_only=True):
    """What is different from now on. `changes`: fields of the store, of those in `CHANGEABLE`."""

    store_id: str
    changes: dict[str, Any]


CHANGEABLE = frozenset({"name", "address", "prep_min", "holidays", "zone"})


class SetHours(Struct, frozen=True):
    """A store's whole week."""

    store_id: str
    hours: Hours


class PauseStore(Struct, frozen=True):
    """It is too busy for new orders until then; None: it takes them again."""

    store_id: str
    until_ms: int | None


class CloseStore(Struct, frozen=True):
    """It takes no order any more."""

    store_id: str


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


def change_store(action: ChangeStore, before: Store, command: Command) -> Decision:
    """What was accepted keeps what it was accepted by. A zone that does not reach the store is a slip of the pen."""
    _require_not_closed(before)
    assert action.changes.keys() <= CHANGEABLE
    after = replace(before, **action.changes)
    if after.zone is not None and not after.zone.has(after.lat, after.lng):
        raise InvalidRequest("The store itself is not inside its zone.")
    return Decision(shown=after, changed=after, event="changed")


def set_hours(action: SetHours, before: Store, command: Command) -> Decision:
    """Orders that were accepted keep the closing time that they were accepted by."""
    after = replace(before, hours=action.hours)
    return Decision(shown=after, changed=after, event="hours_set")


def pause_store(action: PauseStore, before: Store, command: Command) -> Decision:
    """For a while that lies ahead: a store that is forgotten opens again by itself."""
    _require_not_closed(before)
    until_ms = action.until_ms
    if until_ms is not None and not command.at_ms < until_ms <= command.at_ms + PAUSE_LIMIT_MS:
        raise InvalidRequest("A pause ends within a week.")
    after = replace(before, paused_until_ms=until_ms)
    return Decision(shown=after, changed=after, event="resumed" if until_ms is None else "paused")


def close_store(action: CloseStore, before: Store, command: Command) -> Decision:
    """For good. Orders that were placed go on."""
    if before.closed_ms is not None:
        return Decision(shown=before, changed=before)
    after = replace(before, closed_ms=command.at_ms)
    return Decision(shown=after, changed=after, event="closed")


def _require_not_closed(store: Store) -> None:
    if store.closed_ms is not None:
        raise WrongState("This store is closed for good.")
