"""Where a store delivers to."""

from __future__ import annotations

import h3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ground.zones import Zone

SQUARE = ((32.6, -97.0), (33.0, -97.0), (33.0, -96.6), (32.6, -96.6))
# A horseshoe that is open to the north: its middle is not inside.
SHOE = (
    (32.0, -97.0), (33.0, -97.0), (33.0, -96.9), (32.2, -96.9),
    (32.2, -96.1), (33.0, -96.1), (33.0, -96.0), (32.0, -96.0),
)  # fmt: skip


@given(st.floats(32.0, 33.5), st.floats(-97.5, -96.0))
def test_a_square_has_what_is_between_its_sides(lat: float, lng: float) -> None:
    on_edge = lat in (32.6, 33.0) or lng in (-97.0, -96.6)
    assert on_edge or Zone(outline=SQUARE).has(lat, lng) is (32.6 < lat < 33.0 and -97.0 < lng < -96.6)


def test_an_outline_may_be_hollow() -> None:
    zone = Zone(outline=SHOE)
    assert [zone.has(32.8, lng) for lng in (-97.1, -96.95, -96.5, -96.05, -95.9)] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert Zone(outline=SHOE[::-1]).has(32.1, -96.5), "whichever way round"


def test_cells_of_any_sizes() -> None:
    here, there = (32.78, -96.80), (32.90, -96.60)
    zone = Zone(cells=(h3.latlng_to_cell(*here, 9), h3.latlng_to_cell(*there, 6)))
    assert zone.has(*here)
    assert zone.has(there[0] + 0.001, there[1])
    assert not zone.has(here[0] + 0.01, here[1])


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"outline": SQUARE, "cells": (h3.latlng_to_cell(32.78, -96.8, 9),)},
        {"outline": SQUARE[:2]},
        {"outline": ((91.0, 0.0), *SQUARE)},
        {"cells": ("8928308280fffff0",)},
        {"cells": (h3.latlng_to_cell(32.78, -96.8, 11),)},
        {"cells": (h3.latlng_to_cell(32.78, -96.8, 3),)},
    ],
)
def test_what_is_no_zone(what: dict[str, tuple[object, ...]]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Zone(**what)  # type: ignore[arg-type]
