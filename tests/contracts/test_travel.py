"""Every travel-time model and every road engine through one suite. A new one adds its line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import h3
import numpy as np
import pytest

from domain.ground.arrays import F64
from domain.ground.geo import distance_m
from domain.ground.travel import Haversine, Planar, TravelTimes
from domain.ports import RoadRouter, VendorError
from integrations.registry import ROUTING
from integrations.routing.breaker import Breaker, FallbackRouter
from integrations.routing.options import RoadOptions
from integrations.routing.road_travel import Roads, RoadTravel
from tests.support.osrm_server import OsrmServer, osrm_server
from tests.support.roads import HARRISBURG_PLACES, harrisburg_tiles

TABLE_LIMIT = 8


@dataclass
class Engine:
    """A road engine, places that it knows, and one that no road leads to (none where it knows no roads)."""

    router: RoadRouter
    options: RoadOptions
    places: F64
    nowhere: tuple[float, float] | None


@pytest.fixture
def server() -> Iterator[OsrmServer]:
    with osrm_server(max_table=TABLE_LIMIT) as running:
        yield running


def haversine(_: pytest.FixtureRequest) -> tuple[RoadOptions, tuple[float, float] | None]:
    return RoadOptions(), None


def osrm(request: pytest.FixtureRequest) -> tuple[RoadOptions, tuple[float, float] | None]:
    url = request.getfixturevalue("server").url
    options = RoadOptions(router_mode="OSRM", osrm_url=url, router_table_limit=TABLE_LIMIT)
    return options, (85.0, -76.8)


def valhalla(_: pytest.FixtureRequest) -> tuple[RoadOptions, tuple[float, float] | None]:
    tiles = str(harrisburg_tiles())
    return RoadOptions(router_mode="VALHALLA", valhalla_tiles=tiles), (40.26, -77.5)


ENGINES = {"HAVERSINE": haversine, "OSRM": osrm, "VALHALLA": valhalla}


def test_every_engine_of_the_registry_is_held_to_this_suite() -> None:
    assert ENGINES.keys() == ROUTING.keys()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    options, nowhere = ENGINES[request.param](request)
    return Engine(ROUTING[request.param](options), options, np.array(HARRISBURG_PLACES), nowhere)


# -- road engines -----------------------------------------------------------------------------------------------------


def test_a_matrix_has_a_row_for_each_source_and_a_column_for_each_target(engine: Engine) -> None:
    matrix = engine.router.matrix(engine.places[:2], engine.places[2:])
    assert matrix.seconds.shape == matrix.metres.shape == (2, 4)
    assert np.all(matrix.seconds > 0)
    line_m = distance_m(
        engine.places[:2, None, 0], engine.places[:2, None, 1], engine.places[2:, 0], engine.places[2:, 1]
    )
    assert np.all(matrix.metres >= line_m * 0.99)
    assert np.all(matrix.metres / matrix.seconds < 40), "no faster than 144 km/h"


def test_matrix_and_route_agree(engine: Engine) -> None:
    matrix = engine.router.matrix(engine.places, engine.places)
    for i, a in enumerate(engine.places):
        for j, b in enumerate(engine.places):
            route = engine.router.route([tuple(a), tuple(b)])
            assert route is not None
            assert matrix.seconds[i, j] == pytest.approx(route.duration_s, rel=0.02, abs=1)
            # Of two ways that take as long, each may have taken another one.
            assert matrix.metres[i, j] == pytest.approx(route.distance_m, rel=0.1, abs=1)


def test_a_route_leads_from_the_first_place_through_the_others(engine: Engine) -> None:
    a, b, c = (tuple(place) for place in engine.places[:3])
    whole, first, second = (
        engine.router.route([a, b, c]),
        engine.router.route([a, b]),
        engine.router.route([b, c]),
    )
    assert whole is not None
    assert first is not None
    assert second is not None
    # At a stop an engine may have to turn round.
    assert whole.duration_s == pytest.approx(first.duration_s + second.duration_s, rel=0.15)
    assert float(distance_m(*whole.line[0], *a)) < 50
    assert float(distance_m(*whole.line[-1], *c)) < 50
    assert min(float(distance_m(*point, *b)) for point in whole.line) < 50


def test_a_place_without_a_road_spoils_nothing_else(engine: Engine) -> None:
    if engine.nowhere is None:
        pytest.skip("an engine without roads")
    sources = np.array([engine.nowhere, *engine.places[:2]])
    targets = np.array([engine.places[2], engine.nowhere, engine.nowhere])
    seconds = engine.router.matrix(sources, targets).seconds
    assert np.isfinite(seconds).tolist() == [[False] * 3, [True, False, False], [True, False, False]]
    assert seconds[1:, :1] == pytest.approx(engine.router.matrix(sources[1:], targets[:1]).seconds)
    assert engine.router.route([engine.nowhere, tuple(engine.places[0])]) is None


def test_nothing_to_ask_is_no_error(engine: Engine) -> None:
    assert engine.router.matrix(engine.places[:0], engine.places).seconds.shape == (0, 6)
    assert engine.router.matrix(engine.places, engine.places[:0]).metres.shape == (6, 0)


# -- travel times -----------------------------------------------------------------------------------------------------


def _zoned() -> Haversine:
    cells = {h3.latlng_to_cell(*place, 7) for place in HARRISBURG_PLACES[:3]}
    return Haversine(
        zone_factor=dict.fromkeys(cells, 1.5),
        hour_factor=tuple(1 + hour / 24 for hour in range(24)),
        timezone="America/New_York",
    )


MODELS: dict[str, Callable[[pytest.FixtureRequest], TravelTimes]] = {
    "haversine": lambda _: Haversine(),
    "zones_and_hours": lambda _: _zoned(),
    "planar": lambda _: Planar(metres_per_grain=300.0),
    "osrm": lambda request: _on_roads(*osrm(request)),
    "valhalla": lambda request: _on_roads(*valhalla(request)),
}


def _on_roads(options: RoadOptions, _: object) -> RoadTravel:
    return RoadTravel(Roads(ROUTING[options.router_mode](options), options), Haversine(), options)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> TravelTimes:
    return MODELS[request.param](request)


LAT, LNG = np.array(HARRISBURG_PLACES).T


def test_a_matrix_is_its_pairs(model: TravelTimes) -> None:
    table = model.seconds(LAT[:, None], LNG[:, None], LAT[None, :3], LNG[None, :3], 0)
    assert table.shape == (6, 3)
    i, j = (grid.ravel() for grid in np.indices((6, 3)))
    assert model.seconds(LAT[i], LNG[i], LAT[j], LNG[j], 0) == pytest.approx(table.ravel())
    one = model.seconds(LAT[5], LNG[5], LAT[1], LNG[1], 0)
    assert one.shape == ()
    assert float(one) == pytest.approx(table[5, 1])
    assert model.seconds(LAT[:0], LNG[:0], LAT[:0], LNG[:0], 0).shape == (0,)


def test_times_are_seconds_of_driving(model: TravelTimes) -> None:
    table = model.seconds(LAT[:, None], LNG[:, None], LAT, LNG, 0)
    assert np.all(np.diag(table) == 0)
    assert np.all(table[~np.eye(6, dtype=bool)] > 30)
    assert np.all(table < 3600)


def test_a_place_that_is_not_known_has_no_time(model: TravelTimes) -> None:
    times = model.seconds([LAT[0], np.nan, LAT[2]], [LNG[0], LNG[1], np.nan], LAT[3], LNG[3], 0)
    assert np.isfinite(times).tolist() == [True, False, False]


def test_an_answer_belongs_to_who_asked(model: TravelTimes) -> None:
    first = model.seconds(LAT[:, None], LNG[:, None], LAT, LNG, 0)
    kept = first.copy()
    first *= 2
    assert np.array_equal(model.seconds(LAT[:, None], LNG[:, None], LAT, LNG, 0), kept)


# -- engines that fail ------------------------------------------------------------------------------------------------


@pytest.fixture
def broken() -> Engine:
    """An address where nothing listens."""
    options = RoadOptions(router_mode="OSRM", osrm_url="http://127.0.0.1:9", router_timeout_s=1.0)
    return Engine(ROUTING["OSRM"](options), options, np.array(HARRISBURG_PLACES), None)


def test_an_engine_that_cannot_work_says_so(broken: Engine, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = RoadOptions(valhalla_tiles=str(tmp_path_factory.mktemp("empty")))
    for router in (broken.router, ROUTING["VALHALLA"](empty)):
        with pytest.raises(VendorError):
            router.matrix(broken.places, broken.places)
        with pytest.raises(VendorError):
            router.route(HARRISBURG_PLACES[:2])


def test_travel_times_survive_it(broken: Engine) -> None:
    travel = _on_roads(broken.options, None)
    plain = Haversine().seconds(LAT[:, None], LNG[:, None], LAT, LNG, 0)
    assert np.array_equal(travel.seconds(LAT[:, None], LNG[:, None], LAT, LNG, 0), plain)


def test_a_route_survives_it_as_a_straight_line(broken: Engine) -> None:
    router = FallbackRouter(broken.router, ROUTING["HAVERSINE"](broken.options), Breaker(60))
    route = router.route(HARRISBURG_PLACES[:2])
    assert route is not None
    assert (route.engine, route.line) == ("haversine", HARRISBURG_PLACES[:2])
