"""The built-in city and the people in it."""

from __future__ import annotations

from collections import Counter
from random import Random

from domain.ground.markets import MARKETS, serves
from sim.bot.motion import Car, Point, metres, offset
from sim.bot.personas import CustomerShares, Door, DriverShares, door_outcome, driver_persona
from sim.demo.city import CITIES, REGION_ID, build_city


def test_the_seed_makes_the_city() -> None:
    assert build_city(3) == build_city(3)
    assert build_city(3) != build_city(4)


def test_everything_lies_in_the_market() -> None:
    city, market, rng = build_city(1), MARKETS[REGION_ID], Random(1)
    assert all(serves(market, site.point.lat, site.point.lng) for site in city.stores)
    for _ in range(300):
        store = city.pick_store(rng)
        door, address = city.door_near(rng, store)
        assert serves(market, door.lat, door.lng)
        assert metres(door, city.stores[store].point) <= city.trade_radius_m + 1
        assert address.endswith(", TX")


def test_each_city_has_a_store_and_demand_goes_by_population() -> None:
    city = build_city(1)
    assert {site.city for site in city.stores} == {city.name for city in CITIES}
    assert len({site.name for site in city.stores}) == len(city.stores)
    share: dict[str, float] = {}
    for site in city.stores:
        share[site.city] = share.get(site.city, 0) + site.weight
    assert abs(sum(share.values()) - 1) < 1e-9
    assert sorted(share, key=lambda name: -share[name])[:2] == ["Dallas", "Fort Worth"]


def test_what_waits_at_a_door_hangs_on_the_order_alone() -> None:
    shares = CustomerShares(
        under_age=0.1, nobody_home=0.2, no_id=0, intoxicated=0, wrong_name=0, expired_id=0
    )
    doors = Counter(door_outcome(1, f"order-{n}", shares) for n in range(2000))
    assert doors == Counter(door_outcome(1, f"order-{n}", shares) for n in range(2000))
    assert set(doors) == {Door.PASS, Door.UNDER_AGE, Door.NOBODY_HOME}
    assert 140 < doors[Door.UNDER_AGE] < 260
    assert 320 < doors[Door.NOBODY_HOME] < 480


def test_drivers_are_drawn_from_the_shares() -> None:
    rng, shares = Random(1), DriverShares(sleepy_drivers=0.5, picky_drivers=0.5)
    personas = [driver_persona(rng, shares) for _ in range(400)]
    sleepy = sum(persona.lapse == shares.sleepy_lapse for persona in personas)
    picky = sum(persona.reject == shares.picky_reject for persona in personas)
    assert sleepy + picky == 400
    assert 150 < sleepy < 250


def test_a_car_turns_round_in_the_middle_of_the_way() -> None:
    start = Point(32.8, -96.8)
    east = offset(start, 1000, 0)
    car = Car(start, speed_mps=10, detour=1.0)
    assert not car.toward(0, east)
    half = car.where(50)
    assert abs(metres(start, half) - 500) < 1
    assert not car.toward(50, start)
    assert not car.toward(99, start)
    assert car.toward(100.1, start)
    assert metres(car.where(101), start) < 1
