"""A fast route and the framework's own way take the same requests, make the same of them, refuse in the same words."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.routing import APIRoute
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from domain.orders.commands import OrderCommand
from domain.orders.lifecycle import Role
from domain.orders.records import Answer
from gateway.app import build_app
from gateway.http.idempotency import Call
from gateway.http.strict_json import StrictRoute
from gateway.rest.kit import fast_route
from gateway.rest.kit.fast_route import FastRoute, NoPlan
from tests.support.gateway_world import DOOR, World

ID = "00000000-0000-4000-8000-00000000dead"
JSON_TYPE = {"content-type": "application/json"}
ITEM = {"product_id": ID, "quantity": 2}
NEW_ORDER = {"store_id": ID, "items": [ITEM], "dropoff": DOOR}
CHECK = {"method": "scan", "vendor_token": "fake:pass", "sober": True}

# Which routes have a plan: one that lost it would only be slower, and nobody would notice.
FAST = {
    "POST /v1/orders",
    "GET /v1/orders/{order_id}",
    "POST /v1/orders/{order_id}/verify_age",
    "POST /v1/orders/{order_id}/payment/authorize",
    "POST /v1/orders/{order_id}/cancel",
    "POST /v1/orders/{order_id}/doorstep_id_check/submit",
    "POST /v1/orders/{order_id}/deliver/confirm",
    "POST /v1/orders/{order_id}/refuse",
    "POST /v1/merchants/{merchant_id}/stores/{store_id}/orders/{order_id}/action",
    "POST /v1/drivers/{driver_id}/duty",
    "POST /v1/tasks/{task_id}/accept",
    "POST /v1/tasks/{task_id}/reject",
    "POST /v1/tasks/{task_id}/arrive",
    "POST /v1/tasks/{task_id}/pickup",
    "POST /v1/tasks/{task_id}/return/confirm",
}
BODIES: dict[str, Any] = {
    "/v1/orders": NEW_ORDER,
    f"/v1/orders/{ID}/verify_age": {"vendor_token": "fake:pass"},
    f"/v1/orders/{ID}/payment/authorize": {"vendor_token": "fake:ok"},
    f"/v1/orders/{ID}/cancel": {"reason": "OTHER", "note": "Ich mag nicht mehr"},
    f"/v1/orders/{ID}/doorstep_id_check/submit": CHECK,
    f"/v1/orders/{ID}/refuse": {"reason": "NOBODY_HOME", "note": "nobody"},
    f"/v1/merchants/{ID}/stores/{ID}/orders/{ID}/action": {"action": "accept", "prep_minutes": 5},
    f"/v1/drivers/{ID}/duty": {"on": True, "lat": 32.8, "lng": -96.8, "until": "2030-01-01T00:00:00Z"},
    f"/v1/tasks/{ID}/reject": {"reason": "TOO_FAR"},
}
STEPS = ("accept", "arrive", "pickup", "return/confirm")
PATHS = [*BODIES, f"/v1/orders/{ID}/deliver/confirm", *(f"/v1/tasks/{ID}/{step}" for step in STEPS)]


class Twins:
    """The same services behind both ways, and what either made of a request."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.made = world, list[Any]()
        self.slowed = 0

        async def decide(command: OrderCommand) -> Answer:
            self.made.append(
                (command.scope, command.fingerprint, command.role, command.if_match, command.action)
            )
            return Answer(body={"id": ID, "status": "DRAFT", "version": 1})

        covers = Call.covers

        def noted(call: Call, body: Any, **but: Any) -> Call:
            covers(call, body, **but)
            self.made.append((call.given and call.key, call.fingerprint, call.if_match, call.device, body))
            return call

        made_by = StrictRoute.get_route_handler

        def counted(route: StrictRoute) -> Any:
            own = made_by(route)

            async def count(request: Request) -> Response:
                self.slowed += 1
                return await own(request)

            return count

        monkeypatch.setattr(world.services.backend._backend, "decide", decide)  # type: ignore[attr-defined]
        monkeypatch.setattr(Call, "covers", noted)
        monkeypatch.setattr(StrictRoute, "get_route_handler", counted)
        self.fast, self.slow = build_app(world.services), build_app(world.services)

    async def warm(self) -> Twins:
        """The framework makes a route's handler with its first request."""
        for path in PATHS:
            await self._post(self.fast, path, b"", {})
            with _no_plans():
                await self._post(self.slow, path, b"", {})
        return self

    async def same(self, path: str, content: bytes, headers: Any) -> httpx.Response:
        """What both answer; fails where they differ in anything but ids."""
        seen = []
        for app in (self.fast, self.slow):
            self.made.clear()
            response = await self._post(app, path, content, headers)
            seen.append((_plain(response), list(self.made), response))
        assert seen[0][:2] == seen[1][:2]
        return seen[0][2]

    async def _post(self, app: FastAPI, path: str, content: bytes, headers: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.post(path, content=content, headers=headers)


@contextmanager
def _no_plans() -> Iterator[None]:
    def none(route: StrictRoute) -> Any:
        raise NoPlan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_route, "plan_of", none)
        yield


def _plain(response: httpx.Response) -> Any:
    """Status, headers and body, without the ids that are of each request alone."""
    headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
    text = response.text.replace(response.headers["x-request-id"], "-")
    return response.status_code, headers, text


@pytest.fixture
async def twins(world: World, monkeypatch: pytest.MonkeyPatch) -> Twins:
    return await Twins(world, monkeypatch).warm()


def test_the_routes_that_come_often_have_a_plan() -> None:
    from gateway.rest import drivers, merchants, orders

    found = {
        f"{method} {route.path}"
        for module in (orders, drivers, merchants)
        for route in module.routes.router.routes
        if isinstance(route, FastRoute) and route.plan is not None
        for method in route.methods or ()
    }
    assert found >= FAST


async def test_what_is_as_it_should_be_goes_the_fast_way(twins: Twins) -> None:
    """And is the same as by the slow one."""
    for path in PATHS:
        _, headers = await twins.world.account(_role(path))
        twins.slowed = 0
        content = json.dumps(BODIES[path]).encode() if path in BODIES else b""
        response = await twins.same(path, content, headers | JSON_TYPE)
        assert response.status_code == (201 if path == "/v1/orders" else 404), response.text
        assert twins.slowed == 1, path  # of two


async def test_openapi_is_the_same(twins: Twins) -> None:
    assert twins.fast.openapi() == twins.slow.openapi()


def _role(path: str) -> Role:
    if path.startswith("/v1/merchants"):
        return Role.MERCHANT
    of_drivers = path.endswith(("submit", "refuse", "confirm")) or not path.startswith("/v1/orders")
    return Role.DRIVER if of_drivers else Role.CUSTOMER


# -- bodies -----------------------------------------------------------------------------------------------------------

ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.0, 2.5, 1e400, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, -0.0, 1e-320),
    *(
        "",
        " ",
        "3",
        "true",
        "null",
        "a\x00b",
        "\ud800",
        "\udc00\ud800",
        "e\u0301",
        "\u202e",
        "\ufeff",
        "x" * 3000,
    ),
    *(
        "👩\u200d👩\u200d👧",
        "\u1160",
        "ﬁ",
        "Å",
        "\r\n\t ",
        ID.upper(),
        f"urn:uuid:{ID}",
        f"{{{ID}}}",
        ID.replace("-", ""),
    ),
    *(
        [],
        {},
        [[]],
        [None],
        [1],
        {"a": 1},
        {"": {}},
        [ITEM] * 101,
        [ITEM, ITEM],
        {"0": ITEM},
        {**ITEM, "more": 1},
    ),
    *("OTHER", "other", "UNSPECIFIED", "scan", "manual_entry", "SCAN", 91, -180.0001, "1e3", float("nan")),
]
BYTES = [
    *(
        b"",
        b" ",
        b"null",
        b"[]",
        b'""',
        b"0",
        b"{}",
        b"{",
        b"}",
        b"nonsense",
        b"{}{}",
        b"{} x",
        b"\xef\xbb\xbf{}",
    ),
    *(
        b"\xff",
        b'{"a":1,}',
        b"{'a':1}",
        b"NaN",
        b"Infinity",
        b"[1e999]",
        b'{"vendor_token":"\\ud800"}',
        b"\x00",
    ),
    *(b"[" * 5000, b'{"a":' * 5000, b"[" * 900 + b"]" * 900, b'{"a":' * 400 + b"1" + b"}" * 400),
    *(
        b'{"reason":"OTHER","reason":"OTHER"}',
        b'{"reason":"OTHER","\\u0072eason":"NO_DRIVER"}',
        b'{"note":"\\u0000"}',
    ),
]


def _changes(value: Any) -> Iterator[Any]:
    """The body with one place of it changed, left out, or told of twice."""
    yield from ODD
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {name: one for name, one in value.items() if name != key}
            yield value | {key.upper(): inner}
            for changed in _changes(inner):
                yield value | {key: changed}
        yield value | {"more": 1}
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            for changed in _changes(inner):
                yield [*value[:at], changed, *value[at + 1 :]]


def _written(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("path", BODIES)
async def test_hostile_bodies(twins: Twins, path: str) -> None:
    _, headers = await twins.world.account(_role(path))
    body = BODIES[path]
    contents = [*BYTES, *map(_written, _changes(body))]
    for key, value in body.items():
        twice = _written(body)[:-1] + b"," + _written({key: value})[1:]
        contents += [twice, twice.replace(b"n", b"\\u006e")]
    contents.append(_written(body).replace(b"2", b"2.0").replace(b"32.0.8", b"32.8"))
    statuses = set()
    for content in contents:
        response = await twins.same(path, content, headers | JSON_TYPE)
        statuses.add(response.status_code)
        assert response.status_code < 500, content[:200]
    assert statuses >= {422, 201 if path == "/v1/orders" else 404}


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from([ID, "OTHER", "scan", DOOR, ITEM, 1, 2.0]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["store_id", "items", "dropoff", "lat", "lng", "address", "product_id", "quantity", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
_ORDERS = st.fixed_dictionaries(
    {
        "store_id": st.sampled_from([ID, ID.upper(), "x"]) | _VALUES,
        "items": st.lists(
            st.fixed_dictionaries(
                {"product_id": st.just(ID) | _VALUES, "quantity": st.integers(-1, 102) | _VALUES}
            ),
            max_size=3,
        )
        | _VALUES,
        "dropoff": st.fixed_dictionaries(
            {
                "lat": st.floats(-91, 91) | st.integers(-91, 91),
                "lng": st.floats(-181, 181) | st.integers(-181, 181),
                "address": st.text(st.characters(), max_size=12) | _VALUES,
            }
        )
        | _VALUES,
    }
)


async def test_any_bodies(twins: Twins) -> None:
    _, headers = await twins.world.account(Role.CUSTOMER)
    loop = asyncio.get_running_loop()

    @settings(max_examples=300)
    @given(_ORDERS | _VALUES, st.booleans())
    @example(NEW_ORDER, True)
    def check(body: Any, ascii_only: bool) -> None:
        content = json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        both = twins.same("/v1/orders", content, headers | JSON_TYPE)
        asyncio.run_coroutine_threadsafe(both, loop).result(60)

    await asyncio.to_thread(check)


# -- the rest of a request --------------------------------------------------------------------------------------------

KEYS: list[list[tuple[str, bytes]]] = [
    *(
        [("Idempotency-Key", key)]
        for key in (b"k", b"", b" ", b"x" * 255, b"x" * 256, b"\xe4", b"a\tb", b"a, b")
    ),
    [("Idempotency-Key", b"a"), ("Idempotency-Key", b"b")],
    [("idempotency_key", b"a")],
    *(
        [("If-Match", tag)]
        for tag in (b'"3"', b"*", b"", b"3", b'W/"3"', b'"1", "2"', b'"' + b"9" * 18 + b'"', b"\xff")
    ),
    [("If-Match", b'"1"'), ("If-Match", b'"2"')],
    *(
        [("Device-N", n)]
        for n in (b"1", b"01", b"1.0", b"+1", b"-1", b"1_0", b"9" * 30, b"", str(2**53 + 1).encode())
    ),
    *([("Device-At", at)] for at in (b"2030-01-01T00:00:00Z", b"1700000000", b"2030-01-01", b"", b"x")),
    [("Device-At", b"2030-01-01T00:00:00Z"), ("Device-N", b"7")],
    *(
        [("Content-Type", kind)]
        for kind in (b"application/json; charset=utf-8", b"APPLICATION/JSON", b"text/plain")
    ),
    *(
        [("Content-Type", kind)]
        for kind in (b"application/x+json", b"application/json; charset=latin-1", b"")
    ),
    [("Authorization", b"Bearer nonsense")],
    [("Authorization", b"Basic eDp5")],
    [("Authorization", b"")],
]


@pytest.mark.parametrize("path", PATHS)
async def test_hostile_headers(twins: Twins, path: str) -> None:
    for role in (Role.CUSTOMER, Role.MERCHANT, Role.DRIVER, Role.ADMIN):
        _, headers = await twins.world.account(role)
        content = json.dumps(BODIES.get(path, {})).encode()
        for more in KEYS:
            names = {name.lower() for name, _ in more}
            said = [
                (k.encode(), v.encode()) for k, v in (headers | JSON_TYPE).items() if k.lower() not in names
            ]
            said += [(name.encode(), value) for name, value in more]
            assert (await twins.same(path, content, said)).status_code < 500
        assert (await twins.same(path, b"", headers)).status_code < 500
        without = {"Idempotency-Key": "x" * 256}
        assert (await twins.same(path, b"[", without | JSON_TYPE)).status_code in (401, 422)


IDS = [
    ID.upper(),
    ID.replace("-", ""),
    f"urn:uuid:{ID}",
    f"{{{ID}}}",
    "x",
    "0",
    "%00",
    "%c3%a9",
    f"{ID} ",
    f" {ID}",
]
QUERIES = ["?x=1", "?idempotency_key=2", "?x=%00", "?%ff", "?x=a b", "?", "?x=%c3%a9", "?a=1&a=2"]


async def test_other_spellings_of_a_path(twins: Twins) -> None:
    _, headers = await twins.world.account(Role.CUSTOMER)
    for step, body in (("verify_age", {"vendor_token": "fake:pass"}), ("cancel", {"reason": "OTHER"})):
        for spelt in IDS:
            path = f"/v1/orders/{quote(spelt, safe='%')}/{step}"
            response = await twins.same(path, json.dumps(body).encode(), headers | JSON_TYPE)
            assert response.status_code < 500
    for query in QUERIES:
        response = await twins.same(f"/v1/orders{query}", json.dumps(NEW_ORDER).encode(), headers | JSON_TYPE)
        assert response.status_code < 500


# -- the class by itself ----------------------------------------------------------------------------------------------


class Thing(BaseModel):
    """A body."""

    model_config = ConfigDict(extra="forbid", strict=True)
    n: int


async def _asked(request: Request, x_more: Annotated[str | None, Header(max_length=3)] = None) -> str:
    return f"{request.method} {x_more}"


async def _on_another(asked: Annotated[str, Depends(_asked)]) -> str:
    return asked


def _not_awaited() -> str:
    return ""


Asked = Annotated[str, Depends(_asked)]


async def _endpoint(key: UUID, thing: Thing, asked: Asked, x_needed: Annotated[int, Header()]) -> Response:
    return Response(f"{key} {thing.n} {asked} {x_needed}")


async def _optional(key: str, asked: Asked, thing: Thing | None = None) -> Response:
    return Response(f"{key} {thing} {asked}")


async def _query(key: str, more: str) -> Response:
    return Response(key + more)


async def _two_bodies(key: str, one: Thing, other: Thing) -> Response:
    return Response(f"{key}{one}{other}")


async def _nested(key: str, asked: Annotated[str, Depends(_on_another)]) -> Response:
    return Response(key + asked)


async def _same_twice(key: str, one: Asked, other: Asked) -> Response:
    return Response(key + one + other)


async def _blocking(key: str, asked: Annotated[str, Depends(_not_awaited)]) -> Response:
    return Response(key + asked)


def _threaded(key: str) -> Response:
    return Response(key)


async def _other_name(key: str, more: Annotated[str, Header(alias="X-Other")]) -> Response:
    return Response(key + more)


PLANNED: tuple[Callable[..., Any], ...] = (_endpoint, _optional)
UNPLANNED: tuple[Callable[..., Any], ...] = (
    _query,
    _two_bodies,
    _nested,
    _same_twice,
    _blocking,
    _threaded,
    _other_name,
)


def _alone(route_class: type[APIRoute]) -> FastAPI:
    app = FastAPI()
    router = APIRouter(route_class=route_class)
    for endpoint in PLANNED:
        router.add_api_route(f"/{endpoint.__name__}/{{key}}", endpoint, methods=["POST"])
    app.include_router(router)
    return app


def test_only_what_can_be_read_so_has_a_plan() -> None:
    for endpoint in PLANNED:
        assert FastRoute("/{key}", endpoint).plan is not None
    for endpoint in UNPLANNED:
        assert FastRoute("/{key}", endpoint).plan is None, endpoint
    assert FastRoute("/{key}", _optional, dependencies=[Depends(_asked)]).plan is None


async def test_without_the_gateways_guards_both_ways_are_the_same() -> None:
    """Which refuse other content types, and whatever else does not look like a request, before a route sees it."""
    apps = _alone(FastRoute), _alone(StrictRoute)
    kinds = (
        None,
        "application/json",
        "application/JSON ; a=b",
        "text/plain",
        "application/x+json",
        "text/json",
        "",
    )
    contents = (b"", b'{"n":1}', b'{"n":1,"n":1}', b'{"n":1.0}', b"null", b"x")
    more: list[dict[str, str]] = [
        {},
        {"X-Needed": "3"},
        {"X-Needed": "x"},
        {"X-Needed": "3", "X-More": "long"},
    ]
    seen = set()
    for endpoint in PLANNED:
        for key in (ID, ID.upper(), "x"):
            for kind, content, headers in itertools.product(kinds, contents, more):
                said = headers if kind is None else headers | {"Content-Type": kind}
                answers = []
                for app in apps:
                    transport = httpx.ASGITransport(app)
                    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                        response = await http.post(
                            f"/{endpoint.__name__}/{key}", content=content, headers=said
                        )
                    answers.append((response.status_code, response.text, response.headers))
                assert answers[0] == answers[1], (endpoint, key, said, content)
                seen.add(answers[0][0])
    assert seen >= {200, 422}
