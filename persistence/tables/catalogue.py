"""Stores and what they sell."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Integer
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from domain.orders.commands import PRICE_LIMIT_CENTS
from domain.orders.hours import OPENINGS_LIMIT
from persistence.tables.base import Base, Uid, on_earth

# A `domain.orders.hours.Opening`. What has not its form at all is not known to be one, and so is none.
_OPENING = (
    "strict $[*] ? (@.weekday == @.weekday.floor() && @.weekday >= 0 && @.weekday <= 6"
    " && @.opens_min == @.opens_min.floor() && @.opens_min >= 0 && @.opens_min <= 1439"
    " && @.closes_min == @.closes_min.floor() && @.closes_min - @.opens_min >= 1"
    " && @.closes_min - @.opens_min <= 1440)"
)


class Store(Base):
    __tablename__ = "stores"
    store_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    merchant_id: Mapped[str] = mapped_column(Uid, ForeignKey("merchants.merchant_id"), index=True)
    region_id: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    lat: Mapped[float]
    lng: Mapped[float]
    address: Mapped[str]
    hours: Mapped[list[dict[str, int]] | None] = mapped_column(JSONB(none_as_null=True))
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    __table_args__ = (
        *on_earth(""),
        CheckConstraint(
            f"hours IS NULL OR jsonb_array_length(hours) <= {OPENINGS_LIMIT} AND jsonb_array_length(hours) ="
            f" jsonb_array_length(jsonb_path_query_array(hours, '{_OPENING}'))",
            name="hours",
        ),
        CheckConstraint("version > 0", name="version"),
    )


class Product(Base):
    __tablename__ = "products"
    product_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    store_id: Mapped[str] = mapped_column(Uid, ForeignKey("stores.store_id"), index=True)
    name: Mapped[str]
    category: Mapped[str]
    price_cents: Mapped[int]
    __table_args__ = (CheckConstraint(f"price_cents BETWEEN 0 AND {PRICE_LIMIT_CENTS}", name="price"),)
