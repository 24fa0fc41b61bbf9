"""Stores, their hours and what else says when they take orders."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from domain.errors import NotFound
from domain.marketplace.stores import (
    CHANGEABLE,
    PREP_LIMIT_MIN,
    ChangeStore,
    CloseStore,
    OpenStore,
    PauseStore,
    SetHours,
    Store,
    change_store,
    close_store,
    open_store,
    pause_store,
    set_hours,
)
from domain.orders.hours import HOLIDAYS_LIMIT, OPENINGS_LIMIT
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of
from persistence.tables.base import Base, Uid, on_earth

# A `domain.orders.hours.Opening`. What has not its form at all is not known to be one, and so is none.
_OPENING = (
    "strict $[*] ? (@.weekday == @.weekday.floor() && @.weekday >= 0 && @.weekday <= 6"
    " && @.opens_min == @.opens_min.floor() && @.opens_min >= 0 && @.opens_min <= 1439"
    " && @.closes_min == @.closes_min.floor() && @.closes_min - @.opens_min >= 1"
    " && @.closes_min - @.opens_min <= 1440)"
)


class StoreRow(Base):
    """`domain.marketplace.stores.Store`."""

    __tablename__ = "stores"
    store_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    merchant_id: Mapped[str] = mapped_column(Uid, ForeignKey("merchants.merchant_id"), index=True)
    region_id: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    lat: Mapped[float]
    lng: Mapped[float]
    address: Mapped[str]
    hours: Mapped[list[dict[str, int]] | None] = mapped_column(JSONB(none_as_null=True))
    holidays: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    prep_min: Mapped[int | None] = mapped_column(Integer)
    zone: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    paused_until_ms: Mapped[int | None]
    closed_ms: Mapped[int | None]
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    __table_args__ = (
        *on_earth(""),
        CheckConstraint(
            f"hours IS NULL OR jsonb_array_length(hours) <= {OPENINGS_LIMIT} AND jsonb_array_length(hours) ="
            f" jsonb_array_length(jsonb_path_query_array(hours, '{_OPENING}'))",
            name="hours",
        ),
        CheckConstraint(
            f"jsonb_typeof(holidays) = 'array' AND jsonb_array_length(holidays) <= {HOLIDAYS_LIMIT}",
            name="holidays",
        ),
        CheckConstraint(f"prep_min BETWEEN 0 AND {PREP_LIMIT_MIN}", name="prep"),
        CheckConstraint("jsonb_typeof(zone) = 'object'", name="zone"),
        CheckConstraint("version > 0", name="version"),
    )


STORES = Kind(
    aggregate="store",
    table=table_of(StoreRow),
    record=Store,
    owner="merchant_id",
    market="region_id",
    changes=("hours", "paused_until_ms", "closed_ms", *sorted(CHANGEABLE)),
    missing="There is no such store.",
    refusals={"fk_stores_merchant_id": partial(NotFound, "There is no such merchant.")},
)
STEPS = {
    OpenStore: Step(decide=open_store, kind=STORES),
    ChangeStore: Step(decide=change_store, kind=STORES, on=STORES),
    SetHours: Step(decide=set_hours, kind=STORES, on=STORES),
    PauseStore: Step(decide=pause_store, kind=STORES, on=STORES),
    CloseStore: Step(decide=close_store, kind=STORES, on=STORES),
}
