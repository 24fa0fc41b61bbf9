"""Committed events onto Redis Streams, one stream for each region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from domain.records import OutboxEvent

STREAM_PREFIX = "doorstep:events:"
STREAM_LENGTH = (
    100_000  # entries kept for each region, approximately: Redis is a window on Postgres, not a store
)


class RedisStreams:
    """`domain.ports.EventBus`. An entry has `event_id`, `topic`, `order_id`, `at_ms` and `payload` (JSON)."""

    def __init__(self, redis_url: str, *, stream_length: int = STREAM_LENGTH) -> None:
        self._redis: Redis = Redis.from_url(redis_url, socket_timeout=5.0, socket_connect_timeout=5.0)
        self._stream_length = stream_length

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        """One pipeline for the batch; raises when any entry is not known to be in its stream."""
        if not events:
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for event in events:
                fields: Any = {
                    "event_id": event.event_id,
                    "topic": event.topic,
                    "order_id": event.order_id,
                    "at_ms": event.at_ms,
                    "payload": msgspec.json.encode(event.payload),
                }
                pipeline.xadd(
                    STREAM_PREFIX + event.region_id, fields, maxlen=self._stream_length, approximate=True
                )
            await pipeline.execute(raise_on_error=True)

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()
