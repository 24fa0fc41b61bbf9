"""Who gets in under load: the decision from numbers, and the door round it."""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import AsyncIterator

import pytest

from actors.config import Limits
from domain.errors import Overloaded
from domain.orders.lifecycle import Role
from domain.orders.records import Answer
from domain.protocol import retry_after_ms, retry_reason
from domain.region.messages import Ask
from gateway.http.admission import NEW_SHARE, Admission, Bounds, Kind, Load, refusal
from gateway.rest.table import TABLE
from gateway.server import FILES_SPARE, room_for
from tests.support.gateway_world import DALLAS, SCRAPER, World, running, until

BOUNDS = Bounds(sockets=10, hellos=5, requests=10, lag_ms=500)
CALM = Load(sockets=0, hellos=0, requests=0, lag_ms=0)


@pytest.mark.parametrize(
    ("kind", "load", "reason"),
    [
        (Kind.SOCKET, CALM, None),
        (Kind.SOCKET, CALM._replace(sockets=9, lag_ms=499, hellos=99, requests=99), None),
        (Kind.SOCKET, CALM._replace(sockets=10), "sockets"),
        (Kind.SOCKET, CALM._replace(lag_ms=500), "lag_ms"),
        (Kind.HELLO, CALM._replace(sockets=99, hellos=4, requests=99), None),
        (Kind.HELLO, CALM._replace(hellos=5), "hellos"),
        (Kind.HELLO, CALM._replace(lag_ms=500), "lag_ms"),
        (Kind.NEW, CALM._replace(requests=7), None),
        (Kind.NEW, CALM._replace(requests=8), "new_requests"),
        (Kind.NEW, CALM._replace(lag_ms=500), "lag_ms"),
        (Kind.UNDER_WAY, CALM._replace(requests=9, lag_ms=60_000, sockets=99, hellos=99), None),
        (Kind.UNDER_WAY, CALM._replace(requests=10), "requests"),
        (Kind.STREAM, CALM._replace(requests=99), None),
        (Kind.STREAM, CALM._replace(lag_ms=500), "lag_ms"),
        (Kind.EXEMPT, Load(sockets=99, hellos=99, requests=99, lag_ms=60_000), None),
    ],
)
def test_each_kind_is_held_against_its_own_numbers(kind: Kind, load: Load, reason: str | None) -> None:
    assert refusal(kind, load, BOUNDS) == reason


def test_some_room_is_kept_for_what_is_under_way_and_none_is_never_all() -> None:
    assert BOUNDS.new_requests == 10 * NEW_SHARE
    assert BOUNDS._replace(requests=1).new_requests == 1


@pytest.mark.parametrize(
    ("request_line", "kind"),
    [
        ("GET /health/live", Kind.EXEMPT),
        ("GET /health/ready", Kind.EXEMPT),
        ("GET /metrics", Kind.EXEMPT),
        ("POST /internal/dispatch/tick", Kind.EXEMPT),
        ("GET /v1/ops/stream", Kind.STREAM),
        ("POST /v1/tasks/7/accept", Kind.UNDER_WAY),
        ("POST /v1/drivers/7/duty", Kind.UNDER_WAY),
        ("GET /v1/drivers/7/task", Kind.UNDER_WAY),
        ("POST /v1/orders/7/deliver/confirm", Kind.UNDER_WAY),
        ("POST /v1/orders/7/doorstep_id_check/submit", Kind.UNDER_WAY),
        ("POST /v1/merchants/1/stores/2/orders/3/action", Kind.UNDER_WAY),
        ("GET /v1/orders/7", Kind.UNDER_WAY),
        ("GET /v1/stores", Kind.UNDER_WAY),
        ("POST /v1/orders", Kind.NEW),
        ("POST /v1/auth/token", Kind.NEW),
        ("POST /v1/auth/register", Kind.NEW),
        ("PUT /v1/stores/7/hours", Kind.NEW),
        ("GET /v1/orders", Kind.NEW),
        ("GET /v1/merchants/7/orders", Kind.NEW),
        ("GET /v1/orders/7/dossier/verify", Kind.NEW),
        ("GET /v1/route", Kind.NEW),
        ("POST /nonsense\n", Kind.NEW),
    ],
)
def test_what_a_request_is(request_line: str, kind: Kind) -> None:
    assert TABLE.find(*request_line.split(" ")).kind is kind


def test_one_long_pause_is_no_overload_and_several_are() -> None:
    admission = Admission(Limits(admit_lag_ms=500), lambda: 0, random.Random(1))
    admission.probed(1500)
    assert admission.refusal(Kind.NEW) is None
    admission.probed(1500)
    assert admission.refusal(Kind.NEW) == "lag_ms"
    for _ in range(10):
        admission.probed(-1)
    assert admission.refusal(Kind.NEW) is None
    assert admission.refused == {("new", "lag_ms"): 1}


def test_those_who_are_refused_come_again_at_different_times() -> None:
    admission = Admission(Limits(admit_retry_s=5, drain_spread_s=10), lambda: 0, random.Random(1))
    hints = [retry_after_ms(admission.retry_reason()) or 0 for _ in range(500)]
    assert min(hints) >= 1000
    assert max(hints) <= 5000
    assert len(set(hints)) > 300
    spread = sorted(retry_after_ms(admission.restart_reason()) or 0 for _ in range(1000))
    # Uniform over ten seconds: no second gets much more than its tenth.
    per_second = [sum(1000 * n <= hint < 1000 * (n + 1) for hint in spread) for n in range(10)]
    assert max(per_second) < 160
    assert spread[-1] <= 10_000
    assert all(1 <= admission.retry_after_s() <= 5 for _ in range(100))


@pytest.mark.parametrize(
    ("reason", "after_ms"),
    [(retry_reason("busy", 7), 7), ("", None), ("retry_after_ms=x", None), ("retry_after_ms=12", 12)],
)
def test_the_hint_of_a_close(reason: str, after_ms: int | None) -> None:
    assert retry_after_ms(reason) == after_ms
    assert len(retry_reason("the server restarts", 10**9).encode()) <= 123  # of a WebSocket close frame


def test_sockets_are_no_more_than_open_files_allow() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 2_000), before[1]))
        assert room_for(10, 10) == (10, 10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(before[0], 2_000)
        sockets, connections = room_for(1_000_000_000, 4_000)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == hard or hard == resource.RLIM_INFINITY
        assert sockets + connections == soft - FILES_SPARE
        assert 0 < connections <= sockets
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    admission = Admission(Limits(ws_sockets_limit=50), lambda: 20, random.Random(1))
    admission.leave_room(20)
    assert admission.socket() is not None
    admission.leave_room(21)
    assert admission.socket() is not None  # room is never given back


def test_a_request_is_counted_while_it_is_under_way() -> None:
    admission = Admission(Limits(http_in_flight_limit=2), lambda: 0, random.Random(1))
    with admission.request(Kind.UNDER_WAY):
        with pytest.raises(Overloaded), admission.request(Kind.NEW):
            raise AssertionError("it was let in")
        with pytest.raises(RuntimeError), admission.request(Kind.UNDER_WAY):
            raise RuntimeError
        with admission.request(Kind.STREAM), admission.request(Kind.EXEMPT):
            assert admission.requests == 1
    assert admission.requests == 0


# -- round the app ----------------------------------------------------------------------------------------------------


async def test_an_overloaded_gateway_answers_new_work_with_503_and_goes_on_with_the_rest(
    world: World,
) -> None:
    driver_id, client = await world.driver()
    order = await world.order("CONFIRMED")
    offer = await client.receive("offer")
    world.services.admission.lag_ms = 1e9
    body = {"email": "a@example.org", "password": "x" * 12, "role": "customer", "name": "A"}
    refused = await world.http.post("/v1/auth/register", json=body)
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "OVERLOADED"
    assert 1 <= int(refused.headers["retry-after"]) <= 5
    assert refused.json()["instance"].endswith(refused.headers["x-request-id"])
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert (await world.http.get(path, headers=SCRAPER)).status_code == 200
    # What is under way goes on, on an open socket and over REST.
    await client.send({"type": "offer.accept", "id": "a", "offer_id": offer["offer_id"]})
    assert (await client.receive("offer.accepted"))["in_reply_to"] == "a"
    task_id = offer["tasks"][0]["task_id"]
    arrived = await world.http.post(f"/v1/tasks/{task_id}/arrive", headers=world.auth(driver_id, Role.DRIVER))
    assert arrived.status_code == 200
    assert order.id


async def test_an_overloaded_gateway_closes_new_sockets_with_a_hint(world: World) -> None:
    _, open_before = await world.driver()
    world.services.admission.lag_ms = 1e9
    client = await world.socket()
    await client.receive("closed")
    assert client.closed is not None
    assert client.closed[0] == 1013
    assert 1000 <= (retry_after_ms(client.closed[1]) or 0) <= 5000
    world.services.admission.lag_ms = 0.0
    await open_before.send({"type": "task.arrive", "id": "x", "task_id": "t"})
    assert (await open_before.receive("error"))["in_reply_to"] == "x"
    await world.driver()


async def test_sockets_have_a_limit() -> None:
    async with running(limits=Limits(ws_sockets_limit=2, ping_flush_s=0.01)) as world:
        _, first = await world.driver()
        await world.driver()
        third = await world.socket()
        await third.receive("closed")
        assert third.closed is not None
        assert third.closed[0] == 1013
        await first.close()
        await until(lambda: len(world.services.open_sockets) == 1)
        await world.driver()


async def test_hellos_in_progress_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(limits=Limits(ws_hellos_limit=2, ping_flush_s=0.01)) as world:
        gate, plain = asyncio.Event(), world.backend.attach

        async def slow(region_id: str, attach: object) -> object:
            await gate.wait()
            return await plain(region_id, attach)  # type: ignore[arg-type]

        monkeypatch.setattr(world.backend, "attach", slow)
        accounts = [(await world.account(Role.DRIVER))[1] for _ in range(3)]
        clients = [await world.socket() for _ in accounts]
        for client, headers in zip(clients, accounts, strict=True):
            await client.send({"type": "hello", "token": headers["Authorization"].removeprefix("Bearer ")})
        await clients[2].receive("closed")
        assert clients[2].closed is not None
        assert clients[2].closed[0] == 1013
        gate.set()
        for client in clients[:2]:
            assert (await client.receive())["type"] == "welcome"
        assert world.services.admission.hellos == 0


async def test_half_a_request_takes_no_place_among_those_under_way(world: World) -> None:
    _, headers = await world.account(Role.CUSTOMER)
    rest, waiting = asyncio.Event(), asyncio.Event()

    async def halves() -> AsyncIterator[bytes]:
        yield b'{"email": '
        waiting.set()
        await rest.wait()
        yield b'"x"}'

    headers |= {"Content-Type": "application/json"}
    sending = asyncio.create_task(world.http.post("/v1/auth/register", content=halves(), headers=headers))
    await waiting.wait()
    assert world.services.admission.requests == 0
    rest.set()
    assert (await sending).status_code == 422


async def test_requests_under_way_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(limits=Limits(http_in_flight_limit=2, ping_flush_s=0.01)) as world:
        gate = asyncio.Event()

        async def slow(region_id: str, ask: Ask) -> Answer:
            await gate.wait()
            return Answer(body={})

        _, headers = await world.account(Role.DRIVER)
        task_id = "00000000-0000-4000-8000-000000000000"
        monkeypatch.setattr(world.services.reads, "task", lambda _: gate.wait())
        steps = [
            asyncio.create_task(world.http.post(f"/v1/tasks/{task_id}/arrive", headers=headers, json=None))
            for _ in range(2)
        ]
        await until(lambda: world.services.admission.requests == 2)
        refused = await world.http.post("/v1/drivers/x/duty", json={"on": True, **DALLAS}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (503, "OVERLOADED")
        assert (await world.http.get("/health/live")).status_code == 200
        gate.set()
        await asyncio.gather(*steps)
        assert world.services.admission.requests == 0
