"""Vehicles of drivers: what they drive, and how much of it fits in."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import WrongState
from domain.marketplace.change import Command, Decision

CAPACITY_LIMIT_L = 20_000
VEHICLES_LIMIT = 50  # of a driver, retired ones among them


class VehicleKind(StrEnum):
    """What it is."""

    BICYCLE = "bicycle"
    SCOOTER = "scooter"
    CAR = "car"
    VAN = "van"


class Vehicle(Struct, frozen=True, kw_only=True):
    """A driver's vehicle. `retired_ms`: since when it is driven no more."""

    vehicle_id: str
    driver_id: str
    plate: str
    kind: VehicleKind
    capacity_l: int
    created_ms: int
    retired_ms: int | None = None
    version: int = 1


class AddVehicle(Struct, frozen=True, kw_only=True):
    """A vehicle of the driver who asks."""

    vehicle_id: str
    plate: str
    kind: VehicleKind
    capacity_l: int


class ChangeVehicle(Struct, frozen=True, kw_only=True):
    """What it is by now. One that is `retired` comes back no more."""

    vehicle_id: str
    kind: VehicleKind
    capacity_l: int
    retired: bool


def add_vehicle(action: AddVehicle, before: None, command: Command) -> Decision:
    """A driver may have several, and a vehicle several drivers."""
    vehicle = Vehicle(
        vehicle_id=action.vehicle_id,
        driver_id=command.actor_id,
        plate=action.plate,
        kind=action.kind,
        capacity_l=action.capacity_l,
        created_ms=command.at_ms,
    )
    return Decision(shown=vehicle, new=(vehicle,), event="added")


def change_vehicle(action: ChangeVehicle, before: Vehicle, command: Command) -> Decision:
    """`WrongState` for one that is driven no more."""
    after = replace(before, kind=action.kind, capacity_l=action.capacity_l)
    if before.retired_ms is not None:
        if after != before or not action.retired:
            raise WrongState("This vehicle is driven no more.")
        return Decision(shown=before, changed=before)
    if action.retired:
        after = replace(after, retired_ms=command.at_ms)
    return Decision(shown=after, changed=after, event="retired" if action.retired else "changed")
