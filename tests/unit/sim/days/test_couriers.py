"""A model courier by itself: trips behind each other, stops in the order of the offer, places on the way."""

from __future__ import annotations

from datetime import UTC, datetime

from domain.ground.travel import Planar
from domain.protocol import Offer, Stop
from domain.solve import Services
from sim.days.couriers import Courier, on_the_way
from sim.days.day import Day, DayCourier

MIN = 60_000
KM = 1000 * 1e-5
DAY = Day(
    name="street",
    orders=(),
    couriers=(),
    travel=Planar(metres_per_grain=1000.0),
    services=Services(pickup_before_s=60, pickup_after_s=120, door_before_s=180, door_after_s=240),
)


def courier(at_km: float = 0.0, on: int = 0) -> Courier:
    return Courier.of(DayCourier(id="c1", lat=0.0, lng=at_km * KM, on_ms=on * MIN, off_ms=500 * MIN))


def offer(*stops: tuple[str, str, float]) -> Offer:
    """Stops as action, task and kilometres along the street."""
    return Offer(
        offer_id="offer",
        tasks=(),
        stops=tuple(Stop(action, task, 0.0, at_km * KM) for action, task, at_km in stops),
        expires_at=datetime(2026, 1, 1, tzinfo=UTC),
        ttl_s=30.0,
    )


def doors(made: Offer) -> dict[str, tuple[float, float]]:
    return {stop.task_id: (stop.lat, stop.lng) for stop in made.stops if stop.action == "dropoff"}


def trip(who: Courier, made: Offer, now: int, **ready: int) -> list[tuple[int, int, int, int]]:
    """Minutes of departure, arrival, hand-over and leaving; goods are ready at 0 unless said."""
    tasks = {stop.task_id: ready.get(stop.task_id, 0) * MIN for stop in made.stops}
    stops = who.trip(made, tasks, doors(made), now * MIN, DAY)
    who.take(stops)
    times = [(stop.depart_ms, stop.arrive_ms, stop.act_ms, stop.leave_ms) for stop in stops]
    return [(a // MIN, b // MIN, c // MIN, d // MIN) for a, b, c, d in times]


def test_a_second_trip_begins_where_and_when_the_first_one_ends() -> None:
    who = courier(at_km=-5)
    one = offer(("pickup", "a", 0), ("dropoff", "a", 3))
    assert trip(who, one, 10) == [(10, 15, 16, 18), (18, 21, 24, 28)]
    two = offer(("pickup", "b", 1), ("dropoff", "b", 2))
    assert trip(who, two, 12) == [(28, 30, 31, 33), (33, 34, 37, 41)]
    assert who.drive_s == 60 * (5 + 3 + 2 + 1)


def test_nobody_sets_off_before_the_shift() -> None:
    assert trip(courier(on=20), offer(("pickup", "a", 0), ("dropoff", "a", 3)), 10)[0] == (20, 20, 21, 23)


def test_pick_ups_at_one_place_are_one_stop_and_doors_are_not() -> None:
    bundle = offer(("pickup", "a", 0), ("pickup", "b", 0), ("dropoff", "b", 3), ("dropoff", "a", 3))
    who = courier()
    stops = who.trip(bundle, {"a": 20 * MIN, "b": 10 * MIN}, doors(bundle), 10 * MIN, DAY)
    assert [stop.tasks for stop in stops] == [("a", "b"), ("b",), ("a",)]
    assert [stop.pickup for stop in stops] == [True, False, False]
    assert trip(who, bundle, 10, a=20, b=10) == [(10, 10, 20, 22), (22, 25, 28, 32), (32, 32, 35, 39)]


def test_a_courier_is_where_the_last_stop_was_or_on_the_way() -> None:
    who = courier(at_km=-4)
    trip(who, offer(("pickup", "a", 0), ("dropoff", "a", 3)), 10)
    assert who.place(10 * MIN) == (0.0, -4 * KM)
    assert who.place(12 * MIN) == (0.0, -2 * KM)
    assert who.reach().pickup
    assert who.place(16 * MIN) == (0.0, 0.0), "at the store until 17"
    who.reach()
    assert who.place(21 * MIN) == (0.0, 3 * KM)


def test_places_under_way_lie_on_the_line() -> None:
    assert on_the_way((0.0, 0.0), (4.0, 8.0), 1000, 5000, 2000) == (1.0, 2.0)
    assert on_the_way((0.0, 0.0), (4.0, 8.0), 1000, 5000, 5000) == (4.0, 8.0)
    assert on_the_way((0.0, 0.0), (4.0, 8.0), 1000, 1000, 1000) == (4.0, 8.0)
    assert on_the_way((0.0, 0.0), (4.0, 8.0), 1000, 1000, 500) == (0.0, 0.0), "no drive, and not yet"
    assert on_the_way((0.0, 0.0), (4.0, 8.0), 1000, 5000, 500) == (0.0, 0.0), "not before the departure"
