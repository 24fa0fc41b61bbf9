"""A hostile neighbourhood: one client floods, one does not read, many send nonsense, and the others must not notice.

What the well-behaved feel is the time from a question on their socket to its answer: it goes the way of an accept,
through the gateway and the region, and is refused there because there is no such task.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.protocol import State

from bench.counters import counted
from bench.hostile.mutants import mutants
from bench.report import Figures, Report, report
from bench.throughput.load import text_frame
from domain import protocol as wire

Say = Callable[[str], None]

COUNTER = "doorstep_ws_frames_in_total"  # of the gateways, that were read
OPEN_TIMEOUT_S = 30.0
ECHO_EVERY_S = 0.2
ECHO_TIMEOUT_S = 30.0
BUFFER_LIMIT = 32_768  # bytes in a socket's write buffer above which nothing more is written to it
BATCH = 16  # payloads written at a time
# Between two mutants, so that the server does not hang up after a few: this measures reading, not connecting.
REST_FRAME = text_frame(b'{"type":"ack","seq":0}')
BROKEN_SHARE = 0.002  # of the frames break WebSocket itself, which is the end of the connection
BROKEN_LINGER_S = 2.0  # for the server to close a socket whose frames are no frames any more
LAST_ID = "the-last-question"
ROUNDS = 10  # of mutants, until so many were read: each is followed by a frame to rest
SLOW_LIMIT_S = 60.0  # by then the slow reader must be gone
LINES_S = 5.0
EMPTY_FRAME_BYTES = 6
# Pings and pongs, masked by zero.
CONTROL_FRAMES = b"".join(bytes((first, 0x80, 0, 0, 0, 0)) for first in (0x89, 0x8A)) * 512


class HostileOptions(Struct, frozen=True, kw_only=True):
    """`drivers` of the tokens are well-behaved, one floods, one does not read, the others send mutants."""

    drivers: int = 20
    frames: int = 1_000_000
    calm_s: float = 5.0
    flood_s: float = 15.0
    flood_per_s: float = 10.0  # pings of the flooder; the others send one a second
    control_frames: int = 2_000_000  # empty control frames, as many as are taken ...
    control_s: float = 6.0  # ... in so long
    seed: int = 1


class Neighbour:
    """A well-behaved driver: a ping a second, and a question now and then whose answer is timed."""

    def __init__(self, url: str, token: str) -> None:
        self.took_ms: dict[str, list[float]] = {}
        self.reconnects = self.late = 0
        self._url, self._token = url, token
        self._phase = ""
        self._connected = asyncio.Event()

    def enter(self, phase: str) -> None:
        """What is measured from now on."""
        self._phase = phase
        self.took_ms.setdefault(phase, [])

    async def connected(self) -> None:
        """Wait for the first welcome."""
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await self._connected.wait()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                async with _socket(self._url) as ws:
                    await _hello(ws, self._token)
                    self._connected.set()
                    await self._live(ws)
            self.reconnects += 1
            await asyncio.sleep(0.5)

    async def _live(self, ws: ClientConnection) -> None:
        pings, ping_s = 0, 0.0
        while True:
            if time.monotonic() >= ping_s:
                pings, ping_s = pings + 1, time.monotonic() + 1.0
                await ws.send(_ping(pings), text=True)
            phase, question = self._phase, wire.TaskArrive(uuid.uuid4().hex, str(uuid.uuid4()))
            asked_s = time.perf_counter()
            await ws.send(wire.encode(question), text=True)
            try:
                async with asyncio.timeout(ECHO_TIMEOUT_S):
                    while wire.decode_server(await ws.recv()).in_reply_to != question.id:
                        pass
            except TimeoutError:
                self.late += 1
                raise
            self.took_ms[phase].append((time.perf_counter() - asked_s) * 1000)
            await asyncio.sleep(ECHO_EVERY_S)


class Mob:
    """Sockets that send mutants, each with a source of its own. `sent`: frames; `closes`: how sockets ended."""

    def __init__(self, url: str, frames: int, seed: int) -> None:
        self.sent = 0
        self.closes: Counter[int] = Counter()
        self.refused = 0
        self._url, self._frames, self._seed = url, frames, seed

    async def run(self, tokens: Sequence[str]) -> None:
        """Until all frames are sent."""
        await asyncio.gather(*(self._one(token, number) for number, token in enumerate(tokens)))

    def more(self, frames: int) -> None:
        """So many were not read, because they stood behind one that closed the socket."""
        self._frames = self.sent + frames

    async def _one(self, token: str, number: int) -> None:
        rng = Random(f"{self._seed} {number}")
        source = mutants(rng)  # each round the same ones, at other times
        while self.sent < self._frames:
            try:
                async with _socket(self._url) as ws:
                    if rng.random() < 0.95:
                        await _hello(ws, token)
                    reading = asyncio.create_task(_swallow(ws))
                    linger_s = await self._attack(ws, source, rng, reading)
                    await asyncio.wait([reading], timeout=linger_s)
                self.closes[ws.close_code or 1006] += 1
            except (OSError, WebSocketException, TimeoutError):
                self.refused += 1
                await asyncio.sleep(rng.uniform(0.1, 1.0))

    async def _attack(
        self, ws: ClientConnection, payloads: Iterator[bytes], rng: Random, reading: asyncio.Task[None]
    ) -> float:
        """Returns how many seconds to wait for the server to have read it."""
        transport = ws.transport
        while self.sent < self._frames and ws.state is State.OPEN and not reading.done():
            if transport.get_write_buffer_size() > BUFFER_LIMIT:
                await asyncio.sleep(0.01)
                continue
            broken = rng.random() < BROKEN_SHARE * BATCH
            parts = [_framed(payload) + REST_FRAME for payload in islice(payloads, BATCH)]
            transport.write(b"".join(parts) + (_broken(next(payloads), rng) if broken else b""))
            self.sent += BATCH + broken
            if broken:
                return BROKEN_LINGER_S
            await asyncio.sleep(0)
        # Questions are taken in order: its answer means that everything before it was read.
        if ws.state is State.OPEN:
            transport.write(text_frame(wire.encode(wire.TaskArrive(LAST_ID, str(uuid.uuid4())))))
        return OPEN_TIMEOUT_S


async def run_hostile(
    server_url: str,
    tokens: Sequence[str],
    options: HostileOptions,
    *,
    rss_bytes: Callable[[], int] | None = None,
    out: Path | None = None,
    progress: Say = lambda line: None,
) -> Report:
    """Measure a running server. `tokens`: of different drivers, at least `drivers` + 3; `rss_bytes()`: the resident
    memory of its gateways. `ValueError`: too few tokens."""
    if len(tokens) < options.drivers + 3:
        raise ValueError(f"{options.drivers + 3} tokens are needed at least, and there are {len(tokens)}.")
    url = server_url.replace("http", "ws", 1).rstrip("/") + "/v1/drivers/ws"
    flooder, slow, *mob_tokens = tokens[options.drivers :]
    neighbours = [Neighbour(url, token) for token in tokens[: options.drivers]]

    def enter(phase: str) -> None:
        progress(phase)
        for neighbour in neighbours:
            neighbour.enter(phase)

    enter("calm")
    living = [asyncio.create_task(neighbour.run()) for neighbour in neighbours]
    figures: Figures = {}
    try:
        await asyncio.gather(*(neighbour.connected() for neighbour in neighbours))
        before_bytes = rss_bytes() if rss_bytes is not None else None
        frames_before = await counted(server_url, COUNTER)
        await asyncio.sleep(options.calm_s)
        enter("flood")
        figures["flood_sent_count"] = await _flood(url, flooder, options)
        enter("control")
        figures["control_sent_count"] = await _control(url, flooder, options)
        enter("slow")
        figures["slow_reader_gone_s"] = await _slow_reader(url, slow)
        enter("mutants")
        mob = Mob(url, options.frames, options.seed)
        began_s = time.monotonic()
        for _ in range(ROUNDS):
            attack = asyncio.create_task(mob.run(mob_tokens))
            while not attack.done():
                await asyncio.wait([attack], timeout=LINES_S)
                progress(f"{mob.sent} mutants, sockets closed: {dict(sorted(mob.closes.items()))}")
            await attack
            read = round(await counted(server_url, COUNTER) - frames_before)
            if read >= 2 * options.frames:
                break
            mob.more(options.frames - read // 2)
        took_s = time.monotonic() - began_s
        enter("after")
        await asyncio.sleep(options.calm_s)
        figures |= {
            "mutants_count": mob.sent,
            "mutants_s": took_s,
            "frames_read_count": round(await counted(server_url, COUNTER) - frames_before),
            "refused_connects_count": mob.refused,
            "server_up": int(await _is_up(server_url)),
            "gateway_rss_before_mb": _mb(before_bytes),
            "gateway_rss_after_mb": _mb(rss_bytes() if rss_bytes is not None else None),
        }
    finally:
        for task in living:
            task.cancel()
        await asyncio.gather(*living, return_exceptions=True)
    for phase in ("calm", "flood", "control", "slow", "mutants", "after"):
        took = sorted(ms for neighbour in neighbours for ms in neighbour.took_ms.get(phase, ()))
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            figures[f"{phase}_{name}_ms"] = took[min(len(took) - 1, int(share * len(took)))] if took else None
    figures["neighbours_closed_count"] = sum(neighbour.reconnects for neighbour in neighbours)
    figures["neighbours_late_count"] = sum(neighbour.late for neighbour in neighbours)
    notes = tuple(f"sockets of mutants closed with {code}: {n}" for code, n in sorted(mob.closes.items()))
    made = report("hostile", options, figures, notes=notes)
    if out is not None:
        made.write(out)
    return made


async def _flood(url: str, token: str, options: HostileOptions) -> int:
    """One client pings at its own rate; returns how often."""
    sent, until_s = 0, time.monotonic() + options.flood_s
    async with _socket(url) as ws:
        await _hello(ws, token)
        reading = asyncio.create_task(_swallow(ws))
        began_s = time.monotonic()
        while time.monotonic() < until_s and not reading.done():
            due = int((time.monotonic() - began_s) * options.flood_per_s)
            while sent < due and ws.transport.get_write_buffer_size() <= BUFFER_LIMIT:
                sent += 1
                ws.transport.write(text_frame(_ping(sent)))
            await asyncio.sleep(0.01)
        reading.cancel()
        ws.transport.abort()
    return sent


async def _control(url: str, token: str, options: HostileOptions) -> int:
    """One client sends control frames as fast as they are taken; returns how many were."""
    sent, until_s = 0, time.monotonic() + options.control_s
    async with _socket(url) as ws:
        await _hello(ws, token)
        reading = asyncio.create_task(_swallow(ws))
        while sent < options.control_frames and time.monotonic() < until_s and not reading.done():
            if ws.transport.get_write_buffer_size() > BUFFER_LIMIT:
                await asyncio.sleep(0.001)
                continue
            ws.transport.write(CONTROL_FRAMES)
            sent += len(CONTROL_FRAMES) // EMPTY_FRAME_BYTES
            await asyncio.sleep(0)
        left_s = until_s - time.monotonic()
        await asyncio.sleep(max(0.0, left_s))  # what was taken keeps the server busy for as long as it likes
        reading.cancel()
        ws.transport.abort()
    return sent


async def _slow_reader(url: str, token: str) -> float | None:
    """A client asks and does not read: seconds until the server has let go of it; None if it has not."""
    async with _socket(url, sock=await _small_socket(url)) as ws:
        await _hello(ws, token)
        ws.transport.pause_reading()
        began_s = time.monotonic()
        try:
            while time.monotonic() - began_s < SLOW_LIMIT_S:
                if ws.transport.is_closing():
                    return time.monotonic() - began_s
                if ws.transport.get_write_buffer_size() <= BUFFER_LIMIT:
                    question = wire.TaskArrive(uuid.uuid4().hex * 2, str(uuid.uuid4()))
                    ws.transport.write(text_frame(wire.encode(question)) * BATCH)
                await asyncio.sleep(0.1)
        finally:
            ws.transport.abort()
    return None


async def _small_socket(url: str) -> socket.socket:
    """A connection whose kernel takes next to nothing in for a client that does not read."""
    address = urlsplit(url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (address.hostname or "127.0.0.1", address.port or 80))
    return raw


def _socket(url: str, **options: Any) -> connect:
    return connect(
        url,
        subprotocols=[wire.SUBPROTOCOL],  # type: ignore[list-item]
        compression=None,
        ping_interval=None,
        open_timeout=OPEN_TIMEOUT_S,
        close_timeout=1,
        proxy=None,
        **options,
    )


async def _hello(ws: ClientConnection, token: str) -> None:
    """Say hello and go on duty. `OSError` when there is no welcome."""
    await ws.send(wire.encode(wire.Hello(token)), text=True)
    async with asyncio.timeout(OPEN_TIMEOUT_S):
        if not isinstance(wire.decode_server(await ws.recv()), wire.Welcome):
            raise ConnectionError("no welcome")
    await ws.send(wire.encode(wire.Duty(on=False, lat=32.7767, lng=-96.797)), text=True)


async def _swallow(ws: ClientConnection) -> None:
    """Read until the end, or the answer to the last question."""
    with contextlib.suppress(OSError, WebSocketException):
        async for text in ws:
            if f'"{LAST_ID}"' in str(text):
                return


def _ping(seq: int) -> bytes:
    return b'{"type":"location","lat":32.7767,"lng":-96.797,"at":"2030-01-01T00:00:00Z","seq":%d}' % seq


def _framed(payload: bytes) -> bytes:
    """As text where it is UTF-8: anything else ends the connection, and is sent as a binary frame instead."""
    frame = text_frame(payload)
    try:
        payload.decode()
    except UnicodeDecodeError:
        return bytes((0x82,)) + frame[1:]
    return frame


def _broken(payload: bytes, rng: Random) -> bytes:
    """A frame that WebSocket does not allow: flipped bits in its head (no mask, a false length), or no UTF-8."""
    frame = bytearray(text_frame(payload + b"\xff" if rng.random() < 0.3 else payload))
    for _ in range(rng.randint(1, 3)):
        frame[rng.randrange(2)] ^= 1 << rng.randrange(8)
    return bytes(frame)


async def _is_up(server_url: str) -> bool:
    async with httpx.AsyncClient(base_url=server_url, trust_env=False, timeout=30) as client:
        try:
            return (await client.get("/health/ready")).status_code == 200
        except httpx.TransportError:
            return False


def _mb(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else size_bytes / 1e6
