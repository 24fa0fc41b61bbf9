"""Ten thousand drivers' sockets in one process: the WebSocket client of `bench live`, built for the load it makes.

One object a driver and no task of its own: frames go from the event loop's buffer to a handler, pings leave from a
timer wheel. Frames are built by hand with a zero mask, as in `bench/throughput/load.py`; what comes in is never masked
and never fragmented (RFC 6455, 5.1), and anything else ends the socket.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Protocol, cast

import msgspec

from bench.live.series import Series
from bench.throughput.load import text_frame
from domain import protocol as wire

WELCOME_TIMEOUT_S = 20.0  # from the first SYN to the welcome
BACK_OFF_MIN_S, BACK_OFF_MAX_S = 0.2, 5.0  # doubled after each attempt in vain, times 0.5 to 1.5
BACK_OFF_SPREAD = (0.5, 1.5)
SOURCE_PORTS = (
    12_000  # sockets of one loopback address, which has 28,000 ports; closed ones keep theirs a minute
)
FIRST_SEQ = 1_000_000  # pings count from here, so that all of them are of one length
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
# From linux/in.h: the port is chosen when connecting, not when binding, so that addresses share their ports.
IP_BIND_ADDRESS_NO_PORT = 24
_HINT = re.compile(rb"retry_after_ms=(\d+)")
_REGION_LIFE = 2**19  # a jump this wide in `seq` is no loss: the region has begun a new life


class Handler(Protocol):
    """What is done with what a driver hears."""

    def on_offer(self, driver: Driver, offer: wire.OfferView | wire.Offer) -> None: ...

    def on_snapshot(self, driver: Driver, snapshot: wire.Snapshot) -> None: ...

    def on_answer(self, driver: Driver, message_id: str, frame: wire.ServerFrame) -> None: ...


class Fleet:
    """All drivers' sockets. `counts`: what happened, by name; `welcomed_s`: monotonic time of each driver's newest
    welcome, 0 while there is none."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        tokens: list[str],
        homes: list[tuple[float, float]],
        handler: Handler,
        ping_hz: float,
        rng: random.Random,
    ) -> None:
        self.host, self.port, self.handler, self.rng = host, port, handler, rng
        self.counts: Counter[str] = Counter()
        self.pings_sent = self.pings_skipped = 0
        self.late = Series()  # how late the wheel turned: what this process itself adds to what it measures
        self.reconnects = False  # whether a driver whose socket is lost comes back
        self.ping_period_s = 1.0 / ping_hz
        self.drivers = [
            Driver(self, number, token, home)
            for number, (token, home) in enumerate(zip(tokens, homes, strict=True))
        ]
        self.request = (
            f"GET /v1/drivers/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: ZG9vcnN0ZXAtYmVuY2gtIQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {wire.SUBPROTOCOL}\r\n\r\n"
        ).encode()
        self._loopback = host.startswith("127.")
        self._attempts: set[asyncio.Task[None]] = set()

    @property
    def welcomed(self) -> int:
        """How many drivers have a socket that was welcomed."""
        return sum(driver.ready for driver in self.drivers)

    def start(self, driver: Driver) -> None:
        """Open the driver's socket; goes on by itself until the welcome, with back-off."""
        attempt = asyncio.create_task(self._open(driver))
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)

    async def _open(self, driver: Driver) -> None:
        loop = asyncio.get_running_loop()
        driver.deadline_s = time.monotonic() + WELCOME_TIMEOUT_S
        end = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if self._loopback:
                end.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                end.bind((f"127.0.0.{1 + driver.number // SOURCE_PORTS}", 0))
            async with asyncio.timeout(WELCOME_TIMEOUT_S):
                await loop.sock_connect(end, (self.host, self.port))
            await loop.create_connection(lambda: driver, sock=end)
        except (OSError, TimeoutError):
            end.close()
            self.counts["connect failed"] += 1
            self.again(driver, None)

    def again(self, driver: Driver, after_s: float | None) -> None:
        """Try anew after a while: as the server asked, or by the driver's own back-off."""
        driver.deadline_s = 0.0
        if not self.reconnects:
            return
        if after_s is None:
            after_s = driver.back_off_s * self.rng.uniform(*BACK_OFF_SPREAD)
            driver.back_off_s = min(BACK_OFF_MAX_S, driver.back_off_s * 2)
        asyncio.get_running_loop().call_later(after_s, self.start, driver)

    async def ping(self) -> None:
        """Let every driver ping once a period, evenly spread, until cancelled. What is late is caught up with within a
        period; beyond that pings are skipped and counted."""
        slots = max(1, min(100, len(self.drivers)))
        step_s = self.ping_period_s / slots
        wheel = [self.drivers[slot::slots] for slot in range(slots)]
        began_s, turn = time.monotonic(), 0
        while True:
            self.late.add(max(0.0, time.monotonic() - began_s - turn * step_s))
            late = int((time.monotonic() - began_s) / step_s) - turn
            if late > slots:
                self.pings_skipped += sum(len(wheel[(turn + n) % slots]) for n in range(late - slots))
                turn += late - slots
            tail = ping_tail(turn // slots)
            self._ping_slot(wheel[turn % slots], tail, (turn // slots) % 2)
            turn += 1
            await asyncio.sleep(max(0.0, began_s + turn * step_s - time.monotonic()))

    def _ping_slot(self, drivers: list[Driver], tail: bytes, side: int) -> None:
        sent, now_s = 0, time.monotonic()
        for driver in drivers:
            if driver.ready and not driver.paused:
                driver.write(driver.heads[side] + tail)
                sent += 1
            elif 0 < driver.deadline_s < now_s:
                self.counts["welcome too late"] += 1
                driver.abort()
        self.pings_sent += sent
        self.pings_skipped += len(drivers) - sent

    def drop(self) -> None:
        """Lose every socket at once, as a dead network would end them."""
        for driver in self.drivers:
            driver.abort()

    async def stop(self) -> None:
        """Close everything for good."""
        self.reconnects = False
        for attempt in list(self._attempts):
            attempt.cancel()
        self.drop()
        await asyncio.sleep(0)


class Driver(asyncio.Protocol):
    """One driver and, one after the other, all sockets of theirs."""

    __slots__ = (
        "back_off_s",
        "buffer",
        "deadline_s",
        "fleet",
        "heads",
        "hint_s",
        "last_seq",
        "number",
        "paused",
        "pending",
        "place",
        "ready",
        "resumed",
        "token",
        "transport",
        "upgraded",
        "welcomed_s",
    )

    def __init__(self, fleet: Fleet, number: int, token: str, home: tuple[float, float]) -> None:
        self.fleet, self.number, self.token = fleet, number, token
        self.transport: asyncio.Transport | None = None
        self.buffer = b""
        self.upgraded = self.ready = self.paused = self.resumed = False
        self.welcomed_s = self.deadline_s = 0.0
        self.back_off_s = BACK_OFF_MIN_S
        self.hint_s: float | None = None
        self.last_seq = 0
        self.pending: dict[str, bytes] = {}  # frames without an answer, by message id
        self.move(*home)

    # -- what the load asks -------------------------------------------------------------------------------------------

    def move(self, lat: float, lng: float) -> None:
        """Be there from now on: pings come in turn from two points a metre apart."""
        self.place = (lat, lng)
        self.heads = (ping_head(lat, lng), ping_head(lat + 1e-5, lng))

    def ask(self, message_id: str, frame: wire.ClientFrame) -> None:
        """Send a message until it is answered, on this socket and on the ones after it."""
        data = text_frame(wire.encode(frame))
        self.pending[message_id] = data
        if self.ready:
            self.write(data)

    def tell(self, frame: wire.ClientFrame) -> None:
        """Send a message that gets no answer."""
        if self.ready:
            self.write(text_frame(wire.encode(frame)))

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def abort(self) -> None:
        """Lose the socket without a word."""
        if self.transport is not None:
            self.transport.abort()

    # -- the socket ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own are no subclasses of it
        self.buffer, self.hint_s = b"", None
        self.upgraded = self.ready = self.paused = False
        self.write(self.fleet.request)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ready:
            self.fleet.counts["sockets lost"] += 1
        self.transport, self.ready = None, False
        self.fleet.again(self, self.hint_s)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        if not self.upgraded:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self.buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.fleet.counts[f"upgrade refused: {head[9:12].decode(errors='replace')}"] += 1
                self.abort()
                return
            self.upgraded = True
            resume = self.last_seq or None
            self.write(text_frame(wire.encode(wire.Hello(self.token, resume))))
        at, size = 0, len(data)
        while size - at >= 2:
            first, length, start = data[at], data[at + 1], at + 2
            if length == 126 and size - at >= 4:
                length, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            elif length == 127 and size - at >= 10:
                length, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
            elif length > 125:
                break
            if size - start < length:
                break
            at = start + length
            self._frame(first, data[start:at])
        self.buffer = data[at:]

    def _frame(self, first: int, payload: bytes) -> None:
        opcode = first & 0xF
        if not first & 0x80 or opcode not in (TEXT, CLOSE, PING, PONG):
            self.fleet.counts["bad frames"] += 1
            self.abort()
        elif opcode == TEXT:
            self._take(payload)
        elif opcode == PING:
            self.write(bytes((0x80 | PONG, 0x80 | len(payload))) + b"\0\0\0\0" + payload)
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
            self.fleet.counts[f"closed {code}"] += 1
            hint = _HINT.search(payload)
            self.hint_s = int(hint[1]) / 1000 if hint else None
            self.abort()

    def _take(self, payload: bytes) -> None:
        fleet = self.fleet
        try:
            frame = wire.decode_server(payload)
        except msgspec.MsgspecError:
            fleet.counts["unreadable frames"] += 1
            return
        if isinstance(frame, wire.Welcome):
            self._welcome(frame)
            return
        if frame.seq:
            if frame.seq <= self.last_seq:
                return  # handled before the socket was lost
            if 1 < frame.seq - self.last_seq < _REGION_LIFE and self.last_seq:
                fleet.counts["pushes missed"] += 1
            self.last_seq = frame.seq
        if frame.in_reply_to is not None:
            self.pending.pop(frame.in_reply_to, None)
            fleet.handler.on_answer(self, frame.in_reply_to, frame)
        elif isinstance(frame, wire.Offer):
            fleet.handler.on_offer(self, frame)
        elif isinstance(frame, wire.Error):
            fleet.counts[f"error {frame.code}"] += 1

    def _welcome(self, frame: wire.Welcome) -> None:
        fleet = self.fleet
        self.ready, self.resumed = True, frame.resumed
        self.welcomed_s, self.deadline_s, self.back_off_s = time.monotonic(), 0.0, BACK_OFF_MIN_S
        fleet.counts["resumed" if frame.resumed else "snapshots"] += 1
        if not frame.resumed:
            self.last_seq = frame.snapshot.last_seq
        self.tell(wire.Duty(True, *self.place))
        for data in list(self.pending.values()):
            self.write(data)
        fleet.handler.on_snapshot(self, frame.snapshot)


def ping_head(lat: float, lng: float) -> bytes:
    """The beginning of a ping's frame. Degrees have fixed widths, so that frames of all drivers are of one length."""
    # Blanks fill what is missing: JSON has no leading zeros.
    body = b'{"type":"location","lat":%s,"lng":%s,"at":"' % (_padded(lat, 10), _padded(lng, 11))
    size = len(body) + len(ping_tail(0))
    assert size < 126
    return bytes((0x80 | TEXT, 0x80 | size)) + b"\0\0\0\0" + body


def _padded(degrees: float, width: int) -> bytes:
    return (b"%.6f" % degrees).rjust(width)


def ping_tail(round_number: int) -> bytes:
    """The rest, the same for all drivers of a moment."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    return b'%sZ","seq":%d}' % (at.encode(), FIRST_SEQ + round_number)
