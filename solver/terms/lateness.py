"""beta: L, what the customer was promised."""

from __future__ import annotations

import numpy as np

from domain.ground.arrays import F64
from solver.terms.leg import Leg


def lateness(leg: Leg) -> F64 | float:
    """Seconds at the door past the promised time, of all members together."""
    units, unit = leg.units, leg.unit
    return sum(
        (
            units.weight[unit, k] * np.maximum(leg.pickup + units.to_door[unit, k] - units.due[unit, k], 0.0)
            for k in range(units.weight.shape[1])
        ),
        start=0.0,
    )
