"""Merchants, as applied for and reviewed."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from domain.marketplace.merchants import (
    Apply,
    ChangeMerchant,
    Merchant,
    MerchantStatus,
    MoveMerchant,
    ReviewReason,
    apply,
    change_merchant,
    move_merchant,
)
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of
from persistence.tables.base import Base, Uid, one_of


class MerchantRow(Base):
    """`domain.marketplace.merchants.Merchant`."""

    __tablename__ = "merchants"
    merchant_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    name: Mapped[str]
    legal_name: Mapped[str]
    address: Mapped[str]
    status: Mapped[str]
    reason: Mapped[str | None]
    created_ms: Mapped[int]
    reviewed_ms: Mapped[int | None]
    version: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        one_of("status", MerchantStatus),
        one_of("reason", ReviewReason),
        CheckConstraint(
            "(reason IS NOT NULL) = (status IN ('INCOMPLETE', 'REJECTED', 'SUSPENDED'))", name="reasoned"
        ),
        CheckConstraint("status = 'APPLIED' OR reviewed_ms IS NOT NULL", name="reviewed"),
        CheckConstraint("version > 0", name="version"),
        Index("ix_merchants_created", "created_ms", "merchant_id"),
        Index("ix_merchants_status", "status", "created_ms", "merchant_id"),
    )


MERCHANTS = Kind(
    aggregate="merchant",
    table=table_of(MerchantRow),
    record=Merchant,
    owner="merchant_id",
    changes=("name", "legal_name", "address", "status", "reason", "reviewed_ms"),
    missing="There is no such merchant.",
)
STEPS = {
    Apply: Step(decide=apply, kind=MERCHANTS),  # and its owner
    ChangeMerchant: Step(decide=change_merchant, kind=MERCHANTS, on=MERCHANTS),
    MoveMerchant: Step(decide=move_merchant, kind=MERCHANTS, on=MERCHANTS),
}
