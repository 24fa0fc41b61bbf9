"""What is not yours is not there: no state, no version, no address, whatever you ask with."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from domain.orders.lifecycle import Role
from tests.rest.test_story import drive_to_door, take
from tests.support.gateway_world import DOOR, REGION, SocketClient, World

NOWHERE = "00000000-0000-4000-8000-00000000dead"
CHECK = {"method": "scan", "vendor_token": "fake:pass", "sober": True}
EXACT = {"lat": 32.78654, "lng": -96.80321, "address": "1 Main Street"}


def driver_calls(order_id: str, task_id: str) -> list[tuple[str, str, Any]]:
    """Method, path and body of everything that a driver may ask about an order and its task."""
    order, task = f"/v1/orders/{order_id}", f"/v1/tasks/{task_id}"
    return [
        ("GET", order, None),
        ("GET", f"{order}/dossier", None),
        ("GET", f"{order}/dossier/verify", None),
        ("POST", f"{order}/doorstep_id_check/submit", CHECK),
        ("POST", f"{order}/deliver/confirm", None),
        ("POST", f"{order}/refuse", {"reason": "NOBODY_HOME"}),
        ("POST", f"{order}/cancel", None),
        ("POST", f"{task}/arrive", None),
        ("POST", f"{task}/pickup", None),
        ("POST", f"{task}/return/confirm", None),
    ]


async def says(world: World, headers: dict[str, str], calls: list[tuple[str, str, Any]]) -> list[Any]:
    """What each call is answered, without what names the request."""
    answers = []
    for method, path, body in calls:
        response = await world.http.request(method, path, json=body, headers=headers)
        answers.append({**response.json(), "instance": "", "etag": response.headers.get("etag")})
    return answers


@pytest.mark.parametrize("until", ["DRAFT", "PAYMENT_AUTHORIZED", "CONFIRMED", "AT_DOOR"])
@pytest.mark.parametrize("if_match", [None, '"1"', '"99"'])
async def test_a_driver_who_does_not_hold_it_is_told_as_of_nothing(
    world: World, until: str, if_match: str | None
) -> None:
    _, client = await world.driver()
    order = await world.order("CONFIRMED" if until == "AT_DOOR" else until)
    task_id = NOWHERE
    if until == "AT_DOOR":
        task_id = (await take(client))["task_id"]
        await drive_to_door(client, task_id)
    _, headers = await world.account(Role.DRIVER)
    headers |= {"If-Match": if_match} if if_match else {}
    theirs = await says(world, headers, driver_calls(order.id, task_id))
    nobodys = await says(world, headers, driver_calls(NOWHERE, NOWHERE))
    assert [answer["code"] for answer in nobodys] == ["NOT_FOUND"] * len(nobodys)
    assert theirs == nobodys


@pytest.mark.parametrize("role", [Role.CUSTOMER, Role.MERCHANT])
async def test_another_customer_or_merchant_is_told_as_of_nothing(world: World, role: Role) -> None:
    order = await world.order("PAYMENT_AUTHORIZED")
    own_id, headers = await world.account(role)
    headers |= {"If-Match": '"99"'}

    def calls(order_id: str, store_id: str) -> list[tuple[str, str, Any]]:
        desk = f"/v1/merchants/{own_id}/stores/{store_id}"
        token = {"vendor_token": "fake:pass"}
        common = driver_calls(order_id, NOWHERE)[:3]
        if role is Role.CUSTOMER:
            steps = [("verify_age", token), ("payment/authorize", token), ("cancel", None)]
            return common + [("POST", f"/v1/orders/{order_id}/{step}", body) for step, body in steps]
        actions = [{"action": action} for action in ("accept", "reject", "ready")]
        product = {"name": "Ale", "category": "alcohol", "price_cents": 500}
        return [
            *common,
            *(("POST", f"{desk}/orders/{order_id}/action", action) for action in actions),
            ("POST", f"{desk}/products", product),
            ("PUT", f"/v1/stores/{store_id}/hours", {"hours": None}),
        ]

    theirs = await says(world, headers, calls(order.id, order.store_id))
    nobodys = await says(world, headers, calls(NOWHERE, NOWHERE))
    assert {answer["code"] for answer in nobodys} == {"NOT_FOUND"}
    assert theirs == nobodys


async def test_on_a_socket_too(world: World) -> None:
    _, client = await world.driver()
    await world.order("CONFIRMED")
    task_id = (await take(client))["task_id"]
    _, stranger = await world.driver(on_duty=False)
    for number, step in enumerate(("task.arrive", "task.pickup")):
        for id_ in (task_id, NOWHERE):
            await stranger.send({"type": step, "id": f"{number}{id_}", "task_id": id_})
            assert (await stranger.receive("error"))["code"] == "NOT_FOUND"


async def test_who_has_delivered_reads_the_order_no_longer(world: World) -> None:
    driver_id, client = await world.driver()
    headers = world.auth(driver_id, Role.DRIVER)
    order = await world.order("CONFIRMED")
    task = await take(client)
    url = f"/v1/orders/{order.id}"
    assert (await world.http.get(url, headers=headers)).json()["dropoff"]["address"] == DOOR["address"]
    assert [one["id"] for one in await listed(world, headers)] == [order.id]
    await drive_to_door(client, task["task_id"])
    assert (await world.http.post(f"{url}/doorstep_id_check/submit", json=CHECK, headers=headers)).is_success
    done = await world.http.post(f"{url}/deliver/confirm", headers=headers)
    assert done.json()["status"] == "DELIVERED"
    assert str(DOOR["address"]) not in done.text
    told = await client.receive("task.updated")
    assert told["task"]["status"] == "DONE"
    assert told["task"]["dropoff"]["address"] == ""
    assert (await world.http.get(url, headers=headers)).status_code == 404
    assert (await world.http.get(f"{url}/dossier", headers=headers)).status_code == 404
    assert await listed(world, headers) == []


async def test_who_brings_goods_back_reads_the_order_until_they_are_back(world: World) -> None:
    driver_id, client = await world.driver()
    headers = world.auth(driver_id, Role.DRIVER)
    order = await world.order("CONFIRMED")
    task = await take(client)
    await drive_to_door(client, task["task_id"])
    url = f"/v1/orders/{order.id}"
    await world.http.post(f"{url}/refuse", json={"reason": "NOBODY_HOME"}, headers=headers)
    assert (await world.http.get(url, headers=headers)).json()["status"] == "RETURNING"
    back = (await client.receive("task.updated"))["task"]["task_id"]
    await world.http.post(f"/v1/tasks/{back}/arrive", headers=headers)
    returned = await world.http.post(f"/v1/tasks/{back}/return/confirm", headers=headers)
    assert returned.json()["status"] == "RETURNED"
    assert (await world.http.get(url, headers=headers)).status_code == 404


async def listed(world: World, headers: dict[str, str]) -> list[Any]:
    found: list[Any] = (await world.http.get("/v1/orders", headers=headers)).json()["orders"]
    return found


async def test_an_offer_says_about_where_and_an_acceptance_exactly(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("tests.support.gateway_world.DOOR", EXACT)
    driver_id, client = await world.driver()
    headers = world.auth(driver_id, Role.DRIVER)
    await world.order("CONFIRMED")
    offer = await client.receive("offer")
    polled = (await world.http.get(f"/v1/drivers/{driver_id}/task", headers=headers)).json()
    again = await world.connect(headers, on_duty=False)
    snapshot = again.welcome["snapshot"]  # type: ignore[attr-defined]
    for view in (offer, polled["offers"][0], snapshot["offers"][0]):
        assert view["tasks"][0]["dropoff"] == {"lat": 32.79, "lng": -96.8, "address": ""}
        assert [(stop["lat"], stop["lng"]) for stop in view["stops"]][-1] == (32.79, -96.8)
        assert not told_exactly(view)
    assert told_exactly(await accept(again, offer))
    polled = (await world.http.get(f"/v1/drivers/{driver_id}/task", headers=headers)).json()
    assert polled["tasks"][0]["dropoff"] == EXACT


async def accept(client: SocketClient, offer: dict[str, Any]) -> dict[str, Any]:
    await client.send({"type": "offer.accept", "id": "take", "offer_id": offer["offer_id"]})
    return await client.receive("offer.accepted")


def told_exactly(view: Any) -> bool:
    text = json.dumps(view)
    return any(str(EXACT[name]) in text for name in ("lat", "lng", "address"))


async def test_mission_control_shows_a_block_and_no_door(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("tests.support.gateway_world.DOOR", EXACT)
    _, client = await world.driver()
    await world.order("CONFIRMED")
    offer = await client.receive("offer")
    assert await shown(world) == [-96.8, 32.79]
    await accept(client, offer)
    assert await shown(world) == [-96.803, 32.787]


async def shown(world: World) -> list[float]:
    frame = msgspec.to_builtins(await world.backend.frame(REGION))
    assert not told_exactly(frame)
    return list(frame["tasks"]["points"][0]["dropoff"])


async def test_a_regions_numbers_are_for_operators(world: World) -> None:
    url = f"/v1/regions/{REGION}/stats"
    for role in (Role.CUSTOMER, Role.MERCHANT, Role.DRIVER):
        _, headers = await world.account(role)
        assert (await world.http.get(url, headers=headers)).json()["code"] == "FORBIDDEN"
    for role in (Role.DISPATCHER, Role.ADMIN):
        _, headers = await world.account(role)
        assert (await world.http.get(url, headers=headers)).json()["epoch"] == 1
