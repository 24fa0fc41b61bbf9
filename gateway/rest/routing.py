"""The way from one place to another."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from domain.errors import InvalidRequest, NotFound
from domain.ground.geo import distance_m
from domain.text import decimal
from gateway.http.admission import Kind
from gateway.http.auth import Me
from gateway.http.policy import Door, Policy
from gateway.rest.kit.answers import Parts, json_response
from gateway.rest.kit.routes import Routes
from gateway.rest.views import LineString, RouteView

routes = Routes("routing", tag="roads")

LONGEST_M = 500_000.0  # straight; a market is smaller, and a road engine works long on more
Place = Annotated[str, Query(max_length=50, description="Latitude and longitude in degrees, as 32.78,-96.80")]


@routes.get(
    "/v1/route",
    Policy(roles=Door.SIGNED_IN, admission=Kind.NEW),
    RouteView,
    refuses=(
        "NOT_FOUND",
        "OVERLOADED",
    ),
)
async def route(
    _: Me,
    services: Parts,
    start: Annotated[Place, Query(alias="from")],
    end: Annotated[Place, Query(alias="to")],
) -> Response:
    """Duration, distance and line of the drive between two places, at most 500 km apart."""
    ends = _place("from", start), _place("to", end)
    if float(distance_m(*ends[0], *ends[1])) > LONGEST_M:
        raise InvalidRequest(f"The places are more than {LONGEST_M / 1000:.0f} km apart.")
    found = await services.roads.route(ends)
    if found is None:
        raise NotFound("No road leads from the one place to the other.")
    return json_response(
        RouteView(
            engine=found.engine,
            duration_s=round(found.duration_s, 1),
            distance_m=round(found.distance_m, 1),
            geometry=LineString([(lng, lat) for lat, lng in found.line]),
        )
    )


def _place(name: str, text: str) -> tuple[float, float]:
    """`InvalidRequest` for anything but a place on earth; what was sent is not repeated."""
    try:
        lat, lng = (decimal(part.strip(" ")) for part in text.split(","))
    except ValueError:
        lat = lng = float("nan")
    if not (-90 <= lat <= 90 and -180 <= lng <= 180):
        raise InvalidRequest(f"`{name}` must be latitude,longitude in degrees, such as 32.78,-96.80.")
    return lat, lng
