"""What HTTP asks of every path: HEAD, OPTIONS, conditional requests, media types, headers for browsers, origins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from domain.errors import InvalidRequest
from domain.orders.lifecycle import Role
from gateway.http.browsers import is_welcome, page_policy
from gateway.http.etags import is_known, versions
from tests.support.gateway_world import PASSWORD, SCRAPER, World, running


async def reads(world: World) -> list[tuple[str, dict[str, str]]]:
    """Every GET of the API that ends, with ids that are there."""
    order = await world.order("CONFIRMED")
    paths = []
    for path, operations in world.app.openapi()["paths"].items():
        if "get" in operations and path != "/v1/ops/stream":
            paths.append(
                path.replace("{order_id}", order.id)
                .replace("{region_id}", "tx-dfw")
                .replace("{merchant_id}", order.merchant_id)
                .replace("{store_id}", order.store_id)
                .replace("{driver_id}", order.id)
                .replace("{offer_id}", order.id)
            )
    _, admin = await world.account(Role.ADMIN)
    pages = ["/docs", "/redoc", "/openapi.json", "/ops", "/"]
    queries = {"/v1/route": "?from=32.78,-96.80&to=32.79,-96.81", "/v1/stores": "?region_id=tx-dfw"}
    return [
        (path + queries.get(path, ""), SCRAPER if path == "/metrics" else admin) for path in paths + pages
    ]


async def test_head_is_get_without_the_body(world: World) -> None:
    for path, headers in await reads(world):
        got = await world.http.get(path, headers=headers)
        head = await world.http.head(path, headers=headers)
        assert head.status_code == got.status_code, path
        assert head.content == b"", path
        assert head.headers.keys() == got.headers.keys(), path
        if path not in ("/metrics",):
            assert head.headers.get("content-length") == got.headers.get("content-length"), path


async def test_head_of_a_stream_ends() -> None:
    async with running(ops_open=True) as world:
        head = await world.http.head("/v1/ops/stream", params={"region_id": "tx-dfw"})
        assert head.status_code == 200
        assert head.headers["content-type"].startswith("text/event-stream")
        assert world.services.feeds.viewers == 0


async def test_options_and_a_wrong_method_name_the_right_ones(world: World) -> None:
    options = await world.http.options("/v1/orders")
    assert (options.status_code, options.content) == (204, b"")
    assert options.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    wrong = await world.http.put("/v1/orders")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert (await world.http.options("/v1/nowhere")).status_code == 404
    assert world.app.state.routes.methods("*") == ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    assert "access-control-allow-origin" not in options.headers


# -- versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "let_through"),
    [
        ([], None),
        (["*"], None),
        (['"3"'], (3,)),
        (['"3", "4"'], (3, 4)),
        (['"3"', '"4"'], (3, 4)),
        ([',, "3" ,'], (3,)),
        (['W/"3"'], ()),
        (['W/"3", "4"'], (4,)),
        (['"03"', '"+3"', '"3,4"'], ()),
        (['"' + "long" * 500 + '"'], ()),
        (['"' + "9" * 500 + '"'], ()),
        (['""'], ()),
    ],
)
def test_if_match_is_compared_strongly(lines: list[str], let_through: tuple[int, ...] | None) -> None:
    assert versions(lines) == let_through


@pytest.mark.parametrize(
    "line", ["", "3", "one", '"3', '3"', 'w/"3"', '"3" "4"', '*, "3"', '"3", *', '"a"b"', ",", '"a b"']
)
def test_what_is_no_list_of_tags(line: str) -> None:
    with pytest.raises(InvalidRequest):
        versions([line])
    assert not is_known('"3"', [line])


async def test_a_change_needs_one_of_the_versions_named(world: World) -> None:
    order = await world.order("DRAFT")
    etag = (await world.http.get(f"/v1/orders/{order.id}", headers=order.customer)).headers["etag"]
    body = {"vendor_token": "fake:pass"}

    async def verify(*values: str) -> int:
        headers = [*order.customer.items(), *(("If-Match", value) for value in values)]
        answer = await world.http.post(f"/v1/orders/{order.id}/verify_age", json=body, headers=headers)
        return int(answer.status_code)

    assert await verify(f"W/{etag}") == 412
    assert await verify('"' + "x" * 300 + '"') == 412
    assert await verify(etag.strip('"')) == 422
    assert await verify('"77"', f'W/"1", {etag}') == 200


async def test_what_the_client_has_is_not_sent_again(world: World) -> None:
    order = await world.order("DRAFT")
    path = f"/v1/orders/{order.id}"
    etag = (await world.http.get(path, headers=order.customer)).headers["etag"]
    for tag in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        again = await world.http.get(path, headers=order.customer | {"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert "content-length" not in again.headers
    for tag in ('"x"', "3"):
        assert (
            await world.http.get(path, headers=order.customer | {"If-None-Match": tag})
        ).status_code == 200


# -- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["%00", "%0a", "%0D", "%1f", "%7F", "a%00b"])
async def test_control_characters_in_an_address_are_refused(world: World, character: str) -> None:
    _, admin = await world.account(Role.ADMIN)
    for path in (
        f"/v1/offers?region_id={character}",
        f"/v1/stores?region_id={character}",
        f"/v1/orders?cursor={character}&limit=1",
        f"/v1/orders/{character}",
        f"/v1/regions/{character}/stats",
        f"/v1/ops/stream?region_id={character}",
        f"/internal/dispatch/tick?region_id={character}",
        f"/ops/{character}",
        f"/{character}",
    ):
        refused = await world.http.get(path, headers=admin)
        assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_REQUEST"), path


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"\x1f\x8b\x08"),
        ({"Content-Type": "application/json", "Content-Encoding": "br"}, b"{}"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip, identity"}, b"{}"),
        ({"Content-Type": "text/plain"}, b"{}"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"{}"),
        ({"Content-Type": "application/json; charset=utf-16"}, b"{}"),
        ({"Content-Type": "application/jsonx"}, b"{}"),
        ({"Content-Type": "application/json; charset=utf-8; x=y"}, b"{}"),
        ({}, b"{}"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_with_a_word(
    world: World, headers: dict[str, str], content: bytes
) -> None:
    _, customer = await world.account(Role.CUSTOMER)
    refused = await world.http.post("/v1/orders", content=content, headers=customer | headers)
    assert (refused.status_code, refused.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "Content-" in refused.json()["detail"]


@pytest.mark.parametrize(
    "kind", ["application/json", "APPLICATION/JSON; Charset=UTF-8", "application/merge+json"]
)
async def test_json_is_json(world: World, kind: str) -> None:
    _, customer = await world.account(Role.CUSTOMER)
    answer = await world.http.post("/v1/orders", content=b"{}", headers=customer | {"Content-Type": kind})
    assert answer.status_code == 422


async def test_one_signs_in_by_a_form(world: World) -> None:
    form = {"username": "nobody@example.org", "password": PASSWORD}
    assert (await world.http.post("/v1/auth/token", data=form)).status_code == 401
    assert (await world.http.post("/v1/auth/token", json=form)).status_code == 415
    assert (await world.http.post("/v1/auth/token", data=form, files={"a": b"b"})).status_code == 415


@pytest.mark.parametrize(
    "place", ["3_2,-9", "\u0663\u0662.78,-96.80", "32.78,\u00a0-96.80", "+32.78,-96.80", "nan,1"]
)
async def test_a_place_is_two_plain_numbers(world: World, place: str) -> None:
    _, customer = await world.account(Role.CUSTOMER)
    query = {"from": place, "to": "32.79,-96.81"}
    assert (await world.http.get("/v1/route", params=query, headers=customer)).status_code == 422


@pytest.mark.parametrize(
    "nothing", ["\u200b\u200b\u200b", "\u3164", "\u2800", "\u00a0 \u2003", "\u202e\ufeff"]
)
async def test_what_cannot_be_seen_is_no_name_and_no_address(world: World, nothing: str) -> None:
    account = {"email": "a@example.org", "password": PASSWORD, "role": "customer", "name": nothing}
    refused = await world.http.post("/v1/auth/register", json=account)
    assert [error["at"] for error in refused.json()["errors"]] == ["body.name"]
    store = {"name": "Shop", "region_id": "tx-dfw", "lat": 32.78, "lng": -96.8, "address": nothing}
    merchant_id, merchant = await world.account(Role.MERCHANT)
    refused = await world.http.post(f"/v1/merchants/{merchant_id}/stores", json=store, headers=merchant)
    assert [error["at"] for error in refused.json()["errors"]] == ["body.address"]


async def test_a_name_that_no_file_system_takes_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "index.html").write_text("<html></html>")
    async with running(web_dist=str(tmp_path)) as world:
        for path in ("a" * 5_000, "a/" * 2_000 + "b", "assets/" + "\U0001f600" * 300 + ".js"):
            assert (await world.http.get(f"/ops/{path}")).status_code in (200, 404), path[:20]


# -- browsers ---------------------------------------------------------------------------------------------------------


async def test_every_answer_tells_browsers_what_it_is_not(world: World, tmp_path: Path) -> None:
    for path, headers in await reads(world):
        answer = await world.http.get(path, headers=headers)
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"] == "no-referrer", path
        assert answer.headers["x-frame-options"] == "DENY", path
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, path
        assert policy.startswith(
            "default-src 'self'" if path in ("/docs", "/redoc") else "default-src 'none'"
        ), path
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "index.html").write_text("<html></html>")
    async with running(
        web_dist=str(tmp_path), tile_url="https://{s}.tiles.example.org:8443/{z}/{x}/{y}.png"
    ) as other:
        policy = (await other.http.get("/ops")).headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "img-src 'self' data: blob: https://*.tiles.example.org:8443;" in policy


def test_inline_scripts_run_by_their_hash_alone() -> None:
    policy = page_policy(html="<script>1</script><script src='x'></script>")
    assert "script-src 'self' 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s=';" in policy
    assert "unsafe" not in policy
    assert "script" not in page_policy(tile_url="https://evil'; script-src *//x").partition("img-src")[2]


@pytest.mark.parametrize(
    ("origin", "host", "welcome"),
    [
        (None, "a.example.org", True),
        ("https://a.example.org", "a.example.org", True),
        ("https://A.example.org", "a.example.org:443", True),
        ("http://localhost:8000", "localhost:8000", True),
        ("https://other.example.org", "a.example.org", True),
        ("https://b.example.org", "a.example.org", False),
        ("http://localhost:8001", "localhost:8000", False),
        ("https://a.example.org.evil.org", "a.example.org", False),
        ("null", "a.example.org", False),
        ("", "", False),
        ("file://", "a.example.org", False),
        ("chrome-extension://a.example.org", "a.example.org", False),
    ],
)
def test_whose_pages_may_open_a_socket(origin: str | None, host: str, welcome: bool) -> None:
    assert is_welcome(origin, host, {"https://other.example.org"}) is welcome


async def test_a_socket_and_a_stream_look_at_the_origin() -> None:
    async with running(ops_open=True, allowed_origins=("https://ops.example.org",)) as world:

        async def opened(origin: bytes | None) -> list[str]:
            sent: list[Message] = []
            messages: list[dict[str, Any]] = [{"type": "websocket.connect"}, {"type": "websocket.disconnect"}]
            headers = [(b"host", b"test"), *([(b"origin", origin)] if origin is not None else [])]
            scope = {"type": "websocket", "path": "/v1/drivers/ws", "headers": headers, "subprotocols": []}

            async def receive() -> Message:
                return messages.pop(0)

            async def send(message: Message) -> None:
                sent.append(message)

            await world.app(scope | {"query_string": b"", "client": ("9.9.9.9", 1)}, receive, send)
            return [message["type"] for message in sent]

        for origin in (None, b"http://test", b"https://ops.example.org"):
            assert (await opened(origin))[0] == "websocket.accept", origin
        for origin in (b"https://evil.example.org", b"null", b""):
            assert await opened(origin) == ["websocket.close"], origin
        path = "/v1/ops/stream?region_id=tx-dfw"
        evil = {"Origin": "https://evil.example.org"}
        assert (await world.http.head(path, headers=evil)).status_code == 403
        assert (await world.http.head(path, headers={"Origin": "http://test"})).status_code == 200
        # Elsewhere it says nothing: no other page can read what comes, and there are no cookies.
        assert (await world.http.get("/v1/regions", headers=evil)).status_code == 200
