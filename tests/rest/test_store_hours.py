"""A store's hours over REST: who sets them, which version, and what they do to orders."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from domain.ground.times import instant
from domain.orders.lifecycle import Role
from tests.support.gateway_world import DOOR, REGION, World

NOWHERE = "00000000-0000-4000-8000-00000000dead"
WEEK = [{"weekday": day, "opens_min": 600, "closes_min": 1560} for day in range(7)]
ALL_DAY = [{"weekday": day, "opens_min": 0, "closes_min": 1440} for day in range(7)]


def url(store_id: str) -> str:
    return f"/v1/stores/{store_id}/hours"


def for_minutes(world: World, minutes: int) -> tuple[list[dict[str, int]], datetime]:
    """Open since this minute for so many, and when that ends."""
    now = instant(world.services.config.clock.now_ms()).astimezone(ZoneInfo("America/Chicago"))
    begin_min = now.hour * 60 + now.minute
    opening = {"weekday": now.weekday(), "opens_min": begin_min, "closes_min": begin_min + minutes}
    end = now.replace(second=0, microsecond=0).timestamp() + minutes * 60
    return [opening], instant(round(end * 1000))


async def test_a_store_is_always_open_until_its_merchant_says_otherwise(world: World) -> None:
    _, store_id, _, headers = await world.shop()
    first = await world.http.get(url(store_id), headers=headers)
    assert (first.status_code, first.headers["etag"]) == (200, '"1"')
    assert first.json() == {
        "store_id": store_id,
        "version": 1,
        "timezone": "America/Chicago",
        "hours": None,
        "open": True,
        "closes_at": None,
    }
    set_ = await world.http.put(url(store_id), json={"hours": WEEK}, headers=headers | {"If-Match": '"1"'})
    assert (set_.status_code, set_.headers["etag"]) == (200, '"2"')
    assert set_.json()["hours"] == WEEK
    _, customer = await world.account(Role.CUSTOMER)
    assert (await world.http.get(url(store_id), headers=customer)).json() == set_.json()


async def test_the_catalogue_says_when_a_store_is_open(world: World) -> None:
    merchant_id, store_id, _, headers = await world.shop()
    for hours, is_open in ((None, True), ([], False), (ALL_DAY, True)):
        answer = await world.http.put(url(store_id), json={"hours": hours}, headers=headers)
        assert (answer.json()["open"], answer.json()["closes_at"]) == (is_open, None)
        for path in (f"/v1/stores?region_id={REGION}", f"/v1/merchants/{merchant_id}/stores"):
            [store] = (await world.http.get(path, headers=headers)).json()
            assert (store["hours"], store["open"]) == (hours, is_open)
    hours, end = for_minutes(world, 90)
    answer = await world.http.put(url(store_id), json={"hours": hours}, headers=headers)
    assert datetime.fromisoformat(answer.json()["closes_at"]) == end


async def test_another_version_than_was_seen_is_refused(world: World) -> None:
    _, store_id, _, headers = await world.shop()
    seen = headers | {"If-Match": '"1"'}
    assert (await world.http.put(url(store_id), json={"hours": WEEK}, headers=seen)).status_code == 200
    stale = await world.http.put(url(store_id), json={"hours": []}, headers=seen)
    assert (stale.status_code, stale.json()["code"]) == (412, "VERSION_MISMATCH")
    assert "version 2" in stale.json()["detail"]
    # The first one again, as after a lost answer: it is done, and not done twice.
    again = await world.http.put(url(store_id), json={"hours": WEEK}, headers=seen)
    assert (again.status_code, again.json()["version"]) == (200, 2)


async def test_only_its_merchant_sets_a_stores_hours(world: World) -> None:
    _, store_id, _, headers = await world.shop()
    _, other = await world.account(Role.MERCHANT)
    _, customer = await world.account(Role.CUSTOMER)
    for who, where, code in (
        (other, store_id, "NOT_FOUND"),
        (headers, NOWHERE, "NOT_FOUND"),
        (customer, store_id, "FORBIDDEN"),
        ({}, store_id, "UNAUTHENTICATED"),
    ):
        answer = await world.http.put(url(where), json={"hours": []}, headers=who)
        assert answer.json()["code"] == code
    assert (await world.http.get(url(NOWHERE), headers=headers)).json()["code"] == "NOT_FOUND"
    assert (await world.http.get(url(store_id), headers=headers)).json()["version"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"hours": 7},
        {"hours": [{}]},
        {"hours": [{"weekday": 7, "opens_min": 0, "closes_min": 60}]},
        {"hours": [{"weekday": 0, "opens_min": 1440, "closes_min": 1500}]},
        {"hours": [{"weekday": 0, "opens_min": 600, "closes_min": 600}]},
        {"hours": [{"weekday": 0, "opens_min": 600, "closes_min": 2041}]},
        {"hours": [{"weekday": 0, "opens_min": 600.5, "closes_min": 660}]},
        {"hours": [{"weekday": 0, "opens_min": 600, "closes_min": 660, "holiday": True}]},
        {"hours": [*WEEK, {"weekday": -1, "opens_min": 0, "closes_min": 1}]},
        {"hours": WEEK * 8},
    ],
)
async def test_what_are_no_hours_is_refused(world: World, body: dict[str, Any]) -> None:
    _, store_id, _, headers = await world.shop()
    answer = await world.http.put(url(store_id), json=body, headers=headers)
    assert answer.json()["code"] == "INVALID_REQUEST"
    assert answer.json()["errors"]


async def test_a_closed_store_takes_no_order_and_accepts_none(world: World) -> None:
    order = await world.order("PAYMENT_AUTHORIZED")
    [product] = (await world.http.get(f"/v1/stores/{order.store_id}/products", headers=order.customer)).json()
    body = {
        "store_id": order.store_id,
        "items": [{"product_id": product["id"], "quantity": 1}],
        "dropoff": DOOR,
    }
    # A trip to the door and back takes about a quarter of an hour.
    for hours, code in (([], "STORE_CLOSED"), (for_minutes(world, 3)[0], "TOO_LATE_TODAY")):
        await world.http.put(url(order.store_id), json={"hours": hours}, headers=order.merchant)
        placed = await world.http.post("/v1/orders", json=body, headers=order.customer)
        accepted = await world.act(order, "accept")
        for answer in (placed, accepted):
            assert (answer.status_code, answer.json()["code"]) == (409, code)
            assert answer.json()["hint"]
    # Packing takes ten minutes where the merchant does not say: too long now, and not for the next order.
    await world.http.put(
        url(order.store_id), json={"hours": for_minutes(world, 22)[0]}, headers=order.merchant
    )
    assert (await world.act(order, "accept")).json()["code"] == "TOO_LATE_TODAY"
    assert (await world.http.post("/v1/orders", json=body, headers=order.customer)).status_code == 201
    await world.http.put(url(order.store_id), json={"hours": None}, headers=order.merchant)
    assert (await world.act(order, "accept")).status_code == 200


async def test_a_store_that_was_opened_twice_under_one_key_is_the_same_whatever_its_hours(
    world: World,
) -> None:
    merchant_id, headers = await world.account(Role.MERCHANT)
    body = {"name": "Corner", "region_id": REGION, "lat": 32.78, "lng": -96.8, "address": "2 Elm Street"}
    path, keyed = f"/v1/merchants/{merchant_id}/stores", headers | {"Idempotency-Key": "k"}
    first = await world.http.post(path, json=body, headers=keyed)
    await world.http.put(url(first.json()["id"]), json={"hours": []}, headers=headers)
    again = await world.http.post(path, json=body, headers=keyed)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    other = await world.http.post(path, json=body | {"name": "Other"}, headers=keyed)
    assert other.json()["code"] == "IDEMPOTENCY_KEY_REUSED"
