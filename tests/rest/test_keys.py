"""One key, one effect: on every route that changes something, whoever comes twice, and whatever the key is used for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from domain.orders.lifecycle import Role
from tests.support.gateway_world import DALLAS, DOOR, INTERNAL_TOKEN, PASSWORD, REGION, SocketClient, World

KEY = {"Idempotency-Key": "the key"}
WEEK = [{"weekday": day, "opens_min": 600, "closes_min": 1560} for day in range(7)]


def code(response: httpx.Response) -> str | None:
    return None if response.is_success else str(response.json()["code"])


class Twice:
    """A change that can be asked for: how, with which other body, and what it leaves (to be counted)."""

    def __init__(self, method: str, url: str, headers: dict[str, str], body: Any, other: Any) -> None:
        self.method, self.url, self.headers = method, url, headers
        self.body, self.other = body, other

    async def send(self, world: World, body: Any) -> httpx.Response:
        return await world.http.request(self.method, self.url, json=body, headers=self.headers | KEY)


async def _all(world: World) -> AsyncIterator[Twice]:
    merchant_id, store_id, product_id, merchant = await world.shop()
    order = await world.order()
    _, customer = await world.account(Role.CUSTOMER)
    driver_id, driver = await world.account(Role.DRIVER)
    stores = f"/v1/merchants/{merchant_id}/stores"
    store = {"name": "Two", "region_id": REGION, "address": "2 Elm Street", **DALLAS}
    yield Twice("POST", stores, merchant, store, store | {"name": "Three"})
    ale = {"name": "Ale", "category": "alcohol", "price_cents": 1}
    yield Twice("POST", f"{stores}/{store_id}/products", merchant, [ale, ale], [ale])
    yield Twice("PUT", f"/v1/stores/{store_id}/hours", merchant, {"hours": WEEK}, {"hours": None})
    yield Twice("PUT", f"/v1/stores/{store_id}/hours", merchant, {"hours": None}, {"hours": WEEK})
    new = {"store_id": store_id, "items": [{"product_id": product_id, "quantity": 1}], "dropoff": DOOR}
    two = new | {"items": [{"product_id": product_id, "quantity": 2}]}
    yield Twice("POST", "/v1/orders", customer, new, two)
    steps = f"/v1/orders/{order.id}"
    ok = {"vendor_token": "fake:ok"}
    yield Twice("POST", f"{steps}/verify_age", order.customer, {"vendor_token": "fake:pass"}, ok)
    yield Twice("POST", f"{steps}/payment/authorize", order.customer, ok, {"vendor_token": "fake:x"})
    act = f"/v1/merchants/{order.merchant_id}/stores/{order.store_id}/orders/{order.id}/action"
    accept = {"action": "accept", "prep_minutes": 5}
    yield Twice("POST", act, order.merchant, accept, {"action": "ready"})
    yield Twice("POST", f"{steps}/cancel", order.customer, {"reason": "OTHER"}, {"reason": "NO_DRIVER"})
    duty = {"on": True, "lat": 32.78, "lng": -96.80}
    yield Twice("POST", f"/v1/drivers/{driver_id}/duty", driver, duty, duty | {"on": False})
    person = {"email": "a@example.org", "password": PASSWORD, "role": "customer", "name": "A"}
    yield Twice("POST", "/v1/auth/register", {}, person, person | {"name": "B"})
    token = {"X-Internal-Token": INTERNAL_TOKEN}
    yield Twice("POST", "/internal/dispatch/expire_offers?limit=5", token, None, None)
    yield Twice("POST", f"/internal/dispatch/tick?region_id={REGION}", token, None, None)


def _same(one: Any, two: Any) -> bool:
    """But for a token, of which every answer has a fresh one."""
    if isinstance(one, dict) and isinstance(two, dict):
        return {k: v for k, v in one.items() if k != "access_token"} == {
            k: v for k, v in two.items() if k != "access_token"
        }
    return bool(one == two)


async def test_every_change_is_made_once_for_a_key(world: World) -> None:
    seen = 0
    async for ask in _all(world):
        if ask.method == "PUT":
            world.backend.store.answers.clear()  # of the route's other case
        first = await ask.send(world, ask.body)
        assert first.is_success, (ask.url, first.text)
        assert "idempotency-replayed" not in first.headers, ask.url
        again = await ask.send(world, ask.body)
        assert (again.status_code, again.headers.get("idempotency-replayed")) == (first.status_code, "true")
        assert _same(again.json(), first.json()), ask.url
        assert again.headers.get("etag") == first.headers.get("etag"), ask.url
        if ask.other is not None:
            assert code(await ask.send(world, ask.other)) == "IDEMPOTENCY_KEY_REUSED", ask.url
        seen += 1
    assert seen == 13


async def test_a_query_is_part_of_what_is_asked(world: World) -> None:
    headers = {"X-Internal-Token": INTERNAL_TOKEN} | KEY
    url = "/internal/dispatch/expire_offers?limit="
    assert code(await world.http.post(url + "5", headers=headers)) is None
    assert code(await world.http.post(url + "6", headers=headers)) == "IDEMPOTENCY_KEY_REUSED"


async def test_many_at_once_with_one_key_leave_one(world: World) -> None:
    merchant_id, store_id, _, merchant = await world.shop()
    stores = f"/v1/merchants/{merchant_id}/stores"
    store = {"name": "Two", "region_id": REGION, "address": "2 Elm Street", **DALLAS}
    ale = {"name": "Ale", "category": "alcohol", "price_cents": 1}
    before = len(world.reads.shops), len(world.reads.goods)
    for ask in (
        Twice("POST", stores, merchant, store, None),
        Twice("POST", f"{stores}/{store_id}/products", merchant, [ale, ale], None),
    ):
        answers = await asyncio.gather(*(ask.send(world, ask.body) for _ in range(6)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.text for answer in answers}) == 1
    assert (len(world.reads.shops), len(world.reads.goods)) == (before[0] + 1, before[1] + 2)


async def test_a_repeat_does_not_set_back_what_came_after_it(world: World) -> None:
    _, store_id, _, merchant = await world.shop()
    url = f"/v1/stores/{store_id}/hours"
    first = await world.http.put(url, json={"hours": WEEK}, headers=merchant | KEY | {"If-Match": '"1"'})
    later = await world.http.put(url, json={"hours": []}, headers=merchant)
    assert later.json()["version"] == 3
    again = await world.http.put(url, json={"hours": WEEK}, headers=merchant | KEY | {"If-Match": '"1"'})
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await world.http.get(url, headers=merchant)).json()["version"] == 3

    driver_id, driver = await world.account(Role.DRIVER)
    url = f"/v1/drivers/{driver_id}/duty"
    on = {"on": True, "lat": 32.78, "lng": -96.80}
    await world.http.post(url, json=on, headers=driver | KEY)
    await world.http.post(url, json=on | {"on": False}, headers=driver)
    await world.http.post(url, json=on, headers=driver | KEY)
    last = world.services.pings.last(driver_id)
    assert last is not None
    assert not last.on_duty


async def test_neither_password_nor_token_is_kept(world: World) -> None:
    person = {"email": "a@example.org", "password": PASSWORD, "role": "customer", "name": "A"}
    first = await world.http.post("/v1/auth/register", json=person, headers=KEY)
    assert first.status_code == 201
    [(kept, _)] = world.backend.store.answers.values()
    assert set(kept.answer.body) == {"user_id", "role"}
    guess = await world.http.post("/v1/auth/register", json=person | {"password": "another one"}, headers=KEY)
    assert code(guess) == "EMAIL_TAKEN"


async def test_two_spellings_of_an_order_are_one_order(world: World) -> None:
    order = await world.order()
    for spelling in (order.id, order.id.upper()):
        answer = await world.http.post(f"/v1/orders/{spelling}/cancel", headers=order.customer | KEY)
        assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")


# -- nothing is named after a key --------------------------------------------------------------------------------------


async def _to_the_door(world: World, driver: dict[str, str], client: SocketClient) -> str:
    order = await world.order("CONFIRMED")
    offer = await client.receive("offer")
    [task] = offer["tasks"]
    for step in ("accept", "arrive", "pickup", "arrive"):
        done = await world.http.post(f"/v1/tasks/{task['task_id']}/{step}", headers=driver)
        assert done.is_success, done.text
    return f"/v1/orders/{order.id}"


@pytest.mark.parametrize("swept", [False, True], ids=["kept", "swept"])
async def test_an_old_key_at_another_door_breaks_nothing(world: World, swept: bool) -> None:
    driver_id, client = await world.driver()
    driver = world.auth(driver_id, Role.DRIVER)
    check = {"method": "scan", "vendor_token": "fake:pass", "sober": True}
    one = await _to_the_door(world, driver, client)
    assert (
        code(await world.http.post(f"{one}/doorstep_id_check/submit", json=check, headers=driver | KEY))
        is None
    )
    assert code(await world.http.post(f"{one}/deliver/confirm", headers=driver)) is None
    if swept:
        world.backend.store.answers.clear()
        await world.backend.start_region(REGION)  # what it remembers itself goes with its life
        client = await world.connect(driver)
    two = await _to_the_door(world, driver, client)
    epoch = world.backend.regions[REGION].stats()["epoch"]
    again = await world.http.post(f"{two}/doorstep_id_check/submit", json=check, headers=driver | KEY)
    assert code(again) == (None if swept else "IDEMPOTENCY_KEY_REUSED")
    if not swept:
        again = await world.http.post(f"{two}/doorstep_id_check/submit", json=check, headers=driver)
        assert code(again) is None
    assert world.backend.regions[REGION].stats()["epoch"] == epoch
    assert len(world.backend.store.checks) == 2


async def test_a_vendors_request_is_of_the_order_and_the_evidence(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    all_asked = asyncio.Event()
    verify = world.services.identity.verify_age

    async def note(**request: Any) -> Any:
        asked.append(request["request_id"])
        if len(asked) == 4:
            all_asked.set()
        await all_asked.wait()  # the vendor's time, in which the others come in
        return await verify(**request)

    monkeypatch.setattr(world.services.identity, "verify_age", note)
    one, two = await world.order(), await world.order()
    # Together they are one request, however many keys they have; another order's is another one.
    await asyncio.gather(
        *(world.step(one, "verify_age", {"vendor_token": "fake:review"}, **KEY) for _ in range(2)),
        world.step(one, "verify_age", {"vendor_token": "fake:review"}),
        world.step(two, "verify_age", {"vendor_token": "fake:review"}, **KEY),
    )
    assert len(asked) == 4
    assert len(set(asked)) == 2
    assert all(any(order.id in request_id for order in (one, two)) for request_id in asked)
