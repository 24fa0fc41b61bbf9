"""The HTTP server's WebSocket protocol with what it leaves open: how much may wait for one socket, and who is dead."""

from __future__ import annotations

import socket
from asyncio.transports import BaseTransport, Transport
from functools import partial
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.streams import StreamReader

from gateway.wire import DIRECT, Outlet, Take

try:
    from websockets.speedups import apply_mask
except ImportError:  # where there is no wheel with the compiled part
    from websockets.utils import apply_mask

# Kernel buffers of one socket, each way. What the kernel would grow them to by itself (megabytes) is what a client that
# floods or does not read could fill; frames of the driver protocol are a few hundred bytes.
KERNEL_BUFFER_BYTES = 65_536
# RFC 6455, section 5.2: the head of a frame that is a whole text message of less than 126 bytes from a client.
FINAL_TEXT, MASKED, LONGER, HEAD_BYTES = 0x81, 0x80, 0x80 | 126, 6


class BoundedSocket(WebSocketsSansIOProtocol):
    """Reading stops while the application has not taken what was read (the base class does that), so that what waits
    for it is at most one read of the event loop; writing waits above `write_buffer_bytes`.

    A peer from whom anything came since the last ping, or whose frames wait to be read, is alive: its pong may stand
    behind them.

    An application that takes frames by `hand_over` gets them as they are read, in the same turn of the event loop. By
    ASGI each would wake a task at the end of all middleware, which costs several times what most frames ask for.
    """

    def __init__(self, *args: Any, write_buffer_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._write_buffer_bytes = write_buffer_bytes
        self._heard = False
        self._take: Take | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        cast(Transport, transport).set_write_buffer_limits(high=self._write_buffer_bytes)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER_BYTES)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][DIRECT] = self.hand_over  # type: ignore[assignment]

    def hand_over(self, take: Take) -> Outlet:
        """Give all further frames to `take`, at first those that wait; it returns the seconds after which more may be
        read. What else there is to tell, the end above all, comes by ASGI as before, and what cannot be put out at
        once goes out by it."""
        waiting = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
        if self.read_paused:
            self._go_on()
        self._take = take
        for message in waiting:
            if message["type"] == "websocket.receive":
                self._give(message.get("text") or message.get("bytes") or b"")
            else:
                self.queue.put_nowait(message)
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

    def send_receive_event_to_app(self) -> None:
        if self._take is None or self.close_sent or len(self.frames) > 1:
            super().send_receive_event_to_app()
            return
        [data] = self.frames
        self.frames = []
        if self.curr_msg_data_type == "bytes":
            self._give(bytes(data))
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.conn.send_close(1007)
            self.handle_parser_exception()
            return
        self._give(text)

    def _give(self, data: str | bytes) -> None:
        assert self._take is not None
        pause_s = self._take(data)
        if pause_s and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
            self.loop.call_later(pause_s, self._go_on)

    def _go_on(self) -> None:
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        taken = self._take_small(data) if self._take is not None else 0
        if taken < len(data):
            super().data_received(data[taken:])

    def _take_small(self, data: bytes) -> int:
        """Give the application the small text messages that what was read begins with; returns their number of bytes.

        A ping is one, and reading them is most of what a gateway does: the library's parser, which gets all else, takes
        several times as long for a frame.
        """
        at = 0
        if self.close_sent or self.conn.current_size is not None or not self._is_between_frames():
            return at
        while len(data) - at >= HEAD_BYTES and data[at] == FINAL_TEXT and MASKED <= data[at + 1] < LONGER:
            start = at + HEAD_BYTES
            end = start + (data[at + 1] & ~MASKED)
            if end > len(data):
                break
            try:
                text = apply_mask(data[start:end], data[start - 4 : start]).decode()
            except UnicodeDecodeError:
                break
            self._give(text)
            at = end
        return at

    def _is_between_frames(self) -> bool:
        """Whether the library's parser waits for the first byte of a frame. It has no public word for that; should it
        do its waiting elsewhere one day, it gets everything."""
        parser: Any = self.conn.parser  # of the handshake, which has gone on to that of frames
        frames = parser.gi_yieldfrom
        waiting = frames.gi_yieldfrom if frames is not None else None
        return waiting is not None and waiting.gi_code is StreamReader.at_eof.__code__

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


def bounded_socket(write_buffer_bytes: int) -> type[WebSocketsSansIOProtocol]:
    """The protocol as the HTTP server wants it: something that it calls with its own arguments."""
    return cast(type[WebSocketsSansIOProtocol], partial(BoundedSocket, write_buffer_bytes=write_buffer_bytes))
