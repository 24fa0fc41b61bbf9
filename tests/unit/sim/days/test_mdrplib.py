"""Reading instances of the Meal Delivery Routing Problem: the numbers, and what is said of a broken file."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.solve import Services
from sim.days.day import recorded
from sim.days.mdrplib import instances, read_mdrplib
from sim.demo.replay import read_day

MIN = 60_000
DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "mdrplib" / "instances"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tiny"
    made.mkdir()
    (made / "restaurants.txt").write_text("restaurant\tx\ty\nr1\t100\t200\n")
    (made / "couriers.txt").write_text("courier\tx\ty\ton_time\toff_time\nc1\t0\t50\t5\t90\n")
    (made / "orders.txt").write_text(
        "order\tx\ty\tplacement_time\trestaurant\tready_time\no2\t0\t0\t70\tr1\t85\no1\t300\t1000\t10\tr1\t20\n"
    )
    (made / "instance_parameters.txt").write_text(
        "meters_per_minute\tpickup service minutes\tdropoff service minutes\ttarget click-to-door"
        "\tmaximum click-to-door\n300\t4\t2\t40\t90\n"
    )
    return made


def test_an_instance_is_a_day(folder: Path) -> None:
    day = read_mdrplib(folder)
    assert day.name == "tiny"
    assert [order.id for order in day.orders] == ["o1", "o2"], "by placement"
    first, courier = day.orders[0], day.couriers[0]
    assert (first.pickup_lat, first.pickup_lng) == pytest.approx((0.002, 0.001))
    assert (first.dropoff_lat, first.dropoff_lng) == pytest.approx((0.01, 0.003))
    assert (first.placed_ms, first.ready_ms, first.due_ms) == (10 * MIN, 20 * MIN, 50 * MIN)
    assert (courier.on_ms, courier.off_ms, courier.accept_rate) == (5 * MIN, 90 * MIN, None)
    assert day.give_up_s == 90 * 60
    assert day.services == Services(
        pickup_before_s=120, pickup_after_s=120, door_before_s=60, door_after_s=60
    )
    assert float(day.travel.seconds(0.0, 0.0, 0.0, 0.003, 0)) == 60
    assert float(day.travel.seconds(0.0, 0.0, 0.0, 0.00301, 0)) == 120


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("orders.txt", "o1\t300", "o1\tfar", "orders.txt, line 3: invalid literal"),
        ("orders.txt", "10\tr1", "10\tr7", "orders.txt, line 3: there is no restaurant r7"),
        ("orders.txt", "\tready_time", "\tready", "orders.txt has no column 'ready_time'"),
        ("orders.txt", "o2", "o1", "orders.txt names one of its orders twice"),
        ("orders.txt", "\t20\n", "\n", "orders.txt, line 3"),
        ("couriers.txt", "5\t90", "5\t4", "couriers.txt, line 2: the shift ends before it begins"),
        ("couriers.txt", "c1\t0\t50\t5\t90\n", "", "couriers.txt holds no rows"),
        ("instance_parameters.txt", "300\t", "0\t", "meters_per_minute is 0"),
        ("instance_parameters.txt", "\t4\t2", "\t3\t2", "no whole minute"),
    ],
)
def test_a_broken_file_is_named(folder: Path, file: str, old: str, new: str, says: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    with pytest.raises(ValueError) as error:
        read_mdrplib(folder)
    assert says in str(error.value)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "couriers.txt").unlink()
    with pytest.raises(ValueError, match=r"couriers\.txt is missing"):
        read_mdrplib(folder)


def test_instances_are_found_by_name(folder: Path) -> None:
    (folder.parent / "notes").mkdir()
    assert instances(folder.parent) == [folder]
    assert instances(folder.parent, "t*") == [folder]
    with pytest.raises(ValueError, match=r"no instance x\* in"):
        instances(folder.parent, "x*")


def test_a_replay_is_a_day_too(folder: Path) -> None:
    """The same folder by the reader of replays: on the sphere, with the same minutes."""
    plane, sphere = read_mdrplib(folder), recorded(read_day(folder), promise_s=2400.0, speed_mps=5.0)
    assert [order.id for order in sphere.orders] == [order.id for order in plane.orders]
    assert [order.due_ms for order in sphere.orders] == [order.due_ms for order in plane.orders]
    assert sphere.services == plane.services
    one = sphere.orders[0]
    drive_s = sphere.travel.seconds(one.pickup_lat, one.pickup_lng, one.dropoff_lat, one.dropoff_lng, 0)
    assert float(drive_s) == pytest.approx((200**2 + 800**2) ** 0.5 / 5, rel=0.01)


@pytest.mark.skipif(not DATA.is_dir(), reason="the public instances do not lie beside the project")
def test_the_real_ones_can_be_read() -> None:
    found = instances(DATA)
    assert len(found) == 144
    day = read_mdrplib(found[0])
    assert (len(day.orders), len(day.couriers)) == (505, 113)
