"""The HTTP server's protocol with what it leaves open: how long a head and a body may be and take, and who goes when.

What is refused here never was a request: it has no route, takes no place among those under way and is in no limit's
count. Its answer is a problem like any other, and what its sender still sends is read and thrown away for a moment:
closed at once, a sender who is not done would be told of a broken connection instead.
"""

from __future__ import annotations

import asyncio
import http
import random
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from domain.errors import MalformedRequest, Overloaded, Refusal, RequestTimeout
from gateway.http.addresses import customer_of
from gateway.http.browsers import HEADERS
from gateway.http.listener.connection_limits import ConnectionLimits, Phase
from gateway.http.listener.framing import Frames
from gateway.http.problem import MEDIA_TYPE, content
from gateway.sockets.wire import SLOW_DOWN

SLOW_S = 1.0  # until the next request of somebody who has been refused often is read
AHEAD_BYTES = 65_536  # of requests that came before the answer to the one before them
_chance = random.Random()


class BoundedRequests(HttpToolsProtocol):
    """One connection. The base class gets whole requests, the next one when the answer before it was taken."""

    def __init__(self, *args: Any, connections: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.address, self.phase, self.since_s, self.held_bytes = "", Phase.HEAD, 0.0, 0
        self._connections = connections
        self._frames = Frames(connections.bounds)
        self._is_slowed = False

    # -- what comes ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = customer_of(self.client[0] if self.client else "unknown")
        if not self._connections.enter(self):
            self._say(Overloaded("There are too many connections.", retry_after_s=1))
            self.transport.close()
            self.phase = Phase.CLOSING

    def data_received(self, data: bytes) -> None:
        if self.phase in (Phase.LINGER, Phase.CLOSING):
            return
        self._frames.feed(data)
        if self.phase in (Phase.WORKING, Phase.STALLED):
            self._not_too_far_ahead()
        else:
            self._advance()

    def _not_too_far_ahead(self) -> None:
        held = self._frames.held
        self._connections.holds(self, held)
        if held > AHEAD_BYTES + self._connections.bounds.body_bytes:
            self._connections.cut["ahead"] += 1
            self.transport.abort()
        elif held > AHEAD_BYTES:
            self.flow.pause_reading()

    def _advance(self) -> None:
        try:
            whole = self._frames.next()
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if whole is None:
            if self._frames.asks_to_go_on():
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if held := self._frames.held:
                self._connections.move(self, Phase.BODY if self._frames.in_body else Phase.HEAD)
            self._connections.holds(self, held)
            return
        self._connections.move(self, Phase.WORKING)
        self._connections.holds(self, self._frames.held)
        super().data_received(whole.data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {SLOW_DOWN: self._slow_down}  # type: ignore[dict-item]

    def _slow_down(self) -> None:
        self._is_slowed = True

    def handle_websocket_upgrade(self) -> None:
        self._connections.leave(self)
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.leave(self)
        self._frames.clear()
        super().connection_lost(exc)

    # -- what goes ----------------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._connections.move(self, Phase.CLOSING)
        elif not self.flow.write_paused:
            self._go_on()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connections.move(self, Phase.STALLED)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.phase is Phase.STALLED:
            if self.cycle is None or self.cycle.response_complete:
                self._go_on()
            else:
                self._connections.move(self, Phase.WORKING)

    def _go_on(self) -> None:
        """With the next request, of which something may be here."""
        if self._is_slowed:
            self._is_slowed = False
            self.loop.call_later(SLOW_S, self._go_on)
            return
        if self.transport.is_closing():
            return
        self._connections.move(self, Phase.IDLE)
        if self._frames.held:
            self._advance()

    def send_400_response(self, msg: str) -> None:
        self._refuse(MalformedRequest())

    def time_is_up(self, why: str) -> None:
        if why == "crowded":
            if self._frames.held:
                self._say(Overloaded("There are too many connections.", retry_after_s=1))
            self.transport.close()
        elif self.phase in (Phase.HEAD, Phase.BODY) and self._frames.held:
            self._refuse(RequestTimeout())
        elif self.phase in (Phase.STALLED, Phase.CLOSING):
            self.transport.abort()
        else:
            self._connections.move(self, Phase.CLOSING)
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        self._connections.cut[refusal.code.lower()] += 1
        self._frames.clear()
        self._connections.holds(self, 0)
        self._say(refusal)
        self._connections.move(self, Phase.LINGER)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _say(self, refusal: Refusal) -> None:
        """Write the problem as the last thing on this connection."""
        request_id = f"{_chance.getrandbits(128):032x}"
        body, headers = content(refusal, request_id)
        headers |= {
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
            "X-Request-Id": request_id,
        }
        lines = [f"HTTP/1.1 {refusal.status} {http.HTTPStatus(refusal.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"{name.decode()}: {value.decode()}" for name, value in HEADERS]
        self.transport.write("\r\n".join((*lines, "", "")).encode("latin-1") + body)


def bounded_requests(connections: ConnectionLimits) -> type[asyncio.Protocol]:
    """The protocol as the HTTP server wants it: something that it calls with its own arguments."""
    return cast(type[asyncio.Protocol], partial(BoundedRequests, connections=connections))
