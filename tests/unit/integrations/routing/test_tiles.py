"""Road tiles from OpenStreetMap files, by Valhalla's real builder, and from files that are none."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from integrations.routing.tiles import TilesError, build_tiles, find_builder
from integrations.routing.valhalla import ValhallaRouter, has_tiles
from tests.support.roads import HARRISBURG_PLACES, builder, extract, harrisburg_tiles

NO_BUILDER = Path("/nowhere/valhalla_build_tiles")  # for files that are refused before it comes to that


def quiet(_: str) -> None:
    pass


def test_a_town_becomes_tiles_with_progress(tmp_path: Path) -> None:
    said: list[str] = []
    build_tiles(extract("harrisburg.osm.pbf"), tmp_path / "roads", builder(), said.append)
    assert has_tiles(tmp_path / "roads")
    assert any(line.endswith("Parsing ways") for line in said)
    assert [path.name for path in tmp_path.iterdir()] == ["roads"], "nothing else is left"
    route = ValhallaRouter(str(tmp_path / "roads")).route(HARRISBURG_PLACES[:2])
    assert route is not None
    assert 1500 < route.distance_m < 5000


def test_new_tiles_replace_the_old_ones(tmp_path: Path) -> None:
    folder = tmp_path / "roads"
    build_tiles(extract("baltimore.osm.pbf"), folder, builder(), quiet)
    build_tiles(extract("harrisburg.osm.pbf"), folder, builder(), quiet)
    router = ValhallaRouter(str(folder))
    assert router.route(HARRISBURG_PLACES[:2]) is not None
    assert router.route([(39.30, -76.60), (39.31, -76.61)]) is None, "that was Baltimore"


@pytest.mark.skipif(importlib.util.find_spec("osmium") is None, reason="osmium is not installed")
def test_xml_is_converted(tmp_path: Path) -> None:
    build_tiles(extract("monaco.osm.gz"), tmp_path / "roads", builder(), quiet)
    route = ValhallaRouter(str(tmp_path / "roads")).route([(43.7311, 7.4197), (43.7396, 7.4277)])
    assert route is not None
    assert route.distance_m > 1000


@pytest.mark.skipif(importlib.util.find_spec("osmium") is not None, reason="osmium is installed")
@pytest.mark.parametrize("name", ["x.osm", "x.osm.gz"])
def test_without_osmium_xml_is_refused_with_advice(tmp_path: Path, name: str) -> None:
    xml = b'<?xml version="1.0"?><osm version="0.6"></osm>'
    (tmp_path / name).write_bytes(gzip.compress(xml) if name.endswith("gz") else xml)
    with pytest.raises(TilesError, match="pip install osmium"):
        build_tiles(tmp_path / name, tmp_path / "roads", NO_BUILDER, quiet)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no OpenStreetMap file"),
        (b"\x00\x00\x00\x0d\n\x07OSMData", "is no OpenStreetMap file"),
        (b"PK\x03\x04" * 20, "is no OpenStreetMap file"),
        (b"\x1f\x8b\x08\x00", "cannot be read"),
        (gzip.compress(b"hello", mtime=0), "is no OpenStreetMap file"),
    ],
)
def test_what_is_no_map_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(TilesError, match=words):
        build_tiles(tmp_path / "file", tmp_path / "roads", NO_BUILDER, quiet)
    with pytest.raises(TilesError, match="cannot be read"):
        build_tiles(tmp_path / "missing", tmp_path / "roads", NO_BUILDER, quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_torn_file_leaves_the_tiles_that_there_were(tmp_path: Path) -> None:
    folder = tmp_path / "roads"
    build_tiles(extract("harrisburg.osm.pbf"), folder, builder(), quiet)
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    (tmp_path / "torn.osm.pbf").write_bytes(extract("baltimore.osm.pbf").read_bytes()[:100_000])
    with pytest.raises(TilesError, match="made no tiles"):
        build_tiles(tmp_path / "torn.osm.pbf", folder, builder(), quiet)
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["roads", "torn.osm.pbf"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mother.txt").write_text("dear")
    with pytest.raises(TilesError, match="something else than road tiles"):
        build_tiles(tmp_path / "any", tmp_path / "letters", NO_BUILDER, quiet)
    assert (tmp_path / "letters" / "mother.txt").read_text() == "dear"


def test_a_named_builder_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(TilesError, match="VALHALLA_BUILDER names"):
        find_builder(tmp_path / "none")
    (tmp_path / "some").touch()
    assert find_builder(tmp_path / "some") == tmp_path / "some"


def test_two_places_on_one_piece_of_road_are_near() -> None:
    # Valhalla's matrix (up to 3.4) leads round the block: 87 s for these 90 m, which would send another driver.
    places = np.array([(40.28527, -76.84649), (40.28533, -76.84756)])
    matrix = ValhallaRouter(str(harrisburg_tiles())).matrix(places, places)
    assert np.all(matrix.seconds < 15)
    assert np.all(matrix.metres < 150)
