"""The access token under which an open socket runs: whose it is, and when it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from domain.errors import Forbidden
from domain.orders.lifecycle import Role
from gateway.http.auth import Principal

if TYPE_CHECKING:
    from gateway.services import Services


class SocketToken:
    """`on_end` is called when the newest token has ended, `on_grace_over` when no other came in `ws_auth_grace_s`."""

    def __init__(
        self, services: Services, on_end: Callable[[], None], on_grace_over: Callable[[], None]
    ) -> None:
        self._services, self._on_end, self._on_grace_over = services, on_end, on_grace_over
        self._expiry: asyncio.TimerHandle | None = None

    def show(self, token: str, driver_id: str = "") -> tuple[Principal, float]:
        """Take a token, which is to be this driver's if one is named; returns whose it is and the seconds of wall time
        for which it is valid. `Unauthenticated`, or `Forbidden` for one that is nobody's who may have a socket."""
        principal = self._services.tokens.principal(token)
        if principal.role is not Role.DRIVER:
            raise Forbidden("The socket is for drivers.")
        if driver_id and principal.id != driver_id:
            raise Forbidden("The token is another driver's.")
        valid_s = max(0.0, principal.expires_s - time.time())
        self._watch(valid_s)
        return principal, valid_s

    def stop(self) -> None:
        """Watch no longer."""
        if self._expiry is not None:
            self._expiry.cancel()

    def _watch(self, valid_s: float) -> None:
        self._call_later(valid_s, self._end)

    def _end(self) -> None:
        self._call_later(self._services.config.limits.ws_auth_grace_s, self._on_grace_over)
        self._on_end()

    def _call_later(self, delay_s: float, then: Callable[[], None]) -> None:
        self.stop()
        self._expiry = asyncio.get_running_loop().call_later(delay_s, then)
