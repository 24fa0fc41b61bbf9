"""BATCH: parts of a market, and routes that keep every hard rule, driven through by a test of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.ground.arrays import F64, I64
from domain.solve import Services
from solver.batch.parts import (
    BatchDrivers,
    BatchOptions,
    BatchPlan,
    BatchTasks,
    merged,
    plan_part,
    plan_routes,
    split,
)
from tests.support.examples import examples

NOW_MS = 1_750_000_000_000
MINUTE_MS = 60_000
NEVER_MS = 2**53
SPEED_MPS = 10.0
CENTRE = np.array([32.8, -96.8])
METRES_PER_DEGREE = 111_000.0
QUICK = BatchOptions(part_s=60.0, part_moves=15)


def travel_s(from_lat: F64, from_lng: F64, to_lat: F64, to_lng: F64) -> F64:
    """A flat map, and slower towards the east than back."""
    north = (np.asarray(to_lat) - from_lat) * METRES_PER_DEGREE
    east = (np.asarray(to_lng) - from_lng) * METRES_PER_DEGREE
    metres: F64 = np.hypot(north, np.where(east > 0, 1.3 * east, east))
    return metres / SPEED_MPS


def ms(*minutes: float) -> I64:
    return np.array([NOW_MS + round(m * MINUTE_MS) for m in minutes], np.int64)


def tasks(rng: np.random.Generator, count: int, *, spread: float = 0.05, tight: float = 1.0) -> BatchTasks:
    """Stores of a few tasks each, doors within some kilometres."""
    stores = CENTRE + rng.uniform(-spread, spread, (max(1, count // 3), 2))
    store = stores[rng.integers(0, len(stores), count)]
    door = store + rng.normal(0, 0.02, (count, 2))
    ready = NOW_MS + rng.integers(-20, 30, count) * MINUTE_MS
    return BatchTasks(
        pickup_lat=store[:, 0],
        pickup_lng=store[:, 1],
        door_lat=door[:, 0],
        door_lng=door[:, 1],
        ready_ms=ready,
        door_by_ms=NOW_MS + (rng.integers(10, 90, count) / tight * MINUTE_MS).astype(np.int64),
        store_closes_ms=NOW_MS + rng.integers(20, 240, count) * MINUTE_MS,
        amount=rng.integers(1, 3, count),
    )


def drivers(rng: np.random.Generator, count: int, *, spread: float = 0.05) -> BatchDrivers:
    at = CENTRE + rng.uniform(-spread, spread, (count, 2))
    return BatchDrivers(
        lat=at[:, 0],
        lng=at[:, 1],
        free_ms=NOW_MS + rng.integers(-10, 20, count) * MINUTE_MS,
        shift_end_ms=NOW_MS + rng.integers(-5, 180, count) * MINUTE_MS,
        capacity=rng.integers(1, 5, count),
    )


def broken(plan: BatchPlan, t: BatchTasks, d: BatchDrivers, services: Services) -> list[str]:
    """Drive every route; what goes wrong. Written apart from the code under test; 2 ms of rounding are let pass."""
    found = []
    seen = [stop.task for route in plan.routes for stop in route.stops if stop.is_pickup]
    if sorted([*seen, *plan.left]) != list(range(len(t.ready_ms))):
        found.append("a task is brought twice, or is neither brought nor left")
    if len({route.driver for route in plan.routes}) < len(plan.routes):
        found.append("a driver has two routes")
    for route in plan.routes:
        v = route.driver
        lat, lng, now, load = d.lat[v], d.lng[v], float(max(d.free_ms[v], NOW_MS)), 0
        aboard: set[int] = set()
        for stop in route.stops:
            i = stop.task
            if stop.is_pickup:
                to_lat, to_lng = t.pickup_lat[i], t.pickup_lng[i]
                before, after = services.pickup_before_s, services.pickup_after_s
            else:
                to_lat, to_lng = t.door_lat[i], t.door_lng[i]
                before, after = services.door_before_s, services.door_after_s
            now += 1000 * (float(travel_s(lat, lng, to_lat, to_lng)) + before)
            if stop.is_pickup:
                now = max(now, float(t.ready_ms[i]))
                aboard.add(i)
                load += int(t.amount[i])
            else:
                load -= int(t.amount[i])
                aboard.discard(i) if i in aboard else found.append(f"task {i} is not on board")
                if now > t.door_by_ms[i] + 2:
                    found.append(f"task {i} is late")
                back_s = float(travel_s(to_lat, to_lng, t.pickup_lat[i], t.pickup_lng[i])) + after
                if now + 1000 * back_s > t.store_closes_ms[i] + 2:
                    found.append(f"task {i} cannot be returned before the store closes")
            if abs(now - stop.done_ms) > 2:
                found.append(f"task {i} is told for {stop.done_ms}, not {now}")
            if load > d.capacity[v]:
                found.append(f"driver {v} carries {load}")
            now += 1000 * after
            lat, lng = to_lat, to_lng
        if aboard:
            found.append(f"driver {v} keeps {aboard}")
        if now > d.shift_end_ms[v] + 2:
            found.append(f"driver {v} works past the shift's end")
    return found


@examples(60)
@given(
    seed=st.integers(0, 100_000),
    n=st.integers(0, 25),
    k=st.integers(0, 10),
    tight=st.sampled_from([0.5, 1.0, 2.0]),
    part_tasks=st.sampled_from([1, 4, 100]),
    driver_cost_s=st.sampled_from([0.0, 600.0]),
)
def test_no_plan_breaks_a_hard_rule(
    seed: int, n: int, k: int, tight: float, part_tasks: int, driver_cost_s: float
) -> None:
    rng = np.random.default_rng(seed)
    some, them = tasks(rng, n, tight=tight), drivers(rng, k)
    options = replace(QUICK, part_tasks=part_tasks, driver_cost_s=driver_cost_s)
    plan = plan_routes(some, them, travel_s, now_ms=NOW_MS, options=options, seed=seed)
    assert broken(plan, some, them, options.services) == []


def one_task(**change: I64) -> BatchTasks:
    """Store 1,000 s south of the door (1.11 km is 111 s; 0.09 degrees are about 1,000 s)."""
    return replace(
        BatchTasks(
            pickup_lat=np.array([32.80]),
            pickup_lng=np.array([-96.8]),
            door_lat=np.array([32.89]),
            door_lng=np.array([-96.8]),
            ready_ms=ms(0),
            door_by_ms=ms(60),
            store_closes_ms=ms(120),
            amount=np.array([1]),
        ),
        **change,
    )


def one_driver(**change: I64) -> BatchDrivers:
    """At the store."""
    return replace(
        BatchDrivers(
            lat=np.array([32.80]),
            lng=np.array([-96.8]),
            free_ms=ms(0),
            shift_end_ms=ms(120),
            capacity=np.array([1]),
        ),
        **change,
    )


DOOR_MIN = 2 + 999 / 60 + 2  # goods in hand, the drive, the door


def test_the_times_of_a_route() -> None:
    plan = plan_routes(one_task(ready_ms=ms(5)), one_driver(), travel_s, now_ms=NOW_MS, options=QUICK)
    (route,) = plan.routes
    assert [stop.is_pickup for stop in route.stops] == [True, False]
    assert route.stops[0].done_ms == NOW_MS + 5 * MINUTE_MS
    assert route.stops[1].done_ms == pytest.approx(NOW_MS + (5 + 999 / 60 + 2) * MINUTE_MS, abs=2)
    assert plan.travel_s == pytest.approx(999)


@pytest.mark.parametrize(
    ("task", "driver"),
    [
        ("door_by_ms", None),
        (None, "shift_end_ms"),
        ("store_closes_ms", None),
    ],
)
def test_a_task_is_left_from_the_minute_on_at_which_a_rule_would_be_broken(
    task: str | None, driver: str | None
) -> None:
    """In time at the door, shift, and the way back to the store before it closes."""
    limit_min = DOOR_MIN + (999 / 60 if task == "store_closes_ms" else 0)
    for spare_min, brought in ((0.05, True), (-0.05, False)):
        at = ms(limit_min + spare_min)
        some = one_task(**({task: at} if task else {}))
        them = one_driver(**({driver: at} if driver else {}))
        plan = plan_routes(some, them, travel_s, now_ms=NOW_MS, options=QUICK)
        assert plan.left == (() if brought else (0,)), (task, driver, spare_min)


def test_what_is_too_large_is_left() -> None:
    plan = plan_routes(one_task(amount=np.array([2])), one_driver(), travel_s, now_ms=NOW_MS, options=QUICK)
    assert plan.left == (0,)
    assert plan.routes == ()


def test_a_driver_who_is_free_later_comes_later() -> None:
    plan = plan_routes(one_task(), one_driver(free_ms=ms(30)), travel_s, now_ms=NOW_MS, options=QUICK)
    assert plan.routes[0].stops[0].done_ms == NOW_MS + 32 * MINUTE_MS


def test_a_store_that_never_closes_is_no_trouble() -> None:
    some = one_task(store_closes_ms=np.array([NEVER_MS]), door_by_ms=np.array([NEVER_MS]))
    assert plan_routes(some, one_driver(), travel_s, now_ms=NOW_MS, options=QUICK).left == ()


def test_orders_of_one_store_to_doors_side_by_side_go_together() -> None:
    both = BatchTasks(
        **{name: np.repeat(getattr(one_task(), name), 2) for name in BatchTasks.__struct_fields__}
    )
    pair = one_driver(capacity=np.array([2]))
    plan = plan_routes(both, pair, travel_s, now_ms=NOW_MS, options=QUICK)
    assert [stop.is_pickup for stop in plan.routes[0].stops] == [True, True, False, False]
    assert plan.travel_s == pytest.approx(999)


@pytest.mark.parametrize("count", [1, 99, 100, 101, 1000])
def test_parts_are_small_and_hold_every_task_once(count: int) -> None:
    rng = np.random.default_rng(count)
    some, them = tasks(rng, count, spread=0.3), drivers(rng, max(4, count // 4), spread=0.3)
    parts = split(some, them, travel_s, QUICK)
    assert sorted(i for part in parts for i in part.tasks) == list(range(count))
    assert all(0 < len(part.tasks) <= 100 for part in parts)
    used = [v for part in parts for v in part.drivers]
    assert len(used) == len(set(used))
    assert all(0 < len(part.drivers) <= 1.5 * len(part.tasks) + 1 for part in parts)


def test_a_store_is_not_torn_apart_unless_it_alone_is_too_large() -> None:
    rng = np.random.default_rng(3)
    some = tasks(rng, 300, spread=0.3)
    them = drivers(rng, 60, spread=0.3)
    store = [(a, b) for a, b in zip(some.pickup_lat.tolist(), some.pickup_lng.tolist(), strict=True)]
    for part in split(some, them, travel_s, QUICK):
        inside = {store[i] for i in part.tasks}
        outside = {store[i] for i in range(300) if i not in part.tasks}
        assert not inside & outside
    lone = replace(some, pickup_lat=np.full(300, 32.8), pickup_lng=np.full(300, -96.8))
    sizes = [len(part.tasks) for part in split(lone, them, travel_s, QUICK)]
    assert sum(sizes) == 300
    assert max(sizes) <= 100


def test_drivers_go_to_the_part_they_are_near() -> None:
    """Two towns 60 km apart, one with three times the tasks."""
    rng = np.random.default_rng(5)
    some = tasks(rng, 160, spread=0.01)
    south = np.arange(160) < 40
    some = replace(some, pickup_lat=some.pickup_lat - 0.6 * south, door_lat=some.door_lat - 0.6 * south)
    them = drivers(rng, 16, spread=0.01)
    them = replace(them, lat=them.lat - 0.6 * (np.arange(16) < 4))
    for part in split(some, them, travel_s, QUICK):
        near = some.pickup_lat[list(part.tasks)].mean()
        assert (np.abs(them.lat[list(part.drivers)] - near) < 0.1).all()


def test_parts_solved_apart_make_the_same_plan() -> None:
    rng = np.random.default_rng(6)
    some, them = tasks(rng, 24), drivers(rng, 9)
    options = replace(QUICK, part_tasks=6)
    parts = split(some, them, travel_s, options)
    assert len(parts) > 2
    plans = [plan_part(some, them, part, travel_s, now_ms=NOW_MS, options=options, seed=1) for part in parts]
    assert merged(24, plans[::-1]).routes == merged(24, plans).routes
    assert merged(24, plans) == plan_routes(some, them, travel_s, now_ms=NOW_MS, options=options, seed=1)


def test_nobody_and_nothing() -> None:
    rng = np.random.default_rng(0)
    assert plan_routes(tasks(rng, 3), drivers(rng, 0), travel_s, now_ms=NOW_MS, options=QUICK).left == (
        0,
        1,
        2,
    )
    assert plan_routes(tasks(rng, 0), drivers(rng, 3), travel_s, now_ms=NOW_MS, options=QUICK).routes == ()
