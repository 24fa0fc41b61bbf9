"""Access can be taken away: by deletion, disabling, another role, or a later version of the account's tokens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection

import pytest
from msgspec.structs import replace

from domain.errors import StoreUnavailable, Unauthenticated
from domain.marketplace.accounts import User
from domain.orders.lifecycle import Role
from gateway.http.account_status import Accounts
from gateway.http.auth import Principal
from gateway.rest.ops import _while_allowed
from persistence.reads.views import Holder
from tests.support.gateway_world import PASSWORD, World

CHANGES = {
    "deleted": None,
    "disabled": {"disabled_ms": 1},
    "demoted": {"role": Role.CUSTOMER},
    "signed out": {"token_version": 2},
}


def change(world: World, user_id: str, what: str) -> User:
    """Do that to the account; returns what it was."""
    user, changes = world.reads.users.pop(user_id), CHANGES[what]
    if changes is not None:
        world.reads.users[user_id] = replace(user, **changes)
    return user


@pytest.fixture
def impatient(world: World) -> World:
    """A world that believes nothing for longer than a moment."""
    world.services.accounts = Accounts(world.reads, 0.0)
    return world


@pytest.mark.parametrize("what", CHANGES)
async def test_a_token_is_worth_nothing_once_its_account_has_changed(impatient: World, what: str) -> None:
    user_id, headers = await impatient.account(Role.DISPATCHER)
    for path in ("/v1/me", "/v1/offers", "/v1/orders"):
        assert (await impatient.http.get(path, headers=headers)).status_code == 200
    before = change(impatient, user_id, what)
    for path in ("/v1/me", "/v1/offers", "/v1/orders"):
        refused = await impatient.http.get(path, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHENTICATED"), path
    impatient.reads.users[user_id] = before
    assert (await impatient.http.get("/v1/me", headers=headers)).status_code == 200


@pytest.mark.parametrize("what", CHANGES)
async def test_mission_controls_stream_ends_with_its_viewers_account(impatient: World, what: str) -> None:
    user_id, _ = await impatient.account(Role.DISPATCHER)
    viewer = Principal(user_id, Role.DISPATCHER, time.time() + 60)
    seen = _while_allowed(impatient.services, viewer, frames())
    assert await anext(seen) == b"frame"
    change(impatient, user_id, what)
    with pytest.raises(StopAsyncIteration):
        await anext(seen)


async def test_mission_controls_stream_ends_with_its_token(world: World) -> None:
    user_id, _ = await world.account(Role.DISPATCHER)
    seen = _while_allowed(world.services, Principal(user_id, Role.DISPATCHER, time.time() - 1), frames())
    with pytest.raises(StopAsyncIteration):
        await anext(seen)


async def frames() -> AsyncIterator[bytes]:
    while True:
        yield b"frame"


async def test_only_who_knows_the_password_hears_that_the_account_is_disabled(world: World) -> None:
    body = {"email": "ann@example.org", "password": PASSWORD, "role": "driver", "name": "Ann"}
    user_id = (await world.http.post("/v1/auth/register", json=body)).json()["user_id"]
    change(world, user_id, "disabled")
    codes = []
    for password in (PASSWORD, "another one"):
        form = {"username": "ann@example.org", "password": password}
        codes.append((await world.http.post("/v1/auth/token", data=form)).json()["code"])
    assert codes == ["ACCOUNT_DISABLED", "UNAUTHENTICATED"]


async def test_who_signs_in_again_gets_a_token_of_the_accounts_version(impatient: World) -> None:
    body = {"email": "ann@example.org", "password": PASSWORD, "role": "driver", "name": "Ann"}
    user_id = (await impatient.http.post("/v1/auth/register", json=body)).json()["user_id"]
    change(impatient, user_id, "signed out")
    form = {"username": "ann@example.org", "password": PASSWORD}
    token = (await impatient.http.post("/v1/auth/token", data=form)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await impatient.http.get("/v1/me", headers=headers)).status_code == 200


async def test_what_was_looked_up_is_believed_for_a_while_and_not_for_longer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id, _ = await world.account(Role.DRIVER)
    who, looks = Principal(user_id, Role.DRIVER), 0
    plain = world.reads.revoked

    async def counted(holders: Collection[Holder]) -> set[Holder]:
        nonlocal looks
        looks += 1
        return await plain(holders)

    monkeypatch.setattr(world.reads, "revoked", counted)
    accounts = Accounts(world.reads, 60.0)
    await asyncio.gather(accounts.require(who), accounts.require(who))
    await accounts.require(who)
    assert looks == 1
    with pytest.raises(Unauthenticated):  # the same account by another word is another question
        await accounts.require(Principal(user_id, Role.ADMIN))
    clock = asyncio.get_running_loop()
    later_s = clock.time() + 61
    monkeypatch.setattr(clock, "time", lambda: later_s)
    change(world, user_id, "deleted")
    with pytest.raises(Unauthenticated):
        await accounts.require(who)


async def test_nobody_is_let_in_on_trust_while_the_database_is_away(
    impatient: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, headers = await impatient.account(Role.DRIVER)

    async def away(holders: Collection[Holder]) -> set[Holder]:
        raise StoreUnavailable()

    monkeypatch.setattr(impatient.reads, "revoked", away)
    refused = await impatient.http.get("/v1/regions/tx-dfw/stats", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (503, "STORE_UNAVAILABLE")
    monkeypatch.undo()
    assert (await impatient.http.get("/v1/me", headers=headers)).status_code == 200
