"""The log of what operators did, and the heads of dossiers."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from sqlalchemy import func, literal, select, tuple_

from persistence import tables
from persistence.orders.load import is_id
from persistence.reads.queries import Queries, table_of

AUDIT, EVENTS = table_of(tables.AuditEntry), table_of(tables.DossierEvent)
_PLACE = tuple_(AUDIT.c.at_ms, AUDIT.c.entry_id)


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which entries; None: any. `from_ms` <= at < `before_ms`."""

    actor_id: str | None = None
    action: str | None = None
    aggregate_id: str | None = None
    from_ms: int | None = None
    before_ms: int | None = None


class Entry(Struct, frozen=True, kw_only=True):
    """`persistence.tables.AuditEntry`."""

    entry_id: int
    at_ms: int
    actor_id: str
    actor_role: str
    action: str
    aggregate_id: str
    changes: dict[str, list[Any]]


class Head(Struct, frozen=True):
    """The last event of an order's dossier in some time."""

    order_id: str
    seq: int
    hash: bytes
    at_ms: int


class AuditReads(Queries):
    """See `persistence.reads.reports.Reports`."""

    async def audit(self, wanted: AuditFilter, after: tuple[int, int] | None, limit: int) -> list[Entry]:
        """Entries, newest first, `after` the time and number of the last one before."""
        query = select(AUDIT).order_by(AUDIT.c.at_ms.desc(), AUDIT.c.entry_id.desc()).limit(limit)
        if wanted.actor_id is not None:
            query = query.where(AUDIT.c.actor_id == wanted.actor_id)
        if wanted.action is not None:
            query = query.where(AUDIT.c.action == wanted.action)
        if wanted.aggregate_id is not None:
            if not is_id(wanted.aggregate_id):
                return []
            query = query.where(AUDIT.c.aggregate_id == wanted.aggregate_id)
        if wanted.from_ms is not None:
            query = query.where(AUDIT.c.at_ms >= wanted.from_ms)
        if wanted.before_ms is not None:
            query = query.where(AUDIT.c.at_ms < wanted.before_ms)
        if after is not None:
            query = query.where(tuple_(literal(after[0]), literal(after[1])) > _PLACE)
        return [Entry(**row) for row in await self._all(query)]

    async def audit_since(self, after: tuple[int, int], before_ms: int, limit: int) -> list[Entry]:
        """Entries, oldest first, `after` a time and number."""
        query = (
            select(AUDIT)
            .where(tuple_(literal(after[0]), literal(after[1])) < _PLACE, AUDIT.c.at_ms < before_ms)
            .order_by(AUDIT.c.at_ms, AUDIT.c.entry_id)
            .limit(limit)
        )
        return [Entry(**row) for row in await self._all(query)]

    async def dossier_heads(self, from_ms: int, before_ms: int, after: str, limit: int) -> list[Head]:
        """The heads of the dossiers that grew in the time, by order `after` that one, as they were at its end."""
        grew = EVENTS.c.at_ms.between(from_ms, before_ms - 1)
        query = select(EVENTS.c.order_id, func.max(EVENTS.c.seq).label("seq")).where(grew)
        if after:
            query = query.where(EVENTS.c.order_id > literal(after, tables.Uid))
        last = query.group_by(EVENTS.c.order_id).order_by(EVENTS.c.order_id).limit(limit).subquery()
        heads = (
            select(EVENTS.c.order_id, EVENTS.c.seq, EVENTS.c.hash, EVENTS.c.at_ms)
            .join(last, (last.c.order_id == EVENTS.c.order_id) & (last.c.seq == EVENTS.c.seq))
            .order_by(EVENTS.c.order_id)
        )
        return [Head(**row) for row in await self._all(heads)]
