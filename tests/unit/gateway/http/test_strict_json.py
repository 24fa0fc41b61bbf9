"""What a client sends has one meaning or is refused: no coercion, no key twice, closed lists, bounded refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st

from domain.orders.commands import PRICE_LIMIT_CENTS, QUANTITY_LIMIT, TOTAL_LIMIT_CENTS
from domain.orders.lifecycle import Role
from gateway.http import strict_json
from gateway.http.strict_json import NotStrict, StrictRoute
from gateway.rest.table import ROUTERS
from tests.support.gateway_world import DALLAS, DOOR, REGION, Order, World

ID = "00000000-0000-4000-8000-00000000dead"
JSON_TYPE = {"Content-Type": "application/json"}

# -- the reader -------------------------------------------------------------------------------------------------------

NO_JSON = [
    *(
        b"",
        b"nonsense",
        b"{} {}",
        b"[1,]",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"01",
        b"'a'",
        b"{a:1}",
    ),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b'"a\nb"'),
    *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000),
]
TWICE = [
    '{"sober":false,"sober":true}',
    '{"sober":true,"sober":true}',
    '{"a":{"b":1,"b":1}}',
    '[[{"a":[],"a":{}}]]',
    '{"a":1,"\\u0061":2}',
    '{"a\\"":1,"a\\"":2}',
    '{"":1,"":2}',
    '{ "a" : "\\\\" , "b":[{"c" :1},{"c":1, "c":2}]}',
]


@pytest.mark.parametrize("data", NO_JSON, ids=range(len(NO_JSON)))
def test_what_is_no_json_is_not_read(data: bytes) -> None:
    with pytest.raises(NotStrict):
        strict_json.decode(data)


@pytest.mark.parametrize("text", TWICE)
def test_a_key_twice_is_not_read(text: str) -> None:
    with pytest.raises(NotStrict):
        strict_json.decode(text.encode())
    assert strict_json.repeats_a_key(text)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES, st.booleans())
def test_everything_else_is_read_as_it_is(value: Any, ascii_only: bool) -> None:
    assert strict_json.decode(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.dictionaries(st.text(), _VALUES, min_size=1, max_size=4), _VALUES)
def test_any_key_twice_is_found(value: dict[str, Any], other: Any) -> None:
    key = json.dumps(next(iter(value)), ensure_ascii=False)
    text = json.dumps(value, ensure_ascii=False)
    twice = f"[{text[:-1]}, {key}: {json.dumps(other)}}}]"
    assert strict_json.repeats_a_key(twice)


# -- every route ------------------------------------------------------------------------------------------------------


async def test_every_route_with_a_body_reads_it_strictly(world: World) -> None:
    bodies = [
        route
        for routes in ROUTERS
        for route in routes.router.routes
        if isinstance(route, APIRoute) and route.body_field
    ]
    assert len(bodies) > 10
    assert all(isinstance(route, StrictRoute) for route in bodies)


async def refused(world: World, url: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await world.http.post(url, content=content, headers=headers | JSON_TYPE)
    assert response.status_code == 422, response.text
    problem: dict[str, Any] = response.json()
    assert problem["code"] == "INVALID_REQUEST"
    return problem


NO_BOOLEANS: list[Any] = ["on", "true", "yes", 1, 1.0, 0, None, [True], {}]
NO_METHODS: list[Any] = ["driver_says_so", "SCAN", "scan ", "", None, 1, ["scan"]]
NO_TOKENS: list[Any] = [1, True, None, "", ["fake:pass"], "a\x00b"]
CHECK = {"method": "scan", "vendor_token": "fake:pass", "sober": True}
BAD_CHECKS = [
    *(CHECK | {"sober": value} for value in NO_BOOLEANS),
    *(CHECK | {"method": value} for value in NO_METHODS),
    *(CHECK | {"vendor_token": value} for value in NO_TOKENS),
    CHECK | {"Sober": False},
    {"method": "scan", "vendor_token": "fake:pass"},
    b'{"method":"scan","vendor_token":"fake:pass","sober":false,"sober":true}',
    b'{"method":"scan","vendor_token":"fake:fail","vendor_token":"fake:pass","sober":true}',
]


@pytest.mark.parametrize("body", BAD_CHECKS, ids=range(len(BAD_CHECKS)))
async def test_no_loose_evidence_opens_the_door(world: World, body: Any) -> None:
    driver_id, client = await world.driver()
    order = await world.order("CONFIRMED")
    task_id = (await client.receive("offer"))["tasks"][0]["task_id"]
    headers = world.auth(driver_id, Role.DRIVER)
    for step in ("accept", "arrive", "pickup", "arrive"):
        assert (await world.http.post(f"/v1/tasks/{task_id}/{step}", headers=headers)).status_code == 200
    await refused(world, f"/v1/orders/{order.id}/doorstep_id_check/submit", body, headers)
    read = await world.http.get(f"/v1/orders/{order.id}", headers=headers)
    assert read.json()["status"] == "AT_DOOR"


NO_QUANTITIES: list[Any] = [True, "3", 1.0, 3.5, 0, -1, None, 2**63, 10**30, QUANTITY_LIMIT + 1]
NO_ITEMS: list[Any] = [[], {}, "x", [[]], {"0": 1}]
NO_LATITUDES: list[Any] = ["32.8", True, None, [32.8], 91, 10**400]
NO_TEXTS: list[Any] = [1, None, "", " ", "a\x00"]
ITEM = {"product_id": ID, "quantity": 1}
NEW_ORDER = {"store_id": ID, "items": [ITEM], "dropoff": DOOR}
BAD_ORDERS = [
    *(NEW_ORDER | {"items": [ITEM | {"quantity": value}]} for value in NO_QUANTITIES),
    *(NEW_ORDER | {"items": value} for value in (*NO_ITEMS, [ITEM] * 101)),
    *(NEW_ORDER | {"dropoff": DOOR | {"lat": value}} for value in NO_LATITUDES),
    *(NEW_ORDER | {"dropoff": DOOR | {"address": value}} for value in NO_TEXTS),
    *(NEW_ORDER | {"store_id": value} for value in NO_ITEMS),
    NEW_ORDER | {"travel": {}},
]


@pytest.mark.parametrize("body", BAD_ORDERS, ids=range(len(BAD_ORDERS)))
async def test_nothing_is_made_into_an_order(world: World, body: Any) -> None:
    _, headers = await world.account(Role.CUSTOMER)
    await refused(world, "/v1/orders", body, headers)


async def test_nothing_is_made_into_a_place_a_price_or_a_time(world: World) -> None:
    merchant_id, store_id, _, headers = await world.shop()
    stores, products = (
        f"/v1/merchants/{merchant_id}/stores",
        f"/v1/merchants/{merchant_id}/stores/{store_id}/products",
    )
    store = {"name": "Corner", "region_id": REGION, "address": "2 Elm Street", **DALLAS}
    changes: list[Any] = [{"lat": "32.78"}, {"lng": True}, {"name": 1}, {"name": ["a"]}, {"open": True}]
    for change in changes:
        await refused(world, stores, store | change, headers)
    product = {"name": "Ale", "category": "alcohol", "price_cents": 500}
    prices: list[Any] = [True, "500", 500.0, -1, PRICE_LIMIT_CENTS + 1]
    for wrong in prices:
        await refused(world, products, product | {"price_cents": wrong}, headers)
        await refused(world, products, [product, product | {"price_cents": wrong}], headers)
    await refused(world, products, product | {"category": "Alcohol"}, headers)
    driver_id, driver = await world.account(Role.DRIVER)
    duty = {"on": True, **DALLAS}
    for change in (
        {"on": "on"},
        {"on": 1},
        {"lat": "32"},
        {"until": 1},
        {"until": "1700000000"},
        {"until": "2030-01-01"},
    ):
        await refused(world, f"/v1/drivers/{driver_id}/duty", duty | change, driver)


@pytest.mark.parametrize("limit", ["1.0", "+1", " 1", "1_0", "1e1", "true", "", "٣", "0", "201", "9" * 30])
async def test_a_number_in_a_query_is_its_digits(world: World, limit: str) -> None:
    _, headers = await world.account(Role.CUSTOMER)
    response = await world.http.get("/v1/orders", params={"limit": limit}, headers=headers)
    assert response.status_code == 422, response.text
    for at in ("1700000000", "2030-01-01", "tomorrow"):
        response = await world.http.get("/v1/orders", params={"created_from": at}, headers=headers)
        assert response.status_code == 422, response.text


async def test_a_refusal_repeats_little_of_what_was_sent(world: World) -> None:
    _, headers = await world.account(Role.CUSTOMER)
    many = {f"{number:05}{'x' * 4000}": "secret" for number in range(50)}
    response = await world.http.post("/v1/orders", json=NEW_ORDER | many, headers=headers)
    assert response.status_code == 422
    assert len(response.content) < 5000
    assert "secret" not in response.text


# -- sums -------------------------------------------------------------------------------------------------------------


async def test_an_order_has_a_largest_total(world: World) -> None:
    order = await world.order("DRAFT")
    url = f"/v1/merchants/{order.merchant_id}/stores/{order.store_id}/products"
    # Twice so many are too many, whatever fee and tax come on top.
    dear = {"name": "Old", "category": "general", "price_cents": TOTAL_LIMIT_CENTS * 3 // 4 // QUANTITY_LIMIT}
    product_id = (await world.http.post(url, json=dear, headers=order.merchant)).json()["id"]
    assert (await _order(world, order, product_id, QUANTITY_LIMIT)).status_code == 201
    twice = await _order(world, order, product_id, QUANTITY_LIMIT, lines=2)
    assert (twice.status_code, twice.json()["code"]) == (422, "INVALID_REQUEST")


async def _order(world: World, order: Order, product_id: str, quantity: int, lines: int = 1) -> Any:
    items = [{"product_id": product_id, "quantity": quantity}] * lines
    body = {"store_id": order.store_id, "items": items, "dropoff": DOOR}
    return await world.http.post("/v1/orders", json=body, headers=order.customer)


# -- frames -----------------------------------------------------------------------------------------------------------

BAD_FRAMES = [
    '{"type":"duty","on":false,"on":true,"lat":32.78,"lng":-96.8}',
    '{"type":"duty","type":"duty","on":true}',
    '{"type":"duty","on":"on"}',
    '{"type":"duty","on":1}',
    '{"type":"location","lat":32.7,"lat":33.7,"lng":-96.8,"at":"2030-01-01T00:00:00Z","seq":1}',
    '{"type":"location","lat":32.7,"\\u006cat":33.7,"lng":-96.8,"at":"2030-01-01T00:00:00Z","seq":1}',
    '{"type":"location","lat":32.7,"lng":-96.8,"at":"2030-01-01T00:00:00Z","seq":1,"speed_mps":1,"speed_mps":2}',
    '{"type":"task.arrive","id":"a","task_id":"b","n":1.0}',
    '{"type":"task.arrive","id":"a","task_id":"b","n":true}',
    '{"type":"task.arrive","id":"a","id":"b","task_id":"b"}',
    '{"type":"task.arrive","id":"a","task_id":"b","\\u0074ask_id":"c"}',
    '{"type":"task.arrive","id":"a","task_id":"b","unknown":{"x":1,"x":2}}',
]


@pytest.mark.parametrize("frame", BAD_FRAMES)
async def test_a_frame_is_read_as_strictly(world: World, frame: str) -> None:
    _, client = await world.driver(on_duty=False)
    await client.send(frame)
    assert (await client.receive())["code"] == "BAD_FRAME"


async def test_a_bad_frame_is_not_sent_back(world: World) -> None:
    _, client = await world.driver(on_duty=False)
    await client.send(json.dumps({"type": "x" * 3000}))
    error = await client.receive()
    assert error["code"] == "BAD_FRAME"
    assert len(error["detail"]) <= 200
