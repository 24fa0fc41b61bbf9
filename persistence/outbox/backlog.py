"""What waits in the outbox and how large the database is, for the metrics page."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.ports import Channel
from persistence.reads.views import Backlog, Waiting

COUNT_LIMIT = 10_000  # of each channel: a count must stay cheap just when very much waits


async def backlog(engine: AsyncEngine) -> Backlog:
    """Read it. Raises what the driver raises."""
    async with engine.connect() as connection:
        channels: dict[str, Waiting] = {}
        for channel in Channel:
            row = (await connection.execute(_WAITING, {"channel": channel, "limit": COUNT_LIMIT})).one()
            channels[channel] = Waiting(row.rows, row.oldest_ms, row.dead)
        size = (await connection.execute(_SIZE)).scalar_one()
    return Backlog(channels, size)


_WAITING = text("""
WITH RECURSIVE regions AS (
    (SELECT region_id FROM outbox WHERE channel = :channel AND done_at IS NULL ORDER BY region_id LIMIT 1)
    UNION ALL
    SELECT (SELECT o.region_id FROM outbox o
            WHERE o.channel = :channel AND o.done_at IS NULL AND o.region_id > r.region_id ORDER BY o.region_id LIMIT 1)
    FROM regions r WHERE r.region_id IS NOT NULL
), stages AS (
    SELECT region_id, stage FROM regions CROSS JOIN (VALUES ('NEW'), ('AGAIN')) AS s(stage)
)
SELECT (SELECT min(oldest.at_ms) FROM stages s CROSS JOIN LATERAL (
            SELECT at_ms FROM outbox WHERE channel = :channel AND region_id = s.region_id AND stage = s.stage
              AND done_at IS NULL ORDER BY event_id LIMIT 1) AS oldest) AS oldest_ms,
       (SELECT count(*) FROM (SELECT FROM outbox WHERE channel = :channel AND done_at IS NULL AND stage <> 'DEAD'
                              LIMIT :limit) AS waiting) AS rows,
       (SELECT count(*) FROM (SELECT FROM outbox WHERE channel = :channel AND done_at IS NULL AND stage = 'DEAD'
                              LIMIT :limit) AS dead) AS dead
""")
_SIZE = text("SELECT pg_database_size(current_database())")
