"""Swagger UI and ReDoc, from files that the web build puts beside the browser app, so that they need no network."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import HTMLResponse, Response

from gateway.http.browsers import POLICY_HEADER, page_policy

router = APIRouter(include_in_schema=False)

_TITLE = "Doorstep"
_OPENAPI, _FILES = "/openapi.json", "/ops/api-docs"
_ICON = "/ops/favicon.svg"


@router.get("/openapi.json")
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


@router.get("/docs")
async def swagger() -> Response:
    """The REST interface, to try out."""
    return _SWAGGER


@router.get("/redoc")
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
