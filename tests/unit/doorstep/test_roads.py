"""`doorstep roads`, the settings of travel times, and what a start asks of them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h3
import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from actors.vendors import travel_times
from domain.ground.geo import distance_m
from domain.ground.travel import Haversine, Planar
from doorstep.cli.app import app
from doorstep.roads import (
    RoadsError,
    build_command,
    calibrate_command,
    place_of,
    require_roads,
    road_options,
    travel_model,
)
from doorstep.server import policy_of
from doorstep.settings.settings import Settings, SettingsError, explain_settings, load_settings
from integrations.routing.options import RoadOptions
from integrations.routing.road_travel import RoadTravel
from tests.support.osrm_server import OsrmServer, osrm_server
from tests.support.roads import builder, extract

CHICAGO = "America/Chicago"
CENTRE = (32.80, -96.80)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path | None:
    named = load_settings().valhalla_builder
    for row in explain_settings():
        monkeypatch.delenv(row.name, raising=False)
    monkeypatch.chdir(tmp_path)
    return named


@pytest.fixture
def server() -> Iterator[OsrmServer]:
    with osrm_server() as running:
        yield running


def set_to(**values: Any) -> Settings:
    return load_settings(data_dir=Path("data"), **values)


# -- settings ---------------------------------------------------------------------------------------------------------


def test_the_defaults_need_no_road_engine() -> None:
    settings = set_to()
    require_roads(settings)
    assert settings.router_mode == "HAVERSINE"
    assert settings.tiles_dir == Path("data/roads")
    assert travel_model(settings.travel_table) == Haversine()


def test_every_option_of_the_engines_can_be_set_and_has_the_same_default() -> None:
    options, defaults = road_options(set_to()), RoadOptions()
    assert options == msgspec.structs.replace(defaults, valhalla_tiles=str(Path("data/roads").absolute()))
    for name in RoadOptions.__struct_fields__:
        assert hasattr(set_to(), name), name
    assert road_options(set_to(router_retry_s=7.0, valhalla_tiles=Path("/tiles"))) == msgspec.structs.replace(
        defaults, router_retry_s=7.0, valhalla_tiles="/tiles"
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"router_mode": "OSRM"}, "OSRM_URL is required by ROUTER_MODE=OSRM"),
        ({"router_mode": "GOOGLE"}, "ROUTER_MODE: "),
        ({"osrm_url": "ftp://here"}, "OSRM_URL: must start with http:// or https://"),
        ({"router_timeout_s": 0}, "ROUTER_TIMEOUT_S: "),
        ({"router_table_limit": 1}, "ROUTER_TABLE_LIMIT: "),
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        set_to(**values)
    assert sentence in str(caught.value)


def test_a_start_asks_for_the_tiles_and_the_table() -> None:
    with pytest.raises(RoadsError, match="doorstep roads build"):
        require_roads(set_to(router_mode="VALHALLA"))
    with pytest.raises(RoadsError, match="TRAVEL_TABLE cannot be read"):
        require_roads(set_to(travel_table=Path("none.json")))


def test_the_table_goes_into_the_policy_of_the_regions(tmp_path: Path) -> None:
    table = Haversine(speed_mps=7.5, zone_factor={"872aa8c0dffffff": 1.25}, timezone=CHICAGO)
    (tmp_path / "travel.json").write_bytes(msgspec.json.encode(table))
    assert policy_of(set_to(travel_table=tmp_path / "travel.json")).travel == table
    assert policy_of(set_to()).travel == Haversine()


@pytest.mark.parametrize(
    "table",
    [
        "not json",
        '{"type": "Planar", "metres_per_grain": 1}',
        '{"type": "Haversine", "speed_mps": -1}',
        '{"type": "Haversine", "timezone": "America/Nowhere"}',
        '{"type": "Haversine", "hour_factor": [1, 2]}',
        '{"type": "Haversine", "zone_factor": {"somewhere": 1.0}}',
        '{"type": "Haversine", "zone_resolution": 6, "zone_factor": {"872aa8c0dffffff": 1.0}}',
    ],
)
def test_a_table_that_cannot_be_used_is_named(tmp_path: Path, table: str) -> None:
    path = tmp_path / "travel.json"
    path.write_text(table)
    with pytest.raises(RoadsError, match=r"TRAVEL_TABLE .*travel\.json"):
        travel_model(path)


def test_a_solve_takes_its_own_model_or_the_roads_behind_it(server: OsrmServer) -> None:
    model, plane = Haversine(speed_mps=5.0), Planar(metres_per_grain=100.0)
    assert travel_times(RoadOptions(), model) is model
    options = RoadOptions(router_mode="OSRM", osrm_url=server.url)
    assert travel_times(options, plane) is plane, "a benchmark's plane has no roads"
    first = travel_times(options, model)
    assert isinstance(first, RoadTravel)
    ends = 32.8, -96.8, 32.9, -96.7
    road_s = float(first.seconds(*ends, at_ms=0))
    assert road_s != pytest.approx(float(model.seconds(*ends, at_ms=0)))
    assert float(travel_times(options, model).seconds(*ends, at_ms=0)) == road_s
    assert len(server.paths) == 1, "the next solve in this process knows it"


# -- calibration ------------------------------------------------------------------------------------------------------


def calibrate(said: list[str], settings: Settings, **values: Any) -> int:
    given: dict[str, Any] = {"samples": 2000, "centre": CENTRE, "radius_km": 15.0}
    return calibrate_command(settings, said.append, **given | values)


def test_speed_and_detour_are_learnt_from_the_engine(server: OsrmServer) -> None:
    said: list[str] = []
    settings = set_to(router_mode="OSRM", osrm_url=server.url)
    assert calibrate(said, settings) == 0, said
    model = travel_model(Path("data/travel.json"))
    # Half of the drives go northwards, which the server makes a tenth slower.
    assert model.detour == pytest.approx(1.5, rel=0.01)
    assert model.speed_mps == pytest.approx(8.0 / 1.05, rel=0.02)
    assert (model.timezone, model.hour_factor) == (CHICAGO, ())
    assert all(0.9 < factor < 1.1 for factor in model.zone_factor.values())
    assert "TRAVEL_TABLE=data/travel.json" in said[-1]
    require_roads(set_to(travel_table=Path("data/travel.json")))


def trips_csv(path: Path, slow_cell: str, rows: int = 4000) -> None:
    """Drives at 9 m/s and a detour of 1.35, half as fast between 17 and 18 o'clock, and slower in one zone."""
    chance = np.random.default_rng(4)
    lat, lng = (CENTRE[axis] + (chance.random((2, rows)) - 0.5) / 8 for axis in (0, 1))
    hour = chance.integers(0, 24, rows)
    # 2026-01-05 06:00 UTC is midnight in Chicago.
    start_ms = (1_767_592_800 + chance.integers(0, 5, rows) * 86_400 + hour * 3600 + 60) * 1000
    line_m = distance_m(lat[0], lng[0], lat[1], lng[1])
    slow = np.array(
        [
            [h3.latlng_to_cell(lat[end][row], lng[end][row], 7) == slow_cell for row in range(rows)]
            for end in (0, 1)
        ]
    )
    factor = (1 + 0.8 * slow).mean(axis=0) * np.where(hour == 17, 2.0, 1.0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["from_lat", "from_lng", "to_lat", "to_lng", "start_ms", "seconds"])
        writer.writerows(
            zip(lat[0], lng[0], lat[1], lng[1], start_ms, line_m * 1.35 / 9 * factor, strict=True)
        )


def test_hours_and_zones_are_learnt_from_real_drives(tmp_path: Path) -> None:
    slow_cell = h3.latlng_to_cell(*CENTRE, 7)
    trips_csv(tmp_path / "trips.csv", slow_cell)
    said: list[str] = []
    assert calibrate(said, set_to(), trips=tmp_path / "trips.csv", out=tmp_path / "t.json") == 0, said
    model = travel_model(tmp_path / "t.json")
    rush, night = model.hour_factor[17], model.hour_factor[3]
    assert rush / night == pytest.approx(2.0, rel=0.1)
    others = np.median([factor for cell, factor in model.zone_factor.items() if cell != slow_cell])
    assert model.zone_factor[slow_cell] / others == pytest.approx(1.8, rel=0.15)
    before, after = _errors(said[0])
    assert after < before / 3


def _errors(sentence: str) -> tuple[float, float]:
    """Mean errors before and now."""
    words = sentence.split()
    numbers = [float(words[at - 2]) for at, word in enumerate(words) if word.startswith(("before", "now"))]
    return numbers[0], numbers[1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "set ROUTER_MODE"),
        ({"region": "xx-nowhere"}, "is no market"),
        ({"trips": Path("none.csv")}, "No such file"),
    ],
)
def test_what_cannot_be_learnt_from_is_named(values: dict[str, Any], words: str) -> None:
    said: list[str] = []
    assert calibrate(said, set_to(), **values) == 1
    assert words in said[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "has no column from_lat"),
        ("from_lat,from_lng,to_lat,to_lng,start_ms,seconds\n1,2,3,4,5,x\n", "line 2"),
        ("from_lat,from_lng,to_lat,to_lng,start_ms,seconds\n1,2,3,4,5\n", "line 2"),
        ("from_lat,from_lng,to_lat,to_lng,start_ms,seconds\n1,2,3,4,5,6\n", "too few"),
    ],
)
def test_a_file_of_drives_that_cannot_be_read_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "trips.csv").write_text(text)
    said: list[str] = []
    assert calibrate(said, set_to(), trips=tmp_path / "trips.csv") == 1
    assert words in said[0]
    assert not Path("data/travel.json").exists()


def test_an_engine_that_is_down_is_named() -> None:
    said: list[str] = []
    assert calibrate(said, set_to(router_mode="OSRM", osrm_url="http://127.0.0.1:9")) == 1
    assert said[0].startswith("The road engine failed: OSRM")


# -- the command line -------------------------------------------------------------------------------------------------


def test_build_says_what_is_wrong(tmp_path: Path, clean_environment: Path | None) -> None:
    said: list[str] = []
    assert build_command(set_to(), tmp_path / "none.osm.pbf", said.append) == 1
    assert said == [f"{tmp_path / 'none.osm.pbf'} is no file."]
    (tmp_path / "letter.pbf").write_text("dear all")
    if clean_environment is not None:
        settings = set_to(valhalla_builder=clean_environment)
        assert build_command(settings, tmp_path / "letter.pbf", said.append) == 1
        assert "is no OpenStreetMap file" in said[-1]


def test_tiles_that_were_built_let_the_server_start(
    clean_environment: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if clean_environment is not None:
        monkeypatch.setenv("VALHALLA_BUILDER", str(clean_environment))
    builder()
    source = extract("harrisburg.osm.pbf")
    result = CliRunner().invoke(app, ["roads", "build", str(source), "--data-dir", "data"])
    assert result.exit_code == 0, result.output
    assert "ROUTER_MODE=VALHALLA makes the server use them" in result.output
    require_roads(set_to(router_mode="VALHALLA"))


@pytest.mark.parametrize("text", ["", "32.8", "32.8,-96.8,1", "north,west", "91,0", "0,181", "nan,0"])
def test_a_centre_is_a_place(text: str) -> None:
    with pytest.raises(ValueError):
        place_of(text)
    result = CliRunner().invoke(app, ["roads", "calibrate", f"--centre={text}"])
    assert result.exit_code == 1
    assert "--centre must be LAT,LNG" in result.output
    assert place_of("32.8,-96.8") == (32.8, -96.8)
