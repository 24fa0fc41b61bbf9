"""Swagger UI and ReDoc, from files that the web build puts beside the browser app, so that they need no network."""

from __future__ import annotations

import msgspec
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import HTMLResponse, Response

from gateway.http.admission import Kind
from gateway.http.browsers import POLICY_HEADER, page_policy
from gateway.http.policy import Door, Policy
from gateway.rest.kit.routes import Routes

routes = Routes("apidocs", is_shown=False)

_TITLE = "Doorstep"
_OPENAPI, _FILES = "/openapi.json", "/ops/api-docs"
_ICON = "/ops/favicon.svg"


@routes.get("/openapi.json", Policy(roles=Door.OPEN, limit="machines", admission=Kind.EXEMPT))
async def openapi(request: Request) -> Response:
    """The REST interface, for programs."""
    text = described(request.app)
    return Response(text, media_type="application/json", headers={"Cache-Control": "no-cache"})


def described(app: FastAPI) -> bytes:
    """The REST interface as OpenAPI; worked out once, which takes some tenths of a second: before anybody is served."""
    if not hasattr(app.state, "openapi"):
        app.state.openapi = msgspec.json.encode(app.openapi())
    text: bytes = app.state.openapi
    return text


@routes.get("/docs", Policy(roles=Door.OPEN, limit="machines", admission=Kind.EXEMPT))
async def swagger() -> Response:
    """The REST interface, to try out."""
    return _SWAGGER


@routes.get("/redoc", Policy(roles=Door.OPEN, limit="machines", admission=Kind.EXEMPT))
async def redoc() -> Response:
    """The REST interface, to read."""
    return _REDOC


def _page(made: HTMLResponse) -> Response:
    html = bytes(made.body).decode()
    headers = {POLICY_HEADER: page_policy(html=html, inline_styles=True), "Cache-Control": "no-cache"}
    return HTMLResponse(html, headers=headers)


_SWAGGER = _page(
    get_swagger_ui_html(
        openapi_url=_OPENAPI,
        title=_TITLE,
        swagger_js_url=f"{_FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{_FILES}/swagger-ui.css",
        swagger_favicon_url=_ICON,
    )
)
_REDOC = _page(
    get_redoc_html(
        openapi_url=_OPENAPI,
        title=_TITLE,
        redoc_js_url=f"{_FILES}/redoc.standalone.js",
        redoc_favicon_url=_ICON,
        with_google_fonts=False,
    )
)
