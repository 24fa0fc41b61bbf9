"""What giving a unit to a driver costs, in seconds of one order's delay (row B4):

    cost = sum over the terms of weight * term / p_accept

Every term measures what dispatch can decide, beyond what nobody could avoid, so that dividing by the probability of
acceptance makes no order dear in itself.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from domain.ground.arrays import F64
from domain.solve import Weights
from solver.terms import TERMS, Leg

# Log-odds of an acceptance: less for a long way to the store, a little more for a longer, better paid trip.
_FAR_FROM_S, _FAR_PER_S, _TRIP_PER_S = 270.0, 0.0011, 0.00015


def cost_s(leg: Leg) -> F64:
    """The cost of each leg, in the shape that its arrays broadcast to. Where the driver is not known, the probability
    of acceptance is that of the drivers' mean rate."""
    total = np.zeros(np.broadcast_shapes(np.shape(leg.pickup), np.shape(leg.travel)))
    for name, weight in active(leg.scene.request.weights):
        total += weight * TERMS[name](leg)
    total /= acceptance(leg) if leg.driver is not None else leg.scene.usual_acceptance
    if leg.units.real < leg.units.count:
        total *= leg.units.share[leg.unit]
    return total


def active(weights: Weights) -> list[tuple[str, float]]:
    """The terms that count, with their weights."""
    return [(name, weight) for name in TERMS if (weight := weights.of(name))]


def terms_s(leg: Leg) -> dict[str, F64]:
    """Each term before its weight, in the shape that the leg's arrays broadcast to."""
    shape = np.broadcast_shapes(np.shape(leg.pickup), np.shape(leg.travel))
    return {name: np.broadcast_to(np.asarray(term(leg)), shape) for name, term in TERMS.items()}


def acceptance(leg: Leg) -> F64:
    """Probability in [0.05, 0.99] that the driver takes the offer.

    A heuristic until the offer log is long enough to fit one: the driver's own smoothed rate, as log-odds, lowered by a
    long way to the store (0.07 per minute beyond 4.5) and slightly raised by a longer trip (0.01 per minute).
    """
    rate = np.clip(leg.scene.request.drivers.accept_rate[leg.driver], 0.05, 0.99)
    trip = leg.units.to_door[leg.unit, 0]
    log_odds = np.log(rate / (1 - rate)) + _TRIP_PER_S * trip
    log_odds = log_odds - _FAR_PER_S * np.maximum(0.0, leg.travel - _FAR_FROM_S)
    return np.asarray(np.clip(expit(log_odds), 0.05, 0.99))
