"""The HTTP server's WebSocket protocol with what it leaves open: how much may wait for one socket, how fast it is read,
and who is dead."""

from __future__ import annotations

import asyncio
import socket
from asyncio.transports import BaseTransport, Transport
from functools import partial
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

from gateway.sockets.masking import unmask
from gateway.sockets.read_rate import ReadRate
from gateway.sockets.wire import DIRECT, Outlet, Spend, Take

# Kernel buffers of one socket, each way. What the kernel would grow them to by itself (megabytes) is what a client that
# floods or does not read could fill; frames of the driver protocol are a few hundred bytes.
KERNEL_BUFFER_BYTES = 65_536
# RFC 6455, section 5.2: the head of a frame that is a whole text message of less than 126 bytes from a client.
FINAL_TEXT, MASKED, LONGER, HEAD_BYTES = 0x81, 0x80, 0x80 | 126, 6
FINAL, CONTROL = 0x80, 0x08  # bits of a frame's first byte
# First bytes that a frame may have: whole or in fragments, and control frames.
KNOWN = frozenset({0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A})
# Before the application says how fast: a hello is one frame.
EARLY_FRAMES_BURST, EARLY_FRAMES_PER_S = 32.0, 10.0
OVERDRAFT_FRAMES = (
    64  # of one read that are still taken when the socket has to wait, so that a batch stays together
)


class BoundedSocket(WebSocketsSansIOProtocol):
    """Reading stops while the application has not taken what was read, and while the socket has spent what it may: what
    waits is at most one read of the event loop. Writing waits above `write_buffer_bytes`.

    What is read is cut into frames here, and the library's parser gets one after the other. So messages come out in
    their order, whichever way they take, and each frame counts, also one that is no message: control frames, fragments.

    A peer from whom anything came since the last ping, or whose frames wait to be read, is alive: its pong may stand
    behind them.

    An application that takes messages by `hand_over` gets them as they are read, in the same turn of the event loop. By
    ASGI each would wake a task at the end of all middleware, which costs several times what most of them ask for.
    """

    def __init__(self, *args: Any, write_buffer_bytes: int, fragments_limit: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._write_buffer_bytes, self._fragments_limit = write_buffer_bytes, fragments_limit
        self._heard = False
        self._take: Take | None = None
        self._spend: Spend = ReadRate(EARLY_FRAMES_PER_S, EARLY_FRAMES_BURST, self.loop.time).spend
        self._rest = b""  # what was read and is not parsed yet
        self._left = 0  # bytes to come of a long frame whose beginning the parser has
        self._pause_s = 0.0  # which the last frame asks for
        self._overdraft = OVERDRAFT_FRAMES
        self._pause: asyncio.TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        cast(Transport, transport).set_write_buffer_limits(high=self._write_buffer_bytes)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._rest = b""
        super().connection_lost(exc)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][DIRECT] = self.hand_over  # type: ignore[assignment]

    # -- the application's side ---------------------------------------------------------------------------------------

    async def send(self, message: Any) -> None:
        was_open = self.handshake_complete
        await super().send(message)
        if not was_open and self.read_paused:  # a client that did not wait for the handshake's end
            self._resume()
        if self._rest:
            self._read_on()

    async def receive(self) -> Any:
        message = await super().receive()
        if self._rest:
            self._read_on()
        return message

    def hand_over(self, take: Take, spend: Spend | None = None) -> Outlet:
        """Give all further messages to `take`, at first those that wait; it returns the seconds after which more may be
        read, as `spend` does of frames that are no messages. What else there is to tell, the end above all, comes by
        ASGI as before, and what cannot be put out at once goes out by it."""
        waiting = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
        self._take, self._spend = take, spend or self._spend
        if self.read_paused and self._pause is None:
            self._resume()
        self._pause_s = 0.0
        for message in waiting:
            if message["type"] == "websocket.receive":
                text = message.get("text")
                self._give(message.get("bytes") or b"" if text is None else text)
            else:
                self.queue.put_nowait(message)
        if self._pause_s:
            self._wait()
        self._read_on()
        return self

    @property
    def is_free(self) -> bool:
        """See `Outlet`."""
        return self.writable.is_set() and not (
            self.close_sent or self.disconnected or self.transport.is_closing()
        )

    def put(self, data: bytes) -> None:
        """See `Outlet`."""
        self.conn.send_text(data)
        self.transport.write(b"".join(self.conn.data_to_send()))

    # -- what the parser finds ----------------------------------------------------------------------------------------

    def send_receive_event_to_app(self) -> None:
        if self._take is None or self.close_sent:
            super().send_receive_event_to_app()
            self._pause_s = self._spend(1) if self.close_sent else 0.0
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.curr_msg_data_type == "bytes":
            self._give(bytes(data))
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, "a text message is UTF-8")
            return
        self._give(text)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= self._fragments_limit:
            self._fail(CloseCode.MESSAGE_TOO_BIG, f"a message has at most {self._fragments_limit} fragments")
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # who does not read gets no pongs either, or they would fill the memory

    def _fail(self, code: CloseCode, reason: str) -> None:
        self.conn.fail(code, reason)
        self.handle_parser_exception()

    def _give(self, data: str | bytes) -> None:
        assert self._take is not None
        self._pause_s = self._take(data)

    # -- what is read -------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if not self.handshake_initiated:
            super().data_received(data)
            return
        self._rest = self._rest + data if self._rest else data
        self._read_on()

    def _read_on(self) -> None:
        """Take frames out of what was read, until the socket has to wait or the rest is no whole frame."""
        data, at = self._rest, 0
        if self._pause is not None or not self.handshake_complete:
            if not self.read_paused:  # a close has set the reading going again, or it has not begun
                self._stop()
            return
        self._pause_s, self._overdraft = 0.0, OVERDRAFT_FRAMES
        while (
            at < len(data) and self._overdraft > 0 and not (self.read_paused or self.transport.is_closing())
        ):
            at = self._take_small(data, at)
            if at == len(data) or self._overdraft <= 0:
                break
            size = self._feed(data, at)
            if not size:
                break
            at += size
            self._overdraft -= self._pause_s > 0
        self._rest = b"" if self.transport.is_closing() else data[at:]
        if self._pause_s:
            self._wait()

    def _take_small(self, data: bytes, at: int) -> int:
        """Give the application the small text messages that stand here whole, and return where they end.

        A ping is one, and reading them is most of what a gateway does: the library's parser, which gets all else, takes
        several times as long for a frame.
        """
        take, length = self._take, len(data)
        if take is None or self._left or self.close_sent or self.conn.current_size is not None:
            return at
        while length - at >= HEAD_BYTES and data[at] == FINAL_TEXT and MASKED <= data[at + 1] < LONGER:
            start = at + HEAD_BYTES
            end = start + (data[at + 1] & ~MASKED)
            if end > length:
                break
            try:
                text = unmask(data[start:end], data[start - 4 : start]).decode()
            except UnicodeDecodeError:
                break
            at = end
            if pause_s := take(text):
                self._pause_s = pause_s
                self._overdraft -= 1
                if not self._overdraft:
                    break
        return at

    def _feed(self, data: bytes, at: int) -> int:
        """Give the parser what is there of one frame; its bytes, or 0 while a small one is not whole."""
        if self._left:
            size = min(self._left, len(data) - at)
            self._left -= size
        else:
            size, first = _frame_bytes(data, at), data[at]
            if not size:
                return 0
            there = len(data) - at
            is_sound = first in KNOWN and data[at + 1] >= MASKED
            if size > there and size < HEAD_BYTES + 126 and is_sound:
                return 0
            self._left = max(0, size - there)
            size = min(size, there)
            if first & CONTROL or not first & FINAL:
                self._pause_s = self._spend(1)
        super().data_received(data[at : at + size])
        return size

    def _wait(self) -> None:
        """Read nothing for as long as the last frame asked for."""
        if self._pause is None:
            self._pause = self.loop.call_later(self._pause_s, self._go_on)
        if not self.read_paused:
            self._stop()

    def _go_on(self) -> None:
        self._pause = None
        if not self.transport.is_closing():
            if self.read_paused:
                self._resume()
            self._read_on()

    def _stop(self) -> None:
        self.read_paused = True
        self.transport.pause_reading()

    def _resume(self) -> None:
        self.read_paused = False
        self.transport.resume_reading()

    # -- who is dead --------------------------------------------------------------------------------------------------

    def send_keepalive_ping(self) -> None:
        self._heard = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        if self._heard or self.read_paused:
            self.pong_timer = None
            self.pending_ping_payload = None
            self.schedule_ping()
        else:
            super().keepalive_timeout()


def _frame_bytes(data: bytes, at: int) -> int:
    """The length of the frame that begins here, with its head; 0 while too little of the head is there to say."""
    there = len(data) - at
    if there < 2:
        return 0
    length, head = data[at + 1] & 0x7F, 2 + 4 * (data[at + 1] >= MASKED)
    if length < 126:
        return head + length
    wide = 2 if length == 126 else 8
    if there < 2 + wide:
        return 0
    return head + wide + int.from_bytes(data[at + 2 : at + 2 + wide])


def bounded_socket(write_buffer_bytes: int, fragments_limit: int) -> type[WebSocketsSansIOProtocol]:
    """The protocol as the HTTP server wants it: something that it calls with its own arguments."""
    made = partial(BoundedSocket, write_buffer_bytes=write_buffer_bytes, fragments_limit=fragments_limit)
    return cast(type[WebSocketsSansIOProtocol], made)
