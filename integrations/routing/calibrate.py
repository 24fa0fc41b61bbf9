"""The travel model's table from drives whose time is known: a road engine's, or a fleet's own."""

from __future__ import annotations

import csv
from pathlib import Path
from zoneinfo import ZoneInfo

import h3
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from domain.ground.arrays import F64, I64, Bool
from domain.ground.geo import distance_m
from domain.ground.times import instant
from domain.ground.travel import HOURS, Haversine
from domain.ports import RoadRouter

GROUP = 10  # a table of GROUP x GROUP places at a time
REACH_M = 8_000.0  # places of a group are about so far from its middle, as deliveries are
SHORTEST_M = 300.0  # below, the way from the parking lot decides
ROUNDS = 20
PRIOR_DRIVES = 20.0  # a zone or hour is taken for average until it has shown more than so many drives
FACTOR_RANGE = (0.25, 4.0)
HELD_OUT = 5  # every fifth drive is kept to measure the error on
DRIVES_LIMIT = 2_000_000
_M_PER_DEG = 111_195.0
_COLUMNS = ("from_lat", "from_lng", "to_lat", "to_lng", "start_ms", "seconds")


class Drives(Struct, frozen=True, kw_only=True):
    """k drives in columns. `metres` where the road's length is known, `start_ms` where the time of day is."""

    from_lat: F64
    from_lng: F64
    to_lat: F64
    to_lng: F64
    seconds: F64
    metres: F64 | None = None
    start_ms: I64 | None = None

    def __len__(self) -> int:
        return len(self.seconds)

    def where(self, keep: Bool) -> Drives:
        """The drives that the mask keeps."""
        return Drives(
            from_lat=self.from_lat[keep],
            from_lng=self.from_lng[keep],
            to_lat=self.to_lat[keep],
            to_lng=self.to_lng[keep],
            seconds=self.seconds[keep],
            metres=None if self.metres is None else self.metres[keep],
            start_ms=None if self.start_ms is None else self.start_ms[keep],
        )


class Fit(Struct, frozen=True):
    """The model, and its error on drives that it was not fitted to, in seconds, against the model given."""

    model: Haversine
    drives: int
    error_before_s: float
    error_after_s: float


def sample_drives(
    router: RoadRouter, lat: float, lng: float, radius_m: float, samples: int, seed: int
) -> Drives:
    """At least `samples` drives round a place from the road engine, fewer where roads are few. `VendorError`."""
    chance, found = np.random.default_rng(seed), list[F64]()
    off_diagonal = ~np.eye(GROUP, dtype=bool)
    count, groups = 0, 0
    while count < samples and groups <= 2 + 3 * samples / (GROUP * (GROUP - 1)):
        middle = _around(chance, np.array([lat, lng]), radius_m, 1)[0]
        places = _around(chance, middle, REACH_M, GROUP)
        table = router.matrix(places, places)
        # A place far from every road was moved to one; then the way may be shorter than the line between the places.
        line_m = distance_m(places[:, None, 0], places[:, None, 1], places[:, 0], places[:, 1])
        known = off_diagonal & np.isfinite(table.seconds) & (table.metres >= line_m)
        i, j = np.nonzero(known)
        found.append(np.column_stack([places[i], places[j], table.seconds[i, j], table.metres[i, j]]))
        count, groups = count + len(i), groups + 1
    columns = np.concatenate(found).T
    return Drives(
        from_lat=columns[0],
        from_lng=columns[1],
        to_lat=columns[2],
        to_lng=columns[3],
        seconds=columns[4],
        metres=columns[5],
    )


def read_drives(path: Path) -> Drives:
    """Drives of a CSV file with the columns from_lat, from_lng, to_lat, to_lng, start_ms (Unix milliseconds) and
    seconds. `ValueError` names the line that cannot be read; `OSError`."""
    rows: list[tuple[float, ...]] = []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if missing := set(_COLUMNS) - set(reader.fieldnames or ()):
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}")
        for row in reader:
            try:
                rows.append(tuple(float(row[name]) for name in _COLUMNS))
            except (TypeError, ValueError):
                raise ValueError(f"{path}, line {reader.line_num}: a number is missing or is none") from None
            if len(rows) > DRIVES_LIMIT:
                raise ValueError(f"{path} has more than {DRIVES_LIMIT} drives")
    columns = np.array(rows, np.float64).reshape(-1, len(_COLUMNS)).T
    return Drives(
        from_lat=columns[0],
        from_lng=columns[1],
        to_lat=columns[2],
        to_lng=columns[3],
        start_ms=columns[4].astype(np.int64),
        seconds=columns[5],
    )


def fit(drives: Drives, base: Haversine) -> Fit:
    """A model of the drives. `ValueError` when there are too few.

    Detour and speed make the sums of metres and seconds right. Then the factor of each zone and hour is multiplied by
    (seconds driven) / (seconds expected) of the drives that touch it, in turns, until they agree with each other
    (iterative proportional fitting). Without lengths the detour stays `base`'s, without times of day its hours.
    """
    line_m = distance_m(drives.from_lat, drives.from_lng, drives.to_lat, drives.to_lng)
    usable = (line_m >= SHORTEST_M) & (drives.seconds > 0)
    drives, line_m = drives.where(usable), line_m[usable]
    held_out = np.arange(len(drives)) % HELD_OUT == 0
    known, line_m = drives.where(~held_out), line_m[~held_out]
    if len(known) < 2 * PRIOR_DRIVES:
        raise ValueError(f"{len(known)} usable drives are too few to learn from")
    detour = base.detour if known.metres is None else float(known.metres.sum() / line_m.sum())
    speed_mps = float(line_m.sum() * detour / known.seconds.sum())
    plain = line_m * detour / speed_mps
    prior_s = PRIOR_DRIVES * float(known.seconds.mean())

    cells = [_cells(*ends, base.zone_resolution) for ends in _ends(known)]
    names, index = np.unique(np.concatenate(cells), return_inverse=True)
    from_zone, to_zone = np.split(index, 2)
    zones, hours = np.ones(len(names)), np.ones(HOURS)
    hour = None if known.start_ms is None else _hours(known.start_ms, base.timezone)
    for _ in range(ROUNDS):
        by_hour = 1.0 if hour is None else hours[hour]
        expected = plain * by_hour * (zones[from_zone] + zones[to_zone]) / 2
        both = np.concatenate([from_zone, to_zone])
        zones *= _correction(both, len(names), np.tile(known.seconds, 2), np.tile(expected, 2), prior_s)
        zones = np.clip(zones, *FACTOR_RANGE)
        if hour is not None:
            expected = plain * hours[hour] * (zones[from_zone] + zones[to_zone]) / 2
            hours *= _correction(hour, HOURS, known.seconds, expected, prior_s)
            hours = np.clip(hours, *FACTOR_RANGE)
    model = replace(
        base,
        detour=round(detour, 4),
        speed_mps=round(speed_mps, 4),
        zone_factor={
            str(name): round(float(factor), 3)
            for name, factor in zip(names, zones, strict=True)
            if round(float(factor), 3) != 1.0
        },
        hour_factor=base.hour_factor if hour is None else tuple(round(float(h), 3) for h in hours),
    )
    test = drives.where(held_out)
    return Fit(model, len(drives), _error_s(base, test), _error_s(model, test))


def _correction(group: I64, count: int, driven: F64, expected: F64, prior_s: float) -> F64:
    """Seconds driven over seconds expected in each of `count` groups, drawn to 1 where drives are few."""
    return np.asarray(
        (np.bincount(group, driven, count) + prior_s) / (np.bincount(group, expected, count) + prior_s)
    )


def _error_s(model: Haversine, drives: Drives) -> float:
    """Mean absolute error in seconds."""
    times = np.zeros(len(drives), np.int64) if drives.start_ms is None else drives.start_ms
    hour = _hours(times, model.timezone)
    errors = np.zeros(len(drives))
    for value in np.unique(hour):
        at = hour == value
        ends = drives.from_lat[at], drives.from_lng[at], drives.to_lat[at], drives.to_lng[at]
        errors[at] = model.seconds(*ends, at_ms=int(times[at][0])) - drives.seconds[at]
    return float(np.abs(errors).mean())


def _around(chance: np.random.Generator, middle: F64, radius_m: float, count: int) -> F64:
    """count x 2 places, even over a disc."""
    away = radius_m * np.sqrt(chance.random(count)) / _M_PER_DEG
    angle = chance.random(count) * 2 * np.pi
    lat = middle[0] + away * np.sin(angle)
    return np.column_stack([lat, middle[1] + away * np.cos(angle) / np.cos(np.radians(middle[0]))])


def _ends(drives: Drives) -> tuple[tuple[F64, F64], tuple[F64, F64]]:
    return (drives.from_lat, drives.from_lng), (drives.to_lat, drives.to_lng)


def _cells(lat: F64, lng: F64, resolution: int) -> list[str]:
    return [h3.latlng_to_cell(*place, resolution) for place in zip(lat.tolist(), lng.tolist(), strict=True)]


def _hours(start_ms: I64, timezone: str) -> I64:
    zone = ZoneInfo(timezone)
    return np.array([instant(ms).astimezone(zone).hour for ms in start_ms.tolist()], np.int64)
