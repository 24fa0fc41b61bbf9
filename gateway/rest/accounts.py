"""Accounts: register, sign in, who am I."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordRequestForm
from msgspec import Struct
from starlette.responses import Response

from domain.errors import AccountDisabled, EmailTaken, Unauthenticated
from domain.marketplace.accounts import OpenAccount, User
from domain.orders.lifecycle import Role
from gateway.http.auth import Me
from gateway.http.credentials import PASSWORD_MAX, email_key, is_storable, password_of
from gateway.http.fair_queue import Asker
from gateway.http.idempotency import Mutation
from gateway.http.policy import Door, Need, Policy
from gateway.http.ratelimit import address_of
from gateway.rest.kit.answers import Parts, carry_out, first_answer, json_response, shown
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Register
from gateway.rest.views import AccountView, Registered, Token
from gateway.services import Services

routes = Routes("accounts")

EMAIL_LIMIT = 320  # characters that are looked at


class _Opened(Struct, frozen=True):
    """What is kept of a registration for repeats."""

    user_id: str
    role: Role

    @classmethod
    def of(cls, user: User) -> _Opened:
        return cls(user.user_id, user.role)


def _version_of(user: User) -> int:
    """The version of tokens that an account gets whose password was shown; `AccountDisabled` where it gets none."""
    if user.disabled_ms is not None:
        raise AccountDisabled()
    return user.token_version


def _asker(request: Request, services: Services, account: str) -> Asker:
    return Asker(address_of(request.scope, services.config.limits.trusted_proxies), account)


@routes.post(
    "/v1/auth/register",
    Policy(roles=Door.OPEN, key=Need.MAY, limit="sign_in"),
    Registered,
    status=201,
    refuses=(
        "EMAIL_TAKEN",
        "WEAK_PASSWORD",
    ),
)
async def register(
    body: Register,
    request: Request,
    call: Mutation,
    services: Parts,
) -> Response:
    """Make an account of role customer, merchant or driver, and sign it in."""
    await services.limiter.check("account", body.email)
    asker = _asker(request, services, body.email)
    # Neither password nor token is kept: whoever repeats it shows the password again and gets a token of now.
    call.covers(body, but="password")

    first = await first_answer(services, call)  # before the password is hashed
    if first is None:
        user = User(
            user_id=services.new_id(),
            email=body.email,
            password_hash=await services.passwords.hash_new(body.password, body.email, body.name, asker),
            role=Role(body.role),
            name=body.name,
            created_ms=services.config.clock.now_ms(),
        )
        opened = await carry_out(services, call, OpenAccount(user), _Opened.of, _Opened)
        account, replayed = opened.view, opened.replayed
    else:
        account, replayed = msgspec.convert(first.body, _Opened), True
    version = 1
    if replayed:
        known = await services.reads.user(account.user_id)
        if known is None or not await services.passwords.verify(known.password_hash, body.password, asker):
            raise EmailTaken()
        version = _version_of(known)
    token = services.tokens.issue(account.user_id, account.role, version)
    answer = Registered(
        user_id=account.user_id, role=account.role, access_token=token, expires_in=services.tokens.ttl_s
    )
    return shown(answer, replayed, 201)


@routes.post(
    "/v1/auth/token",
    Policy(roles=Door.OPEN, limit="sign_in", form=True),
    Token,
    refuses=(
        "ACCOUNT_DISABLED",
        "OVERLOADED",
        "PAYLOAD_TOO_LARGE",
    ),
)
async def token(
    form: Annotated[OAuth2PasswordRequestForm, Depends()], request: Request, services: Parts
) -> Response:
    """Sign in with e-mail address and password (the OAuth2 password form)."""
    email = email_key(form.username[:EMAIL_LIMIT])
    await services.limiter.check("account", email)
    try:
        password = password_of(form.password[: 4 * PASSWORD_MAX])
    except ValueError:
        password = ""  # nobody's
    unfit = len(form.username) > EMAIL_LIMIT or not password or not is_storable(email)
    user = None if unfit else await services.reads.user_by_email(email)
    # An account's existence does not show: the hash is computed either way.
    right = await services.passwords.verify(
        user.password_hash if user else None,
        password,
        _asker(request, services, email),
    )
    if user is None or not right:
        raise Unauthenticated("E-mail address and password do not match.")
    answer = Token(
        access_token=services.tokens.issue(user.user_id, user.role, _version_of(user)),
        expires_in=services.tokens.ttl_s,
    )
    return json_response(answer)


@routes.get("/v1/me", Policy(roles=Door.SIGNED_IN), AccountView)
async def me(principal: Me, services: Parts) -> Response:
    """The account of the access token."""
    user = await services.reads.user(principal.id)
    if user is None:
        raise Unauthenticated("The account is gone.")
    member = principal.member
    works_for = (None, None) if member is None else (member.merchant_id, member.job)
    return json_response(AccountView(user.user_id, user.role, user.email, user.name, *works_for))
