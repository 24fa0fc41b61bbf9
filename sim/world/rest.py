"""REST in a simulated world: the gateway's own route functions, without the HTTP between."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec
from starlette.responses import Response

from domain.errors import InternalError, Refusal
from domain.region.messages import Device
from gateway.http.auth import Principal
from gateway.http.idempotency import Call
from gateway.rest import drivers, merchants, models, orders
from gateway.services import Services

Body = dict[str, Any]
_Route = Callable[[Services, Principal, Call, list[UUID], Body], Awaitable[Response]]

# template -> the route's function, called as FastAPI calls it once path, body and token have been read
ROUTES: dict[str, _Route] = {
    "/v1/orders": lambda s, who, call, _, body: orders.create(models.NewOrder(**body), who, call, s),
    "/v1/orders/{}/verify_age": lambda s, who, call, ids, body: orders.verify_age(
        ids[0], models.VendorCheck(**body), who, call, s
    ),
    "/v1/orders/{}/payment/authorize": lambda s, who, call, ids, body: orders.authorize(
        ids[0], models.VendorCheck(**body), who, call, s
    ),
    "/v1/orders/{}/cancel": lambda s, who, call, ids, body: orders.cancel(
        ids[0], who, call, s, models.Cancel(**body)
    ),
    "/v1/orders/{}/doorstep_id_check/submit": lambda s, who, call, ids, body: orders.submit_id_check(
        ids[0], models.DoorCheck(**body), who, call, s
    ),
    "/v1/orders/{}/deliver/confirm": lambda s, who, call, ids, body: orders.deliver(ids[0], who, call, s),
    "/v1/orders/{}/refuse": lambda s, who, call, ids, body: orders.refuse(
        ids[0], models.Refuse(**body), who, call, s
    ),
    "/v1/merchants/{}/stores/{}/orders/{}/action": lambda s, who, call, ids, body: merchants.act(
        ids[0], ids[1], ids[2], models.Action(**body), who, call, s
    ),
    "/v1/tasks/{}/accept": lambda s, who, call, ids, _: drivers.accept(ids[0], who, call, s),
    "/v1/tasks/{}/reject": lambda s, who, call, ids, body: drivers.reject(
        ids[0], who, call, s, models.Decline(**body)
    ),
    "/v1/drivers/{}/duty": lambda s, who, call, ids, body: drivers.duty(
        ids[0], models.Duty(**body), who, call, s
    ),
    "/v1/tasks/{}/arrive": lambda s, who, call, ids, _: drivers.arrive(ids[0], who, call, s),
    "/v1/tasks/{}/pickup": lambda s, who, call, ids, _: drivers.pickup(ids[0], who, call, s),
    "/v1/tasks/{}/return/confirm": lambda s, who, call, ids, _: drivers.confirm_return(ids[0], who, call, s),
}
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


async def current(services: Services, principal: Principal) -> Body:
    """What a driver polls: open offers and tasks under way."""
    response = await drivers.current(UUID(principal.id), principal, services)
    body: Body = msgspec.json.decode(response.body)
    return body


async def post(
    services: Services, principal: Principal, path: str, key: str, body: Body, device: Device | None
) -> tuple[int, Body, str | None]:
    """Status and body of a POST, and for a status of 500 the exception behind it, in words."""
    template = _ID.sub("{}", path)
    call = Call(principal, "POST", template, path, key, None)
    call.device = device
    ids = [UUID(found) for found in _ID.findall(path)]
    try:
        response = await ROUTES[template](services, principal, call, ids, body)
    except Refusal as error:
        return error.status, {"code": error.code, "detail": error.detail}, None
    except Exception as error:
        return 500, {"code": InternalError.code}, f"{type(error).__name__}: {error}"
    return response.status_code, msgspec.json.decode(response.body), None
