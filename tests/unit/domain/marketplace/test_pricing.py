"""What an order comes to: fee by distance, tax by the door's rate on the day, and how it is rounded."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ground.markets import MARKETS
from domain.ground.times import millis, rfc_3339
from domain.marketplace.pricing import (
    AREAS,
    FEES,
    RATE_PARTS,
    Line,
    Price,
    Rate,
    TaxArea,
    TaxClass,
    half_up,
    price,
    rate_parts,
)

STORE = (32.78, -96.80)  # Dallas
NEAR = (32.79, -96.80)  # 1.1 km
AT_MS = millis(rfc_3339("2026-03-02T18:00:00Z"))


def priced(*lines: Line, door: tuple[float, float] = NEAR, **more: int) -> Price:
    return price(lines, market_id="tx-dfw", store=STORE, door=door, at_ms=more.pop("at_ms", AT_MS), **more)


@pytest.mark.parametrize(
    ("lat", "fee_cents"),
    [(32.79, 399), (32.80, 399), (32.81, 499), (32.84, 699), (32.90, 999), (33.20, 1499)],
)
def test_the_fee_goes_by_the_distance(lat: float, fee_cents: int) -> None:
    assert priced(Line(1000, 1), door=(lat, -96.80)).fee_cents == fee_cents


def test_the_whole_is_the_sum_of_its_parts() -> None:
    one = priced(Line(1299, 2), Line(450, 1), tip_cents=300)
    assert (one.goods_cents, one.fee_cents, one.tip_cents) == (3048, 399, 300)
    assert one.line_taxes_cents == (214, 37)  # 214.3 and 37.1
    assert one.tax_cents == 214 + 37 + 33  # 32.9 on the fee
    assert one.total_cents == 3048 + 399 + 284 + 300
    assert (one.area, one.rate_parts) == ("Dallas", 8250)


def test_the_doors_rate_counts_and_not_the_stores() -> None:
    assert priced(Line(1000, 1), door=(33.2, -96.97)).rate_parts == 8125


def test_what_is_exempt_takes_its_part_of_the_fee_along() -> None:
    food = Line(1000, 1, TaxClass.FOOD)
    assert priced(food).tax_cents == 0
    mixed = priced(food, Line(1000, 1))
    assert mixed.line_taxes_cents == (0, 83)  # 82.5: half a cent goes up
    assert mixed.tax_cents - 83 == 16  # half of the fee's 32.9
    assert priced(Line(0, 1)).tax_cents == 0  # nothing was sold: no fee of taxable goods


def test_a_rate_counts_from_its_day_on_the_markets_calendar() -> None:
    area = TaxArea(
        name="x", lat=0, lng=0, radius_m=1, rates=(Rate(date(2020, 1, 1), 1), Rate(date(2026, 7, 1), 2))
    )
    assert [rate_parts(area, day) for day in (date(2019, 1, 1), date(2026, 6, 30), date(2026, 7, 1))] == [
        *(1, 1, 2)
    ]
    with pytest.raises(ValueError, match="earliest first"):
        TaxArea(name="x", lat=0, lng=0, radius_m=1, rates=(Rate(date(2026, 1, 1), 1),) * 2)


def test_every_market_has_fees_and_a_rate_for_each_of_its_doors() -> None:
    assert set(FEES) == set(AREAS) == set(MARKETS)
    for market in MARKETS.values():
        assert AREAS[market.id][-1].radius_m >= market.radius_m
        bands = [band.up_to_m for band in FEES[market.id]]
        assert bands == sorted(bands)
        assert bands[-1] == float("inf")


@given(st.integers(0, 10**10), st.integers(1, 10**10))
def test_half_goes_up(number: int, by: int) -> None:
    assert half_up(number, by) == (Fraction(number, by) + Fraction(1, 2)).__floor__()


@given(
    st.lists(
        st.builds(Line, st.integers(0, 10**6), st.integers(1, 100), st.sampled_from(TaxClass)), min_size=1
    )
)
def test_tax_is_never_off_by_more_than_half_a_cent_a_line(lines: list[Line]) -> None:
    one = priced(*lines)
    taxed = sum(line.price_cents * line.quantity for line in lines if line.tax_class is TaxClass.STANDARD)
    fee = Fraction(one.fee_cents * taxed, one.goods_cents) if one.goods_cents else Fraction(0)
    exact = (taxed + fee) * Fraction(one.rate_parts, RATE_PARTS)
    assert abs(one.tax_cents - exact) <= Fraction(len(lines) + 1, 2)
    # A line that is taken off leaves the tax of the others as it was.
    assert priced(*lines[1:]).line_taxes_cents == one.line_taxes_cents[1:]
