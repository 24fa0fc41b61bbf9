"""GET /v1/route: who may ask, what is refused, and which engine answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from domain.ground.geo import distance_m
from domain.orders.lifecycle import Role
from gateway.deciders.roads import ROUTES_WAITING_LIMIT
from integrations.routing.options import RoadOptions
from tests.support.gateway_world import World, running
from tests.support.osrm_server import OsrmServer, drive, osrm_server

A, B = (32.78, -96.80), (32.90, -96.75)
QUERY = {"from": "32.78,-96.80", "to": " 32.90, -96.75"}


@pytest.fixture
def server() -> Iterator[OsrmServer]:
    with osrm_server() as made:
        yield made


async def test_without_a_road_engine_it_is_a_straight_line(world: World) -> None:
    _, headers = await world.account(Role.CUSTOMER)
    response = await world.http.get("/v1/route", params=QUERY, headers=headers)
    assert response.status_code == 200, response.text
    metres = float(distance_m(*A, *B)) * 1.35
    body = response.json()
    assert body["engine"] == "haversine"
    assert body["distance_m"] == pytest.approx(metres, abs=0.1)
    assert body["duration_s"] == pytest.approx(metres / 10, abs=0.1)
    assert body["geometry"] == {"type": "LineString", "coordinates": [[-96.80, 32.78], [-96.75, 32.90]]}


async def test_only_who_is_signed_in_may_ask(world: World) -> None:
    response = await world.http.get("/v1/route", params=QUERY)
    assert (response.status_code, response.json()["code"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ({"from": "32.78,-96.80"}, "to"),
        ({"from": "here", "to": "32.90,-96.75"}, "`from`"),
        ({"from": "32.78,-96.80", "to": "32.90"}, "`to`"),
        ({"from": "32.78,-96.80", "to": "32.90,-96.75,7"}, "`to`"),
        ({"from": "132.78,-96.80", "to": "32.90,-96.75"}, "`from`"),
        ({"from": "nan,-96.80", "to": "32.90,-96.75"}, "`from`"),
        ({"from": "32.78,inf", "to": "32.90,-96.75"}, "`from`"),
        ({"from": "32.78,-96.80", "to": "0" * 100}, "to"),
        ({"from": "32.78,-96.80", "to": "40.71,-74.00"}, "500 km"),
    ],
)
async def test_what_is_no_pair_of_places_is_refused(world: World, query: dict[str, str], place: str) -> None:
    _, headers = await world.account(Role.DRIVER)
    response = await world.http.get("/v1/route", params=query, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "INVALID_REQUEST")
    assert response.headers["content-type"] == "application/problem+json"
    assert place in response.text


async def test_the_road_engine_answers_and_its_failure_is_a_straight_line(server: OsrmServer) -> None:
    options = RoadOptions(router_mode="OSRM", osrm_url=server.url, router_timeout_s=1.0)
    async with running(roads=options) as world:
        _, headers = await world.account(Role.DISPATCHER)

        async def ask(**query: str) -> tuple[int, dict[str, object]]:
            response = await world.http.get("/v1/route", params=QUERY | query, headers=headers)
            return response.status_code, response.json()

        status, body = await ask()
        assert (status, body["engine"]) == (200, "osrm")
        assert (body["duration_s"], body["distance_m"]) == pytest.approx(drive(A, B), abs=0.1)
        status, body = await ask(to="81,-96.75", **{"from": "80.5,-96.75"})
        assert (status, body["code"]) == (404, "NOT_FOUND")
        server.trouble = "down"
        for _ in range(3):
            status, body = await ask()
            assert (status, body["engine"]) == (200, "haversine")
        assert len(server.paths) == 3, "after the failure the server is left alone for a while"


async def test_too_many_at_once_are_sent_away(world: World) -> None:
    _, headers = await world.account(Role.CUSTOMER)
    world.services.roads._waiting = ROUTES_WAITING_LIMIT
    response = await world.http.get("/v1/route", params=QUERY, headers=headers)
    assert (response.status_code, response.json()["code"]) == (503, "OVERLOADED")
    assert response.headers["Retry-After"] == "2"
