"""The main job on real parts: from a customer's order to a door, or back to the store."""

from __future__ import annotations

import pytest

from domain import protocol as wire
from domain.orders.reasons import DeclineReason
from tests.integration.live import Town

pytestmark = [pytest.mark.integration, pytest.mark.cluster]


async def test_an_order_reaches_the_door_and_its_dossier_proves_it(town: Town) -> None:
    driver = await town.driver()
    order_id = await town.order()
    offer = await driver.offer()
    assert offer.tasks[0].order_id == order_id
    assert offer.tasks[0].dropoff.address == ""  # nobody's business before it is accepted
    assert offer.tasks[0].min_age == 21
    task = await driver.accept(offer)
    assert task.dropoff.address == "12 Elm St"
    await driver.to_the_door(task)
    assert (await driver.deliver(order_id)).code == "WRONG_STATE"  # no hand-over before the check
    checked = await driver.check_id(order_id)
    assert checked.ok, checked
    assert (await driver.deliver(order_id)).ok
    await town.wait_status(order_id, "CLOSED")  # the payment is captured behind the scenes
    assert await town.dossier_types(order_id) == [
        "ORDER_CREATED",
        "AGE_CHECK_PASSED",
        "PAYMENT_AUTHORIZED",
        "MERCHANT_ACCEPTED",
        "TASK_ASSIGNED",
        "ARRIVED_AT_STORE",
        "PICKED_UP",
        "ARRIVED_AT_DOOR",
        "ID_CHECK_PASSED",
        "DELIVERED",
        "ORDER_CLOSED",
    ]


@pytest.mark.parametrize("token", ["fake:under_age", "fake:expired", "fake:wrong_name"])
async def test_goods_that_may_not_be_handed_over_go_back(town: Town, token: str) -> None:
    driver = await town.driver()
    order_id = await town.order()
    task = await driver.accept(await driver.offer())
    await driver.to_the_door(task)
    reply = await driver.check_id(order_id, token)
    assert reply.ok
    assert reply.body["passed"] is False
    assert await town.status(order_id) == "RETURNING"
    assert not (await driver.deliver(order_id)).ok
    back = (await driver.expect(wire.TaskUpdated, in_reply_to=None)).task
    assert (back.kind, back.status, back.order_id) == ("RETURN", "PICKED_UP", order_id)
    await driver.step(wire.TaskArrive, back.task_id)
    assert (await town.post(f"/v1/tasks/{back.task_id}/return/confirm", driver.account)).ok
    assert await town.status(order_id) == "RETURNED"
    assert (await town.dossier_types(order_id))[-4:] == [
        "ID_CHECK_FAILED",
        "RETURN_INITIATED",
        "ARRIVED_FOR_RETURN",
        "RETURN_CONFIRMED",
    ]


async def test_a_driver_with_a_return_to_do_gets_no_offer(town: Town) -> None:
    driver = await town.driver()
    order_id = await town.order()
    await driver.to_the_door(await driver.accept(await driver.offer()))
    assert (await town.post(f"/v1/orders/{order_id}/refuse", driver.account, {"reason": "NOBODY_HOME"})).ok
    back = (await driver.expect(wire.TaskUpdated, in_reply_to=None)).task
    waiting = await town.order()
    other = await town.driver(away=0.05)
    assert (await other.offer()).tasks[
        0
    ].order_id == waiting  # not to the nearer one, who has goods to bring back
    assert not any(isinstance(frame, wire.Offer) for frame in driver.frames)
    await driver.step(wire.TaskArrive, back.task_id)
    assert (await town.post(f"/v1/tasks/{back.task_id}/return/confirm", driver.account)).ok
    assert await town.status(order_id) == "RETURNED"


@pytest.mark.parametrize("token", ["fake:review", "fake:error"])
async def test_an_unclear_check_leaves_the_gate_shut(town: Town, token: str) -> None:
    driver = await town.driver()
    order_id = await town.order()
    await driver.to_the_door(await driver.accept(await driver.offer()))
    town.api._patience_s = 0  # a vendor that fails is not asked again here
    reply = await driver.check_id(order_id, token)
    assert reply.code in ("ID_CHECK_INCONCLUSIVE", "VENDOR_UNAVAILABLE")
    assert await town.status(order_id) == "AT_DOOR"
    assert not (await driver.deliver(order_id)).ok
    assert (await driver.check_id(order_id)).ok
    assert (await driver.deliver(order_id)).ok


async def test_a_customer_under_age_gets_no_further(town: Town) -> None:
    order_id = await town.draft()
    for _ in range(3):
        reply = await town.post(
            f"/v1/orders/{order_id}/verify_age", town.customer, {"vendor_token": "fake:fail"}
        )
        assert (reply.status, reply.code) == (422, "AGE_NOT_VERIFIED")
    reply = await town.post(f"/v1/orders/{order_id}/verify_age", town.customer, {"vendor_token": "fake:pass"})
    assert reply.code == "AGE_ATTEMPTS_EXHAUSTED"
    reply = await town.post(
        f"/v1/orders/{order_id}/payment/authorize", town.customer, {"vendor_token": "fake:ok"}
    )
    assert reply.code == "WRONG_STATE"
    assert await town.dossier_types(order_id) == ["ORDER_CREATED"] + ["AGE_CHECK_FAILED"] * 3


async def test_a_client_without_a_socket_polls_and_accepts_by_rest(town: Town) -> None:
    driver = await town.driver()
    await driver.close()
    path = f"/v1/drivers/{driver.account.user_id}"
    reply = await town.post(
        f"{path}/duty", driver.account, {"on": True, "lat": driver.lat, "lng": driver.lng}
    )
    assert reply.ok
    order_id = await town.order()

    from tests.integration.live import until

    async def offered() -> str | None:
        state = await town.get(f"{path}/task", driver.account)
        return state["offers"][0]["tasks"][0]["task_id"] if state["offers"] else None

    task_id = await until(offered)
    for action in ("accept", "arrive", "pickup", "arrive"):
        reply = await town.post(f"/v1/tasks/{task_id}/{action}", driver.account)
        assert reply.ok, (action, reply)
    assert (await driver.check_id(order_id)).ok
    assert (await driver.deliver(order_id)).ok


async def test_a_cancelled_order_revokes_the_offer_and_the_task(town: Town) -> None:
    driver = await town.driver()
    first = await town.order()
    offer = await driver.offer()
    assert (await town.post(f"/v1/orders/{first}/cancel", town.customer, {"reason": "TAKES_TOO_LONG"})).ok
    await driver.expect(wire.OfferRevoked, offer_id=offer.offer_id)
    second = await town.order()
    task = await driver.accept(await driver.offer())
    assert (await town.post(f"/v1/orders/{second}/cancel", town.customer)).ok
    await driver.expect(wire.TaskCancelled, task_id=task.task_id)
    assert [await town.status(first), await town.status(second)] == ["CANCELLED", "CANCELLED"]


async def test_a_rejected_offer_goes_to_another_driver(town: Town) -> None:
    near, far = await town.driver(), await town.driver(away=0.03)
    order_id = await town.order()
    offer = await near.offer()
    answer = await near.ask(wire.OfferReject("no", offer.offer_id, DeclineReason.TOO_FAR))
    assert isinstance(answer, wire.OfferRejected)
    assert (await far.offer()).tasks[0].order_id == order_id


async def test_a_repeated_request_gets_the_first_answer(town: Town) -> None:
    body = {
        "store_id": town.store_id,
        "items": [{"product_id": town.product_id, "quantity": 2}],
        "dropoff": {"lat": 32.8, "lng": -96.8, "address": "1 Elm St"},
    }
    first = await town.post("/v1/orders", town.customer, body, key="once")
    again = await town.post("/v1/orders", town.customer, body, key="once")
    assert first.field("id") == again.field("id")
    other = await town.post("/v1/orders", town.customer, body | {"items": []}, key="once")
    assert not other.ok
    changed = body | {"dropoff": {"lat": 32.81, "lng": -96.8, "address": "1 Elm St"}}
    assert (
        await town.post("/v1/orders", town.customer, changed, key="once")
    ).code == "IDEMPOTENCY_KEY_REUSED"
