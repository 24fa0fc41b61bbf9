"""Distances on the sphere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ground.geo import between_m, distance_m

LATS, LNGS = st.floats(-90, 90), st.floats(-180, 180)


@given(LATS, LNGS, LATS, LNGS)
def test_between_two_places_it_is_the_same(lat1: float, lng1: float, lat2: float, lng2: float) -> None:
    of_arrays = float(distance_m(lat1, lng1, lat2, lng2))
    # Near the antipodes a rounding is a metre.
    assert between_m(lat1, lng1, lat2, lng2) == pytest.approx(of_arrays, rel=1e-9, abs=1.0)


@given(LATS, LNGS, st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_within_a_market_to_the_millimetre(lat: float, lng: float, dlat: float, dlng: float) -> None:
    lat = max(-89.0, min(89.0, lat))
    of_arrays = float(distance_m(lat, lng, lat + dlat, lng + dlng))
    assert between_m(lat, lng, lat + dlat, lng + dlng) == pytest.approx(of_arrays, abs=1e-3)
