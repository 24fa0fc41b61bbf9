"""Ready is who has all that work needs; who is not says what is missing, market by market."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import Response

from actors.config import Limits
from gateway.rest.kit import readiness
from tests.integration.live import free_port
from tests.support.gateway_world import REGION, World, running

FAR = "tx-hou"
PARTS = [
    *("database", "persistence:0", "persistence:1"),
    *(f"region:{REGION}", f"solver:{REGION}", f"region:{FAR}", f"solver:{FAR}"),
]


@pytest.fixture
async def texas(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(readiness, "ASK_TIMEOUT_S", 0.1)
    async with running(
        regions=(REGION, FAR), persistence_actors=2, limits=Limits(status_keep_s=0.0)
    ) as world:
        yield world


async def ask(world: World) -> Response:
    return await world.http.get("/health/ready")


def missing(response: Response) -> dict[str, list[str]]:
    markets: dict[str, Any] = response.json()["markets"]
    return {market: found["missing"] for market, found in markets.items()}


async def test_every_part_is_asked(texas: World) -> None:
    response = await ask(texas)
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    assert response.json()["parts"] == dict.fromkeys(PARTS, "ok")
    assert missing(response) == {REGION: [], FAR: []}


async def test_a_frozen_persistence_actor_is_missing_everywhere(texas: World) -> None:
    texas.backend.silent.add("persistence:1")
    response = await ask(texas)
    assert (response.status_code, response.json()["status"]) == (503, "unavailable")
    assert response.json()["parts"]["persistence:1"] == "TimeoutError"
    assert missing(response) == {REGION: ["persistence:1"], FAR: ["persistence:1"]}


async def test_a_region_that_is_away_is_missing_in_its_market_alone(texas: World) -> None:
    await texas.backend.regions[FAR].stop()
    response = await ask(texas)
    assert response.status_code == 503
    assert missing(response) == {REGION: [], FAR: [f"region:{FAR}"]}


async def test_a_region_whose_solves_do_not_come_back_has_no_solver(texas: World) -> None:
    shell = texas.backend.regions[FAR]
    shell._solves_failing = 1
    assert (await ask(texas)).status_code == 200
    shell._solves_failing = 2
    response = await ask(texas)
    assert response.status_code == 503
    assert missing(response) == {REGION: [], FAR: [f"solver:{FAR}"]}
    assert response.json()["parts"][f"solver:{FAR}"] == "2 solves in a row failed"


async def test_a_database_that_does_not_answer_is_missing_everywhere(
    texas: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(texas.services.reads, "regions", never)
    assert missing(await ask(texas)) == {REGION: ["database"], FAR: ["database"]}


async def test_redis_is_a_helper() -> None:
    async with running(redis_url=f"redis://127.0.0.1:{free_port()}/0") as world:
        response = await ask(world)
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["parts"]["redis"] == "ConnectionError"
