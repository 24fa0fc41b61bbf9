"""What a request has to look like before a route sees it, and the methods that every path has without a route."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import Forbidden, InvalidRequest, Refusal, UnsupportedMediaType
from gateway.http import etags
from gateway.http.admission import Kind
from gateway.http.browsers import is_welcome
from gateway.http.policy import RouteTable
from gateway.http.problem import problem

_FORM = re.compile(r"application/x-www-form-urlencoded", re.I)
_JSON = re.compile(r"application/(?:[a-z0-9.-]+\+)?json", re.I)
_UTF_8 = re.compile(r"""(?:\s*;\s*charset\s*=\s*"?utf-?8"?\s*)?""", re.I)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_ESCAPED = re.compile(rb"[\x00-\x1f\x7f]|%(?:[01][0-9a-fA-F]|7[fF])")
_OF_BODY = frozenset({b"content-length", b"content-type"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class RequestChecks:
    """Pure ASGI. A HEAD is a GET without its body, an OPTIONS names the methods."""

    def __init__(self, app: ASGIApp, routes: RouteTable, origins: Sequence[str]) -> None:
        self._app, self._routes, self._origins = app, routes, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if self._is_welcome(scope):
                await self._app(scope, receive, send)
            else:
                await receive()
                await send(
                    {"type": "websocket.close", "code": 1008, "reason": "this origin is not known here"}
                )
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (refusal := self._refusal(scope)) is not None:
            await problem(refusal, scope.get("state", {}).get("request_id", "-"))(scope, receive, send)
        elif scope["method"] == "OPTIONS" and (methods := self._routes.methods(scope["path"])):
            await send(_start(204, [(b"allow", ", ".join(methods).encode())]))
            await send({"type": "http.response.body", "body": b""})
        elif scope["method"] in ("GET", "HEAD"):
            known = [value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match"]
            send = _unless_known(known, send) if known else send
            await (self._app if scope["method"] == "GET" else self._head)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_welcome(self, scope: Scope) -> bool:
        given = dict(scope["headers"])  # of names that come twice the last: a browser says each once
        origin = given.get(b"origin")
        host = given.get(b"host", b"").decode("latin-1")
        return is_welcome(None if origin is None else origin.decode("latin-1"), host, self._origins)

    def _refusal(self, scope: Scope) -> Refusal | None:
        if _CONTROL.search(scope["path"]) or _CONTROL_ESCAPED.search(scope.get("query_string", b"")):
            return InvalidRequest("An address has no control characters.")
        if scope["state"]["policy"].admission is Kind.STREAM and not self._is_welcome(scope):
            return Forbidden("Pages of this origin may not read here: see ALLOWED_ORIGINS.")
        return _unreadable(scope) if scope["method"] in _WITH_BODY else None

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        ended = False
        scope["method"] = "GET"

        async def send_head(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                scope["method"] = "HEAD"  # the server looks at it again
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                ended = True

        async def receive_until_then() -> Message:
            return {"type": "http.disconnect"} if ended else await receive()

        try:
            await self._app(scope, receive_until_then, send_head)
        finally:
            scope["method"] = "HEAD"


def _unless_known(tags: list[str], send: Send) -> Send:
    """304 in place of what the client has already (If-None-Match)."""
    is_known = False

    async def send_unless(message: Message) -> None:
        nonlocal is_known
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            etag = next((value.decode("latin-1") for name, value in headers if name.lower() == b"etag"), None)
            if message["status"] == 200 and etag is not None and etags.is_known(etag, tags):
                is_known = True
                message = _start(
                    304, [(name, value) for name, value in headers if name.lower() not in _OF_BODY]
                )
        elif is_known:
            message = {**message, "body": b""}
        await send(message)

    return send_unless


def _unreadable(scope: Scope) -> Refusal | None:
    """Why a body cannot be read; None where there is none, or it can be."""
    told = {name: value.decode("latin-1") for name, value in scope["headers"]}
    if told.get(b"content-length", "0") == "0" and b"transfer-encoding" not in told:
        return None
    codings = [value.strip().lower() for name, value in scope["headers"] if name == b"content-encoding"]
    if any(coding not in (b"identity", b"") for coding in codings):
        return UnsupportedMediaType("Bodies are taken as they are, without a Content-Encoding.")
    form = scope["state"]["policy"].form
    wanted, kind = (_FORM, "application/x-www-form-urlencoded") if form else (_JSON, "application/json")
    given = told.get(b"content-type", "").strip()
    match = wanted.match(given)
    if match is None or _UTF_8.fullmatch(given, match.end()) is None:
        return UnsupportedMediaType(f"The body must be {kind}, in UTF-8, and say so in its Content-Type.")
    return None


def _start(status: int, headers: list[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}
