"""The markets. A market is a line here and, where its state is new, a rulebook in `domain/compliance/`."""

from __future__ import annotations

from msgspec import Struct

from domain.ground.geo import between_m


class Market(Struct, frozen=True, kw_only=True):
    """A metro area: centre in WGS84 degrees, service radius in metres, jurisdiction of its rules."""

    id: str
    name: str
    lat: float
    lng: float
    radius_m: float
    zoom: float
    jurisdiction: str
    timezone: str


MARKETS: dict[str, Market] = {
    market.id: market
    for market in (
        Market(
            id="tx-dfw",
            name="Dallas–Fort Worth",
            lat=32.85,
            lng=-96.97,
            radius_m=90_000,
            zoom=9.1,
            jurisdiction="TX",
            timezone="America/Chicago",
        ),
        Market(
            id="tx-hou",
            name="Houston",
            lat=29.76,
            lng=-95.37,
            radius_m=90_000,
            zoom=9.1,
            jurisdiction="TX",
            timezone="America/Chicago",
        ),
        Market(
            id="tx-aus",
            name="Austin",
            lat=30.27,
            lng=-97.74,
            radius_m=70_000,
            zoom=9.4,
            jurisdiction="TX",
            timezone="America/Chicago",
        ),
    )
}


def serves(market: Market, lat: float, lng: float) -> bool:
    """Whether the place is inside the market's radius."""
    return between_m(market.lat, market.lng, lat, lng) <= market.radius_m
