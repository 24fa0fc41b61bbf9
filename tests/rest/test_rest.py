"""REST as a client meets it: problems, roles, repeats, versions, limits, pages, streams."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jwt
import pytest
from msgspec.structs import replace

from domain.errors import CATALOGUE
from domain.orders.lifecycle import Role
from domain.ports import AgeResult, Verdict
from gateway.http.auth import Tokens
from tests.support.gateway_world import (
    DALLAS,
    DOOR,
    INTERNAL_TOKEN,
    PASSWORD,
    REGION,
    SCRAPER,
    World,
    running,
)

NOWHERE = "00000000-0000-4000-8000-00000000dead"


def code(response: Any) -> str:
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert body["status"] == response.status_code == CATALOGUE[body["code"]].status
    assert body["type"].endswith(body["code"])
    assert body["instance"].endswith(response.headers["x-request-id"])
    return str(body["code"])


# -- problems ---------------------------------------------------------------------------------------------------------


async def test_every_error_is_a_problem(world: World) -> None:
    _, headers = await world.account(Role.CUSTOMER)
    assert code(await world.http.get("/v1/me")) == "UNAUTHENTICATED"
    assert code(await world.http.get("/v1/unheard/of")) == "NOT_FOUND"
    wrong_method = await world.http.delete("/v1/me", headers=headers)
    assert code(wrong_method) == "METHOD_NOT_ALLOWED"
    assert wrong_method.headers["allow"] == "GET, HEAD, OPTIONS"
    assert code(await world.http.get("/v1/orders/no-uuid", headers=headers)) == "INVALID_REQUEST"
    assert code(await world.http.get(f"/v1/orders/{NOWHERE}", headers=headers)) == "NOT_FOUND"


async def test_a_fault_of_ours_shows_no_inside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def explode(*_: object) -> None:
        raise RuntimeError("select * from secrets")

    monkeypatch.setattr(world.reads, "user", explode)
    _, headers = await world.account(Role.CUSTOMER)
    response = await world.http.get("/v1/me", headers=headers)
    assert code(response) == "INTERNAL_ERROR"
    assert "secrets" not in response.text


async def test_a_request_id_is_kept_if_it_is_one(world: World) -> None:
    kept = await world.http.get("/health/live", headers={"X-Request-Id": "abc-1.2_3"})
    assert kept.headers["x-request-id"] == "abc-1.2_3"
    made = await world.http.get("/health/live", headers={"X-Request-Id": "a b<script>"})
    assert len(made.headers["x-request-id"]) == 32


BAD_BODIES = [
    b"",
    b"nonsense",
    b"[]",
    b"[" * 100_000,
    b'{"quantity":' + b"9" * 10_000 + b"}",
    json.dumps({"store_id": NOWHERE, "items": [], "dropoff": DOOR}).encode(),
    json.dumps(
        {"store_id": "x", "items": [{"product_id": NOWHERE, "quantity": 1}], "dropoff": DOOR}
    ).encode(),
    json.dumps(
        {"store_id": NOWHERE, "items": [{"product_id": NOWHERE, "quantity": 10**30}], "dropoff": DOOR}
    ).encode(),
    json.dumps(
        {
            "store_id": NOWHERE,
            "items": [{"product_id": NOWHERE, "quantity": 1}],
            "dropoff": DOOR | {"lat": "NaN"},
        }
    ).encode(),
    json.dumps(
        {
            "store_id": NOWHERE,
            "items": [{"product_id": NOWHERE, "quantity": 1}],
            "dropoff": DOOR | {"lat": float("nan")},
        }
    ).encode(),
    json.dumps(
        {
            "store_id": NOWHERE,
            "items": [{"product_id": NOWHERE, "quantity": 1}],
            "dropoff": DOOR | {"lng": float("inf")},
        }
    ).encode(),
    json.dumps(
        {
            "store_id": NOWHERE,
            "items": [{"product_id": NOWHERE, "quantity": 1}],
            "dropoff": DOOR | {"address": "a\x00"},
        }
    ).encode(),
    b'{"store_id":"%s","items":[{"product_id":"%s","quantity":1}],"dropoff":{"lat":1,"lng":1,"address":"\\ud800"}}'
    % (NOWHERE.encode(), NOWHERE.encode()),
    b'\xff\xfe{"a":1}',
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
async def test_a_bad_body_is_the_clients_fault(world: World, body: bytes) -> None:
    _, headers = await world.account(Role.CUSTOMER)
    headers |= {"Content-Type": "application/json"}
    response = await world.http.post("/v1/orders", content=body, headers=headers)
    assert code(response) == "INVALID_REQUEST"


async def test_a_body_over_the_limit_is_refused_announced_or_not(world: World) -> None:
    limit = world.services.config.limits.http_body_bytes

    async def drip() -> Any:
        for _ in range(limit // 1000 + 2):
            yield b"x" * 1000

    headers = {"Content-Type": "application/json"}
    for body in (b"x" * (limit + 1), drip()):
        response = await world.http.post("/v1/auth/register", content=body, headers=headers)
        assert code(response) == "PAYLOAD_TOO_LARGE"


async def test_what_was_sent_is_not_said_back(world: World) -> None:
    body = {"email": "not an address", "password": "hunter2secret", "role": "admin", "name": "N"}
    response = await world.http.post("/v1/auth/register", json=body)
    assert code(response) == "INVALID_REQUEST"
    assert {error["at"] for error in response.json()["errors"]} == {"body.email", "body.role"}
    assert "hunter2" not in response.text
    assert "not an address" not in response.text


async def test_the_api_describes_its_problems(world: World) -> None:
    schema = (await world.http.get("/openapi.json")).json()
    responses = schema["paths"]["/v1/orders"]["post"]["responses"]
    assert {"201", "401", "404", "413", "422", "503"} <= responses.keys()
    assert "application/problem+json" in responses["422"]["content"]
    assert "Problem" in schema["components"]["schemas"]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description") or operation.get("summary"), (method, path)


# -- accounts ---------------------------------------------------------------------------------------------------------


async def test_register_sign_in_and_me(world: World) -> None:
    body = {"email": "Ann@Example.org", "password": PASSWORD, "role": "driver", "name": "Ann"}
    made = await world.http.post("/v1/auth/register", json=body)
    assert made.status_code == 201
    assert code(await world.http.post("/v1/auth/register", json=body)) == "EMAIL_TAKEN"
    form = {"username": "ann@example.ORG", "password": PASSWORD, "grant_type": "password"}
    token = (await world.http.post("/v1/auth/token", data=form)).json()
    assert token["token_type"] == "bearer"
    me = await world.http.get("/v1/me", headers={"Authorization": f"Bearer {token['access_token']}"})
    assert me.json() == {
        "user_id": made.json()["user_id"], "role": "driver", "email": "ann@example.org", "name": "Ann",
        "merchant_id": None, "job": None,
    }  # fmt: skip
    stored = await world.reads.user_by_email("ann@example.org")
    assert stored is not None
    assert stored.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    for username, password in (
        (form["username"], "wrong"),
        ("nobody@example.org", PASSWORD),
        ("a\x00b", "x"),
    ):
        wrong = await world.http.post("/v1/auth/token", data={"username": username, "password": password})
        assert code(wrong) == "UNAUTHENTICATED"
        assert wrong.headers["www-authenticate"] == "Bearer"


async def test_a_repeated_registration_is_known_by_its_key(world: World) -> None:
    body = {"email": "ann@example.org", "password": PASSWORD, "role": "customer", "name": "Ann"}
    key = {"Idempotency-Key": "k"}
    first = await world.http.post("/v1/auth/register", json=body, headers=key)
    again = await world.http.post("/v1/auth/register", json=body, headers=key)
    assert again.status_code == 201
    assert again.json()["user_id"] == first.json()["user_id"]
    assert again.headers["idempotency-replayed"] == "true"
    stranger = await world.http.post(
        "/v1/auth/register", json=body | {"password": "another one"}, headers=key
    )
    assert code(stranger) == "EMAIL_TAKEN"


async def test_tokens_that_are_not_ours_or_too_old(world: World) -> None:
    secret = world.services.config.jwt_secret
    user_id, _ = await world.account(Role.ADMIN)
    claims = {"iss": "doorstep", "sub": user_id, "role": "admin", "iat": 0, "exp": 2**40}
    bad = [
        Tokens("another secret of more than thirty-two characters", 60).issue(user_id, Role.ADMIN),
        Tokens(secret, -10).issue(user_id, Role.ADMIN),
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims | {"role": "emperor"}, secret, algorithm="HS256"),
        jwt.encode(claims | {"iss": "elsewhere"}, secret, algorithm="HS256"),
        jwt.encode({key: claims[key] for key in claims if key != "exp"}, secret, algorithm="HS256"),
        "",
        "a.b.c",
        "\u00e9",
    ]
    for token in bad:
        response = await world.http.get("/v1/me", headers=[(b"Authorization", f"Bearer {token}".encode())])
        assert code(response) == "UNAUTHENTICATED"


# -- who may ----------------------------------------------------------------------------------------------------------


async def test_an_order_is_seen_by_its_own_people_only(world: World) -> None:
    order = await world.order()
    for role in (Role.CUSTOMER, Role.MERCHANT, Role.DRIVER):
        _, stranger = await world.account(role)
        for path in ("", "/dossier", "/dossier/verify"):
            response = await world.http.get(f"/v1/orders/{order.id}{path}", headers=stranger)
            assert code(response) == "NOT_FOUND"
        listed = (await world.http.get("/v1/orders", headers=stranger)).json()
        assert listed == {"orders": [], "next_cursor": None}
    for role in (Role.DISPATCHER, Role.ADMIN):
        _, operator = await world.account(role)
        assert (await world.http.get(f"/v1/orders/{order.id}", headers=operator)).status_code == 200


async def test_steps_belong_to_their_roles(world: World) -> None:
    order = await world.order()
    body = {"vendor_token": "fake:pass"}
    _, other = await world.account(Role.CUSTOMER)
    url = f"/v1/orders/{order.id}"
    assert code(await world.http.post(f"{url}/verify_age", json=body, headers=order.merchant)) == "FORBIDDEN"
    assert code(await world.http.post(f"{url}/verify_age", json=body, headers=other)) == "NOT_FOUND"
    assert code(await world.http.post(f"{url}/cancel", headers=other)) == "NOT_FOUND"
    assert code(await world.http.post(f"{url}/deliver/confirm", headers=order.customer)) == "FORBIDDEN"
    foreign_id, foreign = await world.account(Role.MERCHANT)
    path = f"stores/{order.store_id}/orders/{order.id}/action"
    action = {"action": "accept"}
    for merchant_id in (foreign_id, order.merchant_id):
        response = await world.http.post(f"/v1/merchants/{merchant_id}/{path}", json=action, headers=foreign)
        assert code(response) == "NOT_FOUND"


async def test_only_the_holder_may_check_ids_and_nobody_else_reaches_the_vendor(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unexpected(**_: object) -> None:
        raise AssertionError("the vendor was asked")

    monkeypatch.setattr(world.services.identity, "check_id", unexpected)
    order = await world.order("CONFIRMED")
    _, headers = await world.account(Role.DRIVER)
    check = {"method": "scan", "vendor_token": "fake:pass", "sober": True}
    url = f"/v1/orders/{order.id}/doorstep_id_check/submit"
    assert code(await world.http.post(url, json=check, headers=headers)) == "NOT_FOUND"


async def test_internal_routes_need_the_internal_token(world: World) -> None:
    tick = f"/internal/dispatch/tick?region_id={REGION}"
    for headers in ({}, {"X-Internal-Token": "wrong"}, {"X-Internal-Token": ""}):
        assert code(await world.http.post(tick, headers=headers)) == "FORBIDDEN"
    token = {"X-Internal-Token": INTERNAL_TOKEN}
    assert (await world.http.post(tick, headers=token)).json()["region_id"] == REGION
    assert code(await world.http.post("/internal/dispatch/tick?region_id=x", headers=token)) == "NOT_FOUND"
    expired = await world.http.post("/internal/dispatch/expire_offers?limit=5", headers=token)
    assert expired.json() == {"expired": 0, "regions": {REGION: 0}}
    async with running(internal_token="") as closed:
        response = await closed.http.post(tick, headers={"X-Internal-Token": ""})
        assert code(response) == "FORBIDDEN"


# -- gates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "expected", "status"),
    [
        ("fake:fail", "AGE_NOT_VERIFIED", "DRAFT"),
        ("fake:review", "AGE_NOT_VERIFIED", "DRAFT"),
        ("fake:error", "VENDOR_UNAVAILABLE", "DRAFT"),
        ("fake:timeout", "VENDOR_UNAVAILABLE", "DRAFT"),
        ("fake:no such script", "VENDOR_UNAVAILABLE", "DRAFT"),
        ("something else", "VENDOR_UNAVAILABLE", "DRAFT"),
        ("fake:pass", None, "AGE_VERIFIED"),
    ],
)
async def test_only_a_clear_pass_opens_the_age_gate(
    world: World, token: str, expected: str | None, status: str
) -> None:
    order = await world.order()
    response = await world.step(order, "verify_age", {"vendor_token": token})
    assert (None if response.status_code == 200 else code(response)) == expected
    if expected == "VENDOR_UNAVAILABLE":
        assert int(response.headers["retry-after"]) > 0
    read = await world.http.get(f"/v1/orders/{order.id}", headers=order.customer)
    assert read.json()["status"] == status


async def test_a_declined_payment_leaves_the_order_where_it_was(world: World) -> None:
    order = await world.order("AGE_VERIFIED")
    declined = await world.step(order, "payment/authorize", {"vendor_token": "fake:declined"})
    assert code(declined) == "PAYMENT_DECLINED"
    assert (await world.step(order, "payment/authorize", {"vendor_token": "fake:ok"})).status_code == 200


async def test_age_attempts_run_out_without_the_vendor(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    async def fail(*, request_id: str, vendor_token: str, min_age: int) -> AgeResult:
        nonlocal calls
        calls += 1
        return AgeResult(Verdict.FAIL, "ref")

    monkeypatch.setattr(world.services.identity, "verify_age", fail)
    order = await world.order()
    codes = [code(await world.step(order, "verify_age", {"vendor_token": "fake:x"})) for _ in range(12)]
    assert codes[-1] == "AGE_ATTEMPTS_EXHAUSTED"
    assert calls == codes.count("AGE_NOT_VERIFIED") < 12


# -- repeats and versions ---------------------------------------------------------------------------------------------


async def test_a_repeat_gets_the_first_answer_and_calls_no_vendor(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await world.order()
    body, key = {"vendor_token": "fake:pass"}, {"Idempotency-Key": "k-1"}
    first = await world.step(order, "verify_age", body, **key)
    monkeypatch.setattr(world.services, "identity", None)
    again = await world.step(order, "verify_age", body, **key)
    assert (again.status_code, again.json(), again.headers["etag"]) == (
        200,
        first.json(),
        first.headers["etag"],
    )
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    other = await world.step(order, "verify_age", {"vendor_token": "fake:fail"}, **key)
    assert code(other) == "IDEMPOTENCY_KEY_REUSED"


async def test_a_key_is_kept_for_each_principal_route_and_path(world: World) -> None:
    one, two = await world.order(), await world.order()
    key = {"Idempotency-Key": "same"}
    assert (await world.step(one, "cancel", **key)).json()["id"] == one.id
    assert (await world.step(two, "cancel", **key)).json()["id"] == two.id
    # The same principal, route and key with another order in the path is another request.
    merchant_id, store_id, product_id, _ = await world.shop()
    _, customer = await world.account(Role.CUSTOMER)
    body = {"store_id": store_id, "items": [{"product_id": product_id, "quantity": 1}], "dropoff": DOOR}
    ids = [(await world.http.post("/v1/orders", json=body, headers=customer)).json()["id"] for _ in range(2)]
    first = await world.http.post(f"/v1/orders/{ids[0]}/cancel", headers=customer | key)
    assert first.status_code == 200
    assert (
        code(await world.http.post(f"/v1/orders/{ids[1]}/cancel", headers=customer | key))
        == "IDEMPOTENCY_KEY_REUSED"
    )
    assert merchant_id


async def test_creating_twice_with_one_key_makes_one_order(world: World) -> None:
    _, store_id, product_id, _ = await world.shop()
    _, customer = await world.account(Role.CUSTOMER)
    body = {"store_id": store_id, "items": [{"product_id": product_id, "quantity": 1}], "dropoff": DOOR}
    headers = customer | {"Idempotency-Key": "once"}
    answers = await asyncio.gather(
        *(world.http.post("/v1/orders", json=body, headers=headers) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(world.backend.store.orders) == 1
    # The same content in another spelling is the same request.
    spelled = json.dumps(body, indent=3).encode()
    again = await world.http.post(
        "/v1/orders", content=spelled, headers=headers | {"Content-Type": "application/json"}
    )
    assert again.status_code == 201


async def test_stores_and_products_are_made_once_for_a_key(world: World) -> None:
    merchant_id, headers = await world.account(Role.MERCHANT)
    headers |= {"Idempotency-Key": "k"}
    url = f"/v1/merchants/{merchant_id}/stores"
    body: Any = {"name": "Corner", "region_id": REGION, "address": "2 Elm Street", **DALLAS}
    stores = [await world.http.post(url, json=body, headers=headers) for _ in range(2)]
    assert stores[0].json() == stores[1].json()
    assert stores[1].headers["idempotency-replayed"] == "true"
    assert (
        code(await world.http.post(url, json=body | {"name": "x"}, headers=headers))
        == "IDEMPOTENCY_KEY_REUSED"
    )
    url += f"/{stores[0].json()['id']}/products"
    body = [{"name": name, "category": "general", "price_cents": 1} for name in ("a", "b")]
    products = [await world.http.post(url, json=body, headers=headers) for _ in range(2)]
    assert products[0].json() == products[1].json()
    assert code(await world.http.post(url, json=body[:1], headers=headers)) == "IDEMPOTENCY_KEY_REUSED"
    assert len(world.reads.goods) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
async def test_a_key_has_a_form(world: World, key: str) -> None:
    order = await world.order()
    headers = [(name.encode(), value.encode()) for name, value in order.customer.items()]
    headers.append((b"Idempotency-Key", key.encode()))
    response = await world.http.post(f"/v1/orders/{order.id}/cancel", headers=headers)
    assert code(response) == "INVALID_REQUEST"


async def test_if_match_is_honoured(world: World) -> None:
    order = await world.order()
    etag = (await world.http.get(f"/v1/orders/{order.id}", headers=order.customer)).headers["etag"]
    body = {"vendor_token": "fake:pass"}
    assert code(await world.step(order, "verify_age", body, **{"If-Match": '"7"'})) == "VERSION_MISMATCH"
    assert code(await world.step(order, "verify_age", body, **{"If-Match": "one"})) == "INVALID_REQUEST"
    assert (await world.step(order, "verify_age", body, **{"If-Match": etag})).status_code == 200
    assert code(await world.step(order, "cancel", **{"If-Match": etag})) == "VERSION_MISMATCH"
    confirmed = await world.order("CONFIRMED")
    assert code(await world.step(confirmed, "cancel", **{"If-Match": '"1"'})) == "VERSION_MISMATCH"


# -- reading ----------------------------------------------------------------------------------------------------------


async def test_pages_go_through_all_orders_once(world: World) -> None:
    _, store_id, product_id, merchant = await world.shop()
    _, customer = await world.account(Role.CUSTOMER)
    body = {"store_id": store_id, "items": [{"product_id": product_id, "quantity": 1}], "dropoff": DOOR}
    made = [(await world.http.post("/v1/orders", json=body, headers=customer)).json()["id"] for _ in range(7)]
    found: list[str] = []
    params: dict[str, str] = {"limit": "3"}
    while True:
        page = (await world.http.get("/v1/orders", params=params, headers=customer)).json()
        found += [order["id"] for order in page["orders"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert sorted(found) == sorted(made)
    assert len(found) == 7
    for bad in (
        {"cursor": "!!"},
        {"cursor": "MTox"},
        {"limit": "0"},
        {"status": "LOST"},
        {"created_from": "2030-01-01"},
    ):
        assert code(await world.http.get("/v1/orders", params=bad, headers=customer)) == "INVALID_REQUEST"
    none = await world.http.get(
        "/v1/orders", params={"created_from": "2999-01-01T00:00:00Z"}, headers=customer
    )
    assert none.json()["orders"] == []
    drafts = await world.http.get("/v1/orders", params={"status": "DRAFT"}, headers=merchant)
    assert len(drafts.json()["orders"]) == 7


async def test_regions_stats_health_and_metrics(world: World) -> None:
    _, headers = await world.account(Role.DISPATCHER)
    assert (await world.http.get("/v1/regions")).json()[0]["id"] == REGION
    stats = (await world.http.get(f"/v1/regions/{REGION}/stats", headers=headers)).json()
    assert stats["epoch"] == 1
    assert code(await world.http.get("/v1/regions/x/stats", headers=headers)) == "NOT_FOUND"
    assert (await world.http.get("/health/ready")).json()["status"] == "ok"
    metrics = await world.http.get("/metrics", headers=SCRAPER)
    assert 'route="/v1/regions/{region_id}/stats"' in metrics.text


# -- mission control --------------------------------------------------------------------------------------------------


async def test_the_ops_stream_is_for_operators_unless_it_is_open(world: World) -> None:
    config = (await world.http.get("/v1/ops/config")).json()
    assert config["auth_required"] is True
    assert config["regions"][0]["center"][0] < 0 < config["regions"][0]["center"][1]
    url = f"/v1/ops/stream?region_id={REGION}"
    assert code(await world.http.get(url)) == "UNAUTHENTICATED"
    _, customer = await world.account(Role.CUSTOMER)
    assert code(await world.http.get(url, headers=customer)) == "FORBIDDEN"
    _, dispatcher = await world.account(Role.DISPATCHER)
    assert code(await world.http.get("/v1/ops/stream?region_id=x", headers=dispatcher)) == "NOT_FOUND"
    world.services.config = replace(world.services.config, ops_open=True)
    assert (await world.http.get("/v1/ops/config")).json()["auth_required"] is False


async def test_viewers_share_one_poll_and_hear_of_an_outage(world: World) -> None:
    feeds, polls = world.services.feeds, 0
    plain = feeds._poll

    async def counted(region_id: str) -> Any:
        nonlocal polls
        polls += 1
        return await plain(region_id)

    feeds._poll = counted
    viewers = [feeds.watch(REGION) for _ in range(20)]
    for _ in range(3):
        events = await asyncio.gather(*(anext(viewer) for viewer in viewers))
    assert all(event.startswith(b"event: frame\ndata: {") for event in events)
    assert json.loads(events[0].split(b"data: ")[1])["region_id"] == REGION
    assert polls <= 6
    assert feeds.viewers == 20
    await world.backend.regions[REGION].stop()
    event = b"event: frame"
    while event.startswith(b"event: frame"):
        event = await anext(viewers[0])
    assert event.startswith(b'event: down\ndata: {"detail":')
    for viewer in viewers:
        await viewer.aclose()  # type: ignore[attr-defined]
    assert feeds.viewers == 0
    polls = 0
    await asyncio.sleep(0.05)
    assert polls == 0
