"""The built-in city: Dallas–Fort Worth as weights. City centres are real, people and shops are drawn round them.

Everything lies inside the market `tx-dfw` and comes from the seed alone.
"""

from __future__ import annotations

import math
from random import Random

from msgspec import Struct

from domain.ground.markets import MARKETS, Market, serves
from sim.bot.motion import Point, metres, offset

REGION_ID = "tx-dfw"


class City(Struct, frozen=True, kw_only=True):
    """A city: centre in WGS84 degrees, people (2020), radius in metres of the disc its doors are drawn from."""

    name: str
    lat: float
    lng: float
    population: int
    radius_m: float


def _city(name: str, lat: float, lng: float, population: int, radius_km: float) -> City:
    return City(name=name, lat=lat, lng=lng, population=population, radius_m=radius_km * 1000)


CITIES: tuple[City, ...] = (
    _city("Dallas", 32.7767, -96.7970, 1_304_379, 12.0),
    _city("Fort Worth", 32.7555, -97.3308, 918_915, 11.0),
    _city("Arlington", 32.7357, -97.1081, 394_266, 7.0),
    _city("Plano", 33.0198, -96.6989, 285_494, 6.5),
    _city("Irving", 32.8140, -96.9489, 256_684, 6.0),
    _city("Garland", 32.9126, -96.6389, 246_018, 5.5),
    _city("Frisco", 33.1507, -96.8236, 200_509, 5.5),
    _city("Grand Prairie", 32.7460, -96.9978, 196_100, 5.5),
    _city("McKinney", 33.1972, -96.6398, 195_308, 5.5),
    _city("Mesquite", 32.7668, -96.5992, 150_108, 5.0),
    _city("Denton", 33.2148, -97.1331, 139_869, 5.0),
    _city("Carrollton", 32.9756, -96.8900, 133_434, 4.5),
    _city("Richardson", 32.9483, -96.7299, 119_469, 4.0),
    _city("Lewisville", 33.0462, -96.9942, 111_822, 4.5),
    _city("Allen", 33.1032, -96.6706, 104_627, 4.0),
    _city("Flower Mound", 33.0146, -97.0970, 75_956, 4.0),
    _city("Mansfield", 32.5632, -97.1417, 72_602, 4.0),
    _city("North Richland Hills", 32.8343, -97.2289, 69_917, 3.5),
    _city("Rowlett", 32.9029, -96.5639, 62_535, 3.5),
    _city("Euless", 32.8371, -97.0820, 61_032, 3.0),
    _city("Grapevine", 32.9343, -97.0781, 50_631, 3.5),
    _city("Bedford", 32.8440, -97.1431, 49_928, 2.5),
)

_NAMES = ("Live Oak", "Bluebonnet", "Lone Star", "Trinity", "Pecan Street", "Mockingbird", "Cedar Creek", "Red River",
          "Longhorn", "Caddo", "Magnolia", "Prairie", "White Rock", "Mustang", "Sunset", "Old Mill")  # fmt: skip
_KINDS = ("Liquor", "Wine & Spirits", "Market", "Bottle Shop", "Corner Store", "Tobacco & Beer")
_STREETS = ("Elm St", "Main St", "Oak Ln", "Preston Rd", "Belt Line Rd", "Park Blvd", "Abrams Rd", "Harwood Dr",
            "Mesquite Trl", "Coit Rd", "Cooper St", "Josey Ln")  # fmt: skip


class StoreSite(Struct, frozen=True, kw_only=True):
    """Where a store stands; `weight` is its share of the demand (all weights add up to 1)."""

    name: str
    city: str
    point: Point
    address: str
    weight: float


class BuiltCity(Struct, frozen=True, kw_only=True):
    """Stores drawn from a seed, and ways to draw doors and drivers around them."""

    stores: tuple[StoreSite, ...]
    market: Market
    trade_radius_m: float = 3_800.0  # how far a store's customers live from it

    def pick_store(self, rng: Random) -> int:
        """A store's index, by demand."""
        return rng.choices(range(len(self.stores)), [site.weight for site in self.stores])[0]

    def door_near(self, rng: Random, store: int) -> tuple[Point, str]:
        """A customer's door in the store's trade area, with its address."""
        site = self.stores[store]
        while True:  # the market's edge is far from every city: the second draw is already rare
            # Nearer doors are likelier: the square of a uniform draw instead of the root that would spread evenly.
            point = _around(rng, site.point, self.trade_radius_m * (0.1 + 0.9 * rng.random() ** 1.3))
            if serves(self.market, point.lat, point.lng):
                return point, _address(rng, site.city)

    def driver_home(self, rng: Random) -> Point:
        """Where a driver starts: near a store, by demand."""
        return _around(rng, self.stores[self.pick_store(rng)].point, 4_000.0 * math.sqrt(rng.random()))

    def haunts(self, home: Point, count: int = 4) -> tuple[Point, ...]:
        """The stores nearest to `home`: where an idle driver waits."""
        sites = sorted(self.stores, key=lambda site: metres(home, site.point))
        return tuple(site.point for site in sites[:count])


def build_city(seed: int, stores: int = 48) -> BuiltCity:
    """Draw `stores` stores: each city gets one by right (largest first), the rest go by population."""
    rng = Random(f"{seed}:city")
    chosen = list(CITIES[:stores])
    chosen += rng.choices(CITIES, [city.population for city in CITIES], k=stores - len(chosen))
    per_city = {city.name: sum(other is city for other in chosen) for city in chosen}
    total = sum(city.population for city in {city.name: city for city in chosen}.values())
    market = MARKETS[REGION_ID]
    sites: list[StoreSite] = []
    names: set[str] = set()
    for city in chosen:
        base = name = f"{rng.choice(_NAMES)} {rng.choice(_KINDS)}, {city.name}"
        number = 2
        while name in names:
            name, number = f"{base} {number}", number + 1
        names.add(name)
        point = _around(rng, Point(city.lat, city.lng), city.radius_m * math.sqrt(rng.random()) * 0.8)
        assert serves(market, point.lat, point.lng)
        weight = city.population / total / per_city[city.name]
        sites.append(
            StoreSite(name=name, city=city.name, point=point, address=_address(rng, city.name), weight=weight)
        )
    return BuiltCity(stores=tuple(sites), market=market)


def _around(rng: Random, centre: Point, distance_m: float) -> Point:
    angle = rng.random() * 2 * math.pi
    point = offset(centre, distance_m * math.cos(angle), distance_m * math.sin(angle))
    return Point(round(point.lat, 6), round(point.lng, 6))


def _address(rng: Random, city: str) -> str:
    return f"{rng.randrange(100, 9900)} {rng.choice(_STREETS)}, {city}, TX"
