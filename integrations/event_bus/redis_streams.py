"""Committed events onto Redis Streams, one stream for each region and one for what concerns none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from domain.orders.records import OutboxEvent
from domain.ports import EventsRefused

STREAM_PREFIX = "doorstep:events:"
GLOBAL = "global"  # the stream of what no market is concerned with; a market's id has a hyphen


class RedisStreamsOptions(Struct, frozen=True, kw_only=True):
    """Redis is a window on Postgres, not a store."""

    redis_url: Annotated[str, Meta(description="Redis; empty is the server's own")] = ""
    stream_length: Annotated[
        int, Meta(ge=1, le=10**9, description="entries kept of each market, approximately; 1 to 10^9")
    ] = 100_000


class RedisStreams:
    """`domain.ports.EventBus`. An entry has `event_id`, `topic`, `aggregate`, `aggregate_id`, `region_id` (it may
    be empty), `at_ms` and `payload` (JSON)."""

    def __init__(self, options: RedisStreamsOptions) -> None:
        from redis.asyncio import Redis  # takes long to load, and settings want the options alone

        self._redis: Redis = Redis.from_url(options.redis_url, socket_timeout=5.0, socket_connect_timeout=5.0)
        self._stream_length = options.stream_length

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        """See `domain.ports.EventBus`. One transaction for each stream, all or nothing: were an entry left out because
        the memory was just full, a later one of its aggregate would overtake it."""
        refused: dict[int, str] = {}
        streams: dict[str, list[Any]] = {}
        held = set[tuple[str, str]]()  # aggregates of which an event was refused
        for event in events:
            if event.about in held:
                continue
            try:
                payload = msgspec.json.encode(event.payload)
            except Exception as error:  # whatever an encoder may find
                refused[event.event_id] = f"not serialisable: {type(error).__name__}"
                held.add(event.about)
                continue
            entry = {
                "event_id": event.event_id,
                "topic": event.topic,
                "aggregate": event.aggregate,
                "aggregate_id": event.aggregate_id,
                "region_id": event.region_id,
                "at_ms": event.at_ms,
                "payload": payload,
            }
            streams.setdefault(STREAM_PREFIX + (event.region_id or GLOBAL), []).append(entry)
        for stream, entries in streams.items():
            async with self._redis.pipeline(transaction=True) as pipeline:
                for entry in entries:
                    pipeline.xadd(stream, entry, maxlen=self._stream_length, approximate=True)
                await pipeline.execute(raise_on_error=True)
        if refused:
            raise EventsRefused(refused)

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()
