"""What if a day had been dispatched otherwise: the day twice on the virtual market, as it was set and as it is tried,
and what that does to lateness, driving, pay and fairness.

Both runs are the model's, so that what the model gets wrong about the day is in both and mostly cancels out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import nan, sqrt
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from domain.ground.arrays import F64
from domain.ground.geo import distance_m
from domain.ground.travel import Haversine, TravelModel
from domain.orders.lifecycle import OfferStatus
from sim.concurrency import Progress
from sim.days.day import Brought, Day, Outcome
from sim.days.overrides import Scene, person, turned
from sim.days.simulate import run_day

Figures = dict[str, float]

HOUR_MS = 3_600_000
PINGS_PER_STALE = 3  # a courier pings so often in the time after which silence counts


class Metric(NamedTuple):
    """A line of the table. `good`: 1 more is better, -1 less is better, 0 neither."""

    name: str
    label: str
    digits: int
    good: int


METRICS = (
    Metric("delivered_count", "orders delivered", 0, 1),
    Metric("undelivered_pct", "undelivered, %", 2, -1),
    Metric("ctd_mean_min", "click to door, mean min", 2, -1),
    Metric("ctd_p90_min", "click to door, p90 min", 2, -1),
    Metric("late_mean_min", "past the promise, mean min", 2, -1),
    Metric("late_pct", "past the promise, %", 2, -1),
    Metric("rtp_mean_min", "ready to pick-up, mean min", 2, -1),
    Metric("empty_km", "km without goods, an order", 2, -1),
    Metric("loaded_km", "km with goods, an order", 2, -1),
    Metric("drive_min", "driving, min an order", 2, -1),
    Metric("cost_usd", "pay, $ an order", 2, -1),
    Metric("offers", "offers made, an order", 2, 0),
    Metric("declined", "offers declined, an order", 2, -1),
    Metric("expired", "offers expired, an order", 2, -1),
    Metric("bundle", "orders an offer taken", 2, 0),
    Metric("gini", "orders an hour, Gini", 3, -1),
    Metric("per_hour_sd", "orders an hour, deviation", 3, -1),
    Metric("topped_up_pct", "hours paid by the guarantee, %", 2, -1),
)


class Pay(Struct, frozen=True, kw_only=True):
    """What a courier gets: per order, at least so much per hour on duty. The defaults are those of the Grubhub days."""

    per_order_usd: float = 10.0
    per_hour_usd: float = 15.0


class History(Struct, frozen=True, kw_only=True):
    """What really came of the day's orders until the log's end: when they were handed over or refused, by order."""

    door_ms: dict[str, int]
    offers: int
    ends_ms: int


class Comparison(Struct, frozen=True, kw_only=True):
    """Means over the runs. `error`: standard error of each difference, where there are several runs. `fit`: the
    history beside the same figures of the baseline; None without a history."""

    name: str
    orders: int
    couriers: int
    given: dict[str, Any]
    settings: dict[str, Any]
    seeds: tuple[int, ...]
    baseline: Figures
    changed: Figures
    difference: Figures
    error: Figures | None
    fit: dict[str, tuple[float, float]] | None


def what_if(
    scene: Scene,
    settings: dict[str, Any],
    *,
    given: dict[str, Any] | None = None,
    pay: Pay | None = None,
    seeds: Sequence[int] = (1,),
    history: History | None = None,
    progress: Progress = lambda line: None,
) -> Comparison:
    """The scene with and without the settings (see `overrides.parse`), once for each seed. `given` holds in both.
    `ValueError`: settings that do not go together."""
    until_ms = history.ends_ms if history else None
    before, after = [], []
    outcome = None
    for seed in seeds:
        base = turned(scene, given or {}, seed)
        made = turned(base, settings, seed)
        progress(f"{scene.day.name}, seed {seed}: as it was set")
        outcome = play(base, seed, progress)
        before.append(measure(base.day, outcome, pay or Pay(), until_ms))
        if history and seed == seeds[0]:
            fit = _fit(base.day, outcome, history)
        progress(f"{scene.day.name}, seed {seed}: changed")
        after.append(measure(made.day, play(made, seed, progress), pay or Pay(), until_ms))
    differences = [{name: b[name] - a[name] for name in a} for a, b in zip(before, after, strict=True)]
    return Comparison(
        name=scene.day.name,
        orders=len(scene.day.orders),
        couriers=len({person(one.id) for one in scene.day.couriers}),
        given=given or {},
        settings=settings,
        seeds=tuple(seeds),
        baseline=_means(before),
        changed=_means(after),
        difference=_means(differences),
        error=_errors(differences) if len(seeds) > 1 else None,
        fit=fit if history else None,
    )


def play(scene: Scene, seed: int, progress: Progress = lambda line: None) -> Outcome:
    """Let the scene's day happen once."""
    ping_s = scene.ping_s and min(scene.ping_s, scene.policy.driver_stale_s / PINGS_PER_STALE)
    return run_day(scene.day, scene.policy, seed=seed, look_s=scene.look_s, ping_s=ping_s, progress=progress)


# -- measuring --------------------------------------------------------------------------------------------------------


def measure(day: Day, outcome: Outcome, pay: Pay, until_ms: int | None = None) -> Figures:
    """The figures of `METRICS`. Hours on duty count until `until_ms`. An order that comes after the day's `give_up_s`
    is not delivered, but paid for. Not a number: a mean of nothing."""
    limit_ms = np.inf if day.give_up_s is None else day.give_up_s * 1000
    orders = [
        (one, outcome.brought[one.id])
        for one in day.orders
        if one.id in outcome.brought and outcome.brought[one.id].dropoff_ms - one.placed_ms <= limit_ms
    ]
    count = len(orders)
    ctd = _minutes([done.dropoff_ms - one.placed_ms for one, done in orders])
    late = _minutes([max(0, done.dropoff_ms - one.due_ms) for one, done in orders])
    rtp = _minutes([done.pickup_ms - one.ready_ms for one, done in orders])
    trips = _trips(outcome)
    empty_m, loaded_m = _metres(day, trips)
    by_status = outcome.offers_by_status()
    return {
        "delivered_count": float(count),
        "undelivered_pct": 100 * _per(len(day.orders) - count, len(day.orders)),
        "ctd_mean_min": _mean(ctd),
        "ctd_p90_min": float(np.percentile(ctd, 90)) if count else nan,
        "late_mean_min": _mean(late),
        "late_pct": 100 * _mean(late > 0),
        "rtp_mean_min": _mean(rtp),
        "empty_km": _per(empty_m / 1000, count),
        "loaded_km": _per(loaded_m / 1000, count),
        "drive_min": _per(sum(outcome.drive_s.values()) / 60, count),
        "offers": _per(len(outcome.offers), count),
        "declined": _per(by_status.get(OfferStatus.REJECTED, 0), count),
        "expired": _per(by_status.get(OfferStatus.EXPIRED, 0), count),
        "bundle": _per(len(outcome.brought), sum(map(len, trips.values()))),
    } | _of_couriers(day, outcome, pay, count, until_ms)


def _of_couriers(day: Day, outcome: Outcome, pay: Pay, count: int, until_ms: int | None) -> Figures:
    """Pay and fairness, by person."""
    hours: dict[str, float] = defaultdict(float)
    for one in day.couriers:
        off_ms = one.off_ms if until_ms is None else min(one.off_ms, until_ms)
        hours[person(one.id)] += max(0, off_ms - one.on_ms) / HOUR_MS
    brought = dict.fromkeys(hours, 0)
    for done in outcome.brought.values():
        brought[person(done.courier_id)] += 1
    earned = {who: pay.per_order_usd * n for who, n in brought.items()}
    floor = {who: pay.per_hour_usd * hours[who] for who in hours}
    topped_up_h = sum(hours[who] for who in hours if earned[who] < floor[who])
    rates = np.array([brought[who] / hours[who] for who in hours if hours[who] > 0])
    return {
        "cost_usd": _per(sum(max(earned[who], floor[who]) for who in hours), count),
        "gini": gini(rates),
        "per_hour_sd": float(np.std(rates)) if len(rates) else nan,
        "topped_up_pct": 100 * _per(topped_up_h, sum(hours.values())),
    }


def gini(values: F64) -> float:
    """Gini coefficient of values >= 0: 0 all alike, near 1 one has all. sum_i (2 i - n - 1) x_i / (n sum x), sorted
    and counted from 1; 0 where there is nothing to share."""
    n, total = len(values), float(np.sum(values))
    if total == 0:
        return 0.0
    return float(np.sum((2 * np.arange(1, n + 1) - n - 1) * np.sort(values)) / (n * total))


def _trips(outcome: Outcome) -> dict[str, list[list[Brought]]]:
    """Each courier's trips in order, and a trip's orders by door."""
    made: dict[str, dict[str, list[Brought]]] = defaultdict(lambda: defaultdict(list))
    for one in sorted(outcome.brought.values(), key=lambda one: (one.pickup_ms, one.dropoff_ms)):
        made[one.courier_id][one.offer_id].append(one)
    return {courier_id: list(trips.values()) for courier_id, trips in made.items()}


def _metres(day: Day, trips: dict[str, list[list[Brought]]]) -> tuple[float, float]:
    """Metres driven to the (first) store, and from there on. Couriers wait where their last drop-off was."""
    orders = {one.id: one for one in day.orders}
    legs: list[tuple[float, float, float, float, bool]] = []
    for courier in day.couriers:
        at = courier.lat, courier.lng
        for trip in trips.get(courier.id, ()):
            stores = dict.fromkeys(
                (orders[one.order_id].pickup_lat, orders[one.order_id].pickup_lng) for one in trip
            )
            doors = [(orders[one.order_id].dropoff_lat, orders[one.order_id].dropoff_lng) for one in trip]
            for n, to in enumerate((*stores, *doors)):
                legs.append((*at, *to, n > 0))
                at = to
    columns = np.array(legs, np.float64).reshape(-1, 5)
    metres, loaded = road_m(day.travel, columns), columns[:, 4] > 0
    return float(metres[~loaded].sum()), float(metres[loaded].sum())


def road_m(travel: TravelModel, legs: F64) -> F64:
    """Metres of each leg (rows of from and to: latitude, longitude) by a travel model; shape (n,)."""
    lat1, lng1, lat2, lng2 = legs[:, :4].T
    if isinstance(travel, Haversine):
        return distance_m(lat1, lng1, lat2, lng2) * travel.detour
    metres: F64 = np.hypot(lat2 - lat1, lng2 - lng1) * 1e5  # see `domain.ground.travel.Planar`
    return metres


def _fit(day: Day, outcome: Outcome, history: History) -> dict[str, tuple[float, float]]:
    """The log's figures and the model's, over the orders that both have brought by the log's end."""
    placed = {one.id: one.placed_ms for one in day.orders}
    model = {
        name: one.dropoff_ms for name, one in outcome.brought.items() if one.dropoff_ms <= history.ends_ms
    }
    both = sorted(model.keys() & history.door_ms.keys())
    return {
        "brought to the door by the log's end": (float(len(history.door_ms)), float(len(model))),
        "click to door of the same orders, mean min": (
            _mean(_minutes([history.door_ms[name] - placed[name] for name in both])),
            _mean(_minutes([model[name] - placed[name] for name in both])),
        ),
        "offers made": (
            float(history.offers),
            float(sum(offer.made_ms <= history.ends_ms for offer in outcome.offers)),
        ),
    }


def _minutes(ms: Sequence[int]) -> F64:
    return np.array(ms, np.float64) / 60_000


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else nan


def _per(value: float, count: float) -> float:
    return value / count if count else nan


def _means(runs: Sequence[Figures]) -> Figures:
    return {name: _mean([one[name] for one in runs]) for name in runs[0]}


def _errors(runs: Sequence[Figures]) -> Figures:
    return {name: float(np.std([one[name] for one in runs], ddof=1)) / sqrt(len(runs)) for name in runs[0]}
