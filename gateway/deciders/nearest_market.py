"""Which of this server's markets a place belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from domain.ground.geo import distance_m
from domain.ground.markets import MARKETS


def nearest_region(regions: Sequence[str], lat: float, lng: float) -> str:
    """The region whose centre is nearest to the place; `regions` is not empty."""
    if len(regions) == 1:
        return regions[0]
    return min(regions, key=lambda region_id: _distance_m(region_id, lat, lng))


def _distance_m(region_id: str, lat: float, lng: float) -> float:
    market = MARKETS[region_id]
    return float(distance_m(market.lat, market.lng, lat, lng))
