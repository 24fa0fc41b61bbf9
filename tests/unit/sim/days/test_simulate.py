"""The virtual market: couriers keep the rules to the minute, whatever the solver, and a day is the same twice.

A plane on which a kilometre takes a minute; two minutes before and after each hand-over.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from domain.ground.travel import Planar
from domain.orders.lifecycle import OfferStatus
from domain.region.policy import RegionPolicy
from domain.solve import Assignment, Plan, Services, SolveRequest
from sim.days.day import Brought, Day, DayCourier, DayOrder, Outcome, with_accept_rates
from sim.days.simulate import run_day
from solver.registry import solve

MIN = 60_000
KM = 1000 * 1e-5  # degrees on the plane
SERVICES = Services(pickup_before_s=120, pickup_after_s=120, door_before_s=120, door_after_s=120)
NEVER_S = 1e9


def policy(**changes: Any) -> RegionPolicy:
    """Looks by command alone, and offers at once: the nearest first. No BATCH: it searches until a real clock says
    stop."""
    plain = RegionPolicy(
        solver="greedy",
        batch_solver="",
        offer_ttl_s=NEVER_S,
        fast_window_s=NEVER_S,
        fast_max_wait_s=NEVER_S,
        driver_stale_s=NEVER_S,
        driver_lost_s=NEVER_S,
        services=SERVICES,
        travel=Planar(metres_per_grain=1000.0),
    )
    return replace(plain, **changes)


def order(n: int, store_km: float = 0.0, door_km: float = 3.0, placed: int = 10, ready: int = 10) -> DayOrder:
    """An order along one street; times in minutes, promised within 40."""
    return DayOrder(
        id=f"o{n}",
        store_id=f"at-{store_km}",
        pickup_lat=0.0,
        pickup_lng=store_km * KM,
        dropoff_lat=0.0,
        dropoff_lng=door_km * KM,
        placed_ms=placed * MIN,
        ready_ms=ready * MIN,
        due_ms=(placed + 40) * MIN,
    )


def courier(n: int, at_km: float = 0.0, on: int = 0, off: int = 500, rate: float | None = None) -> DayCourier:
    return DayCourier(id=f"c{n}", lat=0.0, lng=at_km * KM, on_ms=on * MIN, off_ms=off * MIN, accept_rate=rate)


def day(orders: list[DayOrder], couriers: list[DayCourier], give_up_min: float | None = None) -> Day:
    return Day(
        name="street",
        orders=tuple(orders),
        couriers=tuple(couriers),
        travel=Planar(metres_per_grain=1000.0),
        services=SERVICES,
        give_up_s=None if give_up_min is None else 60 * give_up_min,
    )


def run(made: Day, **changes: Any) -> Outcome:
    return run_day(made, policy(**changes), look_s=60.0)


def minutes(one: Brought) -> tuple[str, int, int, int, int]:
    """Courier, assigned, at the store, picked up, dropped."""
    times_ms = (one.assigned_ms, one.arrive_ms, one.pickup_ms, one.dropoff_ms)
    assert not any(ms % MIN for ms in times_ms)
    assigned, arrive, pickup, drop = (ms // MIN for ms in times_ms)
    return one.courier_id, assigned, arrive, pickup, drop


def together(request: SolveRequest) -> Plan:
    """All open tasks to the first driver who is free, in one offer, the newest task's door first."""
    idle = np.flatnonzero(request.drivers.idle)
    if not len(idle):
        return Plan(request_id=request.request_id, assignments=())
    driver_id = request.drivers.ids[idle[0]]
    all_tasks = Assignment(
        task_ids=tuple(reversed(request.tasks.ids)), driver_id=driver_id, cost=0.0, features={}
    )
    return Plan(request_id=request.request_id, assignments=(all_tasks,))


# -- times ------------------------------------------------------------------------------------------------------------


def test_a_trip_takes_its_minutes() -> None:
    """Drive 4, then 2 at the store, 2 more there, drive 3 and 2 at the door."""
    outcome = run(day([order(1, placed=10, ready=10)], [courier(1, at_km=-4)]))
    assert minutes(outcome.brought["o1"]) == ("c1", 10, 14, 16, 23)
    assert outcome.drive_s == {"c1": 420.0}


def test_goods_are_waited_for() -> None:
    outcome = run(day([order(1, placed=10, ready=30)], [courier(1, at_km=-4)]))
    assert minutes(outcome.brought["o1"]) == ("c1", 10, 14, 30, 37)


def test_part_of_a_kilometre_is_a_minute() -> None:
    outcome = run(day([order(1, door_km=2.1)], [courier(1, at_km=-0.1)]))
    assert minutes(outcome.brought["o1"]) == ("c1", 10, 11, 13, 20)


def test_the_next_trip_begins_at_the_door_and_after_the_service_there() -> None:
    orders = [order(1, placed=10), order(2, placed=11)]
    outcome = run(day(orders, [courier(1)]))
    assert minutes(outcome.brought["o1"]) == ("c1", 10, 10, 12, 19)
    _, assigned, arrive, pickup, drop = minutes(outcome.brought["o2"])
    assert assigned in (19, 20, 21)  # when it is offered is the region's business
    assert (arrive, pickup, drop) == (24, 26, 33)  # free at 21, 3 minutes back to the store


def test_a_bundle_waits_for_all_goods_and_goes_door_by_door_as_offered() -> None:
    orders = [order(1, door_km=3, placed=10, ready=15), order(2, door_km=5, placed=10, ready=20)]
    outcome = run_day(day(orders, [courier(1)]), policy(), look_s=60.0, solve=together)
    assert minutes(outcome.brought["o2"]) == ("c1", 10, 10, 20, 29)  # its door is first: 5 km
    assert minutes(outcome.brought["o1"]) == ("c1", 10, 10, 20, 35)  # leaves at 31, 2 km back
    assert outcome.brought["o1"].offer_id == outcome.brought["o2"].offer_id
    assert [offer.task_ids for offer in outcome.offers] == [("task-o2", "task-o1")]


# -- one instant ------------------------------------------------------------------------------------------------------


def test_what_happens_in_a_minute_is_seen_by_its_look() -> None:
    """The order is placed, and its courier comes on duty, in the minute of the assignment."""
    outcome = run(day([order(1, placed=10)], [courier(1, on=10)]))
    assert minutes(outcome.brought["o1"])[1] == 10


def test_who_goes_off_duty_in_that_minute_gets_nothing() -> None:
    outcome = run(day([order(1, placed=10)], [courier(1, off=10), courier(2, at_km=50)]))
    assert minutes(outcome.brought["o1"])[0] == "c2"


def test_a_slower_look_comes_at_whole_multiples() -> None:
    outcome = run_day(day([order(1, placed=11)], [courier(1, on=7)]), policy(), look_s=300.0)
    assert minutes(outcome.brought["o1"])[1] == 15


def test_the_region_knows_couriers_where_they_are() -> None:
    """The second order's store is at the door of the first: who brought that one is nearer than the other."""
    orders = [order(1, door_km=30, placed=10), order(2, store_km=30, door_km=31, placed=60, ready=60)]
    outcome = run(day(orders, [courier(1), courier(2, at_km=20)]))
    assert minutes(outcome.brought["o1"])[0] == "c1"
    assert minutes(outcome.brought["o2"]) == ("c1", 60, 60, 62, 67)


def test_a_phone_says_where_it_is_before_it_says_what_was_done() -> None:
    """A region that looks in the very step of the delivery looks at the courier at the door."""
    seen: dict[int, float] = {}

    def look(request: SolveRequest) -> Plan:
        seen[request.now_ms] = float(request.drivers.lng[0])
        return solve(request)

    hurried = policy(
        fast_window_s=0.0,
        services=Services(pickup_before_s=0, pickup_after_s=0, door_before_s=0, door_after_s=0),
    )
    made = replace(day([order(1), order(2, placed=11)], [courier(1)]), services=hurried.services)
    outcome = run_day(made, hurried, solve=look)
    assert seen[outcome.brought["o1"].dropoff_ms] == pytest.approx(3 * KM)


# -- what couriers do not do ------------------------------------------------------------------------------------------


def test_no_pick_up_after_the_shift() -> None:
    """At the store at 14, goods at 16: possible for a shift until then, declined by one that ends before."""
    on_time = run_day(day([order(1)], [courier(1, at_km=-4, off=16)]), policy(), look_s=60.0, solve=together)
    assert minutes(on_time.brought["o1"]) == ("c1", 10, 14, 16, 23)  # brought although the shift is over
    late = run_day(day([order(1)], [courier(1, at_km=-4, off=15)]), policy(), look_s=60.0, solve=together)
    assert late.brought == {}
    assert set(late.offers_by_status()) == {OfferStatus.REJECTED}
    told = run(day([order(1)], [courier(1, at_km=-4, off=15)]))
    assert told.offers == (), "the region knows when a shift ends"


def test_an_order_is_given_up_when_even_a_courier_at_the_store_is_too_late() -> None:
    """At the door within 30 minutes of 10: picked up by 33, so at the store by 31."""
    in_time = day([order(1)], [courier(1, on=31)], give_up_min=30)
    assert minutes(run(in_time).brought["o1"]) == ("c1", 31, 31, 33, 40)
    too_late = run(day([order(1)], [courier(1, on=32)], give_up_min=30))
    assert too_late.given_up == ("o1",)
    assert too_late.offers == ()


def test_an_order_under_way_is_not_given_up() -> None:
    outcome = run_day(
        day([order(1)], [courier(1, at_km=-60)], give_up_min=30), policy(), look_s=60.0, solve=together
    )
    assert outcome.given_up == ()
    assert minutes(outcome.brought["o1"]) == ("c1", 10, 70, 72, 79)


def test_couriers_answer_by_their_rates() -> None:
    orders = [order(n, placed=10 * n, ready=10 * n) for n in range(1, 41)]
    never = run(day(orders[:3], [courier(1, rate=0.0)]))
    assert never.brought == {}
    assert set(never.offers_by_status()) == {OfferStatus.REJECTED}
    half = run(day(orders, [courier(n, rate=0.5) for n in range(4)]), decline_penalty_s=0.0)
    taken = half.offers_by_status()[OfferStatus.ACCEPTED]
    assert taken == len(half.brought) == 40
    assert 0.3 < taken / len(half.offers) < 0.7


def test_rates_are_drawn_once_for_a_seed() -> None:
    plain = day([order(1)], [courier(n) for n in range(50)])
    rates = [one.accept_rate for one in with_accept_rates(plain, 1).couriers]
    assert rates == [one.accept_rate for one in with_accept_rates(plain, 1).couriers]
    assert rates != [one.accept_rate for one in with_accept_rates(plain, 2).couriers]
    assert all(rate is not None and 0.4 <= rate <= 1 for rate in rates)
    assert len(set(rates)) == 50


# -- the whole --------------------------------------------------------------------------------------------------------


def busy_day() -> Day:
    rng = np.random.default_rng(4)
    orders = [
        order(n, float(rng.integers(0, 5)), float(rng.integers(0, 9)), 10 + n // 2, 12 + n) for n in range(40)
    ]
    return day(orders, [courier(n, at_km=2 * n) for n in range(6)], give_up_min=90)


@pytest.mark.parametrize("solver", ["greedy", "fast"])
def test_a_day_is_the_same_twice(solver: str) -> None:
    made = with_accept_rates(busy_day(), 1)
    one, two, other = (run_day(made, policy(solver=solver), seed=seed, look_s=60.0) for seed in (1, 1, 2))
    assert msgspec.json.encode(one) == msgspec.json.encode(two)
    assert msgspec.json.encode(one) != msgspec.json.encode(other)


def test_every_order_ends_once() -> None:
    outcome = run(busy_day())
    assert len(outcome.brought) + len(outcome.given_up) == 40
    assert not set(outcome.brought) & set(outcome.given_up)
    assert outcome.offers_by_status() == {OfferStatus.ACCEPTED: len(outcome.brought)}
    assert outcome.solves.assignments == len(outcome.offers)
    assert outcome.solves.count > 0


def test_progress_is_told() -> None:
    lines: list[str] = []
    orders = [order(n, door_km=0.0, placed=n, ready=n) for n in range(500)]
    couriers = [courier(n, off=1000) for n in range(12)]
    run_day(day(orders, couriers), policy(), look_s=60.0, progress=lines.append)
    assert lines == ["street: 500 of 500 orders brought"]


def test_a_region_left_to_its_own_deadlines_brings_the_same_orders() -> None:
    live = RegionPolicy(services=SERVICES, travel=Planar(metres_per_grain=1000.0), fast_max_wait_s=30.0)
    outcome = run_day(busy_day(), live, ping_s=20.0)
    assert len(outcome.brought) == 40
    placed_ms = {one.id: one.placed_ms for one in busy_day().orders}
    assert all(one.assigned_ms >= placed_ms[name] for name, one in outcome.brought.items())


def test_who_is_not_heard_of_gets_no_offer() -> None:
    """In a live region a courier must ping, on duty and under way."""
    live = policy(fast_window_s=0.2, fast_max_wait_s=3.0, driver_stale_s=90.0, driver_lost_s=600.0)
    made = day([order(1, placed=10)], [courier(1, off=60)])
    assert run_day(made, live).brought == {}
    assert set(run_day(made, live, ping_s=60.0).brought) == {"o1"}


def test_a_long_drive_is_not_silence() -> None:
    """Under way for 100 minutes, with the driver lost after 10 of silence."""
    live = policy(fast_window_s=0.2, fast_max_wait_s=3.0, driver_stale_s=90.0, driver_lost_s=600.0)
    outcome = run_day(day([order(1)], [courier(1, at_km=-100)]), live, ping_s=60.0)
    one = outcome.brought["o1"]
    assert one.assigned_ms == 10 * MIN + 200  # the window
    assert one.pickup_ms - one.assigned_ms == 102 * MIN
