"""What waits in the outbox and how large the database is, for the metrics page."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.ports import Channel
from persistence.views import Backlog, Waiting

COUNT_LIMIT = 10_000  # of each channel: a count must stay cheap just when very much waits


async def backlog(engine: AsyncEngine) -> Backlog:
    """Read it. Raises what the driver raises."""
    async with engine.connect() as connection:
        channels: dict[str, Waiting] = {}
        for channel in Channel:
            row = (await connection.execute(_WAITING, {"channel": channel, "limit": COUNT_LIMIT})).one()
            channels[channel] = Waiting(row.rows, row.oldest_ms)
        size = (await connection.execute(_SIZE)).scalar_one()
    return Backlog(channels, size)


_WAITING = text("""
SELECT count(*) AS rows, min(at_ms) AS oldest_ms FROM (
    SELECT at_ms FROM outbox WHERE channel = :channel AND done_at IS NULL ORDER BY event_id LIMIT :limit) AS waiting
""")
_SIZE = text("SELECT pg_database_size(current_database())")
