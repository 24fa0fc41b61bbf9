"""REST for a load generator: keep-alive connections, one request at a time on each, parsed by httptools.

A general client takes a millisecond of processor time for a request, which is more than the server it would measure.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Any, cast

import httptools
import msgspec

from sim.demo.api import RETRY_AFTER_LIMIT_S, RETRY_STATUS, Reply

CONNECTIONS = 256
ANSWER_TIMEOUT_S = 20.0
PATIENCE_S = 60.0  # for a request with its repeats
_encode = msgspec.json.Encoder().encode


class _Connection(asyncio.Protocol):
    """One connection. `answer` is resolved with status, `Retry-After` and body, or fails with `ConnectionError`."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[tuple[int, float, bytes]] | None = None
        self.used = 0
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._retry_after_s = 0.0

    @property
    def open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own are no subclasses of it

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self.answer is not None and not self.answer.done():
                self.answer.set_exception(ConnectionError(str(error)))
            if self.transport is not None:
                self.transport.abort()

    # -- called by the parser -----------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after" and value.isdigit():
            self._retry_after_s = float(value)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status, body = self._parser.get_status_code(), b"".join(self._body)
        keep, after_s = self._parser.should_keep_alive(), self._retry_after_s
        self._begin()
        if not keep and self.transport is not None:
            self.transport.close()
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((status, after_s, body))

    async def ask(self, data: bytes) -> tuple[int, float, bytes]:
        """`ConnectionError` when no answer comes."""
        if self.transport is None:
            raise ConnectionError("closed")
        self.answer = asyncio.get_running_loop().create_future()
        self.used += 1
        self.transport.write(data)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self.answer
        except (TimeoutError, asyncio.CancelledError) as error:
            if self.transport is not None:
                self.transport.abort()  # a late answer must not be taken for that of the next request
            if isinstance(error, TimeoutError):
                raise ConnectionError("no answer in time") from None
            raise


class Rest:
    """Requests to one server. `counts`: what was refused or lost on the way, by kind."""

    def __init__(self, host: str, port: int) -> None:
        self.counts: Counter[str] = Counter()
        self._host, self._port = host, port
        self._idle: list[_Connection] = []
        self._slots = asyncio.Semaphore(CONNECTIONS)

    async def post(self, path: str, token: str, body: Any, key: str) -> Reply:
        """Ask until there is an answer that is not to be repeated, or patience ends: then the last one, or status 0."""
        content = _encode(body)
        data = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {token}\r\n"
            f"Idempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        ).encode() + content
        return await self._until_answered(data)

    async def get(self, path: str, token: str = "") -> Reply:
        """As `post`."""
        auth = f"Authorization: Bearer {token}\r\n" if token else ""
        return await self._until_answered(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{auth}\r\n".encode())

    async def _until_answered(self, data: bytes) -> Reply:
        until_s, wait_s = time.monotonic() + PATIENCE_S, 0.2
        while True:
            async with self._slots:
                status, after_s, content = await self._once(data)
            if status != 0 and status < 500 and status not in RETRY_STATUS:
                return Reply(status, _content(content))
            self.counts[f"answer {status}" if status else "no answer"] += 1
            wait_s = min(RETRY_AFTER_LIMIT_S, max(after_s, wait_s))
            if time.monotonic() + wait_s > until_s:
                return Reply(status, _content(content))
            await asyncio.sleep(wait_s * random.uniform(0.7, 1.3))
            wait_s *= 2

    async def _once(self, data: bytes) -> tuple[int, float, bytes]:
        """Status 0: none came."""
        while True:
            connection = None
            while self._idle and connection is None:
                connection = self._idle.pop()
                connection = connection if connection.open else None
            try:
                if connection is None:
                    async with asyncio.timeout(ANSWER_TIMEOUT_S):
                        _, connection = await asyncio.get_running_loop().create_connection(
                            _Connection, self._host, self._port
                        )
                answer = await connection.ask(data)
            except (OSError, TimeoutError):
                # An idle connection may be closed just as it is used again: nobody's fault, and requests carry keys.
                if connection is not None and connection.used > 1:
                    continue
                return 0, 0.0, b""
            if connection.open:
                self._idle.append(connection)
            return answer

    def close(self) -> None:
        """Close all connections."""
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.abort()


def _content(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else {}
    except msgspec.DecodeError:
        return {}
