"""How long drivers were at the stops of an order, and how far from them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from starlette.responses import Response

from domain.ground.times import instant
from domain.orders.stops import StopMade, StopPlace, stops
from gateway.http.auth import Me
from gateway.http.policy import Door, Policy
from gateway.rest.kit.answers import Parts, Uid, json_response
from gateway.rest.kit.deciding import order_for
from gateway.rest.kit.routes import Routes

routes = Routes("stops", tag="orders")


class StopView(Struct, frozen=True, kw_only=True):
    """A stop: at the store, at the door, or back at the store. `stay_s`: from the arrival until the goods were taken,
    handed over or refused, null while the driver is there. `distance_m`: how far the driver was when arriving, null
    where that was not known; `overrides`: reasons given for steps that were taken elsewhere."""

    place: StopPlace
    driver_id: str
    arrived_at: datetime
    left_at: datetime | None
    stay_s: float | None
    ended_by: str | None
    distance_m: int | None
    overrides: tuple[str, ...]


class StopsView(Struct, frozen=True):
    """An order's stops, in the order in which they were made."""

    order_id: str
    stops: list[StopView]


@routes.get("/v1/orders/{order_id}/stops", Policy(roles=Door.SIGNED_IN, owner="order_id"), StopsView)
async def of_order(order_id: Uid, principal: Me, services: Parts) -> Response:
    """Where the order's drivers stopped, for how long, and whether they were near."""
    order = await order_for(services, principal, str(order_id))
    made = stops(await services.reads.dossier(order.order_id))
    return json_response(StopsView(order.order_id, [_view(stop) for stop in made]))


def _view(stop: StopMade) -> StopView:
    left_ms = stop.left_ms
    return StopView(
        place=stop.place,
        driver_id=stop.driver_id,
        arrived_at=instant(stop.arrived_ms),
        left_at=None if left_ms is None else instant(left_ms),
        stay_s=None if left_ms is None else (left_ms - stop.arrived_ms) / 1000,
        ended_by=None if stop.ended_by is None else str(stop.ended_by),
        distance_m=stop.distance_m,
        overrides=stop.overrides,
    )
