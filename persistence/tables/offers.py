"""The offer log."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from domain.orders.lifecycle import OfferStatus
from persistence.tables.base import Base, Uid, one_of


class Offer(Base):
    """`domain.orders.records.OfferRow`: the offer log, one row per offer with its features and its outcome."""

    __tablename__ = "offers"
    offer_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    region_id: Mapped[str]
    driver_id: Mapped[str] = mapped_column(Uid)
    task_ids: Mapped[list[str]] = mapped_column(ARRAY(Uid))
    status: Mapped[str]
    made_ms: Mapped[int]
    expires_ms: Mapped[int]
    features: Mapped[dict[str, Any]] = mapped_column(JSONB)
    seen_ms: Mapped[int | None]
    closed_ms: Mapped[int | None]
    reason: Mapped[str | None]
    __table_args__ = (
        one_of("status", OfferStatus),
        CheckConstraint("cardinality(task_ids) > 0", name="task_ids"),
        CheckConstraint("(status = 'OFFERED') = (closed_ms IS NULL)", name="closed"),
        Index("ix_offers_driver_live", "driver_id", postgresql_where=text("closed_ms IS NULL")),
        Index("ix_offers_region", "region_id", "closed_ms"),
        Index(
            "ix_offers_taken",
            "driver_id",
            "made_ms",
            "offer_id",
            postgresql_where=text("status = 'ACCEPTED'"),
        ),
        Index("ix_offers_made", "made_ms", "offer_id"),
    )


class OfferExplanation(Base):
    """`domain.solve.Explanation` of an offer, as it was when the offer was made. Swept after a while."""

    __tablename__ = "offer_explanations"
    offer_id: Mapped[str] = mapped_column(Uid, ForeignKey("offers.offer_id"), primary_key=True)
    region_id: Mapped[str]
    made_ms: Mapped[int]
    explanation: Mapped[dict[str, Any]] = mapped_column(JSONB)
    __table_args__ = (Index("ix_offer_explanations_made", "made_ms"),)
