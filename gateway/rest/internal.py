"""For operators' machinery: dispatch by hand, health, metrics."""

from __future__ import annotations

import asyncio
import hmac
from typing import Annotated, Literal

import msgspec
from fastapi import Depends, Header, Query, Request
from fastapi.security.utils import get_authorization_scheme_param
from starlette.responses import Response

from domain.errors import Forbidden, Unauthenticated
from domain.region.messages import DispatchTick, ExpireOffers
from gateway.http.admission import Kind
from gateway.http.idempotency import Mutation
from gateway.http.metrics import CONTENT_TYPE, page, whole
from gateway.http.policy import Door, Need, Policy
from gateway.rest.kit.answers import Parts, answered, first_answer, json_response, keep, shown
from gateway.rest.kit.readiness import readiness
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Digits
from gateway.rest.views import ExpiredView, LiveView, MissingView, ReadyView, TickView
from gateway.services import Services

routes = Routes("internal")

EXPIRE_LIMIT = 10_000


async def _internal(services: Parts, x_internal_token: Annotated[str, Header(max_length=512)] = "") -> None:
    expected = services.config.internal_token.encode()
    # An empty token is no token: a server that was given none takes nobody's.
    if not expected or not hmac.compare_digest(x_internal_token.encode(), expected):
        raise Forbidden("The X-Internal-Token header is missing or wrong.")


@routes.post(
    "/internal/dispatch/tick",
    Policy(roles=Door.INTERNAL, key=Need.MAY, limit="internal", admission=Kind.EXEMPT),
    refuses=(
        "FORBIDDEN",
        "NOT_FOUND",
    ),
    needs=(Depends(_internal),),
    tag="internal",
)
async def tick(services: Parts, call: Mutation, region_id: Annotated[str, Query(max_length=64)]) -> Response:
    """Have a region look for drivers now instead of at the end of its window."""
    services.region(region_id)

    first = await first_answer(services, call)
    if first is not None:
        return answered(first, TickView, replayed=True)
    answer = await services.backend.ask(region_id, call.ask(DispatchTick()))
    if answer.code is not None:
        return answered(answer, TickView)
    return shown(*await keep(services, call, msgspec.convert(answer.body, TickView)))


@routes.post(
    "/internal/dispatch/expire_offers",
    Policy(roles=Door.INTERNAL, key=Need.MAY, limit="internal", admission=Kind.EXEMPT),
    refuses=("FORBIDDEN",),
    needs=(Depends(_internal),),
    tag="internal",
)
async def expire_offers(
    services: Parts, call: Mutation, limit: Annotated[int, Query(ge=1, le=EXPIRE_LIMIT), Digits] = 1000
) -> Response:
    """Expire at most `limit` offers that are past their time. Regions do so by themselves; this is for recovery."""

    first = await first_answer(services, call)
    if first is not None:
        return answered(first, ExpiredView, replayed=True)
    left, by_region = limit, {}
    for region_id in services.config.regions:
        answer = await services.backend.ask(region_id, call.ask(ExpireOffers(left)))
        expired = int(answer.body.get("expired", 0))
        by_region[region_id] = expired
        left -= expired
        if left <= 0:
            break
    return shown(*await keep(services, call, ExpiredView(limit - left, by_region)))


@routes.get(
    "/health/live",
    Policy(roles=Door.OPEN, limit="machines", admission=Kind.EXEMPT, traced=False),
    LiveView,
    tag="health",
)
async def live() -> Response:
    """The process answers."""
    return json_response(LiveView())


@routes.get(
    "/health/ready",
    Policy(roles=Door.OPEN, limit="machines", admission=Kind.EXEMPT, traced=False),
    ReadyView,
    responses={503: {"description": "Some part is not serving."}},
    tag="health",
)
async def ready(services: Parts) -> Response:
    """Every part that work needs answers; 503 names what does not, and which market misses it. Redis is a helper: the
    server is ready without it, and says that it is degraded."""
    found = await services.cache.get("ready", lambda: readiness(services))
    markets = {region_id: MissingView(missing) for region_id, missing in found.markets.items()}
    status: Literal["ok", "degraded", "unavailable"] = "degraded" if found.degraded else "ok"
    view = ReadyView(status if found.ready else "unavailable", found.parts, markets)
    return json_response(view, 200 if found.ready else 503)


async def _scraper(
    request: Request, services: Parts, x_internal_token: Annotated[str, Header(max_length=512)] = ""
) -> None:
    scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
    given = (token if scheme.lower() == "bearer" else x_internal_token).encode()
    known = services.config.metrics_token, services.config.internal_token
    # An empty token is no token.
    if not any(bool(one) and hmac.compare_digest(given, one.encode()) for one in known):
        raise Unauthenticated("The metrics need their bearer token: see METRICS_TOKEN.")


@routes.get(
    "/metrics",
    Policy(roles=Door.METRICS, limit="machines", admission=Kind.EXEMPT, traced=False),
    refuses=("UNAUTHENTICATED",),
    needs=(Depends(_scraper),),
    tag="health",
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
