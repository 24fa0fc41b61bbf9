"""lambda: who has had less work goes first."""

from __future__ import annotations

from domain.ground.arrays import F64
from solver.terms.leg import Leg


def fairness(leg: Leg) -> F64 | float:
    """Orders that the driver is ahead of what the guaranteed pay covers; negative for who is behind. The weight makes
    seconds of them. Work that goes to who is paid for the hour anyway costs the company nothing more."""
    if leg.driver is None:
        return 0.0
    ahead: F64 = leg.scene.request.drivers.ahead[leg.driver]
    return ahead
