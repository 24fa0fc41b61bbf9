"""Valhalla in this process, on tiles that `doorstep roads build` made. The library loads with the first request."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from domain.ground.arrays import F64
from domain.ground.geo import distance_m
from domain.ports import RoadMatrix, RoadRoute, VendorError

# What Valhalla says of places, which is an answer and no failure: it has only the words to tell them by.
_NO_WAY = ("No suitable edges", "No path could be found", "exceeds the max distance", "unconnected regions")
_FAR_M = 400_000.0
_NO_ROAD_M = 2_000  # a place with no road so near has none
_PIECE_OF_ROAD_M = 2_000.0  # between two crossings
_ROUTES_IN_A_MATRIX = 50


def config_for(tiles: Path) -> dict[str, Any]:
    """Valhalla's configuration for a folder of tiles, with its service limits out of the way: ours are in settings."""
    config: dict[str, Any] = import_module("valhalla").get_config(tile_dir=tiles, tile_extract="")
    mjolnir = config["mjolnir"]
    mjolnir.update(
        {"tile_extract": "", "traffic_extract": "", "admin": "", "timezone": "", "transit_dir": ""}
    )
    for part in ("mjolnir", "loki", "thor", "odin", "meili"):
        if "logging" in config.get(part, {}):
            config[part]["logging"]["type"] = ""  # it would write to standard output
    config["loki"]["service_defaults"]["search_cutoff"] = _NO_ROAD_M
    limits = config["service_limits"]["auto"]
    # More than any market; the search for a place that no road leads to ends only here.
    limits.update(max_distance=_FAR_M, max_matrix_distance=_FAR_M, max_matrix_location_pairs=10**9)
    return config


def has_tiles(folder: Path) -> bool:
    """Whether the folder holds road tiles."""
    return next(folder.glob("[012]/**/*.gph"), None) is not None


class ValhallaRouter:
    """`domain.ports.RoadRouter` on a folder of tiles. One request at a time: the engine belongs to one thread."""

    def __init__(self, tiles: str) -> None:
        self._tiles, self._lock = Path(tiles), threading.Lock()
        self._actor: Any = None

    def matrix(self, sources: F64, targets: F64) -> RoadMatrix:
        shape = len(sources), len(targets)
        whole = RoadMatrix(np.full(shape, np.nan), np.full(shape, np.nan))
        if not whole.seconds.size:
            return whole
        rows, columns = np.arange(shape[0]), np.arange(shape[1])
        answer = self._matrix(sources, targets)
        if answer is None:  # one place far from every road spoils a matrix
            rows, columns = rows[self._placed(sources)], columns[self._placed(targets)]
            answer = self._matrix(sources[rows], targets[columns]) if len(rows) and len(columns) else None
        if answer is None:
            return whole
        for i, row in zip(rows, answer["sources_to_targets"], strict=True):
            for j, cell in zip(columns, row, strict=True):
                if cell["time"] is not None:
                    whole.seconds[i, j], whole.metres[i, j] = cell["time"], cell["distance"] * 1000
        self._straighten(sources, targets, whole)
        return whole

    def _straighten(self, sources: F64, targets: F64, matrix: RoadMatrix) -> None:
        """Ask anew, as routes, for near places that the matrix has far apart.

        Up to Valhalla 3.4 a matrix leads round the block from one place to another on the same piece of road.
        """
        away_m = distance_m(sources[:, None, 0], sources[:, None, 1], targets[:, 0], targets[:, 1])
        odd = (away_m < _PIECE_OF_ROAD_M) & (matrix.metres > 3 * away_m + 100)
        for i, j in np.argwhere(odd)[:_ROUTES_IN_A_MATRIX]:
            route = self.route([tuple(sources[i]), tuple(targets[j])])
            if route is not None:
                matrix.seconds[i, j], matrix.metres[i, j] = route.duration_s, route.distance_m

    def route(self, points: Sequence[tuple[float, float]]) -> RoadRoute | None:
        request = {"locations": _places(points), "costing": "auto", "directions_type": "none"}
        answer = self._ask("route", request)
        if answer is None:
            return None
        trip, decode = answer["trip"], _polyline_decoder()
        line = [point for leg in trip["legs"] for point in decode(leg["shape"], order="latlng")]
        return RoadRoute(
            engine="valhalla",
            duration_s=trip["summary"]["time"],
            distance_m=trip["summary"]["length"] * 1000,
            line=tuple(line),
        )

    def _matrix(self, sources: F64, targets: F64) -> Any:
        request = {"sources": _places(sources), "targets": _places(targets), "costing": "auto"}
        return self._ask("matrix", request)

    def _placed(self, places: F64) -> list[bool]:
        """Whether each place has a road near."""
        request = {"locations": _places(places), "costing": "auto"}
        return [bool(found["edges"]) for found in self._ask("locate", request)]

    def _ask(self, action: str, request: dict[str, Any]) -> Any:
        """The engine's answer, None when it finds no way. `VendorError` when it cannot work."""
        with self._lock:
            try:
                if self._actor is None:
                    self._actor = self._load()
                return getattr(self._actor, action)(request)
            except RuntimeError as error:  # of newer versions, a subclass with the same words
                if any(words in str(error) for words in _NO_WAY):
                    return None
                raise VendorError(f"Valhalla: {error}") from error

    def _load(self) -> Any:
        if not has_tiles(self._tiles):
            raise VendorError(
                f"Valhalla: {self._tiles} holds no road tiles; make them by `doorstep roads build FILE`"
            )
        try:
            # Given a dict it would leave a file behind.
            with NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(config_for(self._tiles), file)
                file.flush()
                return import_module("valhalla").Actor(file.name)
        except ImportError as error:
            raise VendorError(f"Valhalla: the package pyvalhalla cannot be loaded: {error}") from error


def _polyline_decoder() -> Any:
    try:
        return import_module("valhalla.midgard.utils").decode_polyline
    except ImportError:  # its place in older versions
        return import_module("valhalla.utils").decode_polyline


def _places(points: F64 | Sequence[tuple[float, float]]) -> list[dict[str, float]]:
    return [{"lat": float(lat), "lon": float(lng)} for lat, lng in points]
