"""The independent checker of `doorstep bench mdrp`: `python -m bench.dispatch.mdrp_check INSTANCES SOLUTIONS`.

It reads the raw instance files and `solution.csv` alone and shares no code with the simulator. The strict rules, all
times in whole minutes: a drive takes the least whole k with (k * meters_per_minute)^2 >= dx^2 + dy^2; a courier begins
at its own point at on_time and waits where its last drop was;

    assigned >= placement                          arrive >= max(assigned, free, on_time) + drive
    pickup >= max(every ready, arrive + 2)         pickup <= off_time, leaves at pickup + 2
    drop >= arrival at the door + 2                leaves at drop + 2

and a bundle (one `assignment`) is one courier's, from one restaurant. A drop later than the maximum click-to-door after
placement counts as undelivered.
"""

from __future__ import annotations

import csv
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

COLUMNS = (
    "order", "courier", "assignment", "assigned_min", "arrive_restaurant_min", "pickup_min", "dropoff_min",
)  # fmt: skip
METRICS = (
    "undelivered_pct", "ctd_mean_min", "ctd_p90_min", "overage_mean_min", "late_pct", "rtp_mean_min", "rtp_p90_min",
    "cost_per_order_usd", "orders_per_bundle",
)  # fmt: skip
BEFORE_MIN = AFTER_MIN = 2  # halves of a stop's service

Metrics = dict[str, float]


class Place(NamedTuple):
    """Whole metres on the plane."""

    x: int
    y: int


class Order(NamedTuple):
    door: Place
    placed: int
    restaurant: str
    ready: int


class Courier(NamedTuple):
    start: Place
    on: int
    off: int


class Instance(NamedTuple):
    """The raw files of one instance; pay in dollars."""

    mpm: int
    target: int
    limit: int
    pay_per_order: float
    pay_per_hour: float
    restaurants: dict[str, Place]
    couriers: dict[str, Courier]
    orders: dict[str, Order]


class Drop(NamedTuple):
    """A line of a solution."""

    order: str
    courier: str
    assignment: str
    assigned: int
    arrive: int
    pickup: int
    drop: int


class Verdict(NamedTuple):
    """`metrics` by name; of an instance without a drop in time those over delivered orders are not a number."""

    violations: list[str]
    metrics: Metrics


def check(instance: Path, solution: Path) -> Verdict:
    """Judge one solution. What cannot be read of it is a violation; a bad instance is a `ValueError`."""
    world = read_instance(instance)
    violations: list[str] = []
    drops = list(_read_solution(solution, violations))
    known, seen = [], set[str]()
    for one in drops:
        if one.order not in world.orders or one.courier not in world.couriers:
            violations.append(f"{one.order} by {one.courier}: there is no such order or courier")
        elif one.order in seen:
            violations.append(f"{one.order} is brought twice")
        else:
            known.append(one)
        seen.add(one.order)
    trips = _trips(known)
    for trip in trips:
        violations += _of_a_bundle(world, trip)
    for courier_id, own in _by_courier(trips).items():
        violations += _of_a_shift(world, world.couriers[courier_id], own)
    return Verdict(violations, _metrics(world, known, len(trips)))


# -- rules ------------------------------------------------------------------------------------------------------------


def _of_a_bundle(world: Instance, trip: list[Drop]) -> Iterator[str]:
    name = f"assignment {trip[0].assignment}"
    for what, values in (
        ("couriers", {one.courier for one in trip}),
        ("restaurants", {world.orders[one.order].restaurant for one in trip}),
        ("times of assignment", {one.assigned for one in trip}),
        ("arrivals at the restaurant", {one.arrive for one in trip}),
        ("times of pick-up", {one.pickup for one in trip}),
    ):
        if len(values) > 1:
            yield f"{name} has {len(values)} {what}"


def _of_a_shift(world: Instance, courier: Courier, trips: list[list[Drop]]) -> Iterator[str]:
    at, free = courier.start, courier.on  # nobody sets off before the shift
    for trip in sorted(trips, key=lambda trip: trip[0].pickup):
        first = trip[0]
        who = f"{first.order} by {first.courier}"
        orders = [world.orders[one.order] for one in trip]
        restaurant = world.restaurants[orders[0].restaurant]
        if first.assigned < max(order.placed for order in orders):
            yield f"{who}: assigned at {first.assigned}, before it was placed"
        earliest = max(first.assigned, free) + drive_min(at, restaurant, world.mpm)
        if first.arrive < earliest:
            yield f"{who}: at the restaurant at {first.arrive}, not possible before {earliest}"
        earliest = max(first.arrive + BEFORE_MIN, *(order.ready for order in orders))
        if first.pickup < earliest:
            yield f"{who}: picked up at {first.pickup}, not possible before {earliest}"
        if first.pickup > courier.off:
            yield f"{who}: picked up at {first.pickup}, after the shift's end at {courier.off}"
        at, free = restaurant, first.pickup + AFTER_MIN
        for one, order in zip(trip, orders, strict=True):
            earliest = free + drive_min(at, order.door, world.mpm) + BEFORE_MIN
            if one.drop < earliest:
                yield f"{one.order} by {one.courier}: dropped at {one.drop}, not possible before {earliest}"
            at, free = order.door, one.drop + AFTER_MIN


def drive_min(a: Place, b: Place, mpm: int) -> int:
    """ceil(distance / mpm) in whole numbers: no rounding."""
    squared = (a.x - b.x) ** 2 + (a.y - b.y) ** 2
    k = math.isqrt(squared) // mpm
    while (k * mpm) ** 2 < squared:
        k += 1
    return k


def _trips(drops: list[Drop]) -> list[list[Drop]]:
    """Drops of one assignment, in the order of their doors."""
    trips = defaultdict(list)
    for one in drops:
        trips[one.assignment].append(one)
    return [sorted(trip, key=lambda one: one.drop) for trip in trips.values()]


def _by_courier(trips: list[list[Drop]]) -> dict[str, list[list[Drop]]]:
    """A trip of several couriers, a violation already, is each one's with the drops that are its own."""
    own = defaultdict(list)
    for trip in trips:
        for courier in dict.fromkeys(one.courier for one in trip):
            own[courier].append([one for one in trip if one.courier == courier])
    return own


# -- metrics ----------------------------------------------------------------------------------------------------------


def _metrics(world: Instance, drops: list[Drop], trips: int) -> Metrics:
    ctd, rtp, brought = [], [], dict.fromkeys(world.couriers, 0)
    for one in drops:
        order = world.orders[one.order]
        brought[one.courier] += 1
        if one.drop - order.placed <= world.limit:
            ctd.append(one.drop - order.placed)
            rtp.append(one.pickup - order.ready)
    pay = sum(
        max(world.pay_per_order * brought[name], world.pay_per_hour * (one.off - one.on) / 60)
        for name, one in world.couriers.items()
    )
    count = len(ctd)
    return {
        "undelivered_pct": 100 * (1 - count / len(world.orders)),
        "ctd_mean_min": _mean(ctd),
        "ctd_p90_min": percentile(ctd, 90),
        "overage_mean_min": _mean([max(0, value - world.target) for value in ctd]),
        "late_pct": 100 * _mean([value > world.target for value in ctd]),
        "rtp_mean_min": _mean(rtp),
        "rtp_p90_min": percentile(rtp, 90),
        "cost_per_order_usd": pay / count if count else math.nan,
        "orders_per_bundle": len(drops) / trips if trips else math.nan,
    }


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else math.nan


def percentile(values: list[int], percent: float) -> float:
    """By linear interpolation between the closest ranks; of nothing, not a number."""
    if not values:
        return math.nan
    values = sorted(values)
    rank = (len(values) - 1) * percent / 100
    low = math.floor(rank)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (rank - low)


def mean_metrics(all_metrics: list[Metrics]) -> Metrics:
    """The mean over instances of each metric; instances in which it is not a number do not count."""
    means = {}
    for name in METRICS:
        values = [metrics[name] for metrics in all_metrics if not math.isnan(metrics[name])]
        means[name] = sum(values) / len(values) if values else math.nan
    return means


# -- files ------------------------------------------------------------------------------------------------------------


def read_instance(folder: Path) -> Instance:
    """The raw files; `ValueError` for what the rules above do not cover."""
    [parameters] = _rows(folder / "instance_parameters.txt")
    services = (int(parameters["pickup service minutes"]), int(parameters["dropoff service minutes"]))
    if services != (2 * BEFORE_MIN, 2 * BEFORE_MIN):
        raise ValueError(f"{folder}: the rules are for service times of 4 and 4 minutes, and not {services}")
    return Instance(
        mpm=int(parameters["meters_per_minute"]),
        target=int(parameters["target click-to-door"]),
        limit=int(parameters["maximum click-to-door"]),
        pay_per_order=float(parameters["pay per order"]),
        pay_per_hour=float(parameters["guaranteed pay per hour"]),
        restaurants={row["restaurant"]: _place(row) for row in _rows(folder / "restaurants.txt")},
        couriers={
            row["courier"]: Courier(_place(row), int(row["on_time"]), int(row["off_time"]))
            for row in _rows(folder / "couriers.txt")
        },
        orders={
            row["order"]: Order(
                _place(row), int(row["placement_time"]), row["restaurant"], int(row["ready_time"])
            )
            for row in _rows(folder / "orders.txt")
        },
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _place(row: dict[str, str]) -> Place:
    return Place(int(row["x"]), int(row["y"]))


def _read_solution(path: Path, violations: list[str]) -> Iterator[Drop]:
    try:
        with path.open(newline="") as file:
            rows = csv.DictReader(file)
            if (found := tuple(rows.fieldnames or ())) != COLUMNS:
                violations.append(
                    f"{path.name} has the columns {','.join(found)}, and not {','.join(COLUMNS)}"
                )
                return
            for number, row in enumerate(rows, 2):
                try:
                    minutes = [int(row[name]) for name in COLUMNS[3:]]
                except (ValueError, TypeError):
                    violations.append(f"{path.name}, line {number}: not whole minutes")
                    continue
                yield Drop(row["order"], row["courier"], row["assignment"], *minutes)
    except OSError as error:
        violations.append(f"{path.name} cannot be read: {error.strerror}")


def main(arguments: list[str]) -> int:
    """Print violations and mean metrics; exit code 1 on any violation, 2 when there is nothing to check."""
    if len(arguments) != 2:
        print("usage: python -m bench.dispatch.mdrp_check INSTANCES SOLUTIONS", file=sys.stderr)
        return 2
    instances, solutions = Path(arguments[0]), Path(arguments[1])
    names = sorted(path.parent.name for path in solutions.glob("*/solution.csv"))
    names = [name for name in names if (instances / name).is_dir()]
    if not names:
        print(f"no solution in {solutions} has an instance in {instances}", file=sys.stderr)
        return 2
    verdicts = {name: check(instances / name, solutions / name / "solution.csv") for name in names}
    for name, verdict in verdicts.items():
        for violation in verdict.violations:
            print(f"{name}: {violation}")
    count = sum(len(verdict.violations) for verdict in verdicts.values())
    print(f"{len(names)} instances, {count} violations")
    for metric, value in mean_metrics([verdict.metrics for verdict in verdicts.values()]).items():
        print(f"  {metric:<20} {value:8.4f}")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
