"""Recorded days: small ones made here, and the real ones where they lie beside the project."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from domain.ground.markets import MARKETS, serves
from sim.bot.motion import Point, metres
from sim.bot.personas import CustomerShares, DriverShares
from sim.demo.api import Account
from sim.demo.city import REGION_ID
from sim.demo.customers import Shop
from sim.demo.replay import DALLAS, Day, read_day, thin, window
from sim.demo.scripts import ReplayScript

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
NEAR_M = 1.0


@pytest.fixture
def mdrplib(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "restaurants.txt").write_text("restaurant\tx\ty\nr1\t0\t0\nr2\t4000\t2000\n")
    (folder / "couriers.txt").write_text(
        "courier\tx\ty\ton_time\toff_time\nc2\t100\t0\t60\t200\nc1\t0\t50\t0\t90\n"
    )
    (folder / "orders.txt").write_text(
        "order\tx\ty\tplacement_time\trestaurant\tready_time\no2\t3000\t0\t70\tr2\t85\no1\t0\t1000\t10\tr1\t20\n"
    )
    (folder / "instance_parameters.txt").write_text(
        "meters_per_minute\tpickup service minutes\tdropoff service minutes\ttarget click-to-door\n300\t4\t2\t40\n"
    )
    return folder


@pytest.fixture
def rappi(tmp_path: Path) -> Path:
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "orders.csv").write_text(
        "order_id,pick_up_lat,pick_up_lng,drop_off_lat,drop_off_lng,placement_time,preparation_time,ready_time,"
        "expected_drop_off_time\n"
        "1,4.80,-75.70,4.81,-75.70,00:10:30,00:11:00,00:20:00,00:50:00\n"
        "2,4.80,-75.70,4.79,-75.70,01:00:00,01:01:00,01:10:00,01:40:00\n"
    )
    (folder / "couriers.csv").write_text(
        "courier_id,vehicle,on_lat,on_lng,on_time,off_time\n5,bicycle,4.80,-75.69,00:00:00,02:00:00\n"
    )
    return folder


def test_mdrplib_is_moved_to_dallas_without_stretching(mdrplib: Path) -> None:
    day = read_day(mdrplib)
    r1, r2 = (shop.point for shop in day.shops)
    assert metres(r1, r2) == pytest.approx((4000**2 + 2000**2) ** 0.5, rel=1e-3)
    assert metres(Point((r1.lat + r2.lat) / 2, (r1.lng + r2.lng) / 2), DALLAS) < NEAR_M
    assert [(order.id, order.placed_min, order.ready_min) for order in day.orders] == [
        ("o1", 10, 20),
        ("o2", 70, 85),
    ]
    assert [courier.id for courier in day.couriers] == ["c1", "c2"]
    assert day.couriers[0].speed_mps == 5.0
    assert (day.pickup_service_s, day.dropoff_service_s, day.detour) == (240, 120, 1.0)


def test_rappi_falls_with_its_centroid_on_dallas(rappi: Path) -> None:
    day = read_day(rappi)
    north, south = (order.door for order in day.orders)
    assert metres(Point((north.lat + south.lat) / 2, (north.lng + south.lng) / 2), DALLAS) < NEAR_M
    assert metres(north, south) == pytest.approx(metres(Point(4.81, -75.7), Point(4.79, -75.7)), rel=1e-6)
    (shop,), (courier,) = day.shops, day.couriers
    assert metres(courier.start, shop.point) == pytest.approx(
        metres(Point(4.8, -75.69), Point(4.8, -75.7)), rel=1e-3
    )
    assert [order.placed_min for order in day.orders] == [10.5, 60]
    assert courier.speed_mps == 4.2


def test_a_window_keeps_what_matters_to_it(mdrplib: Path) -> None:
    day = window(read_day(mdrplib), 70, 100)
    assert [order.id for order in day.orders] == ["o2"]
    assert [shop.id for shop in day.shops] == ["r2"]
    assert [courier.id for courier in day.couriers] == ["c1", "c2"]  # c1 is on duty until 90
    assert [courier.id for courier in window(read_day(mdrplib), 95, None).couriers] == ["c2"]


def test_couriers_are_thinned_evenly(rappi: Path) -> None:
    rows = "".join(f"{n},car,4.8,-75.7,{n:02d}:00:00,23:00:00\n" for n in range(20))
    (rappi / "couriers.csv").write_text("courier_id,vehicle,on_lat,on_lng,on_time,off_time\n" + rows)
    assert [courier.id for courier in thin(read_day(rappi), 5).couriers] == ["c0", "c4", "c8", "c12", "c16"]


def test_what_cannot_be_read_is_named(tmp_path: Path, mdrplib: Path) -> None:
    with pytest.raises(ValueError, match=r"neither orders\.txt"):
        read_day(tmp_path)
    (mdrplib / "couriers.txt").unlink()
    with pytest.raises(ValueError, match=r"couriers\.txt is missing"):
        read_day(mdrplib)


def test_a_day_larger_than_the_market_is_refused(mdrplib: Path) -> None:
    (mdrplib / "restaurants.txt").write_text("restaurant\tx\ty\nr1\t0\t0\nr2\t400000\t2000\n")
    with pytest.raises(ValueError, match="outside tx-dfw"):
        read_day(mdrplib)


def test_the_script_starts_its_clock_at_the_first_minute(mdrplib: Path) -> None:
    script = ReplayScript(mdrplib, 5, None, 200, 1, CustomerShares(), DriverShares())
    parts = {part.key: part for part in script.parts(1000.0)}
    assert (parts["tiny-c2"].on_s, parts["tiny-c2"].off_s) == (1000 + 55 * 60, 1000 + 195 * 60)
    assert parts["tiny-c1"].on_s < 1000
    merchant = Account(email="", password="", role="merchant", name="")
    shops = [
        Shop(
            store_id=site.name,
            name=site.name,
            merchant=merchant,
            point=site.point,
            product_ids=("a", "b", "c"),
        )
        for site in script.sites()
    ]
    plans = list(script.plans(1000.0, shops, [merchant]))
    assert [(plan.at_s, plan.ready_s) for plan in plans] == [(1300, 1900), (4900, 5800)]
    assert [plan.shop.store_id for plan in plans] == ["tiny r1", "tiny r2"]


def test_an_empty_window_is_said_so(mdrplib: Path) -> None:
    with pytest.raises(ValueError, match="No order"):
        ReplayScript(mdrplib, 500, 600, 200, 1, CustomerShares(), DriverShares())


@pytest.mark.skipif(not (DATA / "mdrplib").is_dir(), reason="the recorded days are not here")
def test_the_real_mdrplib_days() -> None:
    folder = DATA / "mdrplib" / "instances" / "0o50t100s1p100"
    day = read_day(folder)
    assert (len(day.orders), len(day.shops), len(day.couriers)) == (252, 93, 61)
    assert len(window(day, 480, 660).orders) == 130
    rng = Random(1)
    for other in rng.sample(sorted(path for path in folder.parent.iterdir() if path.is_dir()), 12):
        _in_market(read_day(other))


@pytest.mark.skipif(not (DATA / "rappi").is_dir(), reason="the recorded days are not here")
@pytest.mark.parametrize(
    ("name", "orders", "couriers"), [("4", 844, 415), ("10", 735, 455), ("16", 538, 430)]
)
def test_the_real_rappi_days(name: str, orders: int, couriers: int) -> None:
    day = read_day(DATA / "rappi" / name)
    assert (len(day.orders), len(day.couriers)) == (orders, couriers)
    _in_market(day)


def _in_market(day: Day) -> None:
    market = MARKETS[REGION_ID]
    assert all(serves(market, order.door.lat, order.door.lng) for order in day.orders)
