"""JSON as clients send it, read without leniency: one meaning or none.

Refused are a key that comes twice in an object, at any depth, `NaN` and the infinities, numbers out of range, text that
is no Unicode, a byte-order mark, and nesting beyond what a parser takes. Types are `gateway.rest.models`' business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from domain.orders.records import Json

_decode, _encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode


class NotStrict(ValueError):
    """The text has no single meaning as JSON."""


def decode(data: bytes | str) -> Json:
    """The value; `NotStrict` when the data are no JSON or say a key twice."""
    try:
        value = _decode(data)
        if _repeats(data if isinstance(data, str) else data.decode(), value):
            raise NotStrict("an object has a key twice")
    except NotStrict:
        raise
    except RecursionError:
        raise NotStrict("it is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError):
        raise NotStrict("it is not well-formed") from None
    return value


def repeats_a_key(text: str) -> bool:
    """Whether some object of this well-formed JSON has a key twice."""
    try:
        value = _decode(text)
    except msgspec.ValidationError:  # a number that nobody can hold, where nobody asked for one
        return _repeats_slowly(text)
    return _repeats(text, value)


def _repeats(text: str, value: Json) -> bool:
    # A key that was read twice is in the value once: there are more quotation marks then than the value has use for.
    if "\\" not in text:
        try:
            return text.count('"') != _encode(value).count(b'"')
        except OverflowError:  # a whole number that is read and not written
            pass
    return _repeats_slowly(text)


def _repeats_slowly(text: str) -> bool:
    try:
        json.loads(text, object_pairs_hook=_unique, parse_int=str, parse_float=str)
    except NotStrict:
        return True
    return False


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrict
    return members


class StrictRequest(Request):
    """A request whose JSON is read by `decode`."""

    async def json(self) -> Json:
        try:
            return decode(await self.body())
        except NotStrict as error:
            # What the framework turns into a refusal that names the place; what was sent is not repeated.
            raise json.JSONDecodeError(str(error), "", 0) from None


class StrictRoute(APIRoute):
    """A route that reads its body strictly. Every router of ours makes its routes by it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def strictly(request: Request) -> Response:
            if not isinstance(request, StrictRequest):  # else somebody has its body already
                request = StrictRequest(request.scope, request.receive)
            return await handle(request)

        return strictly
