"""Who may keep a connection for how long; and the whole server, attacked over real ones."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from actors.config import Limits
from gateway.http.listener import server
from gateway.http.listener.connection_limits import CROWDED_SHARE, FRESH_S, LINGER_S, ConnectionLimits, Phase
from gateway.sockets.wire import SLOW_DOWN
from tests.unit.gateway.http.listener.listening import Line, serving

LIMITS = Limits(
    http_connections_limit=20,
    http_connections_per_address=8,
    http_waiting_mb=1,
    http_head_timeout_s=10,
    http_body_timeout_s=20,
    http_idle_timeout_s=30,
    http_write_timeout_s=40,
)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Someone:
    """A connection that does as it is told."""

    phase, since_s, held_bytes = Phase.HEAD, 0.0, 0

    def __init__(self, connections: ConnectionLimits, address: str = "a") -> None:
        self.address, self.ended, self._connections = address, "", connections
        self.is_in = connections.enter(self)

    def time_is_up(self, why: str) -> None:
        self.ended = why
        self._connections.move(self, Phase.CLOSING)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connections(clock: Clock) -> ConnectionLimits:
    return ConnectionLimits(LIMITS, clock)


@pytest.mark.parametrize(
    ("phase", "time_s"),
    [
        (Phase.HEAD, 10),
        (Phase.BODY, 20),
        (Phase.IDLE, 30),
        (Phase.STALLED, 40),
        (Phase.CLOSING, 40),
        (Phase.LINGER, LINGER_S),
        (Phase.WORKING, None),
    ],
)
def test_each_thing_has_its_time(
    connections: ConnectionLimits, clock: Clock, phase: Phase, time_s: float | None
) -> None:
    guest = Someone(connections)
    clock.now_s = 5.0
    connections.move(guest, phase)
    began_s = 5.0 if phase is not Phase.HEAD else 0.0
    clock.now_s = began_s + (time_s or 1e9) - 0.01
    connections.sweep()
    assert not guest.ended
    clock.now_s += 0.02
    connections.sweep()
    assert guest.ended == ("" if time_s is None else phase)


def test_time_for_a_head_is_not_renewed_by_its_bytes(connections: ConnectionLimits, clock: Clock) -> None:
    guest = Someone(connections)
    for _ in range(20):
        clock.now_s += 1.0
        connections.move(guest, Phase.HEAD)
        connections.sweep()
    assert guest.ended == "head"


def test_a_crowd_of_one_address_keeps_nobody_out(connections: ConnectionLimits, clock: Clock) -> None:
    silent = [Someone(connections) for _ in range(8)]
    assert not Someone(connections).is_in  # all of them may have sent what was not read yet
    assert Someone(connections, "b").is_in
    clock.now_s += FRESH_S
    working, idle = silent[0], silent[1]
    connections.move(working, Phase.WORKING)
    connections.move(idle, Phase.IDLE)
    clock.now_s += FRESH_S
    for _ in range(6):
        assert Someone(connections).is_in
    assert not working.ended
    assert not idle.ended  # who has asked something before goes after who never did
    assert [guest.ended for guest in silent[2:]] == ["crowded"] * 6
    assert max(1, int(8 * CROWDED_SHARE)) == 1


def test_all_together_have_a_limit(connections: ConnectionLimits, clock: Clock) -> None:
    crowd = [Someone(connections, str(number)) for number in range(20)]
    clock.now_s += FRESH_S
    connections.move(crowd[0], Phase.WORKING)
    clock.now_s += FRESH_S
    assert Someone(connections, "new").is_in
    assert [guest.ended for guest in crowd[:3]] == ["", "crowded", ""]
    connections.leave(crowd[2])
    assert len(connections) == 19


def test_what_waits_has_a_limit(connections: ConnectionLimits) -> None:
    first, second, third = (Someone(connections, str(number)) for number in range(3))
    for guest in (first, second, third):
        connections.move(guest, Phase.BODY)
    connections.holds(first, 400_000)
    connections.holds(second, 500_000)
    connections.holds(third, 500_000)
    assert [guest.ended for guest in (first, second, third)] == ["crowded", "", ""]
    connections.leave(second)
    assert connections.held_bytes == 500_000


def test_behind_a_proxy_all_come_from_one_address() -> None:
    connections = ConnectionLimits(replace(LIMITS, trusted_proxies=1))
    assert all(Someone(connections).is_in for _ in range(20))


# -- a real server ----------------------------------------------------------------------------------------------------

QUICK = Limits(
    rate_limits="off",
    ping_flush_s=0.01,
    http_in_flight_limit=4,
    http_connections_per_address=64,
    http_head_timeout_s=0.5,
    http_body_timeout_s=0.5,
    http_idle_timeout_s=1.0,
    http_write_timeout_s=1.0,
)


LIVE = b"GET /health/live HTTP/1.1\r\nHost: here\r\n"
ALL = LIVE + b"Connection: close\r\n\r\n"


async def test_half_requests_stop_nobody_and_end() -> None:
    async with serving(limits=QUICK) as (world, port):
        head = b"POST /v1/auth/register HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nabc"
        halves = [await Line.to(port, head) for _ in range(30)]
        slow = [await Line.to(port, LIVE[: 10 + n]) for n in range(10)]
        silent = [await Line.to(port) for _ in range(10)]
        answer = await (
            await Line.to(port, b"GET /v1/me HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        ).rest()
        assert b" 401 " in answer  # and not 503: the places are free
        assert world.services.admission.requests == 0
        for line in (*halves, *slow):
            answer = await line.rest()
            assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert b'"code":"REQUEST_TIMEOUT"' in answer
        for line in silent:
            assert await line.rest() == b""


async def test_a_connection_that_dribbles_after_an_answer_ends() -> None:
    async with serving(limits=QUICK) as (_, port):
        line = await Line.to(port, LIVE + b"\r\n")
        head = await line.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        await line.reader.readuntil(b"}")
        line.writer.write(LIVE[:10])
        assert (await line.rest()).startswith(b"HTTP/1.1 408")
        idle = await Line.to(port, LIVE + b"\r\n")
        assert (await idle.rest()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("begins", "fills", "status"),
    [(b"GET /", b"a" * 65_536, b"414"), (LIVE, b"X-Filler: " + b"y" * 80 + b"\r\n", b"431")],
)
async def test_who_sends_without_end_gets_an_answer(begins: bytes, fills: bytes, status: bytes) -> None:
    async with serving(limits=QUICK) as (_, port):
        line = await Line.to(port, begins)
        with suppress(ConnectionError):
            for _ in range(4_000_000 // len(fills)):
                line.writer.write(fills)
                await line.writer.drain()
        answer = await line.rest()
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"\r\nConnection: close\r\n" in answer
        assert b"application/problem+json" in answer
        assert b" 200 " in await (await Line.to(port, ALL)).rest()


async def test_requests_sent_ahead_are_answered_in_turn() -> None:
    async with serving(limits=QUICK) as (_, port):
        answer = await (await Line.to(port, (LIVE + b"\r\n") * 20 + ALL)).rest()
        assert answer.count(b"HTTP/1.1 200 OK") == 21


async def test_a_body_comes_after_the_word_to_go_on() -> None:
    async with serving(limits=QUICK) as (_, port):
        body = b'{"email": 1}'
        line = await Line.to(
            port,
            b"POST /v1/auth/register HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body),
        )
        assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.writer.write(body)
        answer = await line.rest()
        assert answer.startswith(b"HTTP/1.1 422")
        assert b"100 Continue" not in answer


async def test_who_takes_nothing_of_an_answer_is_let_go() -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(100_000):
                await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
                await asyncio.sleep(0)
        finally:
            ended.set()

    async with serving(app, limits=QUICK) as (world, port):
        line = await Line.to(port, LIVE + b"\r\n")
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(20):
            while not world.services.connections.cut["stalled"]:  # noqa: ASYNC110 - the server's own clock
                await asyncio.sleep(0.05)
        line.writer.transport.abort()
        async with asyncio.timeout(20):
            await ended.wait()


async def test_after_an_answer_that_says_so_the_next_request_is_read_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "SLOW_S", 0.5)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            scope["extensions"][SLOW_DOWN]()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with serving(app, limits=QUICK) as (_, port):
        loop = asyncio.get_running_loop()
        took_s = []
        line = await Line.to(port)
        for path in (b"/", b"/slow", b"/"):
            began_s = loop.time()
            line.writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: here\r\n\r\n")
            assert (await line.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
            took_s.append(loop.time() - began_s)
        line.writer.close()
        assert took_s[2] > 0.4  # and no sooner; the others are as fast as the machine is
