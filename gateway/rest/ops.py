"""Regions and mission control, and the built browser app."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse

from domain.errors import Forbidden, Refusal, Unauthenticated
from domain.markets import MARKETS
from gateway.http.auth import OPERATORS, Operator, Principal, bearer
from gateway.http.browsers import POLICY_HEADER, page_policy
from gateway.http.problem import refusals
from gateway.http.strict_json import StrictRoute
from gateway.rest.kit.answers import Parts, json_response
from gateway.services import Services

router = APIRouter(tags=["operations"], route_class=StrictRoute)
app_router = APIRouter(include_in_schema=False)

NOT_BUILT = "The browser app is not built. Run `make web`, then start the server again.\n"
NO_FILE = "There is no such file.\n"
ASSET_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable"
}  # their names hold a hash of the content
PAGE_HEADERS = {"Cache-Control": "no-cache"}


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


@router.get("/v1/regions", responses=refusals())
async def regions(services: Parts) -> Response:
    """The markets that this server serves."""
    return json_response(_regions(services))


@router.get(
    "/v1/regions/{region_id}/stats", responses=refusals("FORBIDDEN", "NOT_FOUND", "REGION_UNAVAILABLE")
)
async def stats(region_id: str, _: Operator, services: Parts) -> Response:
    """A region's numbers: drivers, tasks, offers, counters, loop times. For operators."""
    return json_response(await services.backend.stats(services.region(region_id)))


@router.get("/v1/ops/config")
async def config(services: Parts) -> Response:
    """What mission control has to know before anybody signs in."""
    return json_response(
        {
            "tile_url": services.config.tile_url,
            "auth_required": not services.config.ops_open,
            "regions": _regions(services),
        }
    )


@router.get(
    "/v1/ops/stream",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Events `frame` (OpsFrame) and `down`."},
        **refusals("FORBIDDEN", "NOT_FOUND", "OVERLOADED"),
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


def _regions(services: Services) -> list[dict[str, object]]:
    markets = [MARKETS[region_id] for region_id in services.config.regions]
    return [
        {
            "id": market.id,
            "name": market.name,
            "center": [market.lng, market.lat],
            "zoom": market.zoom,
            "now_ms": services.config.clock.now_ms(),
            "speed": services.config.clock.speed,
        }
        for market in markets
    ]


# -- the browser app --------------------------------------------------------------------------------------------------


@app_router.get("/")
async def root() -> Response:
    """To mission control."""
    return RedirectResponse("/ops")


@app_router.get("/ops")
@app_router.get("/ops/{path:path}")
async def page(services: Parts, path: str = "") -> Response:
    """A file of the built app; any other path is the app's own, so it gets the page."""
    dist = services.config.web_dist
    if not dist:
        return PlainTextResponse(NOT_BUILT, 404)
    try:
        response = await asyncio.to_thread(_file, Path(dist, "ops"), path)
    except (OSError, ValueError):  # a name that no file system takes
        response = PlainTextResponse(NO_FILE, 404)
    response.headers[POLICY_HEADER] = page_policy(tile_url=services.config.tile_url)
    return response


def _file(dist: Path, path: str) -> Response:
    root = dist.resolve()
    index = root / "index.html"
    if not index.is_file():
        return PlainTextResponse(NOT_BUILT, 404)
    if path and "\x00" not in path:
        file = (root / path).resolve()
        if file.is_relative_to(root) and file.is_file() and file != index:
            return FileResponse(file, headers=ASSET_HEADERS if path.startswith("assets/") else PAGE_HEADERS)
        if "." in file.name and file != index:
            return PlainTextResponse(NO_FILE, 404)
    return FileResponse(index, headers=PAGE_HEADERS)
