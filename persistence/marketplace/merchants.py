"""Merchants, as applied for and reviewed."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Executable, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.marketplace.change import Command, Decision
from domain.marketplace.merchants import (
    Apply,
    ChangeMerchant,
    Merchant,
    MoveMerchant,
    ReviewReason,
    apply,
    change_merchant,
    move_merchant,
)
from domain.marketplace.review import ReviewEvent, ReviewStatus
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
        one_of("status", ReviewStatus),
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
# Of each order of theirs whose goods are still in the store; the region that decides on it is told as of a new task.
_CALL_OFF = text("""
INSERT INTO outbox (channel, topic, aggregate, aggregate_id, region_id, at_ms, payload)
SELECT 'tasks', 'order.call_off', 'order', t.order_id, t.region_id, :at_ms,
       json_build_object('order_id', t.order_id, 'by', CAST(:actor_id AS text), 'role', CAST(:role AS text))
FROM tasks t JOIN orders o USING (order_id)
WHERE o.merchant_id = CAST(:merchant_id AS uuid) AND t.live AND t.kind = 'DELIVERY'
  AND t.status IN ('OPEN', 'OFFERED', 'ASSIGNED', 'AT_PICKUP')
""")


def _call_off(decision: Decision, command: Command) -> Executable | None:
    """With a suspension: what nobody has fetched yet is called off, and its offers are withdrawn. Whoever took an order
    on before holds the merchant's row until that is committed, so none is missed."""
    if decision.event != ReviewEvent.SUSPENDED.lower():
        return None
    assert isinstance(decision.changed, Merchant)
    return _CALL_OFF.bindparams(
        at_ms=command.at_ms,
        actor_id=command.actor_id,
        role=str(command.role),
        merchant_id=decision.changed.merchant_id,
    )


STEPS = {
    Apply: Step(decide=apply, kind=MERCHANTS),  # and its owner
    ChangeMerchant: Step(decide=change_merchant, kind=MERCHANTS, on=MERCHANTS),
    MoveMerchant: Step(decide=move_merchant, kind=MERCHANTS, on=MERCHANTS, with_it=_call_off),
}
