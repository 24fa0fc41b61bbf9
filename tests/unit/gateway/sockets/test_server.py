"""The server's WebSocket protocol on a transport that a test looks into: frames are handed over, reading pauses."""

from __future__ import annotations

import asyncio
import time
from asyncio import transports
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from gateway.sockets.server import (
    EARLY_FRAMES_BURST,
    EARLY_FRAMES_PER_S,
    OVERDRAFT_FRAMES,
    BoundedSocket,
)
from gateway.sockets.wire import AsgiWire, Outlet

WRITE_BUFFER_BYTES, FRAGMENTS_LIMIT = 4_096, 64
BOUNDS = {"write_buffer_bytes": WRITE_BUFFER_BYTES, "fragments_limit": FRAGMENTS_LIMIT}


class Transport(transports.Transport):
    """Keeps what is written; `paused` says whether the protocol reads."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.paused = self.closed = False
        self.resumed = asyncio.Event()
        self.high: int | None = None

    def write(self, data: Any) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def pause_reading(self) -> None:
        assert not self.paused, "paused twice"
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused, "resumed twice"
        self.paused = False
        self.resumed.set()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def fragments(message: str | bytes, pieces: int) -> list[Frame]:
    """The message in so many fragments, some of which may be empty."""
    data = message.encode() if isinstance(message, str) else message
    size = -(-len(data) // pieces)
    first = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
    return [
        Frame(Opcode.CONT if n else first, data[n * size : (n + 1) * size], fin=n == pieces - 1)
        for n in range(pieces)
    ]


class Line:
    """A client at the one end of the transport, and an application at the other, which accepts and then `receives`."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.scope: Scope = {}
        self.wire: AsgiWire | None = None
        self.by_asgi: asyncio.Queue[Any] = asyncio.Queue()
        self.taken: list[str | bytes] = []
        self.outlet: Outlet | None = None
        self.pause_s = self.spent = self.spend_pause_s = 0.0
        self.accepted, self.read_on = asyncio.Event(), asyncio.Event()
        config = Config(self._app, interface="asgi3", ws_ping_interval=None, log_config=None)
        config.load()
        self.socket = BoundedSocket(
            config, ServerState(), {}, write_buffer_bytes=WRITE_BUFFER_BYTES, fragments_limit=FRAGMENTS_LIMIT
        )
        self.client = ClientProtocol(parse_uri("ws://test/"))
        self.socket.connection_made(self.transport)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.wire = scope, AsgiWire(scope, receive, send)
        await self.wire.accept(None)
        self.accepted.set()
        await self.read_on.wait()
        while (message := await receive())["type"] != "websocket.disconnect":
            self.by_asgi.put_nowait(message)
        self.by_asgi.put_nowait(message)

    def send(self, *frames: str | bytes | Frame) -> None:
        """These in one read of the server's loop."""
        for frame in frames:
            if isinstance(frame, Frame):
                self.client.send_frame(frame)
            elif isinstance(frame, str):
                self.client.send_text(frame.encode())
            else:
                self.client.send_binary(frame)
        self.socket.data_received(b"".join(self.client.data_to_send()))

    def heard(self) -> Iterator[bytes]:
        """Frames that the client has received since."""
        self.client.receive_data(bytes(self.transport.written))
        self.transport.written.clear()
        return (bytes(event.data) for event in self.client.events_received() if isinstance(event, Frame))

    async def may_write(self) -> None:
        """Wait until the server reads, or the application has something to take."""
        while self.transport.paused and self.outlet is not None:  # noqa: ASYNC110
            await asyncio.sleep(0)

    def end(self) -> None:
        """Let the application go."""
        self.read_on.set()
        if self.socket in self.socket.connections:
            self.socket.connection_lost(None)

    def hand_over(self) -> Outlet:
        def take(data: str | bytes) -> float:
            self.taken.append(data)
            return self.pause_s

        def spend(frames: float) -> float:
            self.spent += frames
            return self.spend_pause_s

        assert self.wire is not None
        outlet = self.outlet = self.wire.hand_over(take, spend)
        assert outlet is not None
        return outlet


async def opened() -> Line:
    """A line whose handshake is done."""
    line = Line()
    line.client.send_request(line.client.connect())
    line.socket.data_received(b"".join(line.client.data_to_send()))
    async with asyncio.timeout(5):
        await line.accepted.wait()
    list(line.heard())
    return line


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = await opened()
    yield line
    line.end()


async def test_frames_that_wait_come_before_those_that_follow(line: Line) -> None:
    line.send("one", b"two")
    assert line.transport.paused, "the application has not taken what was read"
    line.hand_over()
    assert not line.transport.paused
    line.send("three")
    assert line.taken == ["one", b"two", "three"]


async def test_each_frame_is_handed_over_in_the_turn_that_reads_it(line: Line) -> None:
    line.hand_over()
    line.send("a", b"b", "")
    assert line.taken == ["a", b"b", ""]
    assert line.by_asgi.empty()
    assert not line.transport.paused


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 10_000])
async def test_frames_come_out_the_same_however_the_network_cuts_them(line: Line, size: int) -> None:
    messages: list[str | bytes] = [
        "",
        "ping",
        "x" * 125,
        "y" * 126,
        b"binary",
        "z" * 70_000,
        "\u00fc",
        "last",
    ]
    line.hand_over()
    for message in messages:
        if isinstance(message, str):
            line.client.send_text(message.encode())
        else:
            line.client.send_binary(message)
    sent = b"".join(line.client.data_to_send())
    for at in range(0, len(sent), size):
        line.socket.data_received(sent[at : at + size])
    assert line.taken == messages


async def test_a_small_text_frame_does_not_pass_through_the_librarys_parser(line: Line) -> None:
    line.hand_over()
    line.socket.conn.receive_data = None  # type: ignore[assignment, method-assign]
    line.send("a", "b")
    assert line.taken == ["a", "b"]


async def test_a_clients_frame_without_a_mask_is_an_error(line: Line) -> None:
    line.hand_over()
    line.socket.data_received(bytes((0x81, 5)) + b"hello")
    assert line.taken == []
    list(line.heard())
    assert line.client.close_rcvd is not None
    assert line.client.close_rcvd.code == 1002


async def test_a_frame_within_a_message_in_fragments_is_an_error(line: Line) -> None:
    line.hand_over()
    line.send(Frame(Opcode.TEXT, b"in ", fin=False))
    line.send("whole")
    assert line.taken == []
    list(line.heard())
    assert line.client.close_rcvd is not None
    assert line.client.close_rcvd.code == 1002


async def test_a_frame_after_the_clients_close_is_not_read(line: Line) -> None:
    line.hand_over()
    line.client.send_close(1000)
    late = bytes((0x81, 0x80 | 1, 0, 0, 0, 0)) + b"x"
    line.socket.data_received(b"".join(line.client.data_to_send()) + late)
    line.socket.data_received(late)
    assert line.taken == []


async def test_a_frame_after_the_servers_close_is_thrown_away(line: Line) -> None:
    line.hand_over()
    assert line.wire is not None
    await line.wire.close(1012, "restart")
    line.send("late")
    assert line.taken == []


async def test_a_message_in_fragments_is_handed_over_in_its_place(line: Line) -> None:
    line.hand_over()
    line.send("before", *fragments("in parts", 3), "after", b"bytes", *fragments(b"of bytes", 2))
    assert line.taken == ["before", "in parts", "after", b"bytes", b"of bytes"]
    assert line.by_asgi.empty()


async def test_reading_pauses_for_as_long_as_the_taker_says(line: Line) -> None:
    line.hand_over()
    line.pause_s = 0.05
    began_s = asyncio.get_running_loop().time()
    line.send("a", "b")  # what was read already is handed over, and the pause is one
    assert line.taken == ["a", "b"]
    assert line.transport.paused
    async with asyncio.timeout(5):
        await line.transport.resumed.wait()
    assert asyncio.get_running_loop().time() - began_s >= 0.049


async def test_nothing_is_resumed_on_a_transport_that_has_closed(line: Line) -> None:
    line.hand_over()
    line.pause_s = 60.0
    line.send("a")
    line.transport.closed = True
    line.socket._go_on()
    assert line.transport.paused


async def test_frames_are_put_out_at_once_while_the_socket_is_free(line: Line) -> None:
    outlet = line.hand_over()
    assert outlet.is_free
    outlet.put(b"hello")
    assert list(line.heard()) == [b"hello"]
    line.socket.pause_writing()
    assert not outlet.is_free, "more waits than the write buffer is to hold"
    line.socket.resume_writing()
    assert outlet.is_free
    line.transport.closed = True
    assert not outlet.is_free


async def test_a_socket_that_is_closing_takes_nothing_more(line: Line) -> None:
    outlet = line.hand_over()
    line.client.send_close(1000)
    line.socket.data_received(b"".join(line.client.data_to_send()))
    assert not outlet.is_free


async def test_a_socket_that_has_said_close_puts_nothing_out(line: Line) -> None:
    outlet = line.hand_over()
    assert line.wire is not None
    await line.wire.close(1012, "restart")
    assert not line.transport.closed, "the client's close has not come yet"
    assert not outlet.is_free


async def test_the_end_comes_by_asgi(line: Line) -> None:
    line.hand_over()
    line.read_on.set()
    line.socket.connection_lost(None)
    async with asyncio.timeout(5):
        assert (await line.by_asgi.get())["type"] == "websocket.disconnect"


async def test_text_that_is_no_text_ends_the_connection(line: Line) -> None:
    line.hand_over()
    line.send(Frame(Opcode.TEXT, b"\xff\xfe"))
    assert line.taken == []
    list(line.heard())
    assert line.client.close_rcvd is not None
    assert line.client.close_rcvd.code == 1007


async def test_what_may_wait_for_a_socket_is_bounded(line: Line) -> None:
    assert line.transport.high == WRITE_BUFFER_BYTES


# -- order ------------------------------------------------------------------------------------------------------------

_MESSAGES = st.one_of(
    st.text(max_size=8),
    st.binary(max_size=8),
    st.sampled_from(["x" * 125, "y" * 126, "\u00fc" * 63, "z" * 66_000, b"b" * 126]),
)
_WAYS = st.sampled_from(["whole", "in 1", "in 2", "in 5", "ping", "pong"])


def _library(sent: bytes) -> list[str | bytes]:
    """What the library on its own makes of it."""
    server, messages, parts = ServerProtocol(), list[str | bytes](), list[bytes]()
    server.receive_data(b"".join(_handshake(ClientProtocol(parse_uri("ws://test/")))))
    [request] = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    server.receive_data(sent)
    kind = Opcode.TEXT
    for frame in server.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            kind = kind if frame.opcode is Opcode.CONT else frame.opcode
            parts.append(bytes(frame.data))
            if frame.fin:
                whole = b"".join(parts)
                messages.append(whole.decode() if kind is Opcode.TEXT else whole)
                parts.clear()
    return messages


def _handshake(client: ClientProtocol) -> list[bytes]:
    client.send_request(client.connect())
    return client.data_to_send()


@given(
    st.lists(st.tuples(_MESSAGES, _WAYS, st.booleans()), min_size=1, max_size=12),
    st.lists(st.integers(1, 400), min_size=1, max_size=30),
    st.integers(0, 12),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=60)
async def test_messages_come_in_their_order_however_they_are_framed_and_cut(
    sent: list[tuple[str | bytes, str, bool]], cuts: list[int], handed_over_after: int, pauses: int
) -> None:
    line = await opened()
    for message, way, between in sent:
        if way in ("ping", "pong"):
            line.client.send_frame(Frame(Opcode[way.upper()], b"x"))
        elif way == "whole":
            one = fragments(message, 1)[0]
            line.client.send_frame(one)
        else:
            for part in fragments(message, int(way[3:])):
                line.client.send_frame(part)
                if between:
                    line.client.send_frame(Frame(Opcode.PING, b"within"))
    stream = b"".join(line.client.data_to_send())
    line.pause_s, line.spend_pause_s = (0.001, 0.0) if pauses == 1 else (0.0, 0.001 * (pauses == 2))
    at = 0
    for number, size in enumerate([*cuts, len(stream)]):
        if line.outlet is None and (number == handed_over_after or at + size >= len(stream)):
            line.hand_over()
        await line.may_write()
        line.socket.data_received(stream[at : at + size])
        at += size
        if at >= len(stream):
            break
    expected = _library(stream)
    async with asyncio.timeout(10):
        while len(line.taken) < len(expected):
            await line.may_write()
            await asyncio.sleep(0)
    assert line.taken == expected
    line.end()


# -- pace -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frames",
    [
        [Frame(Opcode.PING, b"")] * 3,
        [Frame(Opcode.PONG, b"unasked")] * 3,
        [
            Frame(Opcode.TEXT, b"", fin=False),
            Frame(Opcode.CONT, b"", fin=False),
            Frame(Opcode.CONT, b"", fin=False),
        ],
    ],
)
async def test_a_frame_that_is_no_message_counts_too(line: Line, frames: list[Frame]) -> None:
    line.hand_over()
    line.send(*frames)
    assert line.spent == 3
    line.spend_pause_s = 60.0
    line.send(frames[-1])
    assert line.transport.paused


async def test_a_flood_in_one_read_is_not_parsed_beyond_what_may_be_spent(line: Line) -> None:
    line.hand_over()
    line.spend_pause_s = 60.0
    line.send(*[Frame(Opcode.PING, b"")] * 20_000)
    assert line.transport.paused
    assert line.spent <= OVERDRAFT_FRAMES + 1


async def test_a_flood_before_the_hello_is_paced_as_well(line: Line) -> None:
    began_s = time.monotonic()
    line.send(*[Frame(Opcode.PING, b"")] * 20_000)
    assert line.transport.paused
    meanwhile = (time.monotonic() - began_s) * EARLY_FRAMES_PER_S
    assert len(list(line.heard())) <= EARLY_FRAMES_BURST + OVERDRAFT_FRAMES + 1 + meanwhile


async def test_a_flood_after_the_servers_close_is_paced_as_well(line: Line) -> None:
    line.hand_over()
    assert line.wire is not None
    await line.wire.close(1012, "restart")
    line.spend_pause_s = 60.0
    line.send(*["late"] * 20_000)
    assert line.transport.paused
    assert line.spent <= OVERDRAFT_FRAMES + 1
    assert line.taken == []


async def test_nothing_of_a_flood_is_lost(line: Line) -> None:
    line.hand_over()
    line.pause_s = 0.001
    sent = [str(n) for n in range(1_000)]
    line.send(*sent)
    assert len(line.taken) <= OVERDRAFT_FRAMES + 1
    async with asyncio.timeout(10):
        while len(line.taken) < len(sent):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert line.taken == sent


async def test_a_message_has_so_many_fragments_at_most(line: Line) -> None:
    line.hand_over()
    line.send(*fragments("x" * 200, FRAGMENTS_LIMIT))
    assert line.taken == ["x" * 200]
    line.send(Frame(Opcode.TEXT, b"", fin=False), *[Frame(Opcode.CONT, b"", fin=False)] * FRAGMENTS_LIMIT)
    list(line.heard())
    assert line.client.close_rcvd is not None
    assert line.client.close_rcvd.code == 1009
    assert line.transport.closed


async def test_who_does_not_read_gets_no_pongs(line: Line) -> None:
    line.hand_over()
    line.socket.pause_writing()
    line.send(Frame(Opcode.PING, b"a"))
    assert not line.transport.written
    line.socket.resume_writing()
    line.send(Frame(Opcode.PING, b"b"))
    assert list(line.heard()) == [b"b"]


async def test_a_client_that_does_not_wait_for_the_handshake_loses_nothing() -> None:
    line = Line()
    line.socket.data_received(b"".join(_handshake(line.client)))
    line.client.state = State.OPEN
    line.send("early", *fragments("in parts", 2))
    assert line.transport.paused
    async with asyncio.timeout(5):
        await line.accepted.wait()
        line.hand_over()
        while len(line.taken) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert line.taken == ["early", "in parts"]
    line.end()
