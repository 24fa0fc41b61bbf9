"""Where a store delivers to: an outline on the map, or cells of H3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import h3
from msgspec import Struct

Point: TypeAlias = tuple[float, float]  # latitude and longitude in degrees

CORNERS_LIMIT = 200  # of an outline
CELLS_LIMIT = 2_000
FINEST = 10  # resolution of H3: cells of 130 m across
COARSEST = 4  # of 45 km


class Zone(Struct, frozen=True, kw_only=True):
    """Either of them. `outline`: its corners in order, on a plane of degrees, which is good for a metro area; `cells`:
    of any resolutions, as H3 writes them. `ValueError` for what is no zone."""

    outline: tuple[Point, ...] = ()
    cells: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.outline) is bool(self.cells):
            raise ValueError("has an outline or cells, and not both")
        if self.outline and not 3 <= len(self.outline) <= CORNERS_LIMIT:
            raise ValueError(f"an outline has from 3 to {CORNERS_LIMIT} corners")
        if not all(-90 <= lat <= 90 and -180 <= lng <= 180 for lat, lng in self.outline):
            raise ValueError("a corner is a latitude and a longitude")
        if len(self.cells) > CELLS_LIMIT:
            raise ValueError(f"has at most {CELLS_LIMIT} cells")
        for cell in self.cells:
            if not h3.is_valid_cell(cell) or not COARSEST <= h3.get_resolution(cell) <= FINEST:
                raise ValueError(f"a cell is of H3, of a resolution from {COARSEST} to {FINEST}")

    def has(self, lat: float, lng: float) -> bool:
        """Whether the place is inside; on the very edge of an outline either may be said."""
        if self.outline:
            return _inside(self.outline, lat, lng)
        sizes = {h3.get_resolution(cell) for cell in self.cells}
        return any(h3.latlng_to_cell(lat, lng, size) in self.cells for size in sorted(sizes))


def _inside(corners: Sequence[Point], lat: float, lng: float) -> bool:
    """By the number of edges that a ray to the east crosses."""
    inside = False
    for (lat_a, lng_a), (lat_b, lng_b) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if (lat_a > lat) is not (lat_b > lat):
            crossing = lng_a + (lat - lat_a) / (lat_b - lat_a) * (lng_b - lng_a)
            inside ^= lng < crossing
    return inside
