"""What stores sell."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from domain.orders.commands import PRICE_LIMIT_CENTS
from persistence.tables.base import Base, Uid


class Product(Base):
    __tablename__ = "products"
    product_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    store_id: Mapped[str] = mapped_column(Uid, ForeignKey("stores.store_id"), index=True)
    name: Mapped[str]
    category: Mapped[str]
    price_cents: Mapped[int]
    __table_args__ = (CheckConstraint(f"price_cents BETWEEN 0 AND {PRICE_LIMIT_CENTS}", name="price"),)
