"""alpha: T, the empty way."""

from __future__ import annotations

from domain.ground.arrays import F64
from solver.terms.leg import Leg


def travel(leg: Leg) -> F64:
    """Seconds of driving to the store."""
    return leg.travel
