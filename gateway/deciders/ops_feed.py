"""Mission control's stream: one poll of a region for all its viewers, and only while there are some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import structlog

from domain.errors import Overloaded, Refusal
from domain.region.ops.frames import OpsFrame

_log = structlog.stdlib.get_logger(__name__)

VIEWERS_LIMIT = 100  # streams of one gateway
KEEP_ALIVE_S = 5.0  # a comment at least this often; viewers give up after 20 s of silence
DOWN_PAUSE_S = 1.0  # between polls of a region that is not serving


def event(name: str, data: bytes) -> bytes:
    """One server-sent event. JSON has no raw line breaks, so one data line is enough."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


class Feed:
    """One region's frames. A viewer who is slow sees the newest and skips the rest."""

    def __init__(self, region_id: str, poll: Callable[[str], Awaitable[OpsFrame]], frame_s: float) -> None:
        self._region_id = region_id
        self._poll = poll
        self._frame_s = frame_s
        self._viewers = 0
        self._newest = b""
        self._number = 0
        self._changed = asyncio.Condition()
        self._polling: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def viewers(self) -> int:
        return self._viewers

    async def watch(self) -> AsyncIterator[bytes]:
        """Events until the viewer leaves or the feed closes."""
        self._viewers += 1
        if self._polling is None:
            self._newest = b""
            self._polling = asyncio.create_task(self._run())
        try:
            seen = self._number - 1 if self._newest else self._number
            while not self._closed:
                async with self._changed:
                    try:
                        async with asyncio.timeout(KEEP_ALIVE_S):
                            while self._number == seen and not self._closed:
                                await self._changed.wait()
                    except TimeoutError:
                        chunk = b": still here\n\n"
                    else:
                        seen, chunk = self._number, self._newest
                if not self._closed:
                    yield chunk
        finally:
            self._viewers -= 1
            if self._viewers == 0 and self._polling is not None:
                self._polling.cancel()
                self._polling = None

    async def _run(self) -> None:
        while True:
            pause_s = self._frame_s
            try:
                frame = await self._poll(self._region_id)
                await self._publish(event("frame", msgspec.json.encode(frame)))
            except Refusal as error:
                await self._publish(event("down", msgspec.json.encode({"detail": error.detail})))
                pause_s = DOWN_PAUSE_S
            except Exception:
                _log.exception("frame lost", region_id=self._region_id)
                await self._publish(event("down", b'{"detail":"The region could not be shown."}'))
                pause_s = DOWN_PAUSE_S
            await asyncio.sleep(pause_s)

    async def _publish(self, chunk: bytes) -> None:
        async with self._changed:
            self._newest = chunk
            self._number += 1
            self._changed.notify_all()

    async def close(self) -> None:
        """End every viewer's stream."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._polling is not None:
            self._polling.cancel()
            self._polling = None


class Feeds:
    """The feeds of all regions, with a limit on viewers."""

    def __init__(self, poll: Callable[[str], Awaitable[OpsFrame]], *, frame_s: float) -> None:
        self._poll = poll
        self._frame_s = frame_s
        self._feeds: dict[str, Feed] = {}
        self._closed = False

    @property
    def viewers(self) -> int:
        return sum(feed.viewers for feed in self._feeds.values())

    def watch(self, region_id: str) -> AsyncIterator[bytes]:
        """A viewer's events; `Overloaded` when there are too many viewers."""
        if self._closed or self.viewers >= VIEWERS_LIMIT:
            raise Overloaded(f"At most {VIEWERS_LIMIT} viewers at a time.", retry_after_s=10)
        feed = self._feeds.get(region_id)
        if feed is None:
            feed = self._feeds[region_id] = Feed(region_id, self._poll, self._frame_s)
        return feed.watch()

    async def close(self) -> None:
        """End every stream; later ones are refused."""
        self._closed = True
        for feed in self._feeds.values():
            await feed.close()
