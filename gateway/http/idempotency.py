"""A mutation's identity: who asks, on which route, under which key, for what."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from copy import copy
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Header, Request
from pydantic import BaseModel

from domain.errors import IdempotencyKeyRequired, InvalidRequest, VersionRequired
from domain.marketplace.change import Claim, Command
from domain.orders.commands import OrderAction, OrderCommand, PaymentAction
from domain.orders.lifecycle import Role
from domain.orders.records import Json
from domain.region.device import device_of, here_of
from domain.region.messages import Action, Ask, Device, Here
from gateway.http.auth import Principal, policy_of, principal_of
from gateway.http.etags import versions
from gateway.http.policy import DESK, Door, Need, plain
from gateway.rest.models import Digits, Instant, StepPlace

KEY_LIMIT = 255  # characters of an Idempotency-Key

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def fingerprint(method: str, path: str, body: Json) -> str:
    """SHA-256 of what is asked: the same key with another one is refused."""
    canonical = msgspec.json.encode(body, order="sorted")
    return hashlib.sha256(f"{method}\n{path}\n".encode() + canonical).hexdigest()


class Call:
    """One mutation. `given`: the client named the key, so that it may be a repeat. A key is one principal's on one
    route; on another order it is another request. Nothing is ever named after a key: what comes into being gets an id
    of its own, and a repeat finds the first answer."""

    def __init__(
        self,
        principal: Principal,
        method: str,
        template: str,
        path: str,
        key: str | None,
        if_match: tuple[int, ...] | None,
    ) -> None:
        self.principal = principal
        self.scope = f"{principal.id}|{method} {template}"
        self.given = key is not None
        # Without a key of the client's, one of our own makes our internal repeats safe.
        self.key = key or uuid.uuid4().hex
        self.if_match = if_match
        self.device: Device | None = None
        self.here: Here | None = None
        self._method = method
        self._path = path
        self._content: Json = None

    @property
    def fingerprint(self) -> str:
        """Of all that is asked."""
        return fingerprint(self._method, self._path, self._content)

    def covers(
        self, body: BaseModel | Sequence[BaseModel] | None, *, but: str = "", as_sent: bool = False
    ) -> Call:
        """Make the body part of what is asked; `but`: a field of which not even a digest may be kept. `as_sent`: null
        asks for something else than nothing does."""
        if isinstance(body, Sequence):
            self._content = [one.model_dump(mode="json", exclude_none=True) for one in body]
        elif body is not None and as_sent:
            self._content = body.model_dump(mode="json", exclude_unset=True, exclude={but})
        elif body is not None:
            self._content = body.model_dump(mode="json", exclude_none=True, exclude={but})
        return self

    def placed(self, body: StepPlace | None) -> Call:
        """Make the body part of what is asked, and what it says of where that is done."""
        if body is not None:
            self.here = here_of(body.lat, body.lng, body.override)
        return self.covers(body)

    def part(self, name: str) -> Call:
        """A step on the way to the call's answer, with an answer of its own for repeats. What the client's device says
        belongs to the whole."""
        part = copy(self)
        part.scope, part.device = f"{self.scope}|{name}", None
        return part

    def change(self, action: Any, at_ms: int) -> Command:
        """The call as a change of the marketplace's records: of the principal's own, for operators of anybody's."""
        principal, is_operator = self.principal, self.principal.role in DESK
        return Command(
            action=action,
            actor_id=principal.id,
            role=principal.role,
            at_ms=at_ms,
            owner_id=None if is_operator else principal.id,
            member=principal.member,
            claim=Claim(self.scope, self.key, self.fingerprint) if self.given else None,
            if_match=self.if_match,
            audit=is_operator,
        )

    def command(
        self, order_id: str, at_ms: int, action: OrderAction | PaymentAction, *, any_version: bool = False
    ) -> OrderCommand:
        """The call as a command to the rows. `any_version`: what the client has seen was looked at before."""
        return OrderCommand(
            scope=self.scope,
            key=self.key,
            fingerprint=self.fingerprint,
            role=self.principal.role,
            principal_id=self.principal.id,
            order_id=order_id,
            at_ms=at_ms,
            action=action,
            if_match=None if any_version else self.if_match,
            acts_for=self.principal.acts_for,
        )

    def ask(self, action: Action) -> Ask:
        """The call as a question to a region."""
        return Ask(
            scope=self.scope,
            key=self.key,
            fingerprint=self.fingerprint,
            role=self.principal.role,
            principal_id=self.principal.id,
            action=action,
            device=self.device,
            here=self.here,
            looked=True,
            acts_for=self.principal.acts_for,
        )


_Key = Annotated[
    str | None,
    Header(
        max_length=KEY_LIMIT,
        description="Makes a repeat harmless: the same key and body get the first answer, for a day.",
    ),
]
_Version = Annotated[
    str | None,
    Header(description="The versions (ETags) that you have seen, or `*`; 412 when it is at none of them."),
]


# Who calls where nobody has an account.
_NOT_ACCOUNTS: dict[object, Principal] = {
    Door.OPEN: Principal("anyone", Role.SYSTEM),
    Door.INTERNAL: Principal("internal", Role.SYSTEM),
}


async def _call(request: Request, idempotency_key: _Key = None, if_match: _Version = None) -> Call:
    policy = policy_of(request)
    principal = _NOT_ACCOUNTS.get(policy.roles) or principal_of(request)
    if idempotency_key is None and policy.key is Need.MUST:
        raise IdempotencyKeyRequired()
    if if_match is None and policy.version is Need.MUST:
        raise VersionRequired()
    return call_of(request, principal, idempotency_key)


def call_of(request: Request, principal: Principal, key: str | None) -> Call:
    """The call that a request makes. `InvalidRequest` for a key or a version that is not of the documented form."""
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest("An Idempotency-Key has 1 to 255 printable ASCII characters.")
    template, path = paths_of(request)
    seen = versions(request.headers.getlist("if-match"))  # of a header on several lines all count
    return Call(principal, request.method, template, path, key, seen)


def paths_of(request: Request) -> tuple[str, str]:
    """The route's template, and the path that was asked for with its query; ids as the server writes them, so that two
    spellings of one order are one order."""
    scope = request.scope
    route = scope.get("route")
    template: str = scope["path"] if route is None else route.path
    path = template
    for name, value in request.path_params.items():
        path = path.replace(f"{{{name}}}", plain(value))
    query = scope["query_string"].decode("latin-1")
    return template, f"{path}?{query}" if query else path


Mutation = Annotated[Call, Depends(_call)]


async def _driver_call(
    request: Request,
    idempotency_key: _Key = None,
    if_match: _Version = None,
    device_at: Annotated[
        Instant | None,
        Header(description="When the driver took this step, for one that is sent later (docs/protocol.md)."),
    ] = None,
    device_n: Annotated[
        int | None,
        Header(ge=0, le=2**53, description="A number that rises with every action of the driver."),
        Digits,
    ] = None,
) -> Call:
    call = await _call(request, idempotency_key, if_match)
    call.device = device_of(device_at, device_n)
    return call


DriverStep = Annotated[Call, Depends(_driver_call)]
CALLS: frozenset[Any] = frozenset({_call, _driver_call})  # what makes a call of a request
