"""Readers of recorded delivery days. Pure: a folder in, a `Day` out.

Two formats. *mdrplib*: tab-separated `restaurants.txt couriers.txt orders.txt instance_parameters.txt`, metres on a
local plane, whole minutes. *rappi*: `orders.csv couriers.csv`, WGS84 degrees, HH:MM:SS. Both are moved to Dallas as
they are, without stretching: the middle of the one, the centroid of the other falls on `DALLAS`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from domain.ground.markets import MARKETS, serves
from sim.bot.motion import METRES_PER_DEGREE, Point, metres, offset
from sim.demo.city import REGION_ID

DALLAS = Point(32.7767, -96.7970)
# Metres a second through a city, by the vehicle named in a rappi day.
VEHICLE_MPS = {"walking": 1.4, "bicycle": 4.2, "motorcycle": 8.3, "car": 8.3}


class ReplayShop(Struct, frozen=True):
    """A restaurant of the day."""

    id: str
    point: Point


class ReplayOrder(Struct, frozen=True, kw_only=True):
    """An order of the day; times in minutes since the day's start."""

    id: str
    shop_id: str
    door: Point
    placed_min: float
    ready_min: float


class ReplayCourier(Struct, frozen=True, kw_only=True):
    """A shift of the day; times in minutes since the day's start."""

    id: str
    start: Point
    on_min: float
    off_min: float
    speed_mps: float


class Day(Struct, frozen=True, kw_only=True):
    """A recorded day. `detour` is road length over straight line, service times in seconds are for a whole stop."""

    name: str
    shops: tuple[ReplayShop, ...]
    orders: tuple[ReplayOrder, ...]  # by placement
    couriers: tuple[ReplayCourier, ...]  # by start of shift
    detour: float
    pickup_service_s: float
    dropoff_service_s: float


def read_day(folder: Path) -> Day:
    """Read a day in either format; `ValueError` names what is missing or lies outside the market."""
    if (folder / "orders.csv").is_file():
        day = _read_rappi(folder)
    elif (folder / "orders.txt").is_file():
        day = _read_mdrplib(folder)
    else:
        raise ValueError(f"{folder} holds neither orders.txt (mdrplib) nor orders.csv (rappi).")
    _check(day)
    return day


def window(day: Day, from_min: float | None, to_min: float | None) -> Day:
    """The orders placed in [from, to) minutes and the couriers and shops that matter to them."""
    start = 0.0 if from_min is None else from_min
    end = float("inf") if to_min is None else to_min
    orders = tuple(order for order in day.orders if start <= order.placed_min < end)
    shops = {order.shop_id for order in orders}
    last = max((order.placed_min for order in orders), default=start) + 120
    return replace(
        day,
        orders=orders,
        shops=tuple(shop for shop in day.shops if shop.id in shops),
        couriers=tuple(c for c in day.couriers if c.off_min > start and c.on_min < min(last, end + 120)),
    )


def thin(day: Day, couriers_limit: int) -> Day:
    """The day with at most so many couriers, taken evenly over the shifts."""
    count = len(day.couriers)
    if count <= couriers_limit:
        return day
    kept = tuple(day.couriers[index * count // couriers_limit] for index in range(couriers_limit))
    return replace(day, couriers=kept)


# -- mdrplib ----------------------------------------------------------------------------------------------------------


def _read_mdrplib(folder: Path) -> Day:
    shops = _rows(folder / "restaurants.txt", "\t")
    orders = _rows(folder / "orders.txt", "\t")
    couriers = _rows(folder / "couriers.txt", "\t")
    parameters = _rows(folder / "instance_parameters.txt", "\t")[0]
    xs = [float(row["x"]) for row in (*shops, *orders, *couriers)]
    ys = [float(row["y"]) for row in (*shops, *orders, *couriers)]
    mid_x, mid_y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2

    def at(row: dict[str, str]) -> Point:
        return offset(DALLAS, float(row["x"]) - mid_x, float(row["y"]) - mid_y)

    speed_mps = float(parameters["meters_per_minute"]) / 60
    return Day(
        name=folder.name,
        shops=tuple(ReplayShop(row["restaurant"], at(row)) for row in shops),
        orders=_by_time(
            ReplayOrder(
                id=row["order"], shop_id=row["restaurant"], door=at(row),
                placed_min=float(row["placement_time"]), ready_min=float(row["ready_time"]),
            )
            for row in orders
        ),
        couriers=_by_shift(
            ReplayCourier(
                id=row["courier"], start=at(row), on_min=float(row["on_time"]), off_min=float(row["off_time"]),
                speed_mps=speed_mps,
            )
            for row in couriers
        ),
        detour=1.0,  # the set's travel time is the straight line at meters_per_minute
        pickup_service_s=60 * float(parameters["pickup service minutes"]),
        dropoff_service_s=60 * float(parameters["dropoff service minutes"]),
    )  # fmt: skip


# -- rappi ------------------------------------------------------------------------------------------------------------


def _read_rappi(folder: Path) -> Day:
    orders = _rows(folder / "orders.csv", ",")
    couriers = _rows(folder / "couriers.csv", ",")
    doors = [Point(float(row["drop_off_lat"]), float(row["drop_off_lng"])) for row in orders]
    middle = Point(sum(door.lat for door in doors) / len(doors), sum(door.lng for door in doors) / len(doors))
    # By metres, not degrees: a degree of longitude at Dallas is a sixth shorter than one in Colombia.
    east_m_per_degree = METRES_PER_DEGREE * math.cos(math.radians(middle.lat))

    def at(lat: str, lng: str) -> Point:
        east_m = (float(lng) - middle.lng) * east_m_per_degree
        return offset(DALLAS, east_m, (float(lat) - middle.lat) * METRES_PER_DEGREE)

    shops: dict[tuple[str, str], ReplayShop] = {}
    for row in orders:
        place = (row["pick_up_lat"], row["pick_up_lng"])
        shops.setdefault(place, ReplayShop(f"s{len(shops) + 1}", at(*place)))
    return Day(
        name=f"rappi-{folder.name}",
        shops=tuple(shops.values()),
        orders=_by_time(
            ReplayOrder(
                id=f"o{row['order_id']}", shop_id=shops[(row["pick_up_lat"], row["pick_up_lng"])].id,
                door=at(row["drop_off_lat"], row["drop_off_lng"]),
                placed_min=_minutes(row["placement_time"]), ready_min=_minutes(row["ready_time"]),
            )
            for row in orders
        ),
        couriers=_by_shift(
            ReplayCourier(
                id=f"c{row['courier_id']}", start=at(row["on_lat"], row["on_lng"]),
                on_min=_minutes(row["on_time"]), off_min=_minutes(row["off_time"]),
                speed_mps=VEHICLE_MPS.get(row["vehicle"], VEHICLE_MPS["car"]),
            )
            for row in couriers
        ),
        detour=1.3,
        pickup_service_s=120,
        dropoff_service_s=120,
    )  # fmt: skip


# -- helpers ----------------------------------------------------------------------------------------------------------


def _rows(path: Path, delimiter: str) -> list[dict[str, str]]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise ValueError(f"{path} is missing.") from None
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    if not rows:
        raise ValueError(f"{path} holds no rows.")
    return rows


def _by_time(orders: Iterable[ReplayOrder]) -> tuple[ReplayOrder, ...]:
    return tuple(sorted(orders, key=lambda order: order.placed_min))


def _by_shift(couriers: Iterable[ReplayCourier]) -> tuple[ReplayCourier, ...]:
    return tuple(sorted(couriers, key=lambda courier: courier.on_min))


def _minutes(clock: str) -> float:
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 60 + int(minutes) + int(seconds) / 60


def _check(day: Day) -> None:
    market = MARKETS[REGION_ID]
    places = (
        [shop.point for shop in day.shops]
        + [order.door for order in day.orders]
        + [c.start for c in day.couriers]
    )
    outside = [place for place in places if not serves(market, place.lat, place.lng)]
    if outside:
        far_m = max(metres(DALLAS, place) for place in outside)
        raise ValueError(
            f"{day.name}: {len(outside)} places lie outside {market.id} (up to {far_m / 1000:.0f} km off)."
        )
