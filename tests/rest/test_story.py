"""Whole stories through the public surface: REST for customer and merchant, the socket for the driver."""

from __future__ import annotations

import asyncio
from typing import Any

from domain.orders.lifecycle import Role
from tests.support.gateway_world import SocketClient, World, until


async def take(client: SocketClient) -> dict[str, Any]:
    """Wait for an offer and accept it; returns its task."""
    offer = await client.receive("offer")
    assert offer["seq"] > 0
    await client.send({"type": "offer.seen", "offer_id": offer["offer_id"]})
    await client.send({"type": "offer.accept", "id": "a1", "offer_id": offer["offer_id"]})
    accepted = await client.receive("offer.accepted", "error")
    assert accepted["type"] == "offer.accepted", accepted
    assert accepted["in_reply_to"] == "a1"
    task: dict[str, Any] = accepted["tasks"][0]
    assert task["status"] == "ASSIGNED"
    return task


async def drive_to_door(client: SocketClient, task_id: str) -> None:
    for number, frame in enumerate(("task.arrive", "task.pickup", "task.arrive")):
        await client.send({"type": frame, "id": f"s{number}", "task_id": task_id})
        answer = await client.receive("task.updated", "error")
        assert answer["type"] == "task.updated", answer
        assert answer["in_reply_to"] == f"s{number}"


async def test_an_order_is_delivered_after_a_passed_id_check(world: World) -> None:
    driver_id, client = await world.driver()
    headers = world.auth(driver_id, Role.DRIVER)
    order = await world.order("CONFIRMED")
    task = await take(client)
    await drive_to_door(client, task["task_id"])

    url = f"/v1/orders/{order.id}"
    early = await world.http.post(f"{url}/deliver/confirm", headers=headers)
    assert (early.status_code, early.json()["code"]) == (409, "WRONG_STATE")
    check = {"method": "scan", "vendor_token": "fake:review", "sober": True}
    unsure = await world.http.post(f"{url}/doorstep_id_check/submit", json=check, headers=headers)
    assert unsure.json()["code"] == "ID_CHECK_INCONCLUSIVE"
    check["vendor_token"] = "fake:pass"
    passed = await world.http.post(f"{url}/doorstep_id_check/submit", json=check, headers=headers)
    assert passed.json()["status"] == "ID_VERIFIED", passed.text
    done = await world.http.post(f"{url}/deliver/confirm", headers=headers)
    assert done.json()["status"] == "DELIVERED", done.text
    assert done.json()["id"] == order.id

    read = await world.http.get(url, headers=order.customer)
    assert read.json()["status"] == "DELIVERED"
    assert read.headers["etag"] == f'"{read.json()["version"]}"'
    verdict = (await world.http.get(f"{url}/dossier/verify", headers=order.customer)).json()
    assert verdict["ok"] is True
    events = (await world.http.get(f"{url}/dossier", headers=order.merchant)).json()["events"]
    assert [event["type"] for event in events][-2:] == ["ID_CHECK_PASSED", "DELIVERED"]
    assert len(events) == verdict["length"]


async def test_a_failed_check_sends_the_goods_back(world: World) -> None:
    driver_id, client = await world.driver()
    headers = world.auth(driver_id, Role.DRIVER)
    order = await world.order("CONFIRMED")
    task = await take(client)
    await drive_to_door(client, task["task_id"])
    check = {"method": "scan", "vendor_token": "fake:under_age", "sober": True}
    failed = await world.http.post(
        f"/v1/orders/{order.id}/doorstep_id_check/submit", json=check, headers=headers
    )
    assert failed.json()["status"] == "RETURNING", failed.text
    given = await client.receive("task.updated")
    assert given["task"]["kind"] == "RETURN"
    back = given["task"]["task_id"]
    polled = (await world.http.get(f"/v1/drivers/{driver_id}/task", headers=headers)).json()
    assert [held["task_id"] for held in polled["tasks"]] == [back]
    arrived = await world.http.post(f"/v1/tasks/{back}/arrive", headers=headers)
    assert arrived.status_code == 200, arrived.text
    returned = await world.http.post(f"/v1/tasks/{back}/return/confirm", headers=headers)
    assert returned.json()["status"] == "RETURNED"


async def test_a_driver_without_a_socket_polls_and_accepts(world: World) -> None:
    driver_id, headers = await world.account(Role.DRIVER)
    on = await world.http.post(
        f"/v1/drivers/{driver_id}/duty", json={"on": True, "lat": 32.78, "lng": -96.8}, headers=headers
    )
    assert on.status_code == 200, on.text
    await world.order("CONFIRMED")
    offers: list[dict[str, Any]] = []
    for _ in range(200):
        offers = (await world.http.get(f"/v1/drivers/{driver_id}/task", headers=headers)).json()["offers"]
        if offers:
            break
        await asyncio.sleep(0.01)
    task_id = offers[0]["tasks"][0]["task_id"]
    accepted = await world.http.post(f"/v1/tasks/{task_id}/accept", headers=headers)
    assert accepted.status_code == 200, accepted.text
    _, other = await world.account(Role.DRIVER)
    late = await world.http.post(f"/v1/tasks/{task_id}/accept", headers=other)
    assert late.json()["code"] in ("OFFER_TAKEN", "OFFER_EXPIRED")


async def test_a_rest_accept_shows_on_the_drivers_socket(world: World) -> None:
    driver_id, client = await world.driver()
    await world.order("CONFIRMED")
    offer = await client.receive("offer")
    task_id = offer["tasks"][0]["task_id"]
    await world.http.post(f"/v1/tasks/{task_id}/accept", headers=world.auth(driver_id, Role.DRIVER))
    pushed = await client.receive("offer.accepted")
    assert pushed["offer_id"] == offer["offer_id"]
    assert pushed["seq"] == offer["seq"] + 1


async def test_cancel_is_decided_by_rows_and_then_by_the_region(world: World) -> None:
    draft = await world.order("DRAFT")
    assert (await world.step(draft, "cancel")).json()["status"] == "CANCELLED"
    _, client = await world.driver()
    confirmed = await world.order("CONFIRMED")
    offer = await client.receive("offer")
    cancelled = await world.step(confirmed, "cancel", {"reason": "CHANGED_MIND"})
    assert cancelled.json()["status"] == "CANCELLED", cancelled.text
    revoked = await client.receive("offer.revoked")
    assert revoked["offer_id"] == offer["offer_id"]


async def test_a_region_that_starts_anew_hears_of_its_drivers_again(world: World) -> None:
    driver_id, client = await world.driver()
    order = await world.order("CONFIRMED")
    task = await take(client)
    await world.backend.start_region("tx-dfw")
    await client.send(
        {"type": "location", "lat": 32.781, "lng": -96.8, "at": "2030-01-01T00:00:00Z", "seq": 1}
    )
    again = await client.receive("task.updated", "welcome")
    assert again["type"] == "task.updated"
    assert again["task"]["task_id"] == task["task_id"]
    await client.send({"type": "task.arrive", "id": "after", "task_id": task["task_id"]})
    assert (await client.receive("task.updated"))["in_reply_to"] == "after"
    assert order.id == task["order_id"]
    assert driver_id


async def test_a_connected_driver_without_a_position_is_attached_again(world: World) -> None:
    _, silent_headers = await world.account(Role.DRIVER)
    silent = await world.connect(silent_headers, on_duty=False)
    _, _ = await world.driver()
    await until(lambda: world.services.pings.sent)
    await world.backend.start_region("tx-dfw")
    _, _ = await world.driver()
    anew = await silent.receive("welcome")
    assert anew["resumed"] is False


async def test_resume_gets_exactly_what_was_missed(world: World) -> None:
    driver_id, client = await world.driver()
    headers = world.auth(driver_id, Role.DRIVER)
    await world.order("CONFIRMED")
    offer = await client.receive("offer")
    await client.close()
    task_id = offer["tasks"][0]["task_id"]
    await world.http.post(f"/v1/tasks/{task_id}/accept", headers=headers)
    client = await world.connect(headers, resume_from=offer["seq"], on_duty=False)
    assert client.welcome["resumed"] is True  # type: ignore[attr-defined]
    missed = await client.receive()
    assert (missed["type"], missed["seq"]) == ("offer.accepted", offer["seq"] + 1)
