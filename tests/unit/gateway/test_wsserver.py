"""The server's WebSocket protocol on a transport that a test looks into: frames are handed over, reading pauses."""

from __future__ import annotations

import asyncio
from asyncio import transports
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from gateway.wire import AsgiWire, Outlet
from gateway.wsserver import BoundedSocket

WRITE_BUFFER_BYTES = 4_096


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


class Line:
    """A client at the one end of the transport, and an application at the other, which accepts and then `receives`."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.scope: Scope = {}
        self.wire: AsgiWire | None = None
        self.by_asgi: asyncio.Queue[Any] = asyncio.Queue()
        self.taken: list[str | bytes] = []
        self.pause_s = 0.0
        self.accepted, self.read_on = asyncio.Event(), asyncio.Event()
        config = Config(self._app, interface="asgi3", ws_ping_interval=None, log_config=None)
        config.load()
        self.socket = BoundedSocket(config, ServerState(), {}, write_buffer_bytes=WRITE_BUFFER_BYTES)
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

    def hand_over(self) -> Outlet:
        def take(data: str | bytes) -> float:
            self.taken.append(data)
            return self.pause_s

        assert self.wire is not None
        outlet = self.wire.hand_over(take)
        assert outlet is not None
        return outlet


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line()
    line.client.send_request(line.client.connect())
    line.socket.data_received(b"".join(line.client.data_to_send()))
    async with asyncio.timeout(5):
        await line.accepted.wait()
    list(line.heard())
    yield line
    line.read_on.set()
    if line.socket in line.socket.connections:
        line.socket.connection_lost(None)


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


async def test_a_message_in_fragments_comes_by_asgi(line: Line) -> None:
    line.hand_over()
    line.read_on.set()
    line.send(Frame(Opcode.TEXT, b"in ", fin=False), Frame(Opcode.CONT, b"parts"))
    async with asyncio.timeout(5):
        assert (await line.by_asgi.get())["text"] == "in parts"
    assert line.taken == []
    line.send("whole")
    assert line.taken == ["whole"]


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
