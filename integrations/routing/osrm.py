"""An OSRM server, or one that speaks its HTTP API (`/table` and `/route`, version 1)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

import httpx
import msgspec
import numpy as np
from msgspec import Struct

from domain.ground.arrays import F64
from domain.ports import RoadMatrix, RoadRoute, VendorError

# What a server says of places, which is an answer; every other code but Ok is a failure.
_NO_WAY = {"NoRoute", "NoTable", "NoSegment"}
_COORDINATE = re.compile(r"coordinate (\d+)")
_ANSWER_LIMIT_BYTES = 32 * 1024 * 1024
_ODD_PLACES_LIMIT = 10  # places in one table that may be far from every road before the table is given up

A = TypeVar("A", bound="_Answer")


class _Answer(Struct):
    code: str
    message: str = ""


class _Table(_Answer):
    durations: list[list[float | None]] = []
    distances: list[list[float | None]] | None = None  # servers before 5.21 know none


class _Line(Struct):
    coordinates: list[tuple[float, float]]


class _Drive(Struct):
    duration: float
    distance: float
    geometry: _Line


class _Routes(_Answer):
    routes: list[_Drive] = []


class OsrmRouter:
    """`domain.ports.RoadRouter` over HTTP. `timeout_s` is for a whole request; `table_limit` is the server's
    `--max-table-size`, the number of places in one table."""

    def __init__(self, url: str, timeout_s: float, table_limit: int) -> None:
        self._url, self._timeout_s = url.rstrip("/"), timeout_s
        self._side = max(1, table_limit // 2)
        self._client = httpx.Client(timeout=timeout_s)

    def matrix(self, sources: F64, targets: F64) -> RoadMatrix:
        shape = len(sources), len(targets)
        whole = RoadMatrix(np.full(shape, np.nan), np.full(shape, np.nan))
        for rows in _slices(len(sources), self._side):
            for columns in _slices(len(targets), self._side):
                block = self._table(sources[rows], targets[columns])
                whole.seconds[rows, columns], whole.metres[rows, columns] = block.seconds, block.metres
        return whole

    def route(self, points: Sequence[tuple[float, float]]) -> RoadRoute | None:
        path = f"route/v1/driving/{_places(points)}"
        answer = self._get(path, {"overview": "full", "geometries": "geojson"}, _Routes)
        if answer.code in _NO_WAY:
            return None
        if not answer.routes:
            raise VendorError("OSRM said Ok and gave no route")
        best = answer.routes[0]
        line = tuple((lat, lng) for lng, lat in best.geometry.coordinates)
        return RoadRoute(engine="osrm", duration_s=best.duration, distance_m=best.distance, line=line)

    def _table(self, sources: F64, targets: F64) -> RoadMatrix:
        """One request, repeated without places that are far from every road."""
        n, m = len(sources), len(targets)
        seconds, metres = np.full((n, m), np.nan), np.full((n, m), np.nan)
        places = np.concatenate([sources, targets])
        left = np.arange(n + m)
        for _ in range(_ODD_PLACES_LIMIT):
            rows, columns = left[left < n], left[left >= n] - n
            if not len(rows) or not len(columns):
                break
            split = len(rows)
            query = {
                "sources": ";".join(map(str, range(split))),
                "destinations": ";".join(map(str, range(split, len(left)))),
                "annotations": "duration,distance",
            }
            answer = self._get(f"table/v1/driving/{_places(places[left])}", query, _Table)
            if answer.code == "Ok":
                at = np.ix_(rows, columns)
                seconds[at] = _numbers(answer.durations, split, len(columns))
                if answer.distances is not None:
                    metres[at] = _numbers(answer.distances, split, len(columns))
                break
            odd = _COORDINATE.search(answer.message)
            if odd is None or int(odd[1]) >= len(left):
                break
            left = np.delete(left, int(odd[1]))
        return RoadMatrix(seconds, metres)

    def _get(self, path: str, query: dict[str, str], kind: type[A]) -> A:
        """A readable answer: Ok, or that there is no way. `VendorError` for all else, and when time is up."""
        try:
            status, body = self._read(path, query)
            answer = msgspec.json.decode(body, type=kind)
        except httpx.HTTPError as error:
            raise VendorError(f"OSRM: {type(error).__name__} {error}") from error
        except msgspec.DecodeError as error:
            raise VendorError(f"OSRM's answer cannot be read (HTTP {status}): {error}") from error
        if answer.code != "Ok" and answer.code not in _NO_WAY:
            raise VendorError(f"OSRM: HTTP {status} {answer.code} {answer.message}"[:300])
        return answer

    def _read(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        """Status and body. The client's own time-out is for each read, and a server may drip."""
        give_up = time.monotonic() + self._timeout_s
        body = bytearray()
        with self._client.stream("GET", f"{self._url}/{path}", params=query) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if time.monotonic() > give_up:
                    raise httpx.ReadTimeout(f"no whole answer in {self._timeout_s:g} s")
                if len(body) > _ANSWER_LIMIT_BYTES:
                    raise httpx.ReadError("the answer is too long")
            return response.status_code, bytes(body)


def _places(points: F64 | Sequence[tuple[float, float]]) -> str:
    return ";".join(f"{lng:.6f},{lat:.6f}" for lat, lng in points)


def _slices(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _numbers(rows: list[list[float | None]], n: int, m: int) -> F64:
    """n x m numbers of 0 and more, NaN for null. `VendorError` for another shape."""
    if len(rows) != n or any(len(row) != m for row in rows):
        raise VendorError(f"OSRM's table is not {n} by {m}")
    values = np.array(rows, np.float64).reshape(n, m)
    if np.any(values < 0) or np.any(np.isinf(values)):
        raise VendorError("OSRM's table has impossible numbers")
    return values
