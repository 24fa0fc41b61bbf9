"""gamma: the ETA, as far as dispatch decides it."""

from __future__ import annotations

import numpy as np

from domain.ground.arrays import F64
from solver.terms.leg import Leg


def delay(leg: Leg) -> F64 | float:
    """Delay d of each member at its door behind 'picked up when ready and driven straight', which nobody can beat.

        d + delay_squared_per_min * d^2 / 60, in seconds, of all members together

    The square shares delay out: ten minutes for one customer are worse than five for each of two.
    """
    units, unit = leg.units, leg.unit
    square = leg.scene.request.weights.delay_squared_per_min / 60.0
    total: F64 | float = 0.0
    for k in range(units.weight.shape[1]):
        late = np.maximum(leg.pickup + (units.to_door[unit, k] - units.ideal[unit, k]), 0.0)
        total = total + units.weight[unit, k] * late * (1.0 + square * late)
    return total
