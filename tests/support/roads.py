"""Road tiles of a small real town, for tests; without the extract or Valhalla's builder they skip."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from doorstep.settings.settings import load_settings
from integrations.routing.tiles import TilesError, build_tiles, find_builder

EXTRACTS = Path(__file__).parents[3] / "shared" / "data" / "osm"
HARRISBURG = EXTRACTS / "harrisburg.osm.pbf"
# Places on its roads: latitude, longitude.
HARRISBURG_PLACES = (
    (40.24007, -76.82718),
    (40.25178, -76.82121),
    (40.25575, -76.86942),
    (40.26605, -76.83642),
    (40.27336, -76.83224),
    (40.28683, -76.85943),
)


def extract(name: str) -> Path:
    """An OpenStreetMap extract, or skip."""
    path = EXTRACTS / name
    if not path.is_file():
        pytest.skip(f"{name} is not on this machine")
    return path


def builder() -> Path:
    """Valhalla's tile builder, or skip."""
    try:
        return find_builder(load_settings().valhalla_builder)
    except TilesError as error:
        pytest.skip(str(error))


@lru_cache(maxsize=1)
def harrisburg_tiles() -> Path:
    """The folder of its tiles, built once for the run."""
    folder = Path(mkdtemp(prefix="doorstep-roads-")) / "harrisburg"
    build_tiles(extract("harrisburg.osm.pbf"), folder, builder(), lambda _: None)
    return folder
