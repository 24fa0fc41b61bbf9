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
