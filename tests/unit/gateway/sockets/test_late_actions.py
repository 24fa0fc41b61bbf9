"""A driver's steps that were taken offline: the same by socket and by REST, with the device's word in the dossier."""

from __future__ import annotations

from typing import Any

import pytest

from domain.ground.times import instant
from domain.orders.lifecycle import Role
from tests.support.gateway_world import Order, SocketClient, World


def ago(world: World, seconds: float) -> int:
    """So long ago by the server's clock, ms."""
    return world.services.config.clock.now_ms() - round(seconds * 1000)


async def notes(world: World, order: Order) -> list[tuple[str, int | None, int | None]]:
    """What the dossier has of the driver's steps: event, what the device said of the time (ms), number."""
    events = (await world.http.get(f"/v1/orders/{order.id}/dossier", headers=order.customer)).json()["events"]
    steps = [(event["type"], event["payload"]) for event in events if event["actor"].startswith("driver")]
    return [
        (kind, noted.get("device_said_ms", noted.get("device_at_ms")), noted.get("device_n"))
        for kind, noted in steps
    ]


async def ask(client: SocketClient, kind: str, message_id: str, **fields: Any) -> dict[str, Any]:
    await client.send({"type": kind, "id": message_id, **fields})
    while (frame := await client.receive()).get("in_reply_to") != message_id:
        pass
    return frame


async def test_a_queue_of_steps_by_socket_and_rest(world: World) -> None:
    driver_id, client = await world.driver()
    order = await world.order("CONFIRMED")
    offer = await client.receive("offer")
    headers = world.auth(driver_id, Role.DRIVER)
    said = {n: ago(world, 60 - n) for n in range(10)}

    def device(n: int) -> dict[str, Any]:
        return {"at": instant(said[n]).isoformat(), "n": n}

    accepted = await ask(client, "offer.accept", "a1", offer_id=offer["offer_id"], **device(1))
    task_id = accepted["tasks"][0]["task_id"]
    arrived = await ask(client, "task.arrive", "a2", task_id=task_id, **device(2))
    assert arrived["task"]["status"] == "AT_PICKUP"

    async def post(path: str, number: int, body: Any = None) -> Any:
        at = device(number)["at"]
        given = headers | {"Device-At": at, "Device-N": str(number), "Idempotency-Key": f"k{number}"}
        return await world.http.post(path, json=body, headers=given)

    assert (await post(f"/v1/tasks/{task_id}/pickup", 3)).status_code == 200
    older = await ask(client, "task.arrive", "a3", task_id=task_id, n=3)
    assert older["code"] == "OUT_OF_ORDER"
    assert (await ask(client, "task.arrive", "a4", task_id=task_id, n=4))["task"]["status"] == "AT_DROPOFF"
    check = {"method": "scan", "vendor_token": "fake:pass", "sober": True}
    assert (await post(f"/v1/orders/{order.id}/doorstep_id_check/submit", 5, check)).status_code == 200
    late = await post(f"/v1/orders/{order.id}/deliver/confirm", 4)
    assert (late.status_code, late.json()["code"]) == (409, "OUT_OF_ORDER")
    assert (await post(f"/v1/orders/{order.id}/deliver/confirm", 6)).status_code == 200
    # A repeat gets its answer, whatever came after it.
    assert (await post(f"/v1/tasks/{task_id}/pickup", 3)).headers["Idempotency-Replayed"] == "true"
    assert await notes(world, order) == [
        ("TASK_ASSIGNED", said[1], 1),
        ("ARRIVED_AT_STORE", said[2], 2),
        ("PICKED_UP", said[3], 3),
        ("ARRIVED_AT_DOOR", None, 4),
        ("ID_CHECK_PASSED", said[5], 5),
        ("DELIVERED", said[6], 6),
    ]


@pytest.mark.parametrize(
    "headers",
    [{"Device-At": "noon"}, {"Device-At": "2026-01-01T00:00:00"}, {"Device-N": "-1"}, {"Device-N": "x"}],
)
async def test_a_device_that_makes_no_sense(world: World, headers: dict[str, str]) -> None:
    driver_id, _ = await world.account(Role.DRIVER)
    task = "00000000-0000-4000-8000-00000000abcd"
    answer = await world.http.post(
        f"/v1/tasks/{task}/arrive", headers=world.auth(driver_id, Role.DRIVER) | headers
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")


@pytest.mark.parametrize("said", [{"at": "noon"}, {"n": -1}, {"n": 1.5}, {"at": 5}])
async def test_a_frame_that_makes_no_sense(world: World, said: dict[str, Any]) -> None:
    _, client = await world.driver()
    answer = await ask(client, "task.arrive", "a1", task_id="t1", **said)
    assert answer["code"] == "BAD_FRAME"


@pytest.mark.parametrize("by_rest", [False, True])
async def test_a_new_phone_whose_clock_is_behind_goes_on_where_the_old_one_was(
    world: World, by_rest: bool
) -> None:
    driver_id, old = await world.driver()
    order = await world.order("CONFIRMED")
    offer = await old.receive("offer")
    headers = world.auth(driver_id, Role.DRIVER)
    far = ago(world, -3600)  # its clock was an hour ahead
    accepted = await ask(old, "offer.accept", "a1", offer_id=offer["offer_id"], n=far)
    task_id = accepted["tasks"][0]["task_id"]
    await ask(old, "task.arrive", "a2", task_id=task_id, n=far + 1)
    await old.close()
    # The new one counts from its own clock, which is refused ...
    new = await world.connect(headers)
    refused = await ask(new, "task.pickup", "b1", task_id=task_id, n=ago(world, 0))
    assert refused["code"] == "OUT_OF_ORDER"
    # ... and from what it is told, to the end.
    if by_rest:
        view = (await world.http.get(f"/v1/drivers/{driver_id}/task", headers=headers)).json()
        last_n = view["last_n"]
    else:
        last_n = new.welcome["snapshot"]["last_n"]  # type: ignore[attr-defined]
    assert last_n == far + 1

    async def post(path: str, number: int, body: Any = None) -> int:
        given = headers | {"Device-N": str(last_n + number), "Idempotency-Key": f"n{number}"}
        return (await world.http.post(path, json=body, headers=given)).status_code

    assert await post(f"/v1/tasks/{task_id}/pickup", 1) == 200
    arrived = await ask(new, "task.arrive", "b2", task_id=task_id, n=last_n + 2)
    assert arrived["task"]["status"] == "AT_DROPOFF"
    check = {"method": "scan", "vendor_token": "fake:pass", "sober": True}
    assert await post(f"/v1/orders/{order.id}/doorstep_id_check/submit", 3, check) == 200
    assert await post(f"/v1/orders/{order.id}/deliver/confirm", 4) == 200
    again = await world.connect(headers)
    assert again.welcome["snapshot"]["last_n"] == last_n + 4  # type: ignore[attr-defined]


async def test_who_has_done_nothing_counts_from_the_beginning(world: World) -> None:
    driver_id, client = await world.driver()
    headers = world.auth(driver_id, Role.DRIVER)
    assert client.welcome["snapshot"]["last_n"] == 0  # type: ignore[attr-defined]
    assert (await world.http.get(f"/v1/drivers/{driver_id}/task", headers=headers)).json()["last_n"] == 0
