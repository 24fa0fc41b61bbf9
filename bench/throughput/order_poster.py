"""Posts orders as fast as they are answered, over keep-alive connections; run in a process of its own.

    python -m bench.throughput.order_poster < job.json > result.json

Requests are written by hand and answers read only as far as needed, because a client library would be measured
otherwise. Each request has an `Idempotency-Key` of its own. Any answer but 201 ends the process with status 1.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from functools import partial
from typing import cast

import msgspec
from msgspec import Struct

_DONE = b"HTTP/1.1 201"
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class PostJob(Struct, frozen=True, kw_only=True):
    """`tokens` are dealt to the connections in turn. Counted is what is answered in `seconds` after `warm_s`."""

    host: str
    port: int
    path: str
    tokens: list[str]
    body: str
    connections: int
    warm_s: float
    seconds: float


class PostResult(Struct, frozen=True, kw_only=True):
    """Answers a second, the time from a request to its answer, and how many were answered, the warm-up's included."""

    per_s: float
    p50_ms: float
    p99_ms: float
    answered_count: int


class Poster(asyncio.Protocol):
    """One connection: the next request goes out when the last one was answered."""

    def __init__(self, job: PostJob, token: str, took_s: list[float], failed: asyncio.Future[None]) -> None:
        head = (
            f"POST {job.path} HTTP/1.1\r\nHost: {job.host}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(job.body.encode())}\r\nIdempotency-Key: "
        )
        self._head, self._tail = head.encode(), f"\r\n\r\n{job.body}".encode()
        self._took_s, self._failed = took_s, failed
        self._key, self._count, self._sent_s = uuid.uuid4().hex, 0, 0.0
        self._read = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's does not say so itself
        self._next()

    def data_received(self, data: bytes) -> None:
        self._read += data
        end = self._read.find(_END)
        if end < 0:
            return
        head = self._read[:end].lower()
        at = head.find(_LENGTH) + len(_LENGTH)
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(self._read) < end + len(_END) + length:
            return
        if not self._read.startswith(_DONE):
            self._fail(self._read.decode(errors="replace"))
            return
        self._read = b""
        self._took_s.append(time.perf_counter() - self._sent_s)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was lost: {exc}")

    def _next(self) -> None:
        assert self._transport is not None
        self._count += 1
        self._sent_s = time.perf_counter()
        self._transport.write(self._head + f"{self._key}{self._count}".encode() + self._tail)

    def _fail(self, why: str) -> None:
        if not self._failed.done():
            self._failed.set_exception(RuntimeError(why))


async def main(job: PostJob) -> PostResult:
    """Open, post, count."""
    loop = asyncio.get_running_loop()
    took_s: list[float] = []
    failed: asyncio.Future[None] = loop.create_future()
    for n in range(job.connections):
        token = job.tokens[n % len(job.tokens)]
        await loop.create_connection(partial(Poster, job, token, took_s, failed), job.host, job.port)
    await asyncio.wait([failed], timeout=job.warm_s)
    warmed_up = len(took_s)
    took_s.clear()
    started_s = time.perf_counter()
    await asyncio.wait([failed], timeout=job.seconds)
    spent_s = time.perf_counter() - started_s
    if failed.done():
        failed.result()
    took_s.sort()
    if not took_s:
        raise RuntimeError("nothing was answered")
    return PostResult(
        per_s=len(took_s) / spent_s,
        p50_ms=1000 * took_s[len(took_s) // 2],
        p99_ms=1000 * took_s[len(took_s) * 99 // 100],
        answered_count=warmed_up + len(took_s),
    )


if __name__ == "__main__":
    import uvloop

    try:
        result = uvloop.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=PostJob)))
    except RuntimeError as error:
        print(error)
        raise SystemExit(1) from None
    sys.stdout.buffer.write(msgspec.json.encode(result))
