"""The HTTP server's WebSocket protocol with what it leaves open: how much may wait for one socket, and who is dead."""

from __future__ import annotations

import socket
from asyncio.transports import BaseTransport, Transport
from functools import partial
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# Kernel buffers of one socket, each way. What the kernel would grow them to by itself (megabytes) is what a client that
# floods or does not read could fill; frames of the driver protocol are a few hundred bytes.
KERNEL_BUFFER_BYTES = 65_536


class BoundedSocket(WebSocketsSansIOProtocol):
    """Reading stops while the application has not taken what was read (the base class does that), so that what waits
    for it is at most one read of the event loop; writing waits above `write_buffer_bytes`.

    A peer from whom anything came since the last ping, or whose frames wait to be read, is alive: its pong may stand
    behind them.
    """

    def __init__(self, *args: Any, write_buffer_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._write_buffer_bytes = write_buffer_bytes
        self._heard = False

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        cast(Transport, transport).set_write_buffer_limits(high=self._write_buffer_bytes)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        super().data_received(data)

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
