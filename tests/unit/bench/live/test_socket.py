"""The load generator's sockets, against a WebSocket server of the library's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bench.live import socket
from bench.live.socket import Driver, Fleet, ping_head, ping_tail
from domain import protocol as wire

LIMIT_S = 10.0
HOMES = [(32.7767, -96.797), (5.0, -7.25), (-0.5, 100.0)]


class Ear:
    """Hears what drivers hear."""

    def __init__(self) -> None:
        self.offers: list[tuple[int, str]] = []
        self.answers: list[str] = []
        self.news = asyncio.Event()

    def on_offer(self, driver: Driver, offer: wire.OfferView | wire.Offer) -> None:
        self.offers.append((driver.number, offer.offer_id))
        self.news.set()

    def on_snapshot(self, driver: Driver, snapshot: wire.Snapshot) -> None:
        for offer in snapshot.offers:
            self.on_offer(driver, offer)

    def on_answer(self, driver: Driver, message_id: str, frame: wire.ServerFrame) -> None:
        self.answers.append(message_id)
        self.news.set()


class Gateway:
    """Welcomes everybody, keeps what it gets, and lets a test speak on the newest socket of a driver."""

    def __init__(self) -> None:
        self.heard: dict[str, list[wire.ClientFrame]] = {}
        self.sockets: dict[str, list[ServerConnection]] = {}
        self.resumed = False
        self.news = asyncio.Event()

    async def serve(self, ws: ServerConnection) -> None:
        hello = wire.decode_client(await ws.recv())
        assert isinstance(hello, wire.Hello)
        self.sockets.setdefault(hello.token, []).append(ws)
        frames = self.heard.setdefault(hello.token, [])
        frames.append(hello)
        snapshot = wire.Snapshot(last_seq=40)
        welcome = wire.Welcome(
            driver_id=hello.token, heartbeat_s=15, resumed=self.resumed, snapshot=snapshot, server_time=_now()
        )
        await self.say(hello.token, welcome)
        try:
            async for text in ws:
                frames.append(wire.decode_client(text))
                self.news.set()
        except ConnectionClosed:
            pass

    async def say(self, token: str, *frames: wire.ServerFrame) -> None:
        for frame in frames:
            await self.sockets[token][-1].send(wire.encode(frame).decode())

    async def until(self, met: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not met():
                self.news.clear()
                await self.news.wait()


def _now() -> datetime:
    return datetime.now(UTC)


def _offer(seq: int, offer_id: str, address: str = "") -> wire.Offer:
    place = wire.Place(1.0, 2.0, address)
    task = wire.TaskView(
        task_id="t", order_id="o", kind="DELIVERY", status="OFFERED", store_id="s", pickup=place, dropoff=place,
        min_age=21, ready_at=_now(), due_at=_now(),
    )  # fmt: skip
    return wire.Offer(offer_id=offer_id, tasks=(task,), stops=(), expires_at=_now(), ttl_s=30, seq=seq)


@asynccontextmanager
async def _town(drivers: int = 1, ping_hz: float = 20.0) -> AsyncIterator[tuple[Gateway, Fleet, Ear]]:
    gateway, ear = Gateway(), Ear()
    offered = [Subprotocol(wire.SUBPROTOCOL)]
    async with serve(gateway.serve, "127.0.0.1", 0, subprotocols=offered, ping_interval=None) as server:
        fleet = Fleet(
            host="127.0.0.1",
            port=next(iter(server.sockets)).getsockname()[1],
            tokens=[f"token-{n}" for n in range(drivers)],
            homes=HOMES[:drivers],
            handler=ear,
            ping_hz=ping_hz,
            rng=random.Random(1),
        )
        fleet.reconnects = True
        for driver in fleet.drivers:
            fleet.start(driver)
        pinging = asyncio.create_task(fleet.ping())
        try:
            yield gateway, fleet, ear
        finally:
            pinging.cancel()
            await fleet.stop()


def _of(gateway: Gateway, token: str, kind: type[wire.ClientFrame]) -> list[wire.ClientFrame]:
    return [frame for frame in gateway.heard.get(token, []) if isinstance(frame, kind)]


@pytest.mark.parametrize("home", HOMES)
def test_pings_of_all_drivers_are_of_one_length_and_valid(home: tuple[float, float]) -> None:
    frame = ping_head(*home) + ping_tail(7)
    assert len(frame) == len(ping_head(*HOMES[0]) + ping_tail(0))
    payload = frame[6:]
    assert frame[0] == 0x81
    assert frame[1] == 0x80 | len(payload)
    ping = wire.decode_client(payload)
    assert isinstance(ping, wire.Location)
    assert (ping.lat, ping.lng) == pytest.approx(home)
    assert ping.seq == socket.FIRST_SEQ + 7
    assert ping.at is not None
    assert abs((ping.at - _now()).total_seconds()) < 5


async def test_every_driver_says_hello_goes_on_duty_and_pings() -> None:
    async with _town(3) as (gateway, fleet, _):
        tokens = [f"token-{n}" for n in range(3)]
        await gateway.until(lambda: all(len(_of(gateway, one, wire.Location)) >= 3 for one in tokens))
        for one, home in zip(tokens, HOMES, strict=True):
            [duty] = _of(gateway, one, wire.Duty)
            assert isinstance(duty, wire.Duty)
            assert (duty.on, duty.lat, duty.lng) == (True, *home)
            pings = [ping for ping in _of(gateway, one, wire.Location) if isinstance(ping, wire.Location)]
            seqs = [ping.seq or 0 for ping in pings]
            assert seqs == sorted(set(seqs)), "an older one would be ignored"
            assert len({ping.lat for ping in pings}) == 2, "a ping says something new"
        assert fleet.welcomed == 3


async def test_heartbeats_are_answered() -> None:
    async with _town() as (gateway, _, _ear):
        await gateway.until(lambda: _of(gateway, "token-0", wire.Duty))
        async with asyncio.timeout(LIMIT_S):
            await (await gateway.sockets["token-0"][0].ping(b"are you there"))


async def test_frames_of_any_length_are_taken_once() -> None:
    async with _town() as (gateway, fleet, ear):
        await gateway.until(lambda: _of(gateway, "token-0", wire.Duty))
        long, huge = "x" * 300, "x" * 70_000
        await gateway.say(
            "token-0", _offer(41, "a"), _offer(42, "b", long), _offer(42, "b", long), _offer(43, "c", huge)
        )
        async with asyncio.timeout(LIMIT_S):
            while len(ear.offers) < 3:
                ear.news.clear()
                await ear.news.wait()
        assert ear.offers == [(0, "a"), (0, "b"), (0, "c")]
        assert fleet.drivers[0].last_seq == 43
        await gateway.say("token-0", _offer(45, "d"), _offer(46, "e"))
        async with asyncio.timeout(LIMIT_S):
            while len(ear.offers) < 5:
                ear.news.clear()
                await ear.news.wait()
        assert fleet.counts["pushes missed"] == 1


def test_a_stream_may_be_cut_anywhere() -> None:
    """Every cut of the same bytes gives the same offers."""
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    offers = [wire.encode(_offer(0, name, "y" * size)) for name, size in (("a", 0), ("b", 200))]
    stream = head + b"".join(bytes((0x81, 126)) + len(one).to_bytes(2) + one for one in offers)
    for cut in range(1, len(stream)):
        heard: list[str] = []

        class Quiet(Ear):
            def __init__(self, heard: list[str]) -> None:
                self._heard = heard

            def on_offer(self, driver: Driver, offer: wire.OfferView | wire.Offer) -> None:
                self._heard.append(offer.offer_id)

        fleet = Fleet(
            host="h",
            port=1,
            tokens=["t"],
            homes=HOMES[:1],
            handler=Quiet(heard),
            ping_hz=1,
            rng=random.Random(1),
        )
        driver = fleet.drivers[0]
        driver.data_received(stream[:cut])
        driver.data_received(stream[cut:])
        assert heard == ["a", "b"], cut
        assert driver.buffer == b""


async def test_a_lost_driver_resumes_and_says_again_what_was_not_answered() -> None:
    async with _town() as (gateway, fleet, ear):
        await gateway.until(lambda: _of(gateway, "token-0", wire.Duty))
        driver = fleet.drivers[0]
        driver.ask("m1", wire.OfferAccept("m1", "offer"))
        driver.ask("m2", wire.TaskArrive("m2", "task"))
        await gateway.until(lambda: _of(gateway, "token-0", wire.TaskArrive))
        await gateway.say("token-0", wire.OfferAccepted(offer_id="offer", tasks=(), in_reply_to="m1", seq=0))
        async with asyncio.timeout(LIMIT_S):
            while not ear.answers:
                ear.news.clear()
                await ear.news.wait()
        gateway.resumed = True
        await gateway.sockets["token-0"][0].close(1012, "restart retry_after_ms=1")
        await gateway.until(lambda: len(_of(gateway, "token-0", wire.TaskArrive)) == 2)
        assert len(_of(gateway, "token-0", wire.OfferAccept)) == 1, "it was answered"
        first, second = _of(gateway, "token-0", wire.Hello)
        assert (first, second) == (wire.Hello("token-0"), wire.Hello("token-0", 40))
        assert fleet.counts["closed 1012"] == fleet.counts["resumed"] == 1
        assert len(_of(gateway, "token-0", wire.Duty)) == 2


async def test_a_driver_waits_as_long_as_the_server_asks() -> None:
    async with _town() as (gateway, fleet, _):
        await gateway.until(lambda: _of(gateway, "token-0", wire.Duty))
        loop, again_s = asyncio.get_running_loop(), 0.4
        asked_s = loop.time()
        await gateway.sockets["token-0"][0].close(1013, f"retry_after_ms={1000 * again_s:.0f}")
        await gateway.until(lambda: len(_of(gateway, "token-0", wire.Duty)) == 2)
        assert again_s <= loop.time() - asked_s < again_s + 5
        assert fleet.drivers[0].back_off_s == socket.BACK_OFF_MIN_S
