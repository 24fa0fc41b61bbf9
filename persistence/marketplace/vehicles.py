"""Vehicles of drivers."""

from __future__ import annotations

from functools import partial

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from domain.errors import NotFound
from domain.marketplace.vehicles import (
    CAPACITY_LIMIT_L,
    VEHICLES_LIMIT,
    AddVehicle,
    ChangeVehicle,
    Vehicle,
    VehicleKind,
    add_vehicle,
    change_vehicle,
)
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of
from persistence.tables.base import Base, Uid, one_of


class VehicleRow(Base):
    """`domain.marketplace.vehicles.Vehicle`."""

    __tablename__ = "vehicles"
    vehicle_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    driver_id: Mapped[str] = mapped_column(Uid, ForeignKey("users.user_id"))
    plate: Mapped[str]
    kind: Mapped[str]
    capacity_l: Mapped[int] = mapped_column(Integer)
    created_ms: Mapped[int]
    retired_ms: Mapped[int | None]
    version: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        one_of("kind", VehicleKind),
        CheckConstraint("length(plate) BETWEEN 1 AND 16", name="plate"),
        CheckConstraint(f"capacity_l BETWEEN 1 AND {CAPACITY_LIMIT_L}", name="capacity"),
        CheckConstraint("version > 0", name="version"),
        Index("ix_vehicles_driver", "driver_id", "created_ms", "vehicle_id"),
    )


VEHICLES = Kind(
    aggregate="vehicle",
    table=table_of(VehicleRow),
    record=Vehicle,
    owner="driver_id",
    changes=("kind", "capacity_l", "retired_ms"),
    quota=VEHICLES_LIMIT,
    missing="There is no such vehicle.",
    refusals={"fk_vehicles_driver_id": partial(NotFound, "There is no such driver.")},
)
STEPS = {
    AddVehicle: Step(decide=add_vehicle, kind=VEHICLES),
    ChangeVehicle: Step(decide=change_vehicle, kind=VEHICLES, on=VEHICLES),
}
