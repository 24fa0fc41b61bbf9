"""Outbox events that are tried no more: what a person sees of them, and does about them."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from persistence.engine import create_engine


class DeadLetter(Struct, frozen=True, kw_only=True):
    """One of them. Ids and a reason in few words; the payload stays in the database."""

    event_id: int
    channel: str
    topic: str
    aggregate: str
    aggregate_id: str
    region_id: str
    at_ms: int
    attempts: int
    reason: str | None


class DeadLetters:
    """The dead letters of one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    def connect(
        cls, database_url: str, *, statement_timeout_s: float, connect_timeout_s: float
    ) -> DeadLetters:
        """On a connection of its own, made when first needed."""
        return cls(
            create_engine(
                database_url,
                pool_size=1,
                statement_timeout_s=statement_timeout_s,
                connect_timeout_s=connect_timeout_s,
            )
        )

    async def close(self) -> None:
        """Give the connection back."""
        await self._engine.dispose()

    async def oldest(self, channel: str | None, limit: int) -> list[DeadLetter]:
        """Of a channel, or of all."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(_LIST, {"channel": channel, "limit": limit})
            return [DeadLetter(**row) for row in rows.mappings()]

    async def retry(self, event_ids: Collection[int] | None, channel: str | None) -> int:
        """Have these tried again from the start (None: all), or those of a channel among them; returns how many."""
        ids = None if event_ids is None else list(event_ids)
        async with self._engine.begin() as connection:
            return (await connection.execute(_RETRY, {"ids": ids, "channel": channel})).rowcount

    async def give_up(self, event_ids: Collection[int]) -> int:
        """Let these be: they are never handed on, and what they held back goes on. The rows stay. Returns how many."""
        async with self._engine.begin() as connection:
            return (await connection.execute(_GIVE_UP, {"ids": list(event_ids)})).rowcount


_LIST = text("""
SELECT event_id, channel, topic, aggregate, aggregate_id::text AS aggregate_id, region_id, at_ms, attempts, reason
FROM outbox
WHERE stage = 'DEAD' AND done_at IS NULL AND (CAST(:channel AS text) IS NULL OR channel = :channel)
ORDER BY event_id LIMIT :limit
""")
_RETRY = text("""
UPDATE outbox SET stage = 'AGAIN', attempts = 0, next_try_at = now()
WHERE stage = 'DEAD' AND done_at IS NULL AND (CAST(:channel AS text) IS NULL OR channel = :channel)
  AND (CAST(:ids AS bigint[]) IS NULL OR event_id = ANY(CAST(:ids AS bigint[])))
""")
_GIVE_UP = text("""
UPDATE outbox SET done_at = now()
WHERE stage = 'DEAD' AND done_at IS NULL AND event_id = ANY(CAST(:ids AS bigint[]))
""")
