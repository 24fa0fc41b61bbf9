"""rho: what a refusal at the door would cost (row N9)."""

from __future__ import annotations

from domain.ground.arrays import F64
from solver.terms.leg import Leg


def risk(leg: Leg) -> F64:
    """Probability that the goods go back x seconds of the way back to the store, of all members together."""
    back: F64 = leg.units.back[leg.unit]
    return back
