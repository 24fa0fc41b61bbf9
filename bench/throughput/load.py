"""Floods sockets with location pings as fast as they take them; run in a process of its own.

    python -m bench.throughput.load < job.json

The job (`LoadJob`) comes on standard input. Lines go out on standard output: `open N` as sockets open, `ready` when all
are, then `sent N` at the end. The process ends after `seconds`, or at once when its standard input is closed after
`ready`. Frames are built by hand with a zero mask, because a client library would be measured otherwise.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect

from domain import protocol as wire

BATCH = 16  # pings written to a socket at a time
BUFFER_LIMIT = 32_768  # bytes waiting in a socket's write buffer, above which it is passed over
OPEN_AT_ONCE = 50


class LoadJob(Struct, frozen=True, kw_only=True):
    """`tokens`: one for each socket. Without `hello` nothing but pings is sent. `seconds` is wall time."""

    url: str
    tokens: list[str]
    seconds: float
    hello: bool
    lat: float = 32.7767
    lng: float = -96.7970


def text_frame(payload: bytes) -> bytes:
    """A masked WebSocket text frame of at most 65,535 bytes; the mask is zero, so the payload stands as it is."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE, size >> 8, size & 0xFF))
    return head + b"\0\0\0\0" + payload


class Flood:
    """One socket. The frames of a batch differ in nothing but `seq`, which rises."""

    def __init__(self, ws: ClientConnection, job: LoadJob) -> None:
        rng = random.Random()
        at = datetime.now(UTC).isoformat()
        lat, lng = job.lat + rng.uniform(-0.2, 0.2), job.lng + rng.uniform(-0.2, 0.2)
        self._head = f'{{"type":"location","lat":{lat:.6f},"lng":{lng:.6f},"at":"{at}","seq":'.encode()
        self.transport = ws.transport
        self.sent = 0

    def write(self) -> bool:
        """Put a batch into the socket's buffer; False when that is full or the socket gone."""
        transport = self.transport
        if transport.is_closing() or transport.get_write_buffer_size() > BUFFER_LIMIT:
            return False
        head, first = self._head, self.sent + 1
        transport.write(b"".join([text_frame(b"%s%d}" % (head, seq)) for seq in range(first, first + BATCH)]))
        self.sent += BATCH
        return True


async def main(job: LoadJob) -> None:
    """Open, flood, report."""
    slots = asyncio.Semaphore(OPEN_AT_ONCE)
    opened: list[ClientConnection] = []

    async def one(token: str) -> None:
        async with slots:
            ws = await connect(
                job.url,
                subprotocols=[wire.SUBPROTOCOL],  # type: ignore[list-item]
                compression=None,
                ping_interval=None,
                open_timeout=60,
                proxy=None,
            )
            if job.hello:
                await ws.send(wire.encode(wire.Hello(token)), text=True)
                frame = wire.decode_server(await ws.recv())
                if not isinstance(frame, wire.Welcome):
                    raise SystemExit(f"no welcome: {frame}")
                await ws.send(wire.encode(wire.Duty(on=True, lat=job.lat, lng=job.lng)), text=True)
        opened.append(ws)
        if len(opened) % 500 == 0:
            print(f"open {len(opened)}", flush=True)

    await asyncio.gather(*(one(token) for token in job.tokens))
    print("ready", flush=True)
    floods = [Flood(ws, job) for ws in opened]
    until_s = time.monotonic() + job.seconds
    while time.monotonic() < until_s:
        busy = 0
        for flood in floods:
            busy += flood.write()
        # With every buffer full the server is the slower one: leave it the processor.
        await asyncio.sleep(0 if busy else 0.002)
    print(f"sent {sum(flood.sent for flood in floods)}", flush=True)
    for ws in opened:
        ws.transport.abort()


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=LoadJob)))
    except ImportError:
        asyncio.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=LoadJob)))
