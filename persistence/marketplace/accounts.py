"""Accounts."""

from __future__ import annotations

from domain.errors import EmailTaken
from domain.marketplace.accounts import OpenAccount, SetDisabled, User, open_account, set_disabled
from persistence import tables
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of

ACCOUNTS = Kind(
    aggregate="account",
    table=table_of(tables.User),
    record=User,
    owner="user_id",
    changes=("token_version", "disabled_ms"),
    missing="There is no such account.",
    refusals={"uq_users_email": EmailTaken, "pk_users": EmailTaken},
)
STEPS = {
    OpenAccount: Step(decide=open_account, kind=ACCOUNTS),
    SetDisabled: Step(decide=set_disabled, kind=ACCOUNTS, on=ACCOUNTS),
}
