"""The OSRM client against a real HTTP server that answers well, badly, late or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import ceil

import numpy as np
import pytest

from domain.ground.travel import Haversine
from domain.ports import VendorError
from integrations.routing.options import RoadOptions
from integrations.routing.osrm import OsrmRouter
from integrations.routing.road_travel import Roads, RoadTravel
from tests.support.osrm_server import TROUBLES, OsrmServer, drive, osrm_server

TIMEOUT_S = 0.3
TABLE = 10
RNG = np.random.default_rng(3)
PLACES = np.column_stack([50 + RNG.random(23) / 10, 8 + RNG.random(23) / 10])
LAT, LNG = PLACES.T


@pytest.fixture(scope="module")
def running() -> Iterator[OsrmServer]:
    with osrm_server(max_table=TABLE) as server:
        yield server


@pytest.fixture
def server(running: OsrmServer) -> OsrmServer:
    running.trouble = None
    running.paths.clear()
    return running


@pytest.fixture
def router(server: OsrmServer) -> OsrmRouter:
    return OsrmRouter(server.url + "/", TIMEOUT_S, TABLE)


def test_tables_are_cut_to_the_size_that_the_server_takes(server: OsrmServer, router: OsrmRouter) -> None:
    matrix = router.matrix(PLACES, PLACES[:12])
    for i in range(23):
        for j in range(12):
            seconds, metres = drive(tuple(PLACES[i].round(6)), tuple(PLACES[j].round(6))) or (0, 0)
            assert matrix.seconds[i, j] == pytest.approx(seconds)
            assert matrix.metres[i, j] == pytest.approx(metres)
    assert len(server.paths) == ceil(23 / 5) * ceil(12 / 5)


def test_no_way_is_an_answer(router: OsrmRouter) -> None:
    island = (50.0, 12.0)
    matrix = router.matrix(np.array([PLACES[0], island]), np.array([PLACES[1], island]))
    assert np.isnan(matrix.seconds).tolist() == [[False, True], [True, False]]
    assert np.isnan(matrix.metres).tolist() == [[False, True], [True, False]]
    assert router.route([tuple(PLACES[0]), island]) is None


def test_a_table_of_odd_places_ends(server: OsrmServer, router: OsrmRouter) -> None:
    odd = np.tile([[85.0, 8.0]], (5, 1))
    assert np.all(np.isnan(router.matrix(odd, odd).seconds))
    assert len(server.paths) <= 10


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_failing_server_is_a_vendor_error_in_time(
    server: OsrmServer, router: OsrmRouter, trouble: str
) -> None:
    server.trouble = trouble
    began = time.monotonic()
    with pytest.raises(VendorError):
        router.matrix(PLACES[:3], PLACES[:4])
    assert time.monotonic() - began < TIMEOUT_S + 2


@pytest.mark.parametrize("trouble", TROUBLES)
def test_travel_times_fall_back_and_come_back(server: OsrmServer, trouble: str) -> None:
    options = RoadOptions(router_timeout_s=TIMEOUT_S, router_table_limit=TABLE, router_retry_s=30)
    now = [0.0]
    roads = Roads(OsrmRouter(server.url, TIMEOUT_S, TABLE), options, lambda: now[0])
    travel, plain = RoadTravel(roads, Haversine(), options), Haversine()
    ends = LAT[:3, None], LNG[:3, None], LAT[3:6], LNG[3:6]
    server.trouble = trouble
    for _ in range(3):
        assert np.array_equal(travel.seconds(*ends, at_ms=0), plain.seconds(*ends, at_ms=0))
    assert len(server.paths) == 1, "one failure, then a pause"
    server.trouble = None
    now[0] += 30
    rounded = [tuple(place.round(4)) for place in PLACES[:6]]
    expected = [[(drive(a, b) or (0, 0))[0] for b in rounded[3:]] for a in rounded[:3]]
    assert travel.seconds(*ends, at_ms=0) == pytest.approx(np.array(expected))
    assert roads.counts.failures == 1


def test_a_route_is_read(router: OsrmRouter) -> None:
    a, b = (50.01, 8.01), (50.02, 8.05)
    route = router.route([a, b])
    assert route is not None
    assert (route.engine, route.line) == ("osrm", (a, b))
    assert (route.duration_s, route.distance_m) == pytest.approx(drive(a, b))
