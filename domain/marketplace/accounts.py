"""Accounts: made by whoever registers or by the command line, disabled and enabled again by operators."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from domain.marketplace.change import Command, Decision
from domain.marketplace.customers import Customer
from domain.orders.lifecycle import Role


class User(Struct, frozen=True, kw_only=True):
    """An account; `email` in lower case. One of role merchant works for a merchant (`domain.marketplace.staff`)."""

    user_id: str
    email: str
    password_hash: str
    role: Role
    name: str
    created_ms: int
    token_version: int = 1  # of the tokens that are good; a higher one takes back those of before
    disabled_ms: int | None = None


class OpenAccount(Struct, frozen=True):
    """A new account."""

    user: User


class SetDisabled(Struct, frozen=True):
    """Take an account's access away, or give it back (None)."""

    user_id: str
    disabled_ms: int | None


def open_account(action: OpenAccount, before: None, command: Command) -> Decision:
    """Addresses are kept in lower case, so that each has one account. A customer's has its profile at once."""
    user = replace(action.user, email=action.user.email.lower())
    new: tuple[Struct, ...] = (user,)
    if user.role is Role.CUSTOMER:
        new += (Customer(customer_id=user.user_id, name=user.name, created_ms=user.created_ms),)
    return Decision(shown=user, new=new, event="opened")


def set_disabled(action: SetDisabled, before: User, command: Command) -> Decision:
    """Its tokens are taken back either way: the person signs in anew."""
    after = replace(before, disabled_ms=action.disabled_ms, token_version=before.token_version + 1)
    event = "enabled" if action.disabled_ms is None else "disabled"
    return Decision(shown=after, changed=after, event=event)
