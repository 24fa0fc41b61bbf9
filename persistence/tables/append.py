"""What an append writes or reads beside the rows of orders: first answers, the outbox, the fence, leases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, DateTime, Identity, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from domain.ports import Channel
from persistence.tables.base import Base, Uid, one_of


class Idempotency(Base):
    """`domain.orders.records.StoredAnswer`. `region_id` is set on the answers that a region gave."""

    __tablename__ = "idempotency"
    scope: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    code: Mapped[str | None]
    detail: Mapped[str]
    body: Mapped[dict[str, Any]] = mapped_column(
        JSON
    )  # not JSONB: a repeat gets the fields in the same order
    region_id: Mapped[str | None]
    at_ms: Mapped[int]
    __table_args__ = (
        Index("ix_idempotency_at", "at_ms"),
        Index("ix_idempotency_region", "region_id", "at_ms", postgresql_where=text("region_id IS NOT NULL")),
    )


class Outbox(Base):
    """`domain.orders.records.OutboxEvent`. `done_at` and `next_try_at` are wall time. `stage`: NEW, AGAIN (was not
    taken, and is tried again) or DEAD (a dead letter: tried no more until a person says so); `reason`: why."""

    __tablename__ = "outbox"
    event_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    channel: Mapped[str]
    topic: Mapped[str]
    aggregate: Mapped[str]
    aggregate_id: Mapped[str] = mapped_column(Uid)
    region_id: Mapped[str]
    at_ms: Mapped[int]
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    done_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    stage: Mapped[str] = mapped_column(server_default="NEW")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    next_try_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reason: Mapped[str | None]
    __table_args__ = (
        one_of("channel", Channel),
        one_of("stage", ("NEW", "AGAIN", "DEAD")),
        CheckConstraint("length(aggregate) BETWEEN 1 AND 32", name="aggregate"),
        CheckConstraint("channel <> 'bus' OR starts_with(topic, aggregate || '.')", name="topic"),
        CheckConstraint("channel = 'bus' OR aggregate = 'order'", name="of_orders"),
        CheckConstraint("aggregate <> 'order' OR region_id <> ''", name="region"),
        Index(
            "ix_outbox_waiting",
            "channel",
            "region_id",
            "stage",
            "event_id",
            postgresql_where=text("done_at IS NULL"),
        ),
        Index("ix_outbox_done", "done_at", postgresql_where=text("done_at IS NOT NULL")),
        Index(
            "ix_outbox_held",
            "aggregate_id",
            "event_id",
            postgresql_where=text("done_at IS NULL AND stage <> 'NEW'"),
        ),
    )


class Region(Base):
    """The fence: an append of another epoch than this one is refused."""

    __tablename__ = "regions"
    region_id: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    __table_args__ = (CheckConstraint("epoch > 0", name="epoch"),)


class RegionTotals(Base):
    """How many tasks ("KIND STATUS") and offers (status) of a region were over before a time. Counted ahead, because
    a region that starts wants the numbers at once, and because the offer log does not keep for ever."""

    __tablename__ = "region_totals"
    region_id: Mapped[str] = mapped_column(primary_key=True)
    before_ms: Mapped[int]
    tasks: Mapped[dict[str, int]] = mapped_column(JSONB)
    offers: Mapped[dict[str, int]] = mapped_column(JSONB)


class Lease(Base):
    """Which persistence actor does a work that only one should do; `until` is wall time."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
