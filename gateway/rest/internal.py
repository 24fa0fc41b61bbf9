"""For operators' machinery: dispatch by hand, health, metrics."""

from __future__ import annotations

import asyncio
import hmac
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.security.utils import get_authorization_scheme_param
from starlette.responses import Response

from domain.errors import Forbidden, Unauthenticated
from domain.orders.lifecycle import Role
from domain.orders.records import Json
from domain.region.messages import DispatchTick, ExpireOffers
from gateway.http.auth import Principal
from gateway.http.idempotency import KEY_LIMIT, Call, call_of
from gateway.http.metrics import CONTENT_TYPE, page, whole
from gateway.http.problem import refusals
from gateway.http.strict_json import StrictRoute
from gateway.rest.kit.answers import Parts, answered, first_answer, json_response, keep, shown
from gateway.rest.kit.readiness import readiness
from gateway.rest.models import Digits
from gateway.services import Services

router = APIRouter(route_class=StrictRoute)

EXPIRE_LIMIT = 10_000
_MACHINE = Principal("internal", Role.SYSTEM)  # whoever has the internal token


async def _internal(services: Parts, x_internal_token: Annotated[str, Header(max_length=512)] = "") -> None:
    expected = services.config.internal_token.encode()
    # An empty token is no token: a server that was given none takes nobody's.
    if not expected or not hmac.compare_digest(x_internal_token.encode(), expected):
        raise Forbidden("The X-Internal-Token header is missing or wrong.")


async def _call(
    request: Request,
    idempotency_key: Annotated[str | None, Header(max_length=KEY_LIMIT)] = None,
) -> Call:
    return call_of(request, _MACHINE, idempotency_key)


_Call = Annotated[Call, Depends(_call)]


@router.post(
    "/internal/dispatch/tick",
    tags=["internal"],
    dependencies=[Depends(_internal)],
    responses=refusals("FORBIDDEN", "NOT_FOUND", mutation=True),
)
async def tick(services: Parts, call: _Call, region_id: Annotated[str, Query(max_length=64)]) -> Response:
    """Have a region look for drivers now instead of at the end of its window."""
    services.region(region_id)

    first = await first_answer(services, call)
    if first is not None:
        return answered(first, replayed=True)
    answer = await services.backend.ask(region_id, call.ask(DispatchTick()))
    if answer.code is not None:
        return answered(answer)
    said, replayed = await keep(services, call, answer.body)
    return shown(said, replayed=replayed)


@router.post(
    "/internal/dispatch/expire_offers",
    tags=["internal"],
    dependencies=[Depends(_internal)],
    responses=refusals("FORBIDDEN", mutation=True),
)
async def expire_offers(
    services: Parts, call: _Call, limit: Annotated[int, Query(ge=1, le=EXPIRE_LIMIT), Digits] = 1000
) -> Response:
    """Expire at most `limit` offers that are past their time. Regions do so by themselves; this is for recovery."""

    first = await first_answer(services, call)
    if first is not None:
        return answered(first, replayed=True)
    left, by_region = limit, {}
    for region_id in services.config.regions:
        answer = await services.backend.ask(region_id, call.ask(ExpireOffers(left)))
        expired = int(answer.body.get("expired", 0))
        by_region[region_id] = expired
        left -= expired
        if left <= 0:
            break
    said, replayed = await keep(services, call, {"expired": limit - left, "regions": by_region})
    return shown(said, replayed=replayed)


@router.get("/health/live", tags=["health"])
async def live() -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


@router.get("/health/ready", tags=["health"], responses={503: {"description": "Some part is not serving."}})
async def ready(services: Parts) -> Response:
    """Every part that work needs answers; 503 names what does not, and which market misses it. Redis is a helper: the
    server is ready without it, and says that it is degraded."""
    found = await services.cache.get("ready", lambda: readiness(services))
    body: dict[str, Json] = {
        "status": "unavailable" if not found.ready else "degraded" if found.degraded else "ok",
        "parts": found.parts,
        "markets": {region_id: {"missing": missing} for region_id, missing in found.markets.items()},
    }
    return json_response(body, 200 if found.ready else 503)


async def _scraper(
    request: Request, services: Parts, x_internal_token: Annotated[str, Header(max_length=512)] = ""
) -> None:
    scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
    given = (token if scheme.lower() == "bearer" else x_internal_token).encode()
    known = services.config.metrics_token, services.config.internal_token
    # An empty token is no token.
    if not any(bool(one) and hmac.compare_digest(given, one.encode()) for one in known):
        raise Unauthenticated("The metrics need their bearer token: see METRICS_TOKEN.")


@router.get(
    "/metrics", tags=["health"], dependencies=[Depends(_scraper)], responses=refusals("UNAUTHENTICATED")
)
async def metrics(services: Parts, scope: Annotated[Literal["all", "own"], Query()] = "all") -> Response:
    """Numbers for Prometheus of every gateway, region and persistence actor that answers in time, whichever gateway is
    asked; with `scope=own` of this gateway alone. Worked out at most once in `STATUS_KEEP_S`."""
    text = await services.cache.get(f"metrics {scope}", lambda: _page(services, scope))
    return Response(text, media_type=CONTENT_TYPE)


async def _page(services: Services, scope: str) -> bytes:
    families = services.metrics.figures()
    if scope == "all":
        others = await services.others() if services.others is not None else {}
        families = whole(services.gateway_id, families, others)
    return await asyncio.to_thread(page, families)
