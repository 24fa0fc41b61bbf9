"""Every refusal as RFC 9457 problem details, whatever raised it."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from domain.errors import (
    CATALOGUE,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    Refusal,
    Unauthenticated,
    UnsupportedMediaType,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:doorstep:error:"
INSTANCE_PREFIX = "urn:doorstep:request:"
ERRORS_LIMIT = 20  # places named in one validation error
NAME_LIMIT = 64  # characters of a name that a client chose, where it is part of a place
MESSAGE_LIMIT = 200

# What a framework's own refusals are in our catalogue.
_BY_STATUS: dict[int, type[Refusal]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    422: InvalidRequest,
}


def problem(error: Refusal, request_id: str, **extra: Any) -> Response:
    """The response for a refusal."""
    body, headers = content(error, request_id, **extra)
    return Response(body, error.status, headers, MEDIA_TYPE)


def content(error: Refusal, request_id: str, **extra: Any) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a refusal."""
    body = {
        "type": TYPE_PREFIX + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "instance": INSTANCE_PREFIX + request_id,
        **({"hint": error.hint} if error.hint else {}),
        **extra,
    }
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_s is not None:
        body["retry_after"] = error.retry_after_s
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return msgspec.json.encode(body), headers


def request_id_of(request: Request) -> str:
    """The id that `gateway.http.middleware` gave the request."""
    return str(request.scope.get("state", {}).get("request_id", "-"))


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return problem(error, request_id_of(request))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    ours = _BY_STATUS.get(error.status_code, InvalidRequest if error.status_code < 500 else InternalError)
    response = problem(ours(), request_id_of(request))
    if error.status_code == 405:
        # The framework names those of the first route that fits the path.
        response.headers["Allow"] = ", ".join(request.app.state.routes.methods(request.scope["path"]))
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    """Where the request is wrong and why. Never what was sent: it may be personal, or not be JSON at all."""
    assert isinstance(error, RequestValidationError)
    places = [
        {"at": ".".join(str(part)[:NAME_LIMIT] for part in item["loc"]), "message": _message(item)}
        for item in error.errors()[:ERRORS_LIMIT]
    ]
    return problem(InvalidRequest(), request_id_of(request), errors=places)


def _message(item: dict[str, Any]) -> str:
    if item["type"] == "json_invalid":
        return f"This is not the JSON of one value: {item['ctx']['error']}."[:MESSAGE_LIMIT]
    return str(item["msg"])[:MESSAGE_LIMIT]


def install(app: FastAPI) -> None:
    """Make the app answer every error with problem details."""
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


SCHEMA = {
    "title": "Problem",
    "description": "RFC 9457 problem details. `code` is of the error catalogue (docs/errors.md).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": sorted(CATALOGUE)},
        "instance": {"type": "string", "format": "uri"},
        "hint": {"type": "string"},
        "retry_after": {"type": "integer", "description": "Seconds; also in the Retry-After header."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"at": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_GENERAL = ("INVALID_REQUEST", "UNAUTHENTICATED", "RATE_LIMITED", "STORE_UNAVAILABLE", "INTERNAL_ERROR")
_BODY = ("PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE")
_MUTATION = ("IDEMPOTENCY_KEY_REUSED", "OVERLOADED", "REGION_UNAVAILABLE")


def refusals(*codes: str, mutation: bool = False) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what it can refuse with, by status, with the codes in the description."""
    named = [*_GENERAL, *codes, *((*_BODY, *_MUTATION) if mutation else ())]
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(named):
        by_status.setdefault(CATALOGUE[code].status, []).append(code)
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in found),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, found in sorted(by_status.items())
    }
