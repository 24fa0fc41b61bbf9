"""Whatever the problem, no plan asks for what cannot be: times are worked out anew here, stop by stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.solve import NEVER_MS, Assignment, Plan, SolveRequest
from solver.fast.solver import ROLLING_CELLS
from solver.registry import SOLVERS, solve
from tests.support.examples import examples
from tests.support.problems import BARRED, problems, random_problem

TOLERANCE_MS = 2  # seconds in floats against whole milliseconds

LARGE = (400, 120), (120, 700)  # tasks, drivers: beyond what is planned in one go


def check(request: SolveRequest, plan: Plan) -> None:
    """All that holds of every plan."""
    given_away = Counter(task_id for one in plan.assignments for task_id in one.task_ids)
    asked = Counter(one.driver_id for one in plan.assignments)
    assert max([*given_away.values(), *asked.values()], default=1) == 1, "a task or a driver twice"
    tasks = {task_id: row for row, task_id in enumerate(request.tasks.ids)}
    drivers = {driver_id: row for row, driver_id in enumerate(request.drivers.ids)}
    assert given_away.keys() <= tasks.keys()
    assert asked.keys() <= drivers.keys(), "a driver who is not in the request"
    for one in plan.assignments:
        check_one(request, one, [tasks[task_id] for task_id in one.task_ids], drivers[one.driver_id])
    foreseen = plan.forecast.ids if plan.forecast else ()
    assert len(set(foreseen)) == len(foreseen)
    assert set(foreseen) <= tasks.keys()
    planned = given_away.keys() | set(foreseen)
    assert not planned & set(plan.left_out)
    assert planned | set(plan.left_out) == tasks.keys(), "every task is accounted for"


def check_one(request: SolveRequest, one: Assignment, tasks: list[int], driver: int) -> None:
    """One assignment by itself."""
    columns, drivers = request.tasks, request.drivers
    assert tasks, "an offer of nothing"
    assert drivers.idle[driver], "an offer to a driver who is busy"
    barred = {
        (task, who)
        for task, who, penalty in zip(
            request.declined_task, request.declined_driver, request.declined_penalty_s, strict=True
        )
        if penalty == BARRED
    }
    assert not barred & {(task, driver) for task in tasks}, "an offer to a driver who just declined"
    stores = {store_of(request, task) for task in tasks}
    assert len(stores) == 1 or request.solver == "batch", "a bundle of several stores"
    pickup_ms, doors = drive(request, tasks, driver)
    assert pickup_ms <= drivers.until_ms[driver] + TOLERANCE_MS, "a pick-up after the shift's end"
    for task, door_ms, back_ms in doors:
        assert door_ms <= columns.latest_ms[task] + TOLERANCE_MS, "too late at a door"
        assert back_ms <= columns.closes_ms[task] + TOLERANCE_MS, "refused goods before a closed store"
    if request.offer_by_ms < NEVER_MS and request.solver != "greedy":
        # So long before setting off, or before being free at all.
        free_ms = max(0, int(drivers.free_ms[driver]) - request.now_ms)
        assert one.leave_ms < request.offer_by_ms + free_ms, "an offer long before anybody has to set off"


def store_of(request: SolveRequest, task: int) -> tuple[float, float]:
    return float(request.tasks.pickup_lat[task]), float(request.tasks.pickup_lng[task])


def drive(
    request: SolveRequest, tasks: list[int], driver: int
) -> tuple[float, list[tuple[int, float, float]]]:
    """Store after store in the order of the tasks, then door after door. Milliseconds of the last pick-up; and of each
    task, of the hand-over and of the way straight back to its store."""
    columns, drivers, services = request.tasks, request.drivers, request.services

    def way_ms(from_lat: float, from_lng: float, to_lat: float, to_lng: float) -> float:
        return 1000 * float(request.travel.seconds(from_lat, from_lng, to_lat, to_lng, request.now_ms))

    here = float(drivers.lat[driver]), float(drivers.lng[driver])
    at_ms = pickup_ms = max(float(drivers.free_ms[driver]), request.now_ms)
    for store in dict.fromkeys(store_of(request, task) for task in tasks):
        goods = [task for task in tasks if store_of(request, task) == store]
        at_ms += way_ms(*here, *store) + 1000 * services.pickup_before_s
        pickup_ms = at_ms = max(at_ms, *(float(columns.ready_ms[task]) for task in goods))
        at_ms += 1000 * services.pickup_after_s
        here = store
    doors = []
    for task in tasks:
        door = float(columns.dropoff_lat[task]), float(columns.dropoff_lng[task])
        at_ms += way_ms(*here, *door) + 1000 * services.door_before_s
        door_ms, here = at_ms, door
        at_ms += 1000 * services.door_after_s
        doors.append((task, door_ms, at_ms + way_ms(*door, *store_of(request, task))))
    return pickup_ms, doors


@pytest.mark.parametrize("name", SOLVERS)
@given(request=problems())
@examples(150)
def test_a_small_plan_asks_for_nothing_that_cannot_be(name: str, request: SolveRequest) -> None:
    request = replace(request, solver=name)
    check(request, solve(request))


@pytest.mark.parametrize("name", SOLVERS)
@given(seed=st.integers(0, 10**6), tasks=st.integers(20, 60), drivers=st.integers(5, 40))
@examples(15)
def test_a_busy_hour(name: str, seed: int, tasks: int, drivers: int) -> None:
    """More orders than drivers, so that many are chained, bundled, late or left out."""
    request = replace(random_problem(seed, tasks, drivers, stores=6, expected=10), solver=name)
    assert tasks * (tasks + drivers) <= ROLLING_CELLS
    check(request, solve(request))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("seed", range(2))
def test_a_large_plan_asks_for_nothing_that_cannot_be(name: str, size: tuple[int, int], seed: int) -> None:
    tasks, drivers = size
    assert tasks * (tasks + drivers) > ROLLING_CELLS
    request = replace(random_problem(seed, tasks, drivers, stores=40, expected=20), solver=name)
    plan = solve(request)
    check(request, plan)
    assert plan.assignments


def bundles() -> Iterator[tuple[SolveRequest, Assignment]]:
    """Of busy hours."""
    for seed in range(40):
        request = random_problem(seed, 16, 4, stores=2)
        yield from ((request, one) for one in solve(request).assignments if len(one.task_ids) > 1)


def test_the_problems_do_have_bundles_in_them() -> None:
    assert sum(1 for _ in bundles()) >= 10
