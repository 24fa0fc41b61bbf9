"""The public REST interface as a well-behaved client uses it: one key per request, repeats with the same key."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections import Counter
from typing import Any

import httpx
import msgspec
from msgspec import Struct

RETRY_STATUS = frozenset({429, 502, 503, 504})
RETRY_AFTER_LIMIT_S = 5.0


class Reply(Struct, frozen=True):
    """An answer; status 0 means that none came."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """The error's code, or the HTTP status where the answer has none."""
        return str(self.body.get("code", self.status)) if isinstance(self.body, dict) else str(self.status)

    def field(self, name: str) -> Any:
        """A field of an answer that must be there; `ServerRefused` when the request failed."""
        if not self.ok or not isinstance(self.body, dict) or name not in self.body:
            detail = self.body.get("detail", "") if isinstance(self.body, dict) else ""
            raise ServerRefused(f"{self.code} {detail}".strip())
        return self.body[name]


class ServerRefused(Exception):
    """The server refused something without which there is no going on."""


class Account(Struct, kw_only=True):
    """A user of the server. `token` and `user_id` are filled by `Api.sign_in`, `merchant_id` by `enter_business`."""

    email: str
    password: str
    role: str
    name: str
    user_id: str = ""
    token: str = ""
    merchant_id: str = ""  # whom it works for


class Api:
    """One server. Requests share a connection pool; all times are wall time."""

    def __init__(self, server: str, *, connections: int = 64, patience_s: float = 60.0) -> None:
        self.server = server.rstrip("/")
        self.stats: Counter[str] = Counter()
        self._patience_s = patience_s
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        # A proxy of the environment has no business between the demo and its server.
        self._http = httpx.AsyncClient(base_url=self.server, timeout=20.0, limits=limits, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    @property
    def socket_url(self) -> str:
        """Where drivers connect."""
        return "ws" + self.server.removeprefix("http") + "/v1/drivers/ws"

    async def request(
        self,
        method: str,
        path: str,
        *,
        account: Account | None = None,
        body: Any = None,
        form: dict[str, str] | None = None,
        key: str | None = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Ask until there is an answer or patience ends; signs in again when the token has run out."""
        until_s, wait_s, errors, signed_in = time.monotonic() + self._patience_s, 0.2, 0, False
        while True:
            reply, after_s = await self._once(method, path, account, body, form, key, params, headers or {})
            self.stats["requests"] += 1
            if reply.status == 401 and account is not None and not signed_in:
                signed_in = True
                await self._fetch_token(account)
                continue
            errors += reply.status == 500
            again = reply.status == 0 or reply.status in RETRY_STATUS or (reply.status == 500 and errors < 3)
            wait_s = min(RETRY_AFTER_LIMIT_S, max(after_s, wait_s))
            if not again or time.monotonic() + wait_s > until_s:
                return reply
            self.stats["retries"] += 1
            await asyncio.sleep(wait_s * random.uniform(0.7, 1.3))
            wait_s *= 2

    async def _once(
        self,
        method: str,
        path: str,
        account: Account | None,
        body: Any,
        form: dict[str, str] | None,
        key: str | None,
        params: dict[str, str] | None,
        headers: dict[str, str],
    ) -> tuple[Reply, float]:
        if account is not None:
            headers = headers | {"Authorization": f"Bearer {account.token}"}
        if key is not None:
            headers = headers | {"Idempotency-Key": key}
        try:
            answer = await self._http.request(
                method, path, json=body, data=form, headers=headers, params=params
            )
        except httpx.TransportError as error:
            self.stats[f"transport:{type(error).__name__}"] += 1
            return Reply(0, {"code": type(error).__name__, "detail": str(error)}), 0.0
        try:
            content = msgspec.json.decode(answer.content) if answer.content else {}
        except msgspec.DecodeError:
            content = {"detail": answer.text[:200]}
        after = answer.headers.get("Retry-After", "0")
        return Reply(answer.status_code, content), float(after) if after.isdigit() else 0.0

    # -- accounts -----------------------------------------------------------------------------------------------------

    async def sign_in(self, account: Account) -> Account:
        """Register the account, or take the token of the one that an earlier run left."""
        registration = {
            "email": account.email, "password": account.password, "role": account.role, "name": account.name,
        }  # fmt: skip
        reply = await self.request("POST", "/v1/auth/register", body=registration)
        if reply.status == 409:
            await self._fetch_token(account)
        else:
            account.token, account.user_id = str(reply.field("access_token")), str(reply.field("user_id"))
        return account

    async def _fetch_token(self, account: Account) -> None:
        form = {"username": account.email, "password": account.password}
        reply = await self.request("POST", "/v1/auth/token", form=form)
        account.token = str(reply.field("access_token"))
        account.user_id = subject_of(account.token)

    async def renew(self, account: Account) -> None:
        """A fresh token, for the socket (requests renew theirs by themselves)."""
        await self._fetch_token(account)


def subject_of(token: str) -> str:
    """The `sub` claim of a JWT, which a client may read without the key."""
    claims = token.split(".")[1]
    decoded = msgspec.json.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    return str(decoded["sub"])
