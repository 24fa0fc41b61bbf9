"""Where an order's drivers stopped and for how long, from its dossier."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from domain.orders.dossier import Entry
from domain.orders.lifecycle import OrderEvent


class StopPlace(StrEnum):
    """Where a driver stops for an order."""

    STORE = "store"
    DOOR = "door"
    RETURN = "return"  # the store again


_E = OrderEvent
_ARRIVALS = {
    _E.ARRIVED_AT_STORE: StopPlace.STORE,
    _E.ARRIVED_AT_DOOR: StopPlace.DOOR,
    _E.ARRIVED_FOR_RETURN: StopPlace.RETURN,
}
# What ends a stay. A driver who is refused leaves the door with that; a task that is taken away ends the stay as well.
_LEAVES = {
    StopPlace.STORE: frozenset({_E.PICKED_UP, _E.RELEASED, _E.CANCELLED}),
    StopPlace.DOOR: frozenset({_E.DELIVERED, _E.ID_FAILED, _E.REFUSED, _E.RETURN_RESOLVED, _E.WRITTEN_OFF}),
    StopPlace.RETURN: frozenset({_E.RETURN_CONFIRMED, _E.RETURN_RESOLVED, _E.WRITTEN_OFF}),
}


class StopMade(Struct, frozen=True, kw_only=True):
    """One stop. Times in server ms; `left_ms` and `ended_by`
    are None while the driver is there. `distance_m`: how far the driver was by the last position when arriving, None:
    not known. `overrides`: reasons that were given for steps of this stop that were taken elsewhere."""

    place: StopPlace
    driver_id: str
    arrived_ms: int
    left_ms: int | None
    ended_by: OrderEvent | None
    distance_m: int | None
    overrides: tuple[str, ...]


def stops(entries: Sequence[Entry]) -> list[StopMade]:
    """The stops that a dossier tells of, in order."""
    made: list[StopMade] = []
    for number, entry in enumerate(entries):
        if (place := _ARRIVALS.get(OrderEvent(entry.type))) is None:
            continue
        rest = entries[number + 1 :]
        end = next((n for n, one in enumerate(rest) if one.type in _LEAVES[place]), None)
        left = None if end is None else rest[end]
        during = [entry, *rest[: len(rest) if end is None else end + 1]]
        made.append(
            StopMade(
                place=place,
                driver_id=entry.actor.partition(":")[2],
                arrived_ms=entry.at_ms,
                left_ms=None if left is None else left.at_ms,
                ended_by=None if left is None else OrderEvent(left.type),
                distance_m=entry.payload.get("distance_m"),
                overrides=tuple(str(one.payload["override"]) for one in during if "override" in one.payload),
            )
        )
    return made
