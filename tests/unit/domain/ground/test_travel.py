"""The travel models that need no road engine."""

from __future__ import annotations

from datetime import UTC, datetime

import h3
import msgspec
import numpy as np
import pytest

from domain.ground.geo import distance_m
from domain.ground.times import millis
from domain.ground.travel import Haversine, Planar, TravelModel

A, B, C = (32.78, -96.80), (32.90, -96.75), (33.10, -97.30)
NOON = millis(datetime(2026, 1, 15, 18, tzinfo=UTC))  # 12:00 in Chicago


def seconds(model: TravelModel, a: tuple[float, float], b: tuple[float, float], at_ms: int = NOON) -> float:
    return float(model.seconds(*a, *b, at_ms))


def test_a_drive_is_the_line_times_detour_over_speed() -> None:
    model = Haversine(speed_mps=8.0, detour=1.5)
    assert seconds(model, A, B) == pytest.approx(float(distance_m(*A, *B)) * 1.5 / 8.0)


def test_the_zones_of_both_ends_count() -> None:
    zone_a, zone_b = (h3.latlng_to_cell(*place, 7) for place in (A, B))
    model = Haversine(zone_factor={zone_a: 1.4, zone_b: 1.2})
    plain = Haversine()
    assert seconds(model, A, B) == pytest.approx(seconds(plain, A, B) * 1.3)
    assert seconds(model, B, A) == pytest.approx(seconds(plain, B, A) * 1.3)
    assert seconds(model, A, C) == pytest.approx(seconds(plain, A, C) * 1.2), "C is in no zone of the table"
    assert seconds(model, C, C) == 0


def test_zones_are_found_for_matrices_as_for_pairs() -> None:
    # Each place in the middle of a cell: places are put into zones by a grid of 100 m, coarser than a border.
    cells = sorted(h3.grid_disk(h3.latlng_to_cell(*A, 6), 3))
    lat, lng = np.array([h3.cell_to_latlng(cell) for cell in cells]).T
    factors = np.array([1.0 if i % 3 == 0 else 1 + i / 100 for i in range(len(cells))])
    table = {
        cell: factor for i, (cell, factor) in enumerate(zip(cells, factors.tolist(), strict=True)) if i % 3
    }
    model = Haversine(zone_resolution=6, zone_factor=table)
    ends = lat[:, None], lng[:, None], lat, lng
    expected = Haversine().seconds(*ends, NOON) * (factors[:, None] + factors) / 2
    assert model.seconds(*ends, NOON) == pytest.approx(expected)
    pairs = lat[:-1], lng[:-1], lat[1:], lng[1:]
    assert model.seconds(*pairs, NOON) == pytest.approx(np.diag(expected, 1))


@pytest.mark.parametrize(
    ("at", "hour"),
    [
        (datetime(2026, 1, 15, 5, 59, tzinfo=UTC), 23),  # Chicago's winter time
        (datetime(2026, 1, 15, 6, 0, tzinfo=UTC), 0),
        (datetime(2026, 7, 15, 5, 0, tzinfo=UTC), 0),  # and its summer time
        (datetime(2026, 7, 15, 22, 30, tzinfo=UTC), 17),
    ],
)
def test_the_hour_is_that_on_the_local_clock(at: datetime, hour: int) -> None:
    model = Haversine(hour_factor=tuple(float(h + 1) for h in range(24)), timezone="America/Chicago")
    assert seconds(model, A, B, millis(at)) == pytest.approx(seconds(Haversine(), A, B) * (hour + 1))


@pytest.mark.parametrize(
    "fields",
    [
        {"hour_factor": (1.0,) * 23},
        {"hour_factor": (0.0,) * 24},
        {"zone_factor": {"872aa8c0dffffff": -1.0}},
        {"zone_resolution": 16},
        {"speed_mps": 0.0},
        {"detour": float("inf")},
        {"detour": float("nan")},
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Haversine(**fields)  # type: ignore[arg-type]
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"type": "Haversine", **fields}, TravelModel)


def plane(x_m: float, y_m: float) -> tuple[float, float]:
    return y_m * 1e-5, x_m * 1e-5


@pytest.mark.parametrize(
    ("metres", "grains"), [(0, 0), (1, 1), (319.999, 1), (320, 1), (320.001, 2), (6400, 20), (1e6, 3125)]
)
def test_planar_drives_take_whole_grains(metres: float, grains: int) -> None:
    model = Planar(metres_per_grain=320.0)
    for angle in (0.0, 0.3, 1.1, 2.5):
        a, b = plane(500, 700), plane(500 + metres * np.cos(angle), 700 + metres * np.sin(angle))
        assert seconds(model, a, b) == grains * 60
    assert seconds(Planar(metres_per_grain=320.0, grain_s=1.0), plane(0, 0), plane(metres, 0)) == grains


@pytest.mark.parametrize("fields", [{"metres_per_grain": 0.0}, {"metres_per_grain": 1.0, "grain_s": -1.0}])
def test_a_plane_without_size_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Planar(**fields)


def test_a_model_goes_through_json() -> None:
    models: list[TravelModel] = [
        Haversine(zone_factor={"872aa8c0dffffff": 1.25}, hour_factor=(1.5,) * 24, timezone="America/Chicago"),
        Planar(metres_per_grain=320.0),
    ]
    for model in models:
        assert msgspec.json.decode(msgspec.json.encode(model), type=TravelModel) == model
