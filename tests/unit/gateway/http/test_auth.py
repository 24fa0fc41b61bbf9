"""Access tokens between nodes whose clocks differ."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from domain.errors import Unauthenticated
from domain.orders.lifecycle import Role
from gateway.http.auth import ALGORITHM, ISSUER, LEEWAY_S, Tokens
from tests.support.gateway_world import World

SECRET = "a secret of more than thirty-two characters"


def token(now_s: float, *, ttl_s: float = 60.0, secret: str = SECRET, **claims: Any) -> str:
    """One that a node whose clock says `now_s` has issued."""
    body = {"iss": ISSUER, "sub": "someone", "role": "driver", "iat": now_s, "exp": now_s + ttl_s, **claims}
    return jwt.encode(body, secret, algorithm=ALGORITHM)


@pytest.mark.parametrize("ahead_s", [-3600.0, 0.0, 0.5, 0.9 * LEEWAY_S])
def test_a_token_of_a_node_that_is_a_little_ahead_is_taken(ahead_s: float) -> None:
    now_s = time.time()
    made = token(now_s + ahead_s, ttl_s=7200.0, nbf=now_s + ahead_s)
    assert Tokens(SECRET, 60).principal(made).id == "someone"


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_one_of_the_future_is_not(claim: str) -> None:
    claims: dict[str, Any] = {claim: time.time() + 10 * LEEWAY_S}
    with pytest.raises(Unauthenticated):
        Tokens(SECRET, 60).principal(token(time.time(), **claims))


def test_the_end_is_not_put_off() -> None:
    tokens = Tokens(SECRET, 60)
    for _ in range(2):  # read, and remembered
        with pytest.raises(Unauthenticated):
            tokens.principal(token(time.time() - 60.0, ttl_s=60.0 - LEEWAY_S / 10))


async def test_the_same_holds_for_rest_and_sockets(world: World) -> None:
    driver_id, _ = await world.account(Role.DRIVER)
    ahead_s = time.time() + LEEWAY_S / 2
    given = token(ahead_s, secret=world.services.config.jwt_secret, sub=driver_id)
    headers = {"Authorization": f"Bearer {given}"}
    await world.connect(headers)
    assert (await world.http.get(f"/v1/drivers/{driver_id}/task", headers=headers)).status_code == 200
