"""A day of a market as data: who orders what when, who drives when, and what came of it under some policy."""

from __future__ import annotations

from collections import Counter
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from domain.ground.travel import Haversine, TravelModel
from domain.orders.lifecycle import OfferStatus
from domain.orders.records import OfferRow
from domain.solve import Services
from sim.demo import replay


class DayOrder(Struct, frozen=True, kw_only=True):
    """An order of the day, promised at the door by `due_ms`."""

    id: str
    store_id: str
    pickup_lat: float
    pickup_lng: float
    dropoff_lat: float
    dropoff_lng: float
    placed_ms: int
    ready_ms: int
    due_ms: int


class DayCourier(Struct, frozen=True, kw_only=True):
    """A shift. `accept_rate`: probability that an offer is taken, None: always. `answer_s`: mean time until an offer is
    answered, which is exponentially distributed, None: at once."""

    id: str
    lat: float
    lng: float
    on_ms: int
    off_ms: int
    accept_rate: float | None = None
    answer_s: float | None = None


class Day(Struct, frozen=True, kw_only=True):
    """What happens in a market on one day, whoever dispatches. An order is at the door `give_up_s` after it was placed
    or not at all: when nobody has taken it and even a courier at the store would be too late, it is called off."""

    name: str
    orders: tuple[DayOrder, ...]
    couriers: tuple[DayCourier, ...]
    travel: TravelModel
    services: Services
    give_up_s: float | None = None


class Brought(Struct, frozen=True, kw_only=True):
    """How an order was brought; orders of one offer are a bundle."""

    order_id: str
    courier_id: str
    offer_id: str
    assigned_ms: int
    arrive_ms: int
    pickup_ms: int
    dropoff_ms: int


class Solves(Struct):
    """Sums over the problems that were solved."""

    count: int = 0
    tasks: int = 0
    drivers: int = 0
    pairs: int = 0
    assignments: int = 0


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a day. `offers` as they ended, in the order in which they were made; `drive_s` by courier."""

    day: str
    brought: dict[str, Brought]
    given_up: tuple[str, ...]
    offers: tuple[OfferRow, ...]
    drive_s: dict[str, float]
    solves: Solves

    def offers_by_status(self) -> dict[OfferStatus, int]:
        """How many offers ended how."""
        return dict(Counter(offer.status for offer in self.offers))


def with_accept_rates(day: Day, seed: int, low: float = 0.4, high: float = 1.0) -> Day:
    """The day with couriers who take offers at rates that are uniform in [low, high]."""
    rng = Random(f"rates/{seed}/{day.name}")
    couriers = tuple(replace(courier, accept_rate=rng.uniform(low, high)) for courier in day.couriers)
    return replace(day, couriers=couriers)


def recorded(day: replay.Day, *, promise_s: float, speed_mps: float = 8.3) -> Day:
    """A day of `replay` as a market's day, with one speed for all couriers; due `promise_s` after placement."""
    shops = {shop.id: shop.point for shop in day.shops}
    return Day(
        name=day.name,
        orders=tuple(
            DayOrder(
                id=order.id,
                store_id=order.shop_id,
                pickup_lat=shops[order.shop_id].lat,
                pickup_lng=shops[order.shop_id].lng,
                dropoff_lat=order.door.lat,
                dropoff_lng=order.door.lng,
                placed_ms=_ms(order.placed_min),
                ready_ms=_ms(order.ready_min),
                due_ms=_ms(order.placed_min) + round(promise_s * 1000),
            )
            for order in day.orders
        ),
        couriers=tuple(
            DayCourier(
                id=courier.id,
                lat=courier.start.lat,
                lng=courier.start.lng,
                on_ms=_ms(courier.on_min),
                off_ms=_ms(courier.off_min),
            )
            for courier in day.couriers
        ),
        travel=Haversine(speed_mps=speed_mps, detour=day.detour),
        services=Services(
            pickup_before_s=day.pickup_service_s / 2,
            pickup_after_s=day.pickup_service_s / 2,
            door_before_s=day.dropoff_service_s / 2,
            door_after_s=day.dropoff_service_s / 2,
        ),
    )


def _ms(minutes: float) -> int:
    return round(minutes * 60_000)
