"""mu: drivers end where the next orders come from."""

from __future__ import annotations

from domain.ground.arrays import F64
from solver.terms.leg import Leg

FULL_MOVE_S = 600.0  # from a zone that has nobody for its orders to one that has no order for its drivers


def zone(leg: Leg) -> F64 | float:
    """Seconds that moving a driver between zones (H3 cells) is worth: half of the difference of what they lack."""
    scene = leg.scene
    if scene.request.zones is None:
        return 0.0
    door, driver = scene.lack
    gained: F64 = -door[leg.units.end[leg.unit]]
    if leg.driver is not None:
        gained = driver[leg.driver] + gained
    return FULL_MOVE_S / 2 * gained
