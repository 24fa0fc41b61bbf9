"""What operators did."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Identity, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import JSONB
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
    changes: Mapped[dict[str, list[Any]]] = mapped_column(JSONB, server_default=text("'{}'"))
    __table_args__ = (
        Index("ix_audit_entries_aggregate", "aggregate_id", "entry_id"),
        Index("ix_audit_entries_at", "at_ms", "entry_id"),
        Index("ix_audit_entries_actor", "actor_id", "at_ms", "entry_id"),
        Index("ix_audit_entries_action", "action", "at_ms", "entry_id"),
    )


class AuditSalt(Base):
    """What a record's personal values are committed to under (`domain.marketplace.audit`). It goes with the record:
    then nobody can try values against the log any more."""

    __tablename__ = "audit_salts"
    aggregate_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary)
    __table_args__ = (CheckConstraint("octet_length(salt) = 32", name="salt"),)
