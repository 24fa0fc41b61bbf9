"""Who is asking: passwords by Argon2id, access tokens as JWT, and roles for the routes."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, TypeVar

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer
from fastapi.security.base import SecurityBase
from fastapi.security.utils import get_authorization_scheme_param
from msgspec import Struct
from msgspec.structs import replace

from domain.errors import Unauthenticated, WeakPassword
from domain.marketplace.party import Membership
from domain.orders.lifecycle import Role
from gateway.http.credentials import is_guessable
from gateway.http.fair_queue import NOBODY, Asker, FairQueue
from gateway.http.policy import Policy, RouteTable

T = TypeVar("T")

ALGORITHM = "HS256"
ISSUER = "doorstep"
# OWASP's minimum for Argon2id: 19 MiB, two passes, one lane. The memory is why only a few run at once.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
HASHES_AT_ONCE = 4
LEEWAY_S = 1.0  # a token may be of a node whose clock is ahead by so much; when it ends, this clock says
KNOWN_LIMIT = 10_000  # verified tokens that are remembered, some 500 bytes each
# Who waits for a hash: in all, of one address, for one account of it.
HASHES_WAITING_LIMIT, HASHES_OF_ADDRESS_LIMIT, HASHES_OF_ACCOUNT_LIMIT = 256, 64, 4
NOT_VALID = "The access token is not valid, or no longer."


class Principal(Struct, frozen=True):
    """An account that was authenticated. `member`: whom it works for, where it is a merchant's."""

    id: str
    role: Role
    expires_s: float = math.inf  # of the token, seconds since the Unix epoch
    version: int = 1  # of the token: a later one of the account takes it back
    member: Membership | None = None

    @property
    def acts_for(self) -> str | None:
        """The merchant that it works for, empty for none yet; None for an account that acts for itself."""
        if self.role is not Role.MERCHANT:
            return None
        return "" if self.member is None else self.member.merchant_id

    @property
    def party_id(self) -> str:
        """Whose things are its own."""
        return self.id if self.acts_for is None else self.acts_for


class Tokens:
    """Access tokens. They live on wall time: the server's clock may run faster, a person's session does not."""

    def __init__(self, secret: str, ttl_s: int) -> None:
        self._secret = secret
        self.ttl_s = ttl_s
        # Tokens that were verified: the same comes with each request, and reading it takes a tenth of one's time.
        self._known: dict[str, Principal] = {}

    def issue(self, user_id: str, role: Role, version: int = 1) -> str:
        """A token for `ttl_s` seconds. `version`: the account's at this time."""
        now_s = int(time.time())
        claims = {"iss": ISSUER, "sub": user_id, "role": str(role), "iat": now_s, "exp": now_s + self.ttl_s}
        claims["ver"] = version
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def principal(self, token: str) -> Principal:
        """Whose token it is; `Unauthenticated` when it is not ours, not valid or too old."""
        known = self._known.get(token)
        if known is not None and known.expires_s > time.time():
            return known
        principal = self._read(token)
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        self._known[token] = principal
        return principal

    def _read(self, token: str) -> Principal:
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "sub", "role"]},
            )
            version = claims.get(
                "ver", 1
            )  # an account's first tokens, of before there were versions, have none
            principal = Principal(claims["sub"], Role(claims["role"]), float(claims["exp"]), int(version))
        except (jwt.PyJWTError, TypeError, ValueError, UnicodeError):
            raise Unauthenticated(NOT_VALID) from None
        if principal.expires_s <= time.time():
            raise Unauthenticated(NOT_VALID)
        return principal


class Passwords:
    """Argon2id in threads, a few at once."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self.queue = FairQueue(
            HASHES_AT_ONCE, HASHES_WAITING_LIMIT, HASHES_OF_ADDRESS_LIMIT, HASHES_OF_ACCOUNT_LIMIT
        )

    @cached_property
    def _nobody(self) -> str:
        """Verified against when there is no such account, so that the time taken tells nothing."""
        return self._hasher.hash("nobody")

    async def hash_new(self, password: str, email: str, name: str, asker: Asker = NOBODY) -> str:
        """The hash of a new password to store; `WeakPassword` for one that would soon be guessed."""

        def hash_it() -> str:
            if is_guessable(password, email, name):
                raise WeakPassword()
            return self._hasher.hash(password)

        return await self._in_thread(hash_it, asker)

    async def verify(self, stored: str | None, password: str, asker: Asker = NOBODY) -> bool:
        """Whether the password is the one that was stored; takes as long when nothing was (None)."""

        def check() -> bool:
            try:
                return self._hasher.verify(stored or self._nobody, password) and stored is not None
            except (Argon2Error, InvalidHashError):
                return False

        return await self._in_thread(check, asker)

    async def _in_thread(self, work: Callable[[], T], asker: Asker) -> T:
        async with self.queue.turn(asker):
            return await asyncio.to_thread(work)


bearer = OAuth2PasswordBearer(tokenUrl="/v1/auth/token", auto_error=False)


def principal_of(request: Request) -> Principal:
    """The principal of the request's bearer token."""
    state = request.scope["state"]
    known: Principal | None = state.get(
        "principal"
    )  # `gateway.http.ratelimit` or another parameter has read it
    if known is None:
        scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
        if scheme.lower() != "bearer":
            raise Unauthenticated()
        tokens: Tokens = request.app.state.services.tokens
        known = state["principal"] = tokens.principal(token)
    return known


def policy_of(request: Request) -> Policy:
    """What the route of the request says of itself."""
    table: RouteTable = request.app.state.routes
    return table.of(request.method, request.scope["route"].path)


class Caller(SecurityBase):
    """A dependency that lets those through whom the route's policy names. It stands on no other dependency: each of
    them takes the framework some 20 us of every request."""

    def __init__(self) -> None:
        self.model, self.scheme_name = bearer.model, bearer.scheme_name

    async def __call__(self, request: Request) -> Principal:
        principal = principal_of(request)
        member = await request.app.state.services.accounts.require(principal)
        if member is not None:  # known from here on, to what makes a call of the request as well
            principal = request.scope["state"]["principal"] = replace(principal, member=member)
        policy_of(request).require(principal.id, principal.role, request.path_params, principal.member)
        return principal


caller = Caller()
Me = Annotated[Principal, Depends(caller)]
