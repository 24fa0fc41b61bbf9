"""Accounts from the command line: operators are made here, and anybody's access is taken away."""

from __future__ import annotations

import time
import uuid
from typing import Any

from domain.errors import EmailTaken, StoreUnavailable, WeakPassword
from domain.marketplace.accounts import OpenAccount, SetDisabled, User
from domain.marketplace.change import by_operator
from domain.orders.lifecycle import Role
from doorstep.cli.up import Say, database
from doorstep.embedded.services import EmbeddedError
from doorstep.settings.settings import Settings
from gateway.http.auth import Passwords
from gateway.http.credentials import email_key, email_of, password_of
from gateway.http.policy import DESK
from persistence.engine import create_plain_engine
from persistence.marketplace.carry_out import Marketplace
from persistence.reads.reads import Reads

ACTOR = "command line"


async def create_user_command(
    settings: Settings, email: str, role: str, name: str, password: str, say: Say
) -> int:
    """Make an operator's account; prints its id."""
    if role not in DESK:
        say("The role is support, dispatcher or admin.")
        return 1
    try:
        email, password = email_of(email), password_of(password)
    except ValueError as error:
        say(f"The e-mail address or the password {error}.")
        return 1
    try:
        hashed = await Passwords().hash_new(password, email, name)
        async with database(settings, say) as url:
            user = User(
                user_id=str(uuid.uuid4()),
                email=email,
                password_hash=hashed,
                role=Role(role),
                name=name,
                created_ms=_now_ms(),
            )
            await _carry_out(url, OpenAccount(user))
    except (EmailTaken, WeakPassword, StoreUnavailable) as error:
        say(" ".join(filter(None, (error.detail, error.hint))))
        return 1
    except EmbeddedError as error:
        say(str(error))
        return 1
    print(user.user_id)
    return 0


async def disable_user_command(settings: Settings, email: str, say: Say, *, disabled: bool) -> int:
    """Take an account's access away within `ACCOUNT_KEEP_S` (REST, streams) and `WS_RECHECK_S` (sockets), or give it
    back: the person then signs in anew."""
    try:
        async with database(settings, say) as url:
            reads = Reads.connect(url)
            try:
                user = await reads.user_by_email(email_key(email))
            finally:
                await reads.close()
            if user is not None:
                await _carry_out(url, SetDisabled(user.user_id, _now_ms() if disabled else None))
    except (EmbeddedError, StoreUnavailable) as error:
        say(str(error))
        return 1
    if user is None:
        say("There is no account with this address.")
        return 1
    say(f"{user.user_id} is {'disabled' if disabled else 'enabled'}; its tokens are taken back.")
    return 0


async def _carry_out(url: str, action: Any) -> None:
    engine = create_plain_engine(url)
    try:
        await Marketplace(engine).carry_out(by_operator(action, _now_ms(), ACTOR), lambda _: {}, dict)
    finally:
        await engine.dispose()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
