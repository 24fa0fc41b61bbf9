"""What a driver socket's shell is written on: an accepted WebSocket, over ASGI or in the simulated world."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol, TypeAlias

from starlette.types import Receive, Scope, Send

from domain.errors import Refusal
from domain.protocol import CLOSE_OVERLOADED
from gateway.http.problem import MEDIA_TYPE, content

# Takes a message; returns the seconds after which more may be read.
Take: TypeAlias = Callable[[str | bytes], float]
# The same for so many frames that are no messages.
Spend: TypeAlias = Callable[[float], float]
SLOW_DOWN = "doorstep.slow_down"  # the ASGI extension that has a connection's next request read later
DIRECT = "doorstep.direct"  # the ASGI extension that is `Wire.hand_over`


class Outlet(Protocol):
    """Where frames are put out without waiting."""

    @property
    def is_free(self) -> bool:
        """Whether a frame can be put out now: the socket is open, and not too much waits to be sent."""
        ...

    def put(self, data: bytes) -> None:
        """Put out a text frame."""
        ...


class Wire(Protocol):
    """What an accepted socket is read from and written to. Writing to one that is gone raises `OSError`."""

    def receive(self) -> Awaitable[MutableMapping[str, Any]]:
        """The next ASGI message."""
        ...

    async def send_text(self, data: str) -> None: ...

    async def close(self, code: int = 1000, reason: str | None = None) -> None: ...

    def hand_over(self, take: Take, spend: Spend | None = None) -> Outlet | None:
        """Give messages to `take` as they are read, and return where others are put out at once, if this wire can; else
        None, and messages go on coming by `receive`. `spend` hears of frames that are no messages."""
        ...


class AsgiWire:
    """`Wire` on the server itself: a framework's socket in between would cost as much as the ping that it hands on."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.receive, self._send = receive, send
        self._extensions: Mapping[str, Any] = scope.get("extensions") or {}
        self._direct: Callable[[Take, Spend | None], Outlet] | None = self._extensions.get(DIRECT)

    async def accept(self, subprotocol: str | None) -> None:
        await self.receive()
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def refuse(self, error: Refusal, reason: str) -> None:
        """Answer the handshake with a problem; where the server cannot, close with 1013 and this reason."""
        if "websocket.http.response" not in self._extensions:
            await self.accept(None)
            await self.close(CLOSE_OVERLOADED, reason)
            return
        await self.receive()
        body, headers = content(error, "-")
        said = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        said.append((b"content-type", MEDIA_TYPE.encode()))
        await self._send({"type": "websocket.http.response.start", "status": error.status, "headers": said})
        await self._send({"type": "websocket.http.response.body", "body": body})

    async def send_text(self, data: str) -> None:
        await self._send({"type": "websocket.send", "text": data})

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def hand_over(self, take: Take, spend: Spend | None = None) -> Outlet | None:
        return self._direct(take, spend) if self._direct is not None else None
