"""A socket of a simulated world: frames in order both ways, until it breaks with what is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any

from gateway.sockets.wire import Spend, Take
from sim.world.net import Net
from sim.world.virtual import VirtualLoop

GONE = 1006  # the close code of a connection that ended without one
_DISCONNECT = {"type": "websocket.disconnect", "code": GONE}


class SocketDouble:
    """Both ends of one connection. The server's end is a `Wire` of `gateway`; the client's are two callbacks."""

    def __init__(
        self,
        loop: VirtualLoop,
        net: Net,
        on_frame: Callable[[SocketDouble, str], None],
        on_close: Callable[[SocketDouble, int], None],
    ) -> None:
        self._loop, self._net, self._on_frame, self._on_close = loop, net, on_frame, on_close
        self._inbox: deque[MutableMapping[str, Any]] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._due_s = [0.0, 0.0]  # of the last frame to the server, to the client: frames do not overtake
        self.broken = False  # nothing arrives any more, at either end
        self._closed = False  # the client knows

    # -- the server's end ---------------------------------------------------------------------------------------------

    async def receive(self) -> MutableMapping[str, Any]:
        """See `gateway.sockets.wire.Wire`."""
        while not self._inbox:
            self._reader = self._loop.create_future()
            await self._reader
        return self._inbox.popleft()

    async def send_text(self, data: str) -> None:
        """See `gateway.sockets.wire.Wire`."""
        self._send(1, self._to_client, data)

    def hand_over(self, take: Take, spend: Spend | None = None) -> None:
        """See `gateway.sockets.wire.Wire`: messages go on coming by `receive`."""

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """See `gateway.sockets.wire.Wire`."""
        self._send(1, self._close_client, code)

    # -- the client's end ---------------------------------------------------------------------------------------------

    def send(self, data: str) -> None:
        """A frame to the server."""
        self._send(0, self._put, {"type": "websocket.receive", "text": data})

    def hang_up(self) -> None:
        """The client closes the connection and hears nothing more."""
        self._closed = True
        self._send(0, self._put, _DISCONNECT)

    def snap(self, server_notices_s: float, client_notices_s: float) -> None:
        """The connection is gone; each end finds out after so many seconds."""
        self.broken = True
        self._loop.outside_later(server_notices_s, self._put, _DISCONNECT)
        self._loop.outside_later(client_notices_s, self._close_client, GONE)

    # -- on the way ---------------------------------------------------------------------------------------------------

    def _send(self, way: int, arrive: Callable[[Any], None], what: Any) -> None:
        self._due_s[way] = max(self._due_s[way], self._loop.time() + self._net.latency_s())
        self._loop.call_at(self._due_s[way], self._carry, arrive, what, context=self._loop.outside)

    def _carry(self, arrive: Callable[[Any], None], what: Any) -> None:
        if not self.broken:
            self._net.step()
            arrive(what)

    def _put(self, message: MutableMapping[str, Any]) -> None:
        self._inbox.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _to_client(self, data: str) -> None:
        if not self._closed:
            self._on_frame(self, data)

    def _close_client(self, code: int) -> None:
        if not self._closed:
            self._closed, self.broken = True, True
            self._on_close(self, code)
