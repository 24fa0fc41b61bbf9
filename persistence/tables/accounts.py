"""Accounts."""

from __future__ import annotations

from sqlalchemy import Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.orders.lifecycle import Role
from persistence.tables.base import Base, Uid, one_of


class User(Base):
    """An account. One of role merchant works for a merchant, see `persistence.marketplace.staff`."""

    __tablename__ = "users"
    user_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    email: Mapped[str]
    password_hash: Mapped[str]
    role: Mapped[str]
    name: Mapped[str]
    created_ms: Mapped[int]
    token_version: Mapped[int] = mapped_column(Integer, server_default="1")
    disabled_ms: Mapped[int | None]
    __table_args__ = (one_of("role", Role), Index("uq_users_email", text("lower(email)"), unique=True))
