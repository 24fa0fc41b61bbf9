"""What the routes share: the services, ids in paths, answers as responses, and repeats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from fastapi import Depends, Path, Request
from starlette.responses import Response

from domain.errors import IdempotencyKeyReused, refusal
from domain.marketplace.change import Carried, Done
from domain.orders.records import Answer
from gateway.deciders.redaction import redacted
from gateway.http.idempotency import Call
from gateway.services import Services

V = TypeVar("V")


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Parts = Annotated[Services, Depends(_services)]
Uid = Annotated[UUID, Path(description="UUID")]


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON by msgspec, never cached."""
    return Response(
        msgspec.json.encode(body),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        "application/json",
    )


def etag(version: int) -> dict[str, str]:
    """The header that names a version."""
    return {"ETag": f'"{version}"'}


def answered(answer: Answer, view: type[V], status: int = 200, *, replayed: bool = False) -> Response:
    """A decider's answer as a response, which has what `view` has; raises the refusal that it stands for."""
    answer = redacted(answer)
    if answer.code is not None:
        raise refusal(answer.code, answer.detail)
    body = answer.body
    if "id" not in body and "order_id" in body:
        body = body | {"id": body["order_id"]}
    return shown(msgspec.convert(body, view), replayed, status, version=body.get("version"))


def shown(view: Any, replayed: bool = False, status: int = 200, *, version: int | None = None) -> Response:
    """What a change came to, as a response."""
    headers = {"Idempotency-Replayed": "true"} if replayed else {}
    return json_response(view, status, headers if version is None else headers | etag(version))


async def carry_out(
    services: Services, call: Call, action: Any, show: Callable[[Any], V], view: type[V]
) -> Carried[V]:
    """Carry out a change of the marketplace's records that the principal asks for, or give its first answer."""
    command = call.change(action, services.config.clock.now_ms())
    return await services.marketplace.carry_out(command, show, view)


async def keep(services: Services, call: Call, view: V) -> tuple[V, bool]:
    """Keep an answer for repeats whose effect is in no record. Returns the first one, and whether it is another's."""
    kept = await carry_out(services, call, Done(view), lambda shown: shown, type(view))
    return kept.view, kept.replayed


async def once(
    services: Services, call: Call, decide: Callable[[], Awaitable[Answer]], view: type[Any]
) -> Response:
    """The first answer to this call if it is a repeat, else what `decide` says now, as a response.

    The look-up comes first so that a repeat calls no vendor; two at the same moment are told apart by whoever decides.
    """
    first = await first_answer(services, call)
    return answered(await decide() if first is None else first, view, replayed=first is not None)


async def first_answer(services: Services, call: Call) -> Answer | None:
    """The first answer to this call, if it is a repeat. `IdempotencyKeyReused` when the key was used for something
    else."""
    stored = await services.reads.stored_answer(call.scope, call.key) if call.given else None
    if stored is not None and stored.fingerprint != call.fingerprint:
        raise IdempotencyKeyReused()
    return None if stored is None else stored.answer
