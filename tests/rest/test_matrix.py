"""Every route against what it says of itself, generated from the table: who may call it, whose things it touches, its
key, its version, its schema. A new route is tested by being declared."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from starlette.responses import Response

from domain.orders.lifecycle import Role
from gateway.http.auth import Me
from gateway.http.policy import Door, Need, Policy
from gateway.rest.kit.routes import Declared, Routes
from tests.rest.matrix import DOCUMENT, NEWCOMERS, SHOWN, STREAMS, Cast, altered, cast
from tests.support.database import server_url

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

# What tells a stranger nothing: that there is no such thing, or that an offer is not to be had.
# Lists whose rows come by another path; all others have something to do with orders.
MAKERS = {"merchants_merchants": "merchants_apply", "driver_reviews_drivers": "driver_reviews_apply"}
STRANGER = {"NOT_FOUND", "OFFER_TAKEN", "OFFER_EXPIRED"}
AUTHORITY = {"UNAUTHENTICATED", "FORBIDDEN", "NOT_FOUND"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def looking(database_url: str) -> AsyncIterator[Cast]:
    """A world that nobody changes who is refused."""
    async with cast(server_url(database_url)) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def acting(fresh_database_url: str) -> AsyncIterator[Cast]:
    """A world for one test, which changes it."""
    async with cast(server_url(fresh_database_url)) as made:
        yield made


def code(answer: httpx.Response) -> str:
    """The refusal's code; empty for none."""
    return "" if answer.status_code < 300 else str(answer.json()["code"])


def routes(**wanted: bool) -> pytest.MarkDecorator:
    """Over the routes of which this holds."""
    tests: dict[str, Callable[[Declared], bool]] = {
        "closed": lambda one: one.policy.roles is not Door.OPEN,
        "jobs": lambda one: bool(one.policy.jobs),
        "owned": lambda one: bool(one.policy.owner) and one.policy.needs_token,
        "keyed": lambda one: one.policy.key is not Need.NO and "requestBody" in _operation(one),
        "must_key": lambda one: one.policy.key is Need.MUST,
        "versioned": lambda one: one.policy.version is not Need.NO,
        "must_version": lambda one: one.policy.version is Need.MUST,
        "viewed": lambda one: one.name not in STREAMS,
        "reads": lambda one: one.method == "GET",
        "paged": lambda one: any(p["name"] == "cursor" for p in _operation(one).get("parameters", ())),
    }
    found = [one for one in SHOWN if all(tests[name](one) is is_so for name, is_so in wanted.items())]
    return pytest.mark.parametrize("route", found, ids=lambda one: one.name)


def _operation(route: Declared) -> dict[str, Any]:
    operation: dict[str, Any] = DOCUMENT["paths"][route.path][route.method.lower()]
    return operation


# -- who may call it --------------------------------------------------------------------------------------------------


@routes(closed=True)
async def test_nobody_gets_in_without_a_token(looking: Cast, route: Declared) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"X-Internal-Token": "nonsense"}):
        refused = code(await looking.call(route, headers))
        assert refused == ("FORBIDDEN" if route.policy.roles is Door.INTERNAL else "UNAUTHENTICATED"), headers


@routes(closed=True)
async def test_nobody_of_another_role_gets_in(looking: Cast, route: Declared) -> None:
    roles = route.policy.roles
    if roles in (Door.SIGNED_IN, Door.OPS_OR_SIGNED_IN):
        return  # no role is another
    if roles is Door.METRICS:
        assert code(await looking.call(route, looking.owners[Role.ADMIN])) == "UNAUTHENTICATED"
        return
    allowed: tuple[Role, ...] = ()
    if roles is Door.OPS:
        allowed = (Role.DISPATCHER, Role.ADMIN)
    elif not isinstance(roles, Door):
        allowed = roles
    for role, headers in looking.owners.items():
        if role not in allowed:
            assert code(await looking.call(route, headers)) == "FORBIDDEN", role


@routes(owned=True)
async def test_a_stranger_finds_nothing(looking: Cast, route: Declared) -> None:
    allowed = looking.strangers if isinstance(route.policy.roles, Door) else route.policy.roles
    for role in allowed:
        if role in looking.strangers:
            headers = looking.strangers[role] | {"Idempotency-Key": "a stranger's", "If-Match": "*"}
            answer = await looking.call(route, headers)
            assert code(answer) in STRANGER, (role, answer.text)


@routes(jobs=True)
async def test_nobody_of_another_job_gets_in(looking: Cast, route: Declared) -> None:
    for job, headers in looking.colleagues.items():
        if job not in route.policy.jobs:
            sent = headers | {"Idempotency-Key": "a colleague's", "If-Match": "*"}
            assert code(await looking.call(route, sent)) == "FORBIDDEN", job


@routes(viewed=True, reads=True)
async def test_who_may_read_is_answered_by_the_schema(looking: Cast, route: Declared) -> None:
    await _require_answer(looking, route)


@routes(viewed=True, reads=False)
async def test_who_may_write_is_answered_by_the_schema(acting: Cast, route: Declared) -> None:
    await _require_answer(acting, route)


async def _require_answer(made: Cast, route: Declared) -> None:
    headers = made.of(route) | {"Idempotency-Key": "the owner's", "If-Match": "*"}
    answer = await made.call(route, headers)
    if route.policy.form:  # the example is nobody's password
        assert code(answer) == "UNAUTHENTICATED"
        return
    assert code(answer) not in AUTHORITY, answer.text
    _require_documented(route, answer)


def _require_documented(route: Declared, answer: httpx.Response) -> None:
    """The answer is what OpenAPI shows: the view and nothing besides, or a refusal that is named."""
    assert answer.status_code < 500, answer.text
    if not answer.is_success:
        described = _operation(route)["responses"][str(answer.status_code)]["description"]
        assert f"`{code(answer)}`" in described
        return
    assert answer.status_code == route.status
    if route.view is None:
        return
    assert answer.headers["content-type"] == "application/json"
    told = msgspec.json.decode(answer.content)
    view = msgspec.json.decode(answer.content, type=route.view)
    assert msgspec.json.decode(msgspec.json.encode(view)) == told, "it has what its view has not"
    if "version" in told and route.policy.version is not Need.NO:
        assert answer.headers["etag"] == f'"{told["version"]}"'


# -- its key and its version ------------------------------------------------------------------------------------------


@routes(keyed=True)
async def test_a_key_is_one_requests(acting: Cast, route: Declared) -> None:
    headers = acting.of(route) | {"Idempotency-Key": "once", "If-Match": "*"}
    body = acting.body(route)
    first = await acting.call(route, headers)
    again = await acting.call(route, headers)
    assert (again.status_code, code(again)) == (first.status_code, code(first))
    other = altered(body)
    if first.is_success:
        assert again.headers["Idempotency-Replayed"] == "true"
        if "access_token" not in again.json():  # that is of now
            assert again.content == first.content
        if other is not None:
            assert code(await acting.call(route, headers, body=other)) == "IDEMPOTENCY_KEY_REUSED"
    assert first.is_success or route.status != 201, first.text  # what is made can be made


@routes(must_key=True)
async def test_a_key_that_must_come_is_missed(looking: Cast, route: Declared) -> None:
    headers = looking.of(route) | {"If-Match": "*"}
    assert code(await looking.call(route, headers)) == "IDEMPOTENCY_KEY_REQUIRED"


@routes(versioned=True)
async def test_a_version_that_is_stale_is_refused(looking: Cast, route: Declared) -> None:
    headers = looking.of(route) | {"Idempotency-Key": "stale", "If-Match": '"4711"'}
    assert code(await looking.call(route, headers)) == "VERSION_MISMATCH"


@routes(must_version=True)
async def test_a_version_that_must_come_is_missed(looking: Cast, route: Declared) -> None:
    headers = looking.of(route) | {"Idempotency-Key": "none"}
    assert code(await looking.call(route, headers)) == "VERSION_REQUIRED"


# -- its pages --------------------------------------------------------------------------------------------------------


@routes(paged=True)
async def test_a_cursor_stands_still_while_others_are_added(acting: Cast, route: Declared) -> None:
    headers = acting.of(route)
    await _another(acting, route, "second")
    first = (await acting.call(route, headers, limit="1")).json()
    [rows] = [name for name, value in first.items() if isinstance(value, list)]
    if first["next_cursor"] is None:
        pytest.skip("one row is all that can be made of it here")
    await _another(acting, route, "third")
    rest = (await acting.call(route, headers, cursor=first["next_cursor"])).json()
    everything = (await acting.call(route, headers)).json()
    assert [*first[rows], *rest[rows]] == everything[rows][1:]


async def _another(made: Cast, route: Declared, key: str) -> None:
    """One more row of the list: by the route that makes one, else an order of the same people."""
    maker = next((one for one in SHOWN if one.method == "POST" and one.path == route.path), None)
    if maker is None:
        name = MAKERS.get(route.name, "orders_create")
        maker = next(one for one in SHOWN if one.name == name)
    headers = made.of(maker) | {"Idempotency-Key": key}
    if maker.name in NEWCOMERS:
        made.newcomers[maker.name].pop()
    answer = await made.call(maker, headers, body=made.another(maker, key))
    if maker.status == 202 and not answer.is_success:
        pytest.skip("what it is about has not come so far here")  # an order that was not paid has no refunds
    assert answer.status_code == maker.status, answer.text


async def test_the_matrix_has_its_size() -> None:
    """So that a route that drops out of it is missed."""
    closed = [one for one in SHOWN if one.policy.roles is not Door.OPEN]
    owned = [one for one in SHOWN if one.policy.owner and one.policy.needs_token]
    assert len(SHOWN) >= 55
    assert len(closed) >= 49
    assert len(owned) >= 32


async def test_a_path_that_names_an_account_has_an_owner() -> None:
    routes = Routes("stray")
    policy = Policy(roles=(Role.MERCHANT,))

    async def stray(_: Me) -> Response:
        raise AssertionError("never called")

    with pytest.raises(TypeError, match="no owner"):
        routes.add("GET", "/v1/merchants/{merchant_id}/stray", policy, None, stray)
