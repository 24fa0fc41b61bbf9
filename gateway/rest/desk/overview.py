"""The platform at a glance."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from starlette.responses import Response

from domain.ground.times import in_ms, instant
from gateway.http.auth import Me
from gateway.http.policy import OPERATORS, Policy
from gateway.rest.kit.answers import Parts, json_response
from gateway.rest.kit.routes import Routes

routes = Routes("overview", tag="admin")

LOOK_BACK_S = 24 * 3600.0  # of the orders that are counted


class OverviewView(Struct, frozen=True):
    """Orders that were placed in the day before `at` by where they stand now, with the sum of those that were
    delivered; and merchants, drivers and tickets by status. What nobody has is missing."""

    at: datetime
    orders: dict[str, int]
    delivered_cents: int
    merchants: dict[str, int]
    drivers: dict[str, int]
    tickets: dict[str, int]


@routes.get("/v1/admin/dashboard", Policy(roles=OPERATORS, limit="ops"), OverviewView)
async def dashboard(_: Me, services: Parts) -> Response:
    """The platform at a glance: the last day's orders, who waits for a review, and whose turn tickets are."""
    now_ms = services.config.clock.now_ms()
    found = await services.reads.reports.overview(now_ms - in_ms(LOOK_BACK_S), now_ms)
    return json_response(
        OverviewView(
            at=instant(now_ms),
            orders=found.orders,
            delivered_cents=found.delivered_cents,
            merchants=found.merchants,
            drivers=found.drivers,
            tickets=found.tickets,
        )
    )
