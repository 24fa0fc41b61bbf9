"""Rate limits: whose budget a request comes under, that it holds over gateways, and what happens without Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from limits.aio.storage import MemoryStorage
from limits.errors import StorageError

from actors.config import Limits
from domain.orders.lifecycle import Role
from gateway.http.metrics import Metrics
from gateway.http.ratelimit import PATIENCE, Limiter, Rule, Shared, address_of, rules
from gateway.rest.table import TABLE
from gateway.sockets.wire import SLOW_DOWN
from tests.support.gateway_world import PASSWORD, World, running

TIGHT = "order=3 per hour, read=5 per hour, anonymous=4 per hour, account=2 per hour, sign_in=6 per hour"
PLENTY = Rule("read", 80, 60)  # 10 free, then blocks of 5


class Away:
    """Redis as it is when it is not there, or does not answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.hangs = False
        self.back: Shared | None = None

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        self.asked += 1
        if self.back is not None:
            return await self.back.incr(key, expiry, amount)
        if self.hangs:
            await asyncio.Event().wait()
        raise StorageError(ConnectionError("refused"))


class Counted:
    """A storage of the library, and how often it was asked."""

    def __init__(self) -> None:
        self.storage, self.asked, self.keys = MemoryStorage(), 0, set[str]()

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        self.asked += 1
        self.keys.add(key)
        return int(await self.storage.incr(key, expiry, amount))


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_200.0

    def __call__(self) -> float:
        return self.now_s


def limiter(
    *made: Rule, shared: Shared | None = None, clock: Clock | None = None, keys_limit: int = 1000
) -> Limiter:
    clock = clock or Clock()
    return Limiter(
        {rule.name: rule for rule in made},
        shared=shared,
        metrics=Metrics(),
        keys_limit=keys_limit,
        timeout_s=0.05,
        retry_s=5.0,
        secret="secret",
        wall_s=clock,
        clock_s=clock,
    )


async def spend(one: Limiter, times: int, who: str = "ann", rule: str = "read") -> int:
    """How many of so many requests are let through."""
    return sum([(await one.spend(rule, who)).allowed for _ in range(times)])


# -- the budget -------------------------------------------------------------------------------------------------------


async def test_a_budget_is_spent_once_and_comes_back_with_the_next_window() -> None:
    clock = Clock()
    alone = limiter(PLENTY, clock=clock)
    assert await spend(alone, 100) == 80
    assert await spend(alone, 1, who="bob") == 1
    clock.now_s += 59.9
    assert await spend(alone, 1) == 0
    clock.now_s += 0.1
    assert await spend(alone, 100) == 80


async def test_one_gateway_gives_exactly_the_budget_with_redis_too() -> None:
    assert await spend(limiter(PLENTY, shared=Counted()), 100) == 80


async def test_whoever_asks_little_is_never_asked_about() -> None:
    shared = Counted()
    one = limiter(PLENTY, shared=shared)
    assert await spend(one, 10) == 10
    assert shared.asked == 0
    assert await spend(one, 6) == 6
    assert shared.asked == 2  # 16 requests: blocks of 5, and the first question tells of the ten


async def test_a_budget_holds_over_gateways_but_for_what_is_spent_without_asking() -> None:
    shared = Counted()
    both = [limiter(PLENTY, shared=shared), limiter(PLENTY, shared=shared)]
    got = [0, 0]
    for n in range(200):
        got[n % 2] += await spend(both[n % 2], 1)
    assert 80 <= sum(got) <= 90


async def test_requests_at_the_same_moment_spend_no_more_than_there_is() -> None:
    one = limiter(PLENTY, shared=Counted())
    assert (
        sum(
            standing.allowed
            for standing in await asyncio.gather(*(one.spend("read", "ann") for _ in range(200)))
        )
        == 80
    )


async def test_an_exact_budget_is_counted_together_from_the_first_request() -> None:
    shared, rule = Counted(), Rule("account", 10, 300, exact=True)
    both = [limiter(rule, shared=shared), limiter(rule, shared=shared)]
    assert await spend(both[0], 1, who="bob", rule="account") == shared.asked == 1
    got = 0
    for n in range(40):
        got += await spend(both[n % 2], 1, rule="account")
    assert got == 10
    asked = shared.asked
    await spend(both[0], 50, rule="account")
    assert shared.asked <= asked + 1  # once it is spent, nobody is asked any more: a flood costs nothing


async def test_what_is_left_and_when_it_comes_back_is_told() -> None:
    clock = Clock()
    clock.now_s += 12.5
    one = limiter(PLENTY, clock=clock)
    standing = await one.spend("read", "ann")
    assert (standing.left, standing.reset_s) == (79, 48)
    assert dict(standing.headers) == {
        b"ratelimit-policy": b'"read";q=80;w=60',
        b"ratelimit": b'"read";r=79;t=48',
    }
    await spend(one, 79)
    refused = await one.spend("read", "ann")
    assert (refused.allowed, refused.left) == (False, 0)
    assert refused.refusal().retry_after_s == 48


async def test_no_more_clients_are_known_than_the_limit() -> None:
    one = limiter(PLENTY, keys_limit=3)
    await spend(one, 80, who="old")
    for who in ("a", "b", "c"):
        await spend(one, 1, who=who)
    assert len(one._budgets) == 3
    assert await spend(one, 1, who="old") == 1  # forgotten, which is the price


async def test_redis_sees_no_addresses() -> None:
    shared = Counted()
    await spend(limiter(Rule("account", 2, 60, exact=True), shared=shared), 1, "ann@example.org", "account")
    (key,) = shared.keys
    assert "ann" not in key
    assert "example" not in key


# -- without Redis ----------------------------------------------------------------------------------------------------


async def test_with_redis_gone_a_gateway_counts_alone_and_asks_only_now_and_then() -> None:
    clock, away = Clock(), Away()
    one = limiter(PLENTY, shared=away, clock=clock)
    assert await spend(one, 100) == 80
    assert away.asked == 1
    clock.now_s += 5.0
    await spend(one, 20, who="bob")
    assert away.asked == 2


async def test_a_redis_that_hangs_holds_up_one_request_and_no_longer_than_the_timeout() -> None:
    away = Away()
    away.hangs = True
    one = limiter(PLENTY, shared=away)
    async with asyncio.timeout(2.0):
        assert await spend(one, 100) == 80
    assert away.asked == 1


async def test_one_request_finds_out_whether_redis_is_back_and_the_others_go_on() -> None:
    clock, away = Clock(), Away()
    one = limiter(PLENTY, shared=away, clock=clock)
    await spend(one, 11)
    away.hangs = True
    clock.now_s += 5.0
    await asyncio.gather(*(one.spend("read", "ann") for _ in range(20)))
    assert away.asked == 2


async def test_what_was_spent_alone_is_told_when_redis_is_back() -> None:
    clock, away = Clock(), Away()
    one = limiter(PLENTY, shared=away, clock=clock)
    assert await spend(one, 60) == 60
    away.back = Counted()
    clock.now_s += 6.0
    assert await spend(one, 1) == 1
    other = limiter(PLENTY, shared=away.back, clock=clock)
    assert await spend(other, 100) <= 80 - 61 + PLENTY.free


# -- whose budget -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1/auth/token", "sign_in"),
        ("POST", "/v1/auth/register", "sign_in"),
        ("POST", "/v1/orders", "order"),
        ("GET", "/v1/orders", "read"),
        ("POST", "/v1/orders/1/cancel", "write"),
        ("POST", "/v1/orders/1/deliver/confirm", "driver"),
        ("POST", "/v1/orders/1/doorstep_id_check/submit", "driver"),
        ("POST", "/v1/tasks/1/return/confirm", "driver"),
        ("POST", "/v1/drivers/1/duty", "driver"),
        ("GET", "/v1/regions/tx-dfw/stats", "ops"),
        ("DELETE", "/v1/orders/7", "read"),
        ("DELETE", "/v1/nowhere", "pages"),
        ("POST", "/internal/dispatch/tick", "internal"),
        ("GET", "/health/ready", "machines"),
        ("HEAD", "/metrics", "machines"),
        ("GET", "/openapi.json", "machines"),
        ("GET", "/docs", "machines"),
        ("GET", "/ops", "pages"),
        ("GET", "/ops/assets/index.js", "pages"),
        ("BREW", "/a\nb", "pages"),
    ],
)
def test_rules_by_route(method: str, path: str, name: str) -> None:
    assert TABLE.find(method, path).limit == name


def test_changes_to_the_rules() -> None:
    made = rules(" order = 5 per minute ,read=90/second,")
    assert (made["order"].amount, made["order"].per_s) == (5, 60)
    assert (made["read"].amount, made["read"].per_s) == (90, 1)
    assert made["write"].amount == rules("")["write"].amount
    assert [name for name, rule in made.items() if rule.exact] == ["account", "sign_in"]


@pytest.mark.parametrize("changes", ["orders=5/minute", "order", "order=", "order=often", "order=0/minute"])
def test_changes_that_cannot_be_meant(changes: str) -> None:
    with pytest.raises(ValueError, match="order"):
        rules(changes)


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "address"),
    [
        ("9.9.9.9", "1.1.1.1", 0, "9.9.9.9"),  # nobody said that the peer is a proxy
        ("9.9.9.9", "1.1.1.1", 1, "1.1.1.1"),
        ("9.9.9.9", "6.6.6.6, 1.1.1.1", 1, "1.1.1.1"),  # the client told a tale first
        ("9.9.9.9", "6.6.6.6, 1.1.1.1, 2.2.2.2", 2, "1.1.1.1"),
        ("9.9.9.9", "", 1, "9.9.9.9"),
        ("2001:db8:1:2:3::4", "", 0, "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", "", 0, "1.2.3.4"),
        ("9.9.9.9", "x:" * 200, 1, ("x:" * 200)[:64]),
    ],
)
def test_the_address_of_who_asks(peer: str, forwarded: str, proxies: int, address: str) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    assert address_of({"client": (peer, 1), "headers": headers}, proxies) == address


# -- the middleware ---------------------------------------------------------------------------------------------------


def limited(**changes: Any) -> Any:
    return running(limits=Limits(rate_limits="on", rate_limit_rules=TIGHT, ping_flush_s=0.01, **changes))


def count(world: World, rule: str) -> float:
    return (
        world.services.metrics.registry.get_sample_value("doorstep_rate_limited_total", {"rule": rule}) or 0.0
    )


async def test_a_request_too_many_is_a_problem_with_a_time_to_come_back() -> None:
    async with limited() as world:
        _, customer = await world.account(Role.CUSTOMER)
        answers = [await world.http.post("/v1/orders", json={}, headers=customer) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [422, 422, 422, 429]
        refused = answers[-1]
        body = refused.json()
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert body["code"] == "RATE_LIMITED"
        assert 1 <= int(refused.headers["Retry-After"]) == body["retry_after"] <= 3600
        assert refused.headers["RateLimit-Policy"] == '"order";q=3;w=3600'
        assert refused.headers["RateLimit"].startswith('"order";r=0;t=')
        assert answers[0].headers["RateLimit"].startswith('"order";r=2;t=')
        assert refused.headers["X-Request-Id"]
        assert count(world, "order") == 1
        # Another's budget is another's, and the same one's for something else is another too.
        _, other = await world.account(Role.CUSTOMER)
        assert (await world.http.post("/v1/orders", json={}, headers=other)).status_code == 422
        assert (await world.http.get("/v1/orders", headers=customer)).status_code == 200


async def test_who_has_not_signed_in_is_known_by_the_address() -> None:
    async with limited(trusted_proxies=1) as world:
        forged = {"Authorization": "Bearer forged"}
        for headers in ({}, forged, {}, forged):
            assert (await world.http.get("/v1/me", headers=headers)).status_code == 401
        assert (await world.http.get("/v1/me", headers=forged)).status_code == 429
        elsewhere = {"X-Forwarded-For": "1.2.3.4"}
        assert (await world.http.get("/v1/me", headers=elsewhere)).status_code == 401
        _, customer = await world.account(Role.CUSTOMER)
        assert (await world.http.get("/v1/me", headers=customer)).status_code == 200


async def test_passwords_cannot_be_guessed_from_many_addresses() -> None:
    async with limited(trusted_proxies=1) as world:

        async def sign_in(email: str, address: str) -> int:
            form = {"username": email, "password": PASSWORD}
            headers = {"X-Forwarded-For": address}
            answer = await world.http.post("/v1/auth/token", data=form, headers=headers)
            return int(answer.status_code)

        guesses = [await sign_in(f"{'A' if n % 2 else 'a'}nn@example.org", f"10.0.0.{n}") for n in range(4)]
        assert guesses == [401, 401, 429, 429]
        # Nor from one address against many accounts.
        guesses = [await sign_in(f"{n}@example.org", "10.0.1.1") for n in range(8)]
        assert guesses == [401] * 6 + [429] * 2
        # Not even with a token at hand.
        _, customer = await world.account(Role.CUSTOMER)
        form = {"username": "bob@example.org", "password": PASSWORD}
        answer = await world.http.post(
            "/v1/auth/token", data=form, headers=customer | {"X-Forwarded-For": "10.0.1.1"}
        )
        assert answer.status_code == 429


async def test_machines_probes_and_pages_have_limits_of_their_address() -> None:
    async with running(limits=Limits(rate_limit_rules="machines=3 per hour,pages=2 per hour")) as world:
        _, customer = await world.account(Role.CUSTOMER)
        paths = ("/health/live", "/metrics", "/openapi.json", "/docs")
        answers = [await world.http.get(path, headers=customer) for path in paths]
        assert [answer.status_code for answer in answers] == [200, 401, 200, 429]
        assert [(await world.http.get("/ops")).status_code for _ in range(3)] == [404, 404, 429]
        assert (await world.http.get("/v1/me", headers=customer)).status_code == 200


async def test_who_asks_on_after_many_refusals_is_read_later() -> None:
    codes: list[int] = []
    slowed: list[int] = []

    async def told(scope: Any, receive: Any, send: Any) -> None:
        await world.app(scope | {"extensions": {SLOW_DOWN: lambda: slowed.append(len(codes))}}, receive, send)

    async with limited() as world:
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app=told), base_url="http://test")
        for _ in range(PATIENCE + 7):
            answer = await http.get("/v1/me")
            codes.append(answer.status_code)
        assert codes == [401] * 4 + [429] * (PATIENCE + 3)
        assert slowed == [PATIENCE + 4, PATIENCE + 5, PATIENCE + 6]


async def test_limits_are_on_unless_they_are_turned_off() -> None:
    async with running() as world:
        assert not world.services.limiter.is_on
        answer = await world.http.get("/v1/me")
        assert "RateLimit" not in answer.headers
    async with running(limits=Limits()) as world:
        assert world.services.limiter.is_on
