"""Regions and what mission control is told of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query
from starlette.responses import Response, StreamingResponse

from domain.errors import Forbidden, Refusal, Unauthenticated
from domain.ground.markets import MARKETS
from gateway.http.admission import Kind
from gateway.http.auth import Me, Principal, bearer
from gateway.http.policy import OPERATORS, Door, Policy
from gateway.rest.kit.answers import Parts, json_response
from gateway.rest.kit.routes import Routes
from gateway.rest.views import OpsConfigView, RegionView
from gateway.services import Services

routes = Routes("ops", tag="operations")


async def _viewer(services: Parts, token: Annotated[str | None, Depends(bearer)]) -> Principal | None:
    """Lets operators through, and everybody (None) where mission control is open."""
    if services.config.ops_open:
        return None
    if token is None:
        raise Unauthenticated()
    principal = services.tokens.principal(token)
    await services.accounts.require(principal)
    if principal.role not in OPERATORS:
        raise Forbidden("Mission control is for dispatchers and administrators.")
    return principal


Viewer = Depends(_viewer)


@routes.get("/v1/regions", Policy(roles=Door.OPEN, limit="ops"), list[RegionView])
async def regions(services: Parts) -> Response:
    """The markets that this server serves."""
    return json_response(_regions(services))


@routes.get(
    "/v1/regions/{region_id}/stats",
    Policy(roles=OPERATORS, limit="ops"),
    dict[str, float | str],
    refuses=(
        "NOT_FOUND",
        "REGION_UNAVAILABLE",
    ),
)
async def stats(region_id: str, _: Me, services: Parts) -> Response:
    """A region's numbers: drivers, tasks, offers, counters, loop times. For operators."""
    return json_response(await services.backend.stats(services.region(region_id)))


@routes.get("/v1/ops/config", Policy(roles=Door.OPEN, limit="ops"), OpsConfigView)
async def config(services: Parts) -> Response:
    """What mission control has to know before anybody signs in."""
    config = services.config
    return json_response(OpsConfigView(config.tile_url, not config.ops_open, _regions(services)))


@routes.get(
    "/v1/ops/stream",
    Policy(roles=Door.OPS, limit="ops", admission=Kind.STREAM),
    refuses=(
        "FORBIDDEN",
        "NOT_FOUND",
        "OVERLOADED",
    ),
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Events `frame` (OpsFrame) and `down`."}
    },
)
async def stream(
    services: Parts,
    viewer: Annotated[Principal | None, Viewer],
    region_id: Annotated[str, Query(max_length=64)],
) -> Response:
    """A region live, as server-sent events, at most four frames a second. It ends with the token or its account."""
    events = services.feeds.watch(services.region(region_id))
    if viewer is not None:
        events = _while_allowed(services, viewer, events)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _while_allowed(
    services: Services, viewer: Principal, events: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The events for as long as the viewer may see them. A feed says something every few seconds at least."""
    async for chunk in events:
        if viewer.expires_s <= time.time():
            return
        try:
            await services.accounts.require(viewer)
        except Unauthenticated:
            return
        except Refusal:  # nobody can say just now
            continue
        yield chunk


def _regions(services: Services) -> list[RegionView]:
    markets = [MARKETS[region_id] for region_id in services.config.regions]
    return [
        RegionView(
            id=market.id,
            name=market.name,
            center=(market.lng, market.lat),
            zoom=market.zoom,
            now_ms=services.config.clock.now_ms(),
            speed=services.config.clock.speed,
        )
        for market in markets
    ]
