"""Who approves the merchants of a demo or a benchmark: an operator made in the database of the server, where that is
ours, else one that is named by the environment."""

from __future__ import annotations

import hashlib
import os
import uuid

from domain.errors import EmailTaken
from domain.marketplace.accounts import OpenAccount, User
from domain.marketplace.change import by_operator
from domain.orders.lifecycle import Role
from doorstep.embedded.services import running_services
from doorstep.settings.settings import Settings
from gateway.http.auth import Passwords
from persistence.engine import create_plain_engine
from persistence.marketplace.carry_out import Marketplace
from sim.demo.api import Account
from sim.demo.business import know_operator
from sim.demo.setup import MAIL_DOMAIN

ACTOR = "command line"


async def employ_operator(server: str, database_url: str, password: str) -> Account:
    """Have the merchants at this server approved by an administrator with this password, who is made where there is
    none yet."""
    name = f"operator-{hashlib.sha256(password.encode()).hexdigest()[:8]}"
    account = Account(email=f"{name}@{MAIL_DOMAIN}", password=password, role="admin", name="Demo operator")
    user = User(
        user_id=str(uuid.uuid4()),
        email=account.email,
        password_hash=await Passwords().hash_new(password, account.email, account.name),
        role=Role.ADMIN,
        name=account.name,
        created_ms=0,
    )
    engine = create_plain_engine(database_url)
    try:
        command = by_operator(OpenAccount(user), 0, ACTOR)
        await Marketplace(engine).carry_out(command, lambda _: {}, dict)
    except EmailTaken:  # of an earlier run
        pass
    finally:
        await engine.dispose()
    know_operator(server, account)
    return account


async def find_operator(server: str, settings: Settings, password: str) -> None:
    """The same for a server that runs already: OPERATOR_EMAIL and OPERATOR_PASSWORD name an administrator of it, else
    the database of the settings, or of the server that runs here, is taken for its own."""
    if email := os.environ.get("OPERATOR_EMAIL"):
        secret = os.environ.get("OPERATOR_PASSWORD", "")
        know_operator(server, Account(email=email, password=secret, role="admin", name=""))
        return
    beside = running_services(settings.data_dir)
    url = settings.database_url or (beside.database_url if beside else None)
    if url is not None:
        await employ_operator(server, url, password)
