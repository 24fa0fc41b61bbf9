"""The ledger of money: movements and their entries. Triggers refuse a change of either, and a movement that does not
sum to zero or has not all of its entries (`migrations/versions/0022_ledger.py`)."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.marketplace.money import Account, Reason
from persistence.tables.base import Base, Uid, one_of


class LedgerMovement(Base):
    """`domain.marketplace.money.Movement`. `lines`: how many entries it has, so that none can be added later."""

    __tablename__ = "ledger_movements"
    movement_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    reason: Mapped[str]
    reference: Mapped[str]
    order_id: Mapped[str | None] = mapped_column(Uid, ForeignKey("orders.order_id"))
    at_ms: Mapped[int]
    lines: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        one_of("reason", Reason),
        CheckConstraint("lines >= 2", name="lines"),
        Index("uq_ledger_movements_reason", "reason", "reference", unique=True),
        Index("ix_ledger_movements_order_id", "order_id"),
        Index("ix_ledger_movements_at", "at_ms"),
    )


class LedgerEntry(Base):
    """`domain.marketplace.money.Entry`."""

    __tablename__ = "ledger_entries"
    movement_id: Mapped[str] = mapped_column(
        Uid, ForeignKey("ledger_movements.movement_id"), primary_key=True
    )
    line: Mapped[int] = mapped_column(Integer, primary_key=True)
    account: Mapped[str]
    party_id: Mapped[str]
    amount_cents: Mapped[int]
    __table_args__ = (
        one_of("account", Account),
        CheckConstraint("amount_cents <> 0", name="amount"),
        Index("ix_ledger_entries_party", "party_id", "account", postgresql_where=text("party_id <> ''")),
    )


class PaymentRow(Base):
    """`domain.marketplace.payments.Payment`. What was promised back is never more than what was taken, part by part."""

    __tablename__ = "payments"
    payment_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    order_id: Mapped[str] = mapped_column(Uid, ForeignKey("orders.order_id"), index=True)
    region_id: Mapped[str]
    customer_id: Mapped[str] = mapped_column(Uid)
    merchant_id: Mapped[str] = mapped_column(Uid)
    driver_id: Mapped[str]
    jurisdiction: Mapped[str]
    vendor_ref: Mapped[str]
    goods_cents: Mapped[int]
    fee_cents: Mapped[int]
    tax_cents: Mapped[int]
    tip_cents: Mapped[int]
    commission_bp: Mapped[int] = mapped_column(Integer)
    merchant_taxes: Mapped[bool]
    created_ms: Mapped[int]
    refunded_goods_cents: Mapped[int]
    refunded_fee_cents: Mapped[int]
    refunded_tax_cents: Mapped[int]
    refunded_tip_cents: Mapped[int]
    version: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        *(
            CheckConstraint(f"refunded_{part}_cents BETWEEN 0 AND {part}_cents", name=f"refunded_{part}")
            for part in ("goods", "fee", "tax", "tip")
        ),
        CheckConstraint("commission_bp BETWEEN 0 AND 10000", name="commission"),
        CheckConstraint("version > 0", name="version"),
    )


class EarningRow(Base):
    """`domain.marketplace.earnings.Earning`. Append-only."""

    __tablename__ = "earnings"
    task_id: Mapped[str] = mapped_column(Uid, ForeignKey("tasks.task_id"), primary_key=True)
    order_id: Mapped[str] = mapped_column(Uid, ForeignKey("orders.order_id"))
    driver_id: Mapped[str] = mapped_column(Uid)
    is_return: Mapped[bool]
    order_cents: Mapped[int]
    distance_cents: Mapped[int]
    wait_cents: Mapped[int]
    bump_cents: Mapped[int]
    begun_ms: Mapped[int]
    ended_ms: Mapped[int]
    __table_args__ = (
        CheckConstraint("least(order_cents, distance_cents, wait_cents, bump_cents) >= 0", name="amounts"),
        CheckConstraint("begun_ms <= ended_ms", name="times"),
        Index("ix_earnings_driver", "driver_id", "ended_ms", "task_id"),
        Index("ix_earnings_order", "order_id"),
    )
