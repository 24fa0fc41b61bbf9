"""`doorstep roads`: road tiles, and the travel model's table of speeds; and what a start needs of both."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import h3
import msgspec
from msgspec.structs import replace

from domain.ground.markets import MARKETS
from domain.ground.travel import Haversine
from domain.ports import VendorError
from doorstep.settings.settings import Settings
from integrations.registry import ROUTING
from integrations.routing.calibrate import Drives, fit, read_drives, sample_drives
from integrations.routing.options import RoadOptions
from integrations.routing.tiles import TilesError, build_tiles, find_builder
from integrations.routing.valhalla import has_tiles

Say = Callable[[str], None]


class RoadsError(Exception):
    """Travel times cannot be had as set; the message says what to do."""


def road_options(settings: Settings) -> RoadOptions:
    """The settings of the same names."""
    names = (name for name in RoadOptions.__struct_fields__ if hasattr(settings, name))
    given = {name: getattr(settings, name) for name in names}
    own = {"osrm_url": settings.osrm_url or "", "valhalla_tiles": str(settings.tiles_dir.absolute())}
    return RoadOptions(**given | own)


def require_roads(settings: Settings) -> None:
    """`RoadsError` when the road tiles or the travel table that the settings name are not there."""
    if settings.router_mode == "VALHALLA" and not has_tiles(settings.tiles_dir):
        raise RoadsError(
            f"ROUTER_MODE=VALHALLA needs road tiles, and {settings.tiles_dir} holds none:"
            " run `doorstep roads build FILE`."
        )
    travel_model(settings.travel_table)


def travel_model(table: Path | None) -> Haversine:
    """The model in a travel table, or the plain one. `RoadsError` when the file cannot be used."""
    if table is None:
        return Haversine()
    try:
        model = msgspec.json.decode(table.read_bytes(), type=Haversine)
        ZoneInfo(model.timezone)
    except OSError as error:
        raise RoadsError(f"TRAVEL_TABLE cannot be read: {error}") from error
    except (ValueError, KeyError) as error:  # of msgspec, of the model, and of an unknown time zone
        raise RoadsError(f"TRAVEL_TABLE {table} cannot be used: {error}") from error
    for cell in model.zone_factor:
        if not h3.is_valid_cell(cell) or h3.get_resolution(cell) != model.zone_resolution:
            raise RoadsError(
                f"TRAVEL_TABLE {table}: {cell!r} is no H3 cell of resolution {model.zone_resolution}"
            )
    return model


def build_command(settings: Settings, source: Path, say: Say) -> int:
    """Make the road tiles of an OSM file; the exit status."""
    began = time.monotonic()
    try:
        if not source.is_file():
            raise TilesError(f"{source} is no file.")
        build_tiles(source, settings.tiles_dir, find_builder(settings.valhalla_builder), say)
    except TilesError as error:
        say(str(error))
        return 1
    say(f"road tiles of {source.name} are in {settings.tiles_dir} after {time.monotonic() - began:.1f} s")
    if settings.router_mode != "VALHALLA":
        say("ROUTER_MODE=VALHALLA makes the server use them")
    return 0


def calibrate_command(
    settings: Settings,
    say: Say,
    *,
    samples: int,
    region: str | None = None,
    centre: tuple[float, float] | None = None,
    radius_km: float | None = None,
    trips: Path | None = None,
    seed: int = 1,
    out: Path | None = None,
) -> int:
    """Fit the travel model to the road engine, or to the fleet's own trips, and write its table; the exit status."""
    region = region or settings.region_ids[0]
    try:
        if region not in MARKETS:
            raise RoadsError(f"{region} is no market. There are: {', '.join(MARKETS)}.")
        market = MARKETS[region]
        base = replace(travel_model(settings.travel_table), timezone=market.timezone)
        if trips is not None:
            drives = read_drives(trips)
        else:
            lat, lng = centre or (market.lat, market.lng)
            drives = _ask_engine(
                settings, lat, lng, (radius_km or market.radius_m / 1000) * 1000, samples, seed
            )
        result = fit(drives, base)
        path = out or settings.travel_table or settings.data_dir / "travel.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result.model)) + b"\n")
    except (RoadsError, ValueError, OSError) as error:
        say(str(error))
        return 1
    except VendorError as error:
        say(f"The road engine failed: {error}")
        return 1
    model = result.model
    say(
        f"{result.drives} drives: {model.speed_mps:.2f} m/s, detour {model.detour:.3f},"
        f" {len(model.zone_factor)} zones of their own; mean error {result.error_before_s:.0f} s before,"
        f" {result.error_after_s:.0f} s now (on drives left out of the fit)"
    )
    say(f"written to {path}; TRAVEL_TABLE={path} makes the server use it")
    return 0


def place_of(text: str) -> tuple[float, float]:
    """Latitude and longitude in `lat,lng`. `ValueError` says what is wanted."""
    try:
        lat, lng = (float(part) for part in text.split(","))
    except ValueError:
        lat = lng = float("nan")
    if not (-90 <= lat <= 90 and -180 <= lng <= 180):
        raise ValueError("must be LAT,LNG in degrees, such as 32.78,-96.80")
    return lat, lng


def _ask_engine(
    settings: Settings, lat: float, lng: float, radius_m: float, samples: int, seed: int
) -> Drives:
    if settings.router_mode == "HAVERSINE":
        raise RoadsError(
            "There is no road engine to learn from: set ROUTER_MODE to OSRM or VALHALLA, or give --trips."
        )
    router = ROUTING[settings.router_mode](road_options(settings))
    return sample_drives(router, lat, lng, radius_m, samples, seed)
