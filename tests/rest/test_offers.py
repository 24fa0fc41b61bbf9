"""The offer log and explanations as operators and drivers read them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from httpx import Response
from msgspec.structs import replace

from domain.errors import CATALOGUE
from domain.ground.times import instant
from domain.orders.lifecycle import Role
from domain.orders.records import OfferRow
from domain.solve import Candidate, Explanation
from tests.contracts import store_world
from tests.contracts.store_world import new_id
from tests.support.gateway_world import REGION, World, running, until

ANN, BOB, CY = new_id(), new_id(), new_id()
WHY = Explanation(
    candidates=(
        Candidate(driver_id=ANN, cost=50.0, terms={"travel": 10.0, "delay": 40.0}),
        Candidate(driver_id=BOB, cost=80.5, terms={"travel": 30.0, "delay": 50.5}),
        Candidate(driver_id=CY, cost=float("inf"), terms={"travel": 90.0, "delay": float("inf")}),
    ),
    pruned={"shift_ends": 4},
    runner_up=ANN,
    gap=-30.5,
)


@pytest.fixture
async def rows(world: World) -> store_world.World:
    return await speaker(world)


async def speaker(world: World) -> store_world.World:
    """Speaks to the gateway's store as its region does."""
    store = world.backend.store
    rows = await store_world.World(store).seed()
    rows.epoch = store.epochs[REGION]
    return rows


async def offered(
    rows: store_world.World, driver_id: str = BOB, why: Explanation | None = WHY
) -> tuple[Any, OfferRow]:
    """A task and the offer of it that was made to the driver."""
    record, task, offer = rows.offered(await rows.confirmed(), driver_id)
    await rows.append(rows.records(replace(record, offers=(replace(offer, explanation=why),))))
    return task, offer


async def explain(world: World, offer_id: str, headers: dict[str, str]) -> Response:
    return await world.http.get(f"/v1/offers/{offer_id}/explain", headers=headers)


def code(response: Response) -> str:
    body = response.json()
    assert response.status_code == CATALOGUE[body["code"]].status
    return str(body["code"])


def stamp(ms: int) -> str:
    return str(msgspec.to_builtins(instant(ms)))


# -- explanations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.DISPATCHER, Role.ADMIN])
async def test_an_operator_sees_every_candidate(world: World, rows: store_world.World, role: Role) -> None:
    task, offer = await offered(rows)
    response = await explain(world, offer.offer_id, world.auth(new_id(), role))
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body.pop("offer") == {
        "id": offer.offer_id,
        "region_id": REGION,
        "driver_id": BOB,
        "task_ids": [task.task_id],
        "status": "OFFERED",
        "reason": None,
        "made_at": stamp(offer.made_ms),
        "expires_at": stamp(offer.expires_ms),
        "seen_at": None,
        "closed_at": None,
        "latency_s": None,
        "seen_latency_s": None,
        "features": {"pickup_km": 1.5, "p_accept": 1.0},
    }
    assert body == {
        "candidates": [
            {"rank": 1, "driver_id": ANN, "cost": 50.0, "terms": {"travel": 10.0, "delay": 40.0}},
            {"rank": 2, "driver_id": BOB, "cost": 80.5, "terms": {"travel": 30.0, "delay": 50.5}},
            {"rank": 3, "driver_id": CY, "cost": None, "terms": {"travel": 90.0, "delay": None}},
        ],
        "chosen": 2,
        "runner_up": 1,
        "gap": -30.5,
        "pruned": {"shift_ends": 4},
    }


async def test_the_driver_of_the_offer_sees_the_others_by_their_ranks(
    world: World, rows: store_world.World
) -> None:
    _, offer = await offered(rows)
    response = await explain(world, offer.offer_id, world.auth(BOB, Role.DRIVER))
    assert response.status_code == 200
    assert [(one["rank"], one["driver_id"]) for one in response.json()["candidates"]] == [
        (1, None),
        (2, BOB),
        (3, None),
    ]
    assert (response.json()["chosen"], response.json()["runner_up"]) == (2, 1)
    assert ANN not in response.text
    assert CY not in response.text


async def test_nobody_else_finds_the_offer(world: World, rows: store_world.World) -> None:
    _, offer = await offered(rows)
    strangers = [(ANN, Role.DRIVER), (rows.customer_id, Role.CUSTOMER), (rows.merchant_id, Role.MERCHANT)]
    # The driver's id under another role is no way in either.
    for user_id, role in [*strangers, (BOB, Role.CUSTOMER)]:
        assert code(await explain(world, offer.offer_id, world.auth(user_id, role))) == "NOT_FOUND"
    admin = world.auth(new_id(), Role.ADMIN)
    assert code(await explain(world, new_id(), admin)) == "NOT_FOUND"
    assert code(await explain(world, "no-id", admin)) == "INVALID_REQUEST"
    assert code(await explain(world, offer.offer_id, {})) == "UNAUTHENTICATED"


async def test_an_open_mission_control_shows_what_operators_see() -> None:
    async with running(ops_open=True) as world:
        rows = await speaker(world)
        _, offer = await offered(rows)
        [listed] = (await world.http.get("/v1/offers")).json()["offers"]
        assert listed["id"] == offer.offer_id
        assert [
            one["driver_id"] for one in (await explain(world, offer.offer_id, {})).json()["candidates"]
        ] == [
            ANN,
            BOB,
            CY,
        ]
        assert code(await explain(world, offer.offer_id, world.auth(ANN, Role.DRIVER))) == "NOT_FOUND"


async def test_an_explanation_has_its_time(world: World, rows: store_world.World) -> None:
    _, offer = await offered(rows)
    _, never = await offered(rows, why=None)
    admin, driver = world.auth(new_id(), Role.ADMIN), world.auth(BOB, Role.DRIVER)
    assert await rows.store.sweep(0, offer.made_ms + 1, 10) == 1
    for one in (offer, never):
        for headers in (admin, driver):
            assert code(await explain(world, one.offer_id, headers)) == "EXPLANATION_EXPIRED"
        stranger = world.auth(ANN, Role.DRIVER)
        assert code(await explain(world, one.offer_id, stranger)) == "NOT_FOUND"


async def test_an_explanation_without_its_driver_or_runner_up(world: World, rows: store_world.World) -> None:
    alone = replace(WHY, candidates=WHY.candidates[:1], runner_up=None, gap=None)
    _, offer = await offered(rows, why=alone)
    body = (await explain(world, offer.offer_id, world.auth(new_id(), Role.ADMIN))).json()
    assert (body["chosen"], body["runner_up"], body["gap"]) == (None, None, None)


# -- the log ----------------------------------------------------------------------------------------------------------


async def test_the_log_tells_outcome_and_latency(world: World, rows: store_world.World) -> None:
    task, offer = await offered(rows)
    closed, _, _ = rows.expired(task, replace(offer, seen_ms=offer.made_ms + 400))
    await rows.append(rows.records(closed))
    response = await world.http.get("/v1/offers", headers=world.auth(new_id(), Role.DISPATCHER))
    [row] = response.json()["offers"]
    assert row == {
        "id": offer.offer_id,
        "region_id": REGION,
        "driver_id": BOB,
        "task_ids": [task.task_id],
        "status": "EXPIRED",
        "reason": "TTL",
        "made_at": stamp(offer.made_ms),
        "expires_at": stamp(offer.expires_ms),
        "seen_at": stamp(offer.made_ms + 400),
        "closed_at": stamp(offer.made_ms + 1000),
        "latency_s": 1.0,
        "seen_latency_s": 0.4,
        "features": {"pickup_km": 1.5, "p_accept": 1.0},
    }
    assert response.json()["next_cursor"] is None


async def test_the_log_goes_by_pages_and_filters(world: World, rows: store_world.World) -> None:
    pairs = [await offered(rows) for _ in range(5)]
    offers = [offer for _, offer in pairs]
    closed, _, _ = rows.expired(*pairs[3])
    await rows.append(rows.records(closed))
    admin = world.auth(new_id(), Role.ADMIN)

    async def found(**params: str) -> tuple[list[int], str | None]:
        response = await world.http.get("/v1/offers", params=params, headers=admin)
        assert response.status_code == 200, response.text
        ids = [offer.offer_id for offer in offers]
        return [ids.index(row["id"]) for row in response.json()["offers"]], response.json()["next_cursor"]

    first, cursor = await found(limit="2")
    assert (first, cursor is None) == ([4, 3], False)
    second, cursor = await found(limit="2", cursor=cursor or "")
    assert second == [2, 1]
    third, cursor = await found(limit="2", cursor=cursor or "")
    assert (third, cursor) == ([0], None)
    between = {"from": stamp(offers[1].made_ms), "to": stamp(offers[4].made_ms)}
    assert await found(**between) == ([3, 2, 1], None)
    assert await found(**between, status="EXPIRED") == ([3], None)
    assert await found(region_id="tx-hou") == ([], None)
    assert await found(region_id=REGION, status="ACCEPTED") == ([], None)


async def test_the_log_is_for_operators_and_takes_no_nonsense(world: World, rows: store_world.World) -> None:
    for role in (Role.DRIVER, Role.CUSTOMER, Role.MERCHANT):
        response = await world.http.get("/v1/offers", headers=world.auth(new_id(), role))
        assert code(response) == "FORBIDDEN"
    assert code(await world.http.get("/v1/offers")) == "UNAUTHENTICATED"
    admin = world.auth(new_id(), Role.ADMIN)
    for bad in (
        {"cursor": "!!"},
        {"limit": "0"},
        {"limit": "201"},
        {"status": "LOST"},
        {"from": "yesterday"},
        {"to": "2030-01-01"},
        {"region_id": "x" * 65},
    ):
        response = await world.http.get("/v1/offers", params=bad, headers=admin)
        assert code(response) == "INVALID_REQUEST", bad


async def test_the_api_describes_both(world: World) -> None:
    paths = (await world.http.get("/openapi.json")).json()["paths"]
    log = paths["/v1/offers"]["get"]
    assert {one["name"] for one in log["parameters"]} == {
        "region_id", "from", "to", "status", "cursor", "limit",
    }  # fmt: skip
    explained = paths["/v1/offers/{offer_id}/explain"]["get"]
    assert "EXPLANATION_EXPIRED" in explained["responses"]["410"]["description"]


async def test_what_the_solver_says_of_an_offer_is_what_is_read(world: World) -> None:
    drivers = {(await world.driver())[0] for _ in range(2)}
    await until(lambda: world.services.pings.sent >= 2)
    await world.order("CONFIRMED")
    await until(lambda: world.backend.store.offers)
    [offer] = world.backend.store.offers.values()
    assert offer.features.keys() >= {"pickup_km", "p_accept", "cost_s"}
    body = (await explain(world, offer.offer_id, world.auth(new_id(), Role.DISPATCHER))).json()
    assert {one["driver_id"] for one in body["candidates"]} == drivers
    assert body["candidates"][body["chosen"] - 1]["driver_id"] == offer.driver_id
    for one in body["candidates"]:
        terms = dict(one["terms"])
        likely, declined = terms.pop("p_accept"), terms.pop("declined")
        assert one["cost"] == pytest.approx(sum(terms.values()) / likely + declined, rel=0.01, abs=0.1)
