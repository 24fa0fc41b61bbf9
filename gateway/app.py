"""The ASGI application, made from its services."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from gateway.http import problem
from gateway.http.middleware import Requests
from gateway.http.ratelimit import RateLimits
from gateway.http.request_checks import RequestChecks
from gateway.rest.kit.openapi import complete
from gateway.rest.table import DECLARED, ROUTERS, TABLE
from gateway.services import Services
from gateway.sockets import session

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
    app.state.routes = TABLE
    for routes in ROUTERS:
        app.include_router(routes.router)
    app.include_router(session.router)
    problem.install(app)
    app.add_middleware(RequestChecks, routes=TABLE, origins=services.config.allowed_origins)
    if services.limiter.is_on:
        trusted_proxies = services.config.limits.trusted_proxies
        app.add_middleware(
            RateLimits, limiter=services.limiter, tokens=services.tokens, trusted_proxies=trusted_proxies
        )
    app.add_middleware(
        Requests,
        routes=TABLE,
        metrics=services.metrics,
        admission=services.admission,
        body_limit_bytes=services.config.limits.http_body_bytes,
    )
    app.openapi = lambda: interface()  # type: ignore[method-assign]
    return app


def interface() -> dict[str, Any]:
    """The REST interface as OpenAPI."""
    app = FastAPI(title="Doorstep", version=VERSION, description=_DESCRIPTION)
    for routes in ROUTERS:
        app.include_router(routes.router)
    return complete(app.openapi(), DECLARED)
