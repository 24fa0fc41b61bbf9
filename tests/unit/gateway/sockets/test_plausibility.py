"""Positions on their way in: what is not believed moves nobody, over sockets and REST, and is counted by reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors.config import Limits
from domain.ground.fixes import Doubt
from domain.orders.lifecycle import Role
from domain.region.fleet import Fleet
from gateway.sockets.positions import State, columns
from tests.support.gateway_world import DALLAS, REGION, SocketClient, World, until
from tests.unit.gateway.sockets.test_markets import FAR, HOUSTON, fleet_row, texas

__all__ = ["texas"]  # the fixture
NOWHERE = [
    {"lat": 0.0, "lng": 0.0},
    {"lat": 90.0, "lng": 0.0},
    {"lat": -90.0, "lng": -96.8},
    {"lat": 51.5, "lng": 0.1},
]
JUMP = Limits().fix_confirmations


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


async def say(client: SocketClient, place: dict[str, float], seq: int, **more: Any) -> None:
    await client.send({"type": "location", **place, "seq": seq, **more})


async def heard(client: SocketClient) -> None:
    """Wait until everything that was sent has been taken in."""
    await client.send({"type": "task.arrive", "id": "last", "task_id": "none"})
    while (await client.receive("error")).get("in_reply_to") != "last":
        pass


def where(world: World, driver_id: str) -> tuple[float, float]:
    state = world.services.pings.last(driver_id)
    assert state is not None
    return state.lat, state.lng


def doubts(world: World) -> dict[Doubt, int]:
    return {reason: n for reason, n in world.services.metrics.traffic.doubts.items() if n}


async def test_an_old_queue_moves_nobody(world: World) -> None:
    driver_id, client = await world.driver()
    here = {"lat": 32.781, "lng": -96.8}
    await say(client, here, 1, at=ago(0))
    for n, minutes in enumerate((15, 13, 12, 10, 0.5)):
        await say(client, {"lat": 32.79 + n / 1000, "lng": -96.8}, 2 + n, at=ago(60 * minutes))
    await heard(client)
    assert where(world, driver_id) == (32.781, -96.8)
    assert doubts(world) == {Doubt.OLD: 5}


@pytest.mark.parametrize("place", NOWHERE)
async def test_a_place_that_is_none_moves_nobody_and_to_no_other_market(
    texas: World, place: dict[str, float]
) -> None:
    driver_id, client = await texas.driver()
    await until(lambda: fleet_row(texas, REGION, driver_id) is not None)
    for seq in range(1, 8):
        await say(client, place, seq)
    await client.send({"type": "duty", "on": True, **place})
    assert (await client.receive("error"))["code"] == "INVALID_REQUEST"
    await heard(client)
    assert where(texas, driver_id) == (DALLAS["lat"], DALLAS["lng"])
    assert fleet_row(texas, FAR, driver_id) is None
    assert client.closed is None
    assert doubts(texas) == {Doubt.ELSEWHERE: 8}


async def test_one_jump_moves_nobody_to_another_market_and_several_that_agree_do(texas: World) -> None:
    driver_id, client = await texas.driver()
    for seq in range(1, JUMP):
        await say(client, HOUSTON, seq)
    await heard(client)
    assert where(texas, driver_id) == (DALLAS["lat"], DALLAS["lng"])
    assert fleet_row(texas, FAR, driver_id) is None
    await say(client, HOUSTON, JUMP)
    await until(lambda: fleet_row(texas, FAR, driver_id) is not None)
    assert doubts(texas) == {Doubt.JUMP: JUMP - 1}


async def test_what_a_phone_does_not_know_closes_nothing(world: World) -> None:
    driver_id, client = await world.driver()
    for seq in range(1, 8):
        await say(client, {"lat": 32.781, "lng": -96.8}, seq, speed_mps=-1, heading_deg=-1, accuracy_m=-1)
    await say(client, {"lat": 32.79, "lng": -96.8}, 8, accuracy_m=5_000)
    await heard(client)
    assert client.closed is None
    assert where(world, driver_id) == (32.781, -96.8)
    assert doubts(world) == {Doubt.VAGUE: 1}


@pytest.mark.parametrize("place", NOWHERE)
@pytest.mark.parametrize("with_socket", [True, False])
async def test_a_place_that_is_none_is_refused_over_rest(
    world: World, place: dict[str, float], with_socket: bool
) -> None:
    driver_id, headers = await world.account(Role.DRIVER)
    url = f"/v1/drivers/{driver_id}/duty"
    if with_socket:
        await world.connect(headers)
    refused = await world.http.post(url, json={"on": True, **place}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_REQUEST")
    assert (await world.http.post(url, json={"on": True, **DALLAS}, headers=headers)).status_code == 200
    # Who goes home may do so wherever the phone believes to be.
    assert (await world.http.post(url, json={"on": False, **place}, headers=headers)).status_code == 200
    state = world.services.pings.last(driver_id)
    assert state is not None
    assert (state.lat, state.lng, state.on_duty) == (DALLAS["lat"], DALLAS["lng"], False)


async def test_a_word_over_rest_and_a_position_of_before_it(world: World) -> None:
    driver_id, headers = await world.account(Role.DRIVER)
    client = await world.connect(headers, on_duty=False)
    said = await world.http.post(
        f"/v1/drivers/{driver_id}/duty", json={"on": True, "lat": 32.783, "lng": -96.8}, headers=headers
    )
    assert said.status_code == 200
    await say(client, {"lat": 32.781, "lng": -96.8}, 1, at=ago(30))
    await heard(client)
    assert where(world, driver_id) == (32.783, -96.8)


async def test_a_driver_who_is_heard_and_not_believed_is_not_lost_and_gets_no_offers(world: World) -> None:
    driver_id, client = await world.driver()
    pump = world.backend.regions[REGION]._pump
    assert pump is not None
    fleet = pump.region.state.fleet
    await until(lambda: driver_id in fleet.index and fleet.seen_ms[fleet.index[driver_id]])
    row = fleet.index[driver_id]
    seen_ms, heard_ms = int(fleet.seen_ms[row]), int(fleet.heard_ms[row])
    await until(lambda: world.services.config.clock.now_ms() > heard_ms + 1)
    await say(client, NOWHERE[0], 1)
    await until(lambda: int(fleet.heard_ms[row]) > heard_ms)
    assert int(fleet.seen_ms[row]) == seen_ms


def test_a_position_is_as_old_as_it_is_when_a_region_hears_of_it_late() -> None:
    fleet = Fleet()
    states = [
        State("old", "r", 1, 1, 32.0, -96.0, True, 0.0, place_ms=1_000),
        State("ahead", "r", 1, 1, 32.0, -96.0, True, 0.0, place_ms=99_000),
        State("unknown", "r", 1, 1, 32.0, -96.0, True, 0.0),
    ]
    fleet.see(50_000, columns("gateway:0", states))
    assert fleet.seen_ms[:3].tolist() == [1_000, 50_000, 50_000]
    assert fleet.heard_ms[:3].tolist() == [50_000] * 3


async def test_what_was_not_believed_is_on_the_metrics_page(world: World) -> None:
    _, client = await world.driver()
    await say(client, NOWHERE[0], 1)
    await heard(client)
    [family] = [one for one in world.services.metrics.figures() if one.name == "doorstep_positions_doubted"]
    assert {sample.labels["reason"]: sample.value for sample in family.samples} == {
        "old": 0.0,
        "vague": 0.0,
        "elsewhere": 1.0,
        "jump": 0.0,
    }
