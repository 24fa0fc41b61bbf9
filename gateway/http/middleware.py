"""Round every HTTP request: its id, its log line, its numbers, and a problem instead of a stack trace."""

from __future__ import annotations

import logging
import random
import re
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.telemetry.tracing import Root, ids, on_behalf_of
from domain.errors import InternalError, Overloaded, PayloadTooLarge
from gateway.http.admission import Admission
from gateway.http.browsers import API_POLICY, HEADERS, POLICY_HEADER
from gateway.http.metrics import METHODS, Metrics
from gateway.http.policy import RouteTable
from gateway.http.problem import problem

_log = structlog.stdlib.get_logger(__name__)
_says = logging.getLogger(__name__)  # whether anybody reads a line is cheaper to ask here

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_POLICY = POLICY_HEADER.lower().encode()
_API_HEADERS = (*HEADERS, (_POLICY, API_POLICY.encode()))
_HAS_BODY = frozenset({b"content-length", b"transfer-encoding"})
_chance = random.Random()
SLOW_S = 1.0  # a request that takes longer is logged even if it went well


class Requests:
    """Pure ASGI, so that streams and sockets pass untouched."""

    def __init__(
        self, app: ASGIApp, routes: RouteTable, metrics: Metrics, admission: Admission, body_limit_bytes: int
    ) -> None:
        self._app, self._routes = app, routes
        self._body_limit_bytes = body_limit_bytes
        self._metrics, self._admission = metrics, admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = traceparent = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
            elif name == b"traceparent":
                traceparent = value
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else f"{_chance.getrandbits(128):032x}"
        policy = self._routes.find(scope["method"], scope["path"])
        scope.setdefault("state", {}).update(request_id=request_id, policy=policy)
        root = Root(request_id, scope["method"], traceparent.decode("latin-1"), traced=policy.traced)
        started_s = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.get("headers", ())
                message["headers"] = [
                    *given,
                    (b"x-request-id", request_id.encode()),
                    *(HEADERS if any(name == _POLICY for name, _ in given) else _API_HEADERS),
                ]
            await send(message)

        with structlog.contextvars.bound_contextvars(**ids((root.origin,))), on_behalf_of((root.origin,)):
            try:
                receive = await self._with_body(scope, receive)
                with self._admission.request(policy.kind):
                    await self._app(scope, receive, send_with_id)
            except (Overloaded, PayloadTooLarge) as error:
                if status:
                    raise
                await problem(error, request_id)(scope, receive, send_with_id)
            except Exception:
                _log.exception("request failed", method=scope["method"], route=_template(scope))
                if status:
                    raise  # the response has begun: all that is left is to break it off
                await problem(InternalError(), request_id)(scope, receive, send_with_id)
            finally:
                took_s = time.perf_counter() - started_s
                route = _template(scope)
                method = scope["method"] if scope["method"] in METHODS else "other"
                self._metrics.requests.labels(method, route, str(status)).inc()
                self._metrics.request_s.labels(route).observe(took_s)
                root.end(f"{method} {route}", failed=status >= 500, status=status)
                if status >= 500 or took_s > SLOW_S or _says.isEnabledFor(logging.DEBUG):
                    _log.info("request", method=method, route=route, status=status, took_s=round(took_s, 3))

    async def _with_body(self, scope: Scope, receive: Receive) -> Receive:
        """Wait for the whole body: until it is in, a request takes no place among those under way. Our own server has
        it before (`gateway.http.listener.framing`); `PayloadTooLarge` is for others."""
        length = next((value for name, value in scope["headers"] if name in _HAS_BODY), b"0")
        if length == b"0":
            return receive
        if length.isdigit() and int(length[:20]) > self._body_limit_bytes:
            raise PayloadTooLarge()
        message = await receive()
        body = bytearray(message.get("body", b""))
        while message.get("more_body") and len(body) <= self._body_limit_bytes:
            message = await receive()
            body += message.get("body", b"")
        if len(body) > self._body_limit_bytes:
            raise PayloadTooLarge()
        if message["type"] == "http.request":
            message = {"type": "http.request", "body": bytes(body), "more_body": False}
        waiting = [message]

        async def receive_whole() -> Message:
            return waiting.pop() if waiting else await receive()

        return receive_whole


def _template(scope: Scope) -> str:
    """The route's template: paths hold ids, and a label for each would fill the memory."""
    route = scope.get("route")
    context = scope.get("fastapi_effective_route_context") or scope.get("effective_route_context")
    return str(getattr(context, "path", None) or getattr(route, "path", None) or "unmatched")
