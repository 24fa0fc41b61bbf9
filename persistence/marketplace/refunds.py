"""Payments that were taken, and what is given back of them.

What is promised back is added to the payment's row by a trigger, and its checks bound it: refunds side by side can
never come to more than was taken, whatever the code says. One that failed is taken off again.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from domain.errors import RefundTooMuch
from domain.marketplace.payments import Payment
from domain.marketplace.refunds import (
    AskRefund,
    EndRefund,
    Refund,
    RefundReason,
    RefundStatus,
    ask_refund,
    end_refund,
)
from persistence import tables
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of
from persistence.tables.base import Base, Uid, one_of

_PARTS = ("goods", "fee", "tax", "tip")


class RefundRow(Base):
    """`domain.marketplace.refunds.Refund`."""

    __tablename__ = "refunds"
    refund_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    payment_id: Mapped[str] = mapped_column(Uid, ForeignKey("payments.payment_id"), index=True)
    order_id: Mapped[str] = mapped_column(Uid, ForeignKey("orders.order_id"))
    region_id: Mapped[str]
    customer_id: Mapped[str] = mapped_column(Uid)
    merchant_id: Mapped[str] = mapped_column(Uid)
    jurisdiction: Mapped[str]
    vendor_ref: Mapped[str]
    goods_cents: Mapped[int]
    fee_cents: Mapped[int]
    tax_cents: Mapped[int]
    tip_cents: Mapped[int]
    commission_cents: Mapped[int]
    merchant_bears: Mapped[bool]
    merchant_taxes: Mapped[bool]
    reason: Mapped[str]
    asked_by: Mapped[str]
    created_ms: Mapped[int]
    status: Mapped[str]
    ended_ms: Mapped[int | None]
    version: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        one_of("status", RefundStatus),
        one_of("reason", RefundReason),
        CheckConstraint(
            "least(goods_cents, fee_cents, tax_cents, tip_cents, commission_cents) >= 0"
            " AND goods_cents + fee_cents + tax_cents + tip_cents > 0",
            name="amounts",
        ),
        CheckConstraint("(status = 'PENDING') = (ended_ms IS NULL)", name="ended"),
        CheckConstraint("version > 0", name="version"),
        Index("ix_refunds_order", "order_id", "created_ms", "refund_id"),
    )


PAYMENTS = Kind(
    aggregate="payment",
    table=table_of(tables.PaymentRow),
    record=Payment,
    market="region_id",
    changes=tuple(f"refunded_{part}_cents" for part in _PARTS),
    missing="Nothing was taken for this order.",
    refusals={f"ck_payments_refunded_{part}": RefundTooMuch for part in _PARTS},
)
REFUNDS = Kind(
    aggregate="refund",
    table=table_of(RefundRow),
    record=Refund,
    market="region_id",
    changes=("status", "ended_ms"),
    missing="There is no such refund.",
)
STEPS = {
    AskRefund: Step(decide=ask_refund, kind=PAYMENTS, on=PAYMENTS),
    EndRefund: Step(decide=end_refund, kind=REFUNDS, on=REFUNDS),
}
