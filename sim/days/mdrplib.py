"""Days of the Meal Delivery Routing Problem: public instances in the format of `grubhub/mdrplib`.

A folder holds tab-separated `restaurants.txt couriers.txt orders.txt instance_parameters.txt`: whole metres on a plane,
whole minutes. Travel takes whole minutes, rounded up; half of a stop's service comes before the hand-over, half after.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from domain.ground.travel import Planar
from domain.solve import Services
from sim.days.day import Day, DayCourier, DayOrder

MINUTE_MS = 60_000
DEGREES_PER_METRE = 1e-5  # see `domain.ground.travel.Planar`

Row = dict[str, str]
T = TypeVar("T")


class _Parameters(NamedTuple):
    metres_per_min: int
    pickup_min: int
    dropoff_min: int
    target_min: int
    limit_min: int


def read_mdrplib(folder: Path) -> Day:
    """An instance as a day; `ValueError` names the file, and where there is one the line, that cannot be used."""
    parameters = _table(folder / "instance_parameters.txt", _parameters)[0]
    stores = dict(_table(folder / "restaurants.txt", lambda row: (row["restaurant"], _place(row))))

    def order(row: Row) -> DayOrder:
        if row["restaurant"] not in stores:
            raise ValueError(f"there is no restaurant {row['restaurant']}")
        store, door = stores[row["restaurant"]], _place(row)
        placed_ms = _ms(row["placement_time"])
        return DayOrder(
            id=row["order"],
            store_id=row["restaurant"],
            pickup_lat=store[0],
            pickup_lng=store[1],
            dropoff_lat=door[0],
            dropoff_lng=door[1],
            placed_ms=placed_ms,
            ready_ms=_ms(row["ready_time"]),
            due_ms=placed_ms + parameters.target_min * MINUTE_MS,
        )

    orders, couriers = _table(folder / "orders.txt", order), _table(folder / "couriers.txt", _courier)
    for what, ids in (("orders", [one.id for one in orders]), ("couriers", [one.id for one in couriers])):
        if len(set(ids)) < len(ids):
            raise ValueError(f"{folder / what}.txt names one of its {what} twice.")
    return Day(
        name=folder.name,
        orders=tuple(sorted(orders, key=lambda one: one.placed_ms)),
        couriers=tuple(couriers),
        travel=Planar(metres_per_grain=parameters.metres_per_min, grain_s=60.0),
        services=Services(
            pickup_before_s=30.0 * parameters.pickup_min,
            pickup_after_s=30.0 * parameters.pickup_min,
            door_before_s=30.0 * parameters.dropoff_min,
            door_after_s=30.0 * parameters.dropoff_min,
        ),
        give_up_s=60.0 * parameters.limit_min,
    )


def instances(folder: Path, only: str = "*") -> list[Path]:
    """The instances in a folder whose names match a glob, by name; `ValueError` when there are none."""
    found = sorted(path.parent for path in folder.glob(f"{only}/orders.txt"))
    if not found:
        raise ValueError(f"There is no instance {only} in {folder}.")
    return found


def _courier(row: Row) -> DayCourier:
    lat, lng = _place(row)
    on_ms, off_ms = _ms(row["on_time"]), _ms(row["off_time"])
    if off_ms < on_ms:
        raise ValueError("the shift ends before it begins")
    return DayCourier(id=row["courier"], lat=lat, lng=lng, on_ms=on_ms, off_ms=off_ms)


def _parameters(row: Row) -> _Parameters:
    made = _Parameters(
        metres_per_min=int(row["meters_per_minute"]),
        pickup_min=int(row["pickup service minutes"]),
        dropoff_min=int(row["dropoff service minutes"]),
        target_min=int(row["target click-to-door"]),
        limit_min=int(row["maximum click-to-door"]),
    )
    if min(made) < 0 or made.metres_per_min == 0:
        raise ValueError("a parameter is negative, or meters_per_minute is 0")
    if made.pickup_min % 2 or made.dropoff_min % 2:
        raise ValueError("half of a service time is no whole minute")
    return made


def _place(row: Row) -> tuple[float, float]:
    return int(row["y"]) * DEGREES_PER_METRE, int(row["x"]) * DEGREES_PER_METRE


def _ms(minutes: str) -> int:
    return int(minutes) * MINUTE_MS


def _table(path: Path, make: Callable[[Row], T]) -> list[T]:
    """Every row made into something; all that can be wrong with a file is a `ValueError` that names it."""
    try:
        with path.open(newline="") as file:
            made = []
            for row in csv.DictReader(file, delimiter="\t"):
                try:
                    made.append(make(row))
                except KeyError as error:
                    raise ValueError(f"{path} has no column {error}.") from None
                except (ValueError, TypeError) as error:
                    raise ValueError(f"{path}, line {len(made) + 2}: {error}.") from None
    except FileNotFoundError:
        raise ValueError(f"{path} is missing.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from None
    if not made:
        raise ValueError(f"{path} holds no rows.")
    return made
