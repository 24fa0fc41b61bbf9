"""Vehicles of drivers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Struct
from pydantic import Field, StringConstraints
from starlette.responses import Response

from domain.errors import NotFound
from domain.ground.times import instant
from domain.marketplace.vehicles import CAPACITY_LIMIT_L, AddVehicle, ChangeVehicle, Vehicle, VehicleKind
from domain.orders.lifecycle import Role
from gateway.http.auth import Me
from gateway.http.idempotency import Mutation
from gateway.http.policy import OPERATORS, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, carry_out, etag, json_response, shown
from gateway.rest.kit.lists import Rows, listed
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Body, Code

routes = Routes("vehicles", tag="drivers")

Capacity = Annotated[int, Field(ge=1, le=CAPACITY_LIMIT_L, description="Litres that fit in.")]
_READERS = (Role.DRIVER, *OPERATORS)


class NewVehicle(Body):
    """A vehicle of yours. `plate`: as it stands there, in capitals, without blanks."""

    plate: Annotated[str, StringConstraints(pattern="^[A-Z0-9-]{1,16}$"), Field(examples=["LNE4711"])]
    kind: Code[VehicleKind]
    capacity_l: Capacity


class ChangedVehicle(Body):
    """What it is by now; one that is `retired` comes back no more."""

    kind: Code[VehicleKind]
    capacity_l: Capacity
    retired: bool = False


class VehicleView(Struct, frozen=True):
    """A vehicle. `retired_at`: since when it is driven no more."""

    id: str
    driver_id: str
    version: int
    plate: str
    kind: VehicleKind
    capacity_l: int
    created_at: datetime
    retired_at: datetime | None


class VehiclePage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    vehicles: list[VehicleView]
    next_cursor: str | None


@routes.post(
    "/v1/drivers/{driver_id}/vehicles",
    Policy(roles=(Role.DRIVER,), owner="driver_id", key=Need.MUST),
    VehicleView,
    status=201,
    refuses=("LIMIT_REACHED",),
)
async def add(driver_id: Uid, body: NewVehicle, _: Me, call: Mutation, services: Parts) -> Response:
    """Add a vehicle of yours."""
    action = AddVehicle(
        vehicle_id=services.new_id(), plate=body.plate, kind=body.kind, capacity_l=body.capacity_l
    )
    added = await carry_out(services, call.covers(body), action, _view, VehicleView)
    return shown(added.view, added.replayed, 201, version=added.view.version)


@routes.get("/v1/drivers/{driver_id}/vehicles", Policy(roles=_READERS, owner="driver_id"), VehiclePage)
async def own(driver_id: Uid, _: Me, services: Parts, rows: Rows) -> Response:
    """A driver's vehicles, newest first."""
    return json_response(VehiclePage(*await listed(services, "vehicle", str(driver_id), rows, _view)))


@routes.get(
    "/v1/drivers/{driver_id}/vehicles/{vehicle_id}",
    Policy(roles=_READERS, owner="driver_id"),
    VehicleView,
)
async def read(driver_id: Uid, vehicle_id: Uid, _: Me, services: Parts) -> Response:
    """One vehicle. The ETag is its version, for If-Match."""
    vehicle = await services.marketplace.find("vehicle", str(vehicle_id), str(driver_id))
    if vehicle is None:
        raise NotFound("There is no such vehicle.")
    return json_response(_view(vehicle), headers=etag(vehicle.version))


@routes.put(
    "/v1/drivers/{driver_id}/vehicles/{vehicle_id}",
    Policy(roles=(Role.DRIVER,), owner="driver_id", key=Need.MUST, version=Need.MUST),
    VehicleView,
    refuses=("WRONG_STATE",),
)
async def change(
    driver_id: Uid, vehicle_id: Uid, body: ChangedVehicle, _: Me, call: Mutation, services: Parts
) -> Response:
    """Say what a vehicle of yours is by now, or that it is driven no more."""
    action = ChangeVehicle(
        vehicle_id=str(vehicle_id), kind=body.kind, capacity_l=body.capacity_l, retired=body.retired
    )
    after = await carry_out(services, call.covers(body), action, _view, VehicleView)
    return shown(after.view, after.replayed, version=after.view.version)


def _view(vehicle: Vehicle) -> VehicleView:
    return VehicleView(
        id=vehicle.vehicle_id,
        driver_id=vehicle.driver_id,
        version=vehicle.version,
        plate=vehicle.plate,
        kind=vehicle.kind,
        capacity_l=vehicle.capacity_l,
        created_at=instant(vehicle.created_ms),
        retired_at=None if vehicle.retired_ms is None else instant(vehicle.retired_ms),
    )
