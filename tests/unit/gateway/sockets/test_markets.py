"""A driver who drives into another market: one region at a time has the driver, and a task keeps its region."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.config import Limits
from domain.errors import StoreUnavailable
from domain.orders.lifecycle import Role
from domain.region.policy import RegionPolicy
from tests.support.gateway_world import DALLAS, REGION, SocketClient, World, running, until

HOUSTON = {"lat": 29.76, "lng": -95.37}
FAR = "tx-hou"


@pytest.fixture
async def texas() -> AsyncIterator[World]:
    async with running(regions=(REGION, FAR)) as world:
        yield world


def fleet_row(world: World, region_id: str, driver_id: str) -> dict[str, Any] | None:
    """What a region knows of a driver; None before it has heard of one."""
    pump = world.backend.regions[region_id]._pump
    assert pump is not None
    fleet = pump.region.state.fleet
    if driver_id not in fleet.index:
        return None
    row = fleet.index[driver_id]
    return {
        "on": bool(fleet.on_duty[row]),
        "lat": round(float(fleet.lat[row]), 4),
        "open": bool(fleet.gateway[row] >= 0),
    }


JUMP = Limits().fix_confirmations  # positions that agree, so that one which is far away is believed


async def ping(client: SocketClient, place: dict[str, float], seq: int) -> None:
    for n in range(JUMP):
        await client.send({"type": "location", **place, "seq": JUMP * seq + n})


def here(place: dict[str, float]) -> dict[str, Any]:
    return {"on": True, "lat": place["lat"], "open": True}


def gone(place: dict[str, float]) -> dict[str, Any]:
    return {"on": False, "lat": place["lat"], "open": False}


async def test_a_free_driver_goes_over(texas: World) -> None:
    driver_id, client = await texas.driver()
    await until(lambda: fleet_row(texas, REGION, driver_id) == here(DALLAS))
    await ping(client, HOUSTON, 1)
    await until(lambda: fleet_row(texas, FAR, driver_id) == here(HOUSTON))
    await until(lambda: fleet_row(texas, REGION, driver_id) == gone(HOUSTON))
    await ping(client, {"lat": 29.8, "lng": -95.37}, 2)
    await until(lambda: fleet_row(texas, FAR, driver_id) == here({"lat": 29.8}))
    await ping(client, DALLAS, 3)
    await until(lambda: fleet_row(texas, REGION, driver_id) == here(DALLAS))
    await texas.order("CONFIRMED")
    assert (await client.receive("offer"))["type"] == "offer"
    assert fleet_row(texas, FAR, driver_id) == gone(DALLAS)


async def test_an_offer_or_a_task_keeps_its_region(texas: World) -> None:
    driver_id, client = await texas.driver()
    await texas.order("CONFIRMED")
    offer = await client.receive("offer")
    await ping(client, HOUSTON, 1)
    await until(lambda: fleet_row(texas, REGION, driver_id) == here(HOUSTON))
    await client.send({"type": "offer.accept", "id": "a", "offer_id": offer["offer_id"]})
    assert (await client.receive("offer.accepted", "error"))["type"] == "offer.accepted"
    await ping(client, {"lat": 29.8, "lng": -95.37}, 2)
    await until(lambda: fleet_row(texas, REGION, driver_id) == here({"lat": 29.8}))
    assert fleet_row(texas, FAR, driver_id) is None
    # A reconnect there is one to the task's region, too.
    again = await texas.connect(texas.auth(driver_id, Role.DRIVER), on_duty=False)
    await ping(again, HOUSTON, 1)
    await until(lambda: fleet_row(texas, REGION, driver_id) == here(HOUSTON))
    assert fleet_row(texas, FAR, driver_id) is None


async def test_one_question_at_a_time_whether_the_driver_may_go(
    texas: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver_id, client = await texas.driver()
    await texas.order("CONFIRMED")
    await client.receive("offer")
    asked, gate = 0, asyncio.Event()

    async def away(driver_id: str) -> str | None:
        nonlocal asked
        asked += 1
        await gate.wait()
        raise StoreUnavailable(retry_after_s=1)

    monkeypatch.setattr(texas.reads, "driver_region", away)
    for seq in range(1, 4):
        await ping(client, {"lat": 29 + seq / 10, "lng": -95.37}, seq)
        await until(lambda seq=seq: fleet_row(texas, REGION, driver_id) == here({"lat": 29 + seq / 10}))  # type: ignore[misc]
    gate.set()
    await client.receive("closed")
    assert client.closed == (1012, "STORE_UNAVAILABLE")
    assert asked == 1


async def test_a_driver_without_a_socket(texas: World) -> None:
    driver_id, headers = await texas.account(Role.DRIVER)

    async def say(place: dict[str, float], on: bool = True) -> str:
        for _ in range(JUMP):
            said = await texas.http.post(
                f"/v1/drivers/{driver_id}/duty", json={"on": on, **place}, headers=headers
            )
        return str(said.json()["region_id"])

    def known(place: dict[str, float], on: bool) -> dict[str, Any]:
        return {"on": on, "lat": place["lat"], "open": False}

    assert await say(HOUSTON) == FAR
    await until(lambda: fleet_row(texas, FAR, driver_id) == known(HOUSTON, True))
    assert await say(DALLAS) == REGION
    await until(lambda: fleet_row(texas, REGION, driver_id) == known(DALLAS, True))
    assert fleet_row(texas, FAR, driver_id) == known(HOUSTON, False)
    await texas.order("CONFIRMED")
    await until(lambda: any(offer.driver_id == driver_id for offer in texas.backend.store.offers.values()))
    assert await say(HOUSTON) == REGION, "the offer keeps its region"
    await until(lambda: fleet_row(texas, REGION, driver_id) == known(HOUSTON, True))
    assert fleet_row(texas, FAR, driver_id) == known(HOUSTON, False)


async def test_an_order_is_promised_by_its_markets_own_policy() -> None:
    slow = RegionPolicy(
        fast_window_s=0.01, fast_max_wait_s=0.05, offer_lead_s=3600.0, prep_s=1200.0, promise_s=5400.0
    )
    async with running(policies={REGION: slow}) as world:
        order = await world.order("CONFIRMED")
        row = world.backend.store.orders[order.id]
        [task] = world.backend.store.tasks.values()
        accepted_ms = task.opened_ms
        assert (row.ready_ms, row.due_ms) == (accepted_ms + 1_200_000, accepted_ms + 5_400_000)
