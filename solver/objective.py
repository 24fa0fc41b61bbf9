"""What a pair costs, in equivalent seconds, over its probability of being accepted (row B4)."""

from __future__ import annotations

import numpy as np

from domain.geo import distance_m
from domain.solve import F64, I64, SolveRequest


def pair_costs(request: SolveRequest, task: I64, driver: I64, away_m: F64) -> tuple[F64, dict[str, F64]]:
    """Cost in seconds of each candidate pair, and its features as columns.

        cost = (travel * T + lateness * L + eta * E + declined) / p_accept

    T: driving time to the pick-up. E: time from now to the door, waiting for the goods included. L: how far that is
    past the promised time. `away_m`: metres from driver to pick-up. All arrays have one entry per pair.
    """
    weights, tasks = request.weights, request.tasks
    metres_per_s = weights.speed_mps / weights.detour
    travel_s = away_m / metres_per_s
    trip_m = distance_m(tasks.pickup_lat, tasks.pickup_lng, tasks.dropoff_lat, tasks.dropoff_lng)[task]
    ready_in_s = np.maximum(0.0, (tasks.ready_ms[task] - request.now_ms) / 1000)
    wait_s = np.maximum(0.0, ready_in_s - travel_s)
    eta_s = np.maximum(travel_s, ready_in_s) + weights.pickup_service_s + trip_m / metres_per_s
    late_s = np.maximum(0.0, eta_s - (tasks.due_ms[task] - request.now_ms) / 1000)
    p_accept = acceptance(request.drivers.accept_rate[driver], away_m, trip_m)
    declined_s = _declined(request, task, driver)
    cost_s = (
        weights.travel * travel_s + weights.lateness * late_s + weights.eta * eta_s + declined_s
    ) / p_accept
    features = {
        "pickup_km": away_m / 1000,
        "trip_km": trip_m / 1000,
        "travel_s": travel_s,
        "wait_s": wait_s,
        "eta_s": eta_s,
        "late_s": late_s,
        "p_accept": p_accept,
        "declined_s": declined_s,
    }
    return cost_s, features


def urgency_s(request: SolveRequest, task: I64, features: dict[str, F64]) -> F64:
    """What leaving each of the n tasks costs in equivalent seconds, beside what its best driver would cost now.

        urgency = lateness * min over its drivers of (L / p_accept) + waiting * (seconds since it was opened)

    Without it an overdue task, dear with every driver, would lose to each newer one and never be brought.
    """
    weights, tasks = request.weights, request.tasks
    late_s = np.full(len(tasks.ids), np.inf)
    np.minimum.at(late_s, task, features["late_s"] / features["p_accept"])
    late_s[np.isinf(late_s)] = 0.0  # nobody comes into question
    waited_s = np.maximum(0.0, (request.now_ms - tasks.opened_ms) / 1000)
    return np.asarray(weights.lateness * late_s + weights.waiting * waited_s)


def acceptance(accept_rate: F64, away_m: F64, trip_m: F64) -> F64:
    """Probability in [0.05, 0.99] that the driver takes the offer.

    A heuristic until the offer log is long enough to fit one: the driver's own smoothed rate, as log-odds, lowered by a
    long way to the store (0.15 per km beyond 2 km) and slightly raised by a longer, better paid trip (0.02 per km).
    """
    rate = np.clip(accept_rate, 0.05, 0.99)
    log_odds = np.log(rate / (1 - rate)) - 0.15 * np.maximum(0.0, away_m / 1000 - 2) + 0.02 * trip_m / 1000
    return np.asarray(np.clip(1 / (1 + np.exp(-log_odds)), 0.05, 0.99))


def _declined(request: SolveRequest, task: I64, driver: I64) -> F64:
    """Seconds added to pairs that were declined before; infinity bars a pair."""
    penalty = np.zeros(len(task))
    if len(request.declined_task):
        width = len(request.drivers.ids)
        keys = request.declined_task * width + request.declined_driver
        order = np.argsort(keys)
        at = np.searchsorted(keys[order], pair_keys := task * width + driver)
        at = np.minimum(at, len(keys) - 1)
        hit = keys[order][at] == pair_keys
        penalty[hit] = request.declined_penalty_s[order][at][hit]
    return penalty
