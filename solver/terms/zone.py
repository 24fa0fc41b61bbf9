"""mu: drivers end where the next orders come from."""

from __future__ import annotations

import h3
import numpy as np

from domain.arrays import F64
from domain.solve import Zones
from solver.terms.leg import Leg

FULL_MOVE_S = 600.0  # from a zone that has nobody for its orders to one that has no order for its drivers


def zone(leg: Leg) -> F64 | float:
    """Seconds that moving a driver between zones (H3 cells) is worth: half of the difference of what they lack."""
    zones = leg.scene.request.zones
    if zones is None:
        return 0.0
    scene, drivers = leg.scene, leg.scene.request.drivers
    end = leg.units.end[leg.unit]
    to = lack(zones, scene.drop_lat[end], scene.drop_lng[end])
    if leg.driver is None:
        return -FULL_MOVE_S / 2 * to
    start = lack(zones, drivers.lat[leg.driver], drivers.lng[leg.driver])
    return FULL_MOVE_S / 2 * (start - to)


def lack(zones: Zones, lat: F64, lng: F64) -> F64:
    """What each place's zone lacks, 0 where nothing is known."""
    cells = (
        h3.latlng_to_cell(a, b, zones.resolution)
        for a, b in zip(np.ravel(lat).tolist(), np.ravel(lng).tolist(), strict=True)
    )
    return np.array([zones.lack.get(cell, 0.0) for cell in cells]).reshape(np.shape(lat))
