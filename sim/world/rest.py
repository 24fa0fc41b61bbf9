"""REST in a simulated world: the gateway's own route functions, without the HTTP between."""

from __future__ import annotations

import re
from typing import Any, get_args, get_type_hints
from uuid import UUID

import msgspec
from pydantic import BaseModel

from domain.errors import InternalError, Refusal
from domain.region.messages import Device
from gateway.http.auth import Principal
from gateway.http.idempotency import Call
from gateway.rest import drivers
from gateway.rest.kit.routes import Declared
from gateway.rest.table import DECLARED
from gateway.services import Services

Body = dict[str, Any]
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
_PARAMETER = re.compile(r"\{(\w+)\}")
_POSTS = {_PARAMETER.sub("{}", one.path): one for one in DECLARED if one.method == "POST"}


async def current(services: Services, principal: Principal) -> Body:
    """What a driver polls: open offers and tasks under way."""
    response = await drivers.current(UUID(principal.id), principal, services)
    body: Body = msgspec.json.decode(response.body)
    return body


async def post(
    services: Services, principal: Principal, path: str, key: str, body: Body, device: Device | None
) -> tuple[int, Body, str | None]:
    """Status and body of a POST, and for a status of 500 the exception behind it, in words."""
    route, ids = _POSTS[_ID.sub("{}", path)], [UUID(found) for found in _ID.findall(path)]
    call = Call(principal, "POST", route.path, path, key, None)
    call.device = device
    in_path = dict(zip(_PARAMETER.findall(route.path), ids, strict=True))
    try:
        route.policy.require(principal.id, principal.role, in_path, principal.member)
        response = await route.endpoint(**_arguments(route, in_path, services, principal, call, body))
    except Refusal as error:
        return error.status, {"code": error.code, "detail": error.detail}, None
    except Exception as error:
        return 500, {"code": InternalError.code}, f"{type(error).__name__}: {error}"
    return response.status_code, msgspec.json.decode(response.body), None


def _arguments(
    route: Declared,
    in_path: dict[str, UUID],
    services: Services,
    principal: Principal,
    call: Call,
    body: Body,
) -> dict[str, Any]:
    """What the framework would call the route with, once path, body and token have been read."""
    given: dict[type, Any] = {Services: services, Principal: principal, Call: call}
    arguments: dict[str, Any] = dict(in_path)
    for name, hint in get_type_hints(route.endpoint).items():
        kind = next((one for one in get_args(hint) if one is not type(None)), hint)
        if hint in given:
            arguments[name] = given[hint]
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            arguments[name] = kind(**body)
    return arguments
