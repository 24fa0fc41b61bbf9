"""Budgets over a real Redis: two gateways, one count."""

from __future__ import annotations

import uuid

import pytest
from msgspec.structs import replace

from actors.config import Limits
from gateway.http.metrics import Metrics
from gateway.http.ratelimit import Limiter, limiter_of
from tests.support.gateway_world import make_config

pytestmark = pytest.mark.integration


def gateway(redis_url: str) -> Limiter:
    limits = Limits(
        rate_limits="on", rate_limit_rules="account=20 per hour,read=160 per hour", rate_limit_timeout_s=5
    )
    return limiter_of(replace(make_config(), redis_url=redis_url, limits=limits), Metrics())


@pytest.mark.parametrize(("rule", "least", "most"), [("account", 20, 20), ("read", 160, 180)])
async def test_two_gateways_keep_one_budget(redis_url: str, rule: str, least: int, most: int) -> None:
    both, who = [gateway(redis_url), gateway(redis_url)], uuid.uuid4().hex
    got = sum([(await both[n % 2].spend(rule, who)).allowed for n in range(400)])
    for one in both:
        await one.close()
    assert least <= got <= most


async def test_a_redis_that_is_not_there_changes_nothing_but_the_sharing() -> None:
    one, who = gateway("redis://127.0.0.1:1/0"), uuid.uuid4().hex
    assert sum([(await one.spend("read", who)).allowed for _ in range(400)]) == 160
    await one.close()
