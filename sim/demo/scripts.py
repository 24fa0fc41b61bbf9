"""What a run plays: who drives where, which stores there are, and which orders come when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Protocol

from msgspec import Struct

from sim.bot.motion import Point
from sim.bot.personas import CustomerShares, DriverPersona, DriverShares, driver_persona
from sim.demo.api import Account
from sim.demo.city import build_city
from sim.demo.customers import OrderPlan, Shop
from sim.demo.replay import read_day, thin, window
from sim.demo.setup import Site

# One order keeps a driver of the built-in city for about 12 minutes, so this many a driver and minute keep half busy.
ORDERS_PER_DRIVER_MIN = 0.04
# A rush at the start, so that there is something to see at once: so many times the rate, for so many orders a driver.
RUSH, RUSH_PER_DRIVER = 6, 0.15
OPEN_PER_DRIVER_LIMIT = 2  # orders under way to a driver; more customers than that are turned away
MINOR_EVERY = 8  # one of so many customers is under age


class Part(Struct, frozen=True, kw_only=True):
    """A driver's part. The shift is in server seconds; `key` names the account."""

    key: str
    name: str
    persona: DriverPersona
    start: Point
    on_s: float = 0.0
    off_s: float = float("inf")
    haunts: tuple[Point, ...] = ()


class Script(Protocol):
    """A play. `sites` and `drivers_count` are known at once; parts and plans once the curtain is up (`now_s`)."""

    name: str  # of the accounts that belong to it
    title: str
    merchant: str
    all_on_stage: bool  # the play begins only once every driver is signed in

    def sites(self) -> list[Site]: ...

    def parts(self, now_s: float) -> list[Part]: ...

    def plans(self, now_s: float, shops: list[Shop], customers: list[Account]) -> Iterator[OrderPlan]:
        """Orders by placement; without end for a play that has none."""
        ...

    def is_full(self, open_orders: int) -> bool:
        """Whether so many orders are under way that another must not be placed."""
        ...


class BuiltScript:
    """The built-in city: drivers wander, orders come at random at `orders_per_min` (of the server's clock)."""

    name, merchant, all_on_stage = "city", "Doorstep Demo Stores", False

    def __init__(
        self,
        seed: int,
        drivers: int,
        orders_per_min: float | None,
        customers: CustomerShares,
        shares: DriverShares,
    ) -> None:
        self._seed, self._drivers = seed, drivers
        self._customers, self._shares = customers, shares
        self._rate = max(0.5, drivers * ORDERS_PER_DRIVER_MIN) if orders_per_min is None else orders_per_min
        self._city = build_city(seed)
        self.title = (
            f"the built-in city with {drivers} drivers and {self._rate:g} orders a minute of its clock"
        )

    def sites(self) -> list[Site]:
        return [Site(site.name, site.point, site.address) for site in self._city.stores]

    def parts(self, now_s: float) -> list[Part]:
        rng = Random(f"{self._seed}:parts")
        parts = []
        for number in range(1, self._drivers + 1):
            home = self._city.driver_home(rng)
            parts.append(
                Part(
                    key=f"{number}",
                    name=f"Driver {number}",
                    persona=driver_persona(rng, self._shares),
                    start=home,
                    haunts=self._city.haunts(home),
                )
            )
        return parts

    def plans(self, now_s: float, shops: list[Shop], customers: list[Account]) -> Iterator[OrderPlan]:
        rng = Random(f"{self._seed}:orders")
        number, at_s = 0, now_s
        rush = round(self._drivers * RUSH_PER_DRIVER)
        while True:
            number, at_s = (
                number + 1,
                at_s + rng.expovariate((RUSH if number < rush else 1) * self._rate / 60),
            )
            under_age = rng.random() < self._customers.under_age_at_checkout
            store = self._city.pick_store(rng)
            door, address = self._city.door_near(rng, store)
            yield OrderPlan(
                number=number,
                at_s=at_s,
                ready_s=at_s + (rng.uniform(30, 150) if number < rush else rng.uniform(90, 420)),
                shop=shops[store],
                customer=_customer(rng, customers, under_age),
                door=door,
                address=address,
                items=_basket(rng, shops[store]),
                under_age=under_age,
            )

    def is_full(self, open_orders: int) -> bool:
        return open_orders >= OPEN_PER_DRIVER_LIMIT * self._drivers


class ReplayScript:
    """A recorded day, or a window of it: its first minute is now."""

    all_on_stage = True

    def __init__(
        self,
        folder: Path,
        from_min: float | None,
        to_min: float | None,
        drivers: int,
        seed: int,
        customers: CustomerShares,
        shares: DriverShares,
    ) -> None:
        self._seed, self._customers, self._shares = seed, customers, shares
        self._day = thin(window(read_day(folder), from_min, to_min), drivers)
        if not self._day.orders:
            raise ValueError(f"No order of {folder} was placed in that window.")
        if not self._day.couriers:
            raise ValueError(f"No courier of {folder} is on duty in that window.")
        self._from_min = self._day.orders[0].placed_min if from_min is None else from_min
        self.name = f"replay-{self._day.name}"
        self.merchant = f"Replay of {self._day.name}"
        self.title = (
            f"{self._day.name} from minute {self._from_min:g}: {len(self._day.orders)} orders, "
            f"{len(self._day.couriers)} couriers, {len(self._day.shops)} shops"
        )

    def sites(self) -> list[Site]:
        return [
            Site(f"{self._day.name} {shop.id}", shop.point, f"Restaurant {shop.id}, Dallas, TX")
            for shop in self._day.shops
        ]

    def parts(self, now_s: float) -> list[Part]:
        day, rng = self._day, Random(f"{self._seed}:parts")
        parts = []
        for courier in day.couriers:
            base = DriverPersona(
                speed_mps=courier.speed_mps,
                detour=day.detour,
                store_before_s=day.pickup_service_s / 2,
                store_after_s=day.pickup_service_s / 2,
                door_before_s=day.dropoff_service_s / 2,
                door_after_s=day.dropoff_service_s / 2,
            )
            parts.append(
                Part(
                    key=f"{day.name}-{courier.id}",
                    name=f"Courier {courier.id}",
                    persona=driver_persona(rng, self._shares, base),
                    start=courier.start,
                    on_s=self._at(now_s, courier.on_min),
                    off_s=self._at(now_s, courier.off_min),
                )
            )
        return parts

    def plans(self, now_s: float, shops: list[Shop], customers: list[Account]) -> Iterator[OrderPlan]:
        rng = Random(f"{self._seed}:orders")
        by_id = {shop.id: made for shop, made in zip(self._day.shops, shops, strict=True)}
        for number, order in enumerate(self._day.orders, start=1):
            shop = by_id[order.shop_id]
            under_age = rng.random() < self._customers.under_age_at_checkout
            yield OrderPlan(
                number=number,
                at_s=self._at(now_s, order.placed_min),
                ready_s=self._at(now_s, order.ready_min),
                shop=shop,
                customer=_customer(rng, customers, under_age),
                door=order.door,
                address=f"Door of {order.id}, Dallas, TX",
                items=_basket(rng, shop),
                under_age=under_age,
            )

    def is_full(self, open_orders: int) -> bool:
        return False  # a recorded order is placed whatever the state of things

    def _at(self, now_s: float, minute: float) -> float:
        return now_s + (minute - self._from_min) * 60


def _customer(rng: Random, customers: list[Account], under_age: bool) -> Account:
    """Those under age are the same few: their tries at age checks count for all their orders."""
    few = len(customers) // MINOR_EVERY
    return rng.choice(customers[:few] if under_age and few else customers[few:])


def _basket(rng: Random, shop: Shop) -> tuple[tuple[str, int], ...]:
    """One or two products; the first is alcohol or tobacco, for that is what this server is about."""
    # The last product of the stock is the one without an age limit.
    picked = {rng.choice(shop.product_ids[:-1]): rng.randint(1, 2)}
    if rng.random() < 0.4:
        picked.setdefault(rng.choice(shop.product_ids), 1)
    return tuple(picked.items())
