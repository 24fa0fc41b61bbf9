"""What operators did."""

from __future__ import annotations

from sqlalchemy import Identity, Index
from sqlalchemy.orm import Mapped, mapped_column

from persistence.tables.base import Base, Uid


class AuditEntry(Base):
    """A change of the marketplace's records that an operator made. Append-only: the server's role may add and read."""

    __tablename__ = "audit_entries"
    entry_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    at_ms: Mapped[int]
    actor_id: Mapped[str]  # an account's id, or where the change came from, such as the command line
    actor_role: Mapped[str]
    action: Mapped[str]  # as others are told, such as `account.disabled`
    aggregate_id: Mapped[str] = mapped_column(Uid)
    __table_args__ = (Index("ix_audit_entries_aggregate", "aggregate_id", "entry_id"),)
