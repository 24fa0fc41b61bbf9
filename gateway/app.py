"""The ASGI application, made from its services."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from gateway import web
from gateway.http import apidocs, problem
from gateway.http.middleware import Requests
from gateway.http.ratelimit import RateLimits
from gateway.http.request_checks import Paths, RequestChecks
from gateway.rest import (
    accounts,
    drivers,
    internal,
    merchants,
    notes,
    offers,
    ops,
    orders,
    products,
    routing,
    stores,
)
from gateway.services import Services
from gateway.sockets import session

# A request is held against one route after the other: those that come most often are first.
_ROUTERS = tuple(
    module.router
    for module in (
        *(orders, drivers, offers, merchants, stores, products),
        *(notes, accounts, routing, ops, internal),
    )
)
VERSION = "0.1.0"

_DESCRIPTION = """
Dispatch and compliance for the delivery of age-restricted goods.

Every mutation takes an `Idempotency-Key`; orders carry a version (`ETag`) for `If-Match`. Errors are problem details
(RFC 9457) with a stable `code`: see docs/errors.md. Drivers are better served by the WebSocket `/v1/drivers/ws`,
subprotocol `doorstep.v1`: see docs/protocol.md.
"""


def build_app(services: Services) -> FastAPI:
    """The application. It has no life of its own: `gateway.server` starts and stops the parts."""
    app = FastAPI(
        title="Doorstep",
        version=VERSION,
        description=_DESCRIPTION,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # The server has traces and metrics of its own; the framework's would be looked for with each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.services = services
    for router in _ROUTERS:
        app.include_router(router)
    app.include_router(web.router)
    app.include_router(apidocs.router)
    app.include_router(session.router)
    problem.install(app)
    routes = [route for router in (*_ROUTERS, web.router, apidocs.router) for route in router.routes]
    paths = app.state.paths = Paths(routes)
    app.add_middleware(RequestChecks, paths=paths, origins=services.config.allowed_origins)
    if services.limiter.is_on:
        trusted_proxies = services.config.limits.trusted_proxies
        app.add_middleware(
            RateLimits, limiter=services.limiter, tokens=services.tokens, trusted_proxies=trusted_proxies
        )
    app.add_middleware(
        Requests,
        metrics=services.metrics,
        admission=services.admission,
        body_limit_bytes=services.config.limits.http_body_bytes,
    )
    plain_openapi = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain_openapi()
        schema.setdefault("components", {}).setdefault("schemas", {})["Problem"] = problem.SCHEMA
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app
