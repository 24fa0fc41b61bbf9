"""What an order comes to: goods, the fee for bringing them, tax, tip.

    total = goods + fee + tax + tip

The fee is the market's by the distance from store to door in a straight line, which anybody can check and no router
changes. Tax is the rate of the door's area on the day of the order, for goods and fee as their class says (Tex. Tax
Code 151.010 and 151.007(a)(2): what it costs to bring taxable goods is taxed with them; a basket that is taxed in part
has the same part of its fee taxed). Each line and the fee are rounded for themselves, half a cent up: a line that is
taken off takes its own tax along, and what parts come to is the whole.

Rates and fees are a demo set of our own making: a company that goes live keeps its own, and asks its counsel.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from itertools import pairwise
from math import inf
from zoneinfo import ZoneInfo

from msgspec import Struct

from domain.ground.geo import between_m
from domain.ground.markets import MARKETS
from domain.ground.times import instant

# Rates are whole numbers of these parts: 8.25 % is 8250.
RATE_PARTS = 100_000


class TaxClass(StrEnum):
    """How a product is taxed."""

    STANDARD = "standard"
    FOOD = "food"  # food for home: exempt in Texas, Tax Code 151.314
    EXEMPT = "exempt"


class FeeBand(Struct, frozen=True):
    """What it costs to bring an order as far as `up_to_m` metres."""

    up_to_m: float
    fee_cents: int


class Rate(Struct, frozen=True):
    """A rate in `RATE_PARTS`, on and after a day on the market's calendar."""

    since: date
    parts: int


class TaxArea(Struct, frozen=True, kw_only=True):
    """Where doors have a rate of their own: a circle of metres round a place. `rates`: the earliest first."""

    name: str
    lat: float
    lng: float
    radius_m: float
    rates: tuple[Rate, ...]

    def __post_init__(self) -> None:
        if not self.rates or any(later.since <= earlier.since for earlier, later in pairwise(self.rates)):
            raise ValueError("an area has rates, the earliest first")


class Line(Struct, frozen=True):
    """So many of a product, in cents apiece."""

    price_cents: int
    quantity: int
    tax_class: TaxClass = TaxClass.STANDARD


class Price(Struct, frozen=True, kw_only=True):
    """What an order comes to, in cents. `line_taxes_cents`: of each line, in their order; the fee's own is the rest of
    `tax_cents`. `area` and `rate_parts`: what the tax was worked out by."""

    goods_cents: int
    fee_cents: int
    tax_cents: int
    tip_cents: int
    line_taxes_cents: tuple[int, ...]
    distance_m: int
    area: str
    rate_parts: int

    @property
    def total_cents(self) -> int:
        """All of it."""
        return self.goods_cents + self.fee_cents + self.tax_cents + self.tip_cents


_START = date(2020, 1, 1)
_NEAR = (
    FeeBand(3_000, 399),
    FeeBand(6_000, 499),
    FeeBand(10_000, 699),
    FeeBand(20_000, 999),
    FeeBand(inf, 1499),
)
FEES: dict[str, tuple[FeeBand, ...]] = {"tx-dfw": _NEAR, "tx-hou": _NEAR, "tx-aus": _NEAR}

_TAXED: dict[str, frozenset[TaxClass]] = {"TX": frozenset({TaxClass.STANDARD})}
# The first area that a door lies in counts: small ones stand before large ones, and each market's own is the last.
AREAS: dict[str, tuple[TaxArea, ...]] = {
    "tx-dfw": (
        TaxArea(name="Dallas", lat=32.78, lng=-96.80, radius_m=20_000, rates=(Rate(_START, 8250),)),
        TaxArea(name="Fort Worth", lat=32.75, lng=-97.33, radius_m=18_000, rates=(Rate(_START, 8250),)),
        TaxArea(
            name="Dallas-Fort Worth", lat=32.85, lng=-96.97, radius_m=100_000, rates=(Rate(_START, 8125),)
        ),
    ),
    "tx-hou": (
        TaxArea(name="Houston", lat=29.76, lng=-95.37, radius_m=25_000, rates=(Rate(_START, 8250),)),
        TaxArea(name="Greater Houston", lat=29.76, lng=-95.37, radius_m=100_000, rates=(Rate(_START, 8000),)),
    ),
    "tx-aus": (
        TaxArea(name="Austin", lat=30.27, lng=-97.74, radius_m=20_000, rates=(Rate(_START, 8250),)),
        TaxArea(name="Greater Austin", lat=30.27, lng=-97.74, radius_m=80_000, rates=(Rate(_START, 8125),)),
    ),
}


def price(
    lines: Sequence[Line],
    *,
    market_id: str,
    store: tuple[float, float],
    door: tuple[float, float],
    at_ms: int,
    tip_cents: int = 0,
) -> Price:
    """What these goods come to, brought from `store` to `door` (latitude and longitude in degrees) of a market."""
    market = MARKETS[market_id]
    distance_m = between_m(*store, *door)
    fee_cents = next(band.fee_cents for band in FEES[market_id] if distance_m <= band.up_to_m)
    area = area_of(market_id, door)
    parts = rate_parts(area, instant(at_ms).astimezone(ZoneInfo(market.timezone)).date())
    taxed = _TAXED[market.jurisdiction]
    amounts = [line.price_cents * line.quantity for line in lines]
    of_taxed = [amount if line.tax_class in taxed else 0 for amount, line in zip(amounts, lines, strict=True)]
    line_taxes = tuple(half_up(amount * parts, RATE_PARTS) for amount in of_taxed)
    goods_cents, taxed_cents = sum(amounts), sum(of_taxed)
    fee_tax_cents = half_up(fee_cents * parts * taxed_cents, RATE_PARTS * goods_cents) if goods_cents else 0
    return Price(
        goods_cents=goods_cents,
        fee_cents=fee_cents,
        tax_cents=sum(line_taxes) + fee_tax_cents,
        tip_cents=tip_cents,
        line_taxes_cents=line_taxes,
        distance_m=round(distance_m),
        area=area.name,
        rate_parts=parts,
    )


def area_of(market_id: str, door: tuple[float, float]) -> TaxArea:
    """The area of a market whose rate a door has."""
    inside = (area for area in AREAS[market_id] if between_m(area.lat, area.lng, *door) <= area.radius_m)
    return next(inside, AREAS[market_id][-1])


def rate_parts(area: TaxArea, day: date) -> int:
    """An area's rate on this day; before its first one, that."""
    return next((rate.parts for rate in reversed(area.rates) if rate.since <= day), area.rates[0].parts)


def half_up(number: int, by: int) -> int:
    """`number / by`, neither below zero, rounded to the nearest whole; what is half way goes up."""
    return (2 * number + by) // (2 * by)
