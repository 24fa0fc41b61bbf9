"""What the routes share: the services, ids in paths, answers as responses, and repeats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import msgspec
from fastapi import Depends, Path, Request
from starlette.responses import Response

from domain.errors import IdempotencyKeyReused, NotFound, refusal
from domain.orders.records import Answer
from gateway.deciders.redaction import outward
from gateway.http.idempotency import Call
from gateway.services import Services
from persistence.reads.views import AnswerKept


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Parts = Annotated[Services, Depends(_services)]
Show: TypeAlias = Callable[[dict[str, Any]], Any]
Uid = Annotated[UUID, Path(description="UUID")]


def own(path_id: UUID, principal_id: str) -> str:
    """The id in the path, which must be the principal's own; another's is not found."""
    if str(path_id) != principal_id:
        raise NotFound()
    return principal_id


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


def answered(
    answer: Answer, status: int = 200, *, replayed: bool = False, show: Show | None = None
) -> Response:
    """An answer as a response; raises the refusal that it stands for. `show`: what the client sees of its body."""
    answer = outward(answer)
    if answer.code is not None:
        raise refusal(answer.code, answer.detail)
    body = dict(answer.body)
    if "id" not in body and "order_id" in body:
        body["id"] = body["order_id"]
    headers = {"Idempotency-Replayed": "true"} if replayed else {}
    if isinstance(version := body.get("version"), int):
        headers |= etag(version)
    return json_response(show(body) if show else body, status, headers)


async def once(
    services: Services,
    call: Call,
    decide: Callable[[], Awaitable[Answer]],
    status: int = 200,
    show: Show | None = None,
) -> Response:
    """`first_or` as a response."""
    answer, replayed = await first_or(services, call, decide)
    return answered(answer, status, replayed=replayed, show=show)


async def first_or(
    services: Services, call: Call, decide: Callable[[], Awaitable[Answer]]
) -> tuple[Answer, bool]:
    """The first answer to this call and True if it is a repeat, else what `decide` says now.

    `IdempotencyKeyReused` when the key was used for something else. The look-up comes first so that a repeat calls no
    vendor; two at the same moment are told apart by whoever decides, or by `AnswerKept` where the answer is kept.
    """
    stored = await services.reads.stored_answer(call.scope, call.key) if call.given else None
    if stored is None:
        try:
            return await decide(), False
        except AnswerKept as kept:
            stored = kept.first
    if stored.fingerprint != call.fingerprint:
        raise IdempotencyKeyReused()
    return stored.answer, True


async def keep(services: Services, call: Call, answer: Answer) -> None:
    """Keep the answer for repeats where the effect itself is nowhere in the database; `AnswerKept` as for others."""
    first = call.first(answer, services.config.clock.now_ms())
    if first is not None:
        await services.reads.keep(first)
