"""Drivers and their documents."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from domain.errors import WrongState
from domain.marketplace.drivers import (
    DOCUMENTS_LIMIT,
    ApplyToDrive,
    Driver,
    DriverReason,
    HandInDocument,
    JudgeDocument,
    MoveDriver,
    apply_to_drive,
    hand_in_document,
    judge_document,
    move_driver,
)
from domain.marketplace.review import ReviewStatus
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of
from persistence.tables.base import Base, Uid, one_of


class DriverRow(Base):
    """`domain.marketplace.drivers.Driver`."""

    __tablename__ = "drivers"
    driver_id: Mapped[str] = mapped_column(Uid, ForeignKey("users.user_id"), primary_key=True)
    region_id: Mapped[str]
    created_ms: Mapped[int]
    documents: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    status: Mapped[str]
    reason: Mapped[str | None]
    reviewed_ms: Mapped[int | None]
    papers_until_ms: Mapped[int | None]
    version: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        one_of("status", ReviewStatus),
        one_of("reason", DriverReason),
        CheckConstraint(f"jsonb_array_length(documents) <= {DOCUMENTS_LIMIT}", name="documents"),
        CheckConstraint("status <> 'APPROVED' OR reviewed_ms IS NOT NULL", name="reviewed"),
        CheckConstraint("version > 0", name="version"),
        Index("ix_drivers_created", "created_ms", "driver_id"),
        Index("ix_drivers_status", "status", "created_ms", "driver_id"),
    )


DRIVERS = Kind(
    aggregate="driver",
    table=table_of(DriverRow),
    record=Driver,
    owner="driver_id",
    market="region_id",
    changes=("documents", "status", "reason", "reviewed_ms", "papers_until_ms"),
    missing="There is no such driver.",
    refusals={"pk_drivers": partial(WrongState, "You have applied already.")},
)
STEPS = {
    ApplyToDrive: Step(decide=apply_to_drive, kind=DRIVERS),
    HandInDocument: Step(decide=hand_in_document, kind=DRIVERS, on=DRIVERS),
    MoveDriver: Step(decide=move_driver, kind=DRIVERS, on=DRIVERS),
    JudgeDocument: Step(decide=judge_document, kind=DRIVERS, on=DRIVERS),
}
