"""How often who may ask for what: budgets of a window of time, shared by the gateways over Redis where it counts.

A gateway spends a small part of each budget (`FREE_SHARE`) without asking anybody: nearly everybody stays below it. Who
uses more is counted in Redis, in blocks, so that a budget holds over all gateways and a request seldom waits. With
Redis gone every gateway counts alone until it is back. See docs/limits.md.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from hashlib import blake2b
from typing import Any, Protocol

import structlog
from limits import parse
from limits.aio.storage import RedisStorage
from limits.errors import StorageError
from msgspec import Struct
from redis.asyncio import BlockingConnectionPool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.config import Config
from domain.errors import RateLimited, Unauthenticated
from gateway.http.addresses import customer_of
from gateway.http.auth import Principal, Tokens
from gateway.http.metrics import Metrics
from gateway.http.problem import problem
from gateway.sockets.wire import SLOW_DOWN

_log = structlog.stdlib.get_logger(__name__)

# Of a budget, what each gateway may spend without asking; what it asks for at a time afterwards.
FREE_SHARE, BLOCK_SHARE = 1 / 8, 1 / 16
KEEP_S = 60  # a count stays in Redis so much longer than its window, for gateways whose clocks differ
KEY_PREFIX = "doorstep:limits"
PATIENCE = 20  # refusals in a window, after which a connection's next request is read later
CONNECTIONS = 8  # to Redis; who needs another one waits, no longer than for an answer


class Rule(Struct, frozen=True):
    """A budget: `amount` requests in `per_s` seconds. `exact`: every one of them is counted in Redis."""

    name: str
    amount: int
    per_s: int
    exact: bool = False

    @property
    def free(self) -> int:
        """What a gateway may spend without asking."""
        return 0 if self.exact else math.floor(self.amount * FREE_SHARE)

    @property
    def block(self) -> int:
        """What a gateway asks for at a time."""
        return 1 if self.exact else max(1, math.floor(self.amount * BLOCK_SHARE))

    @property
    def policy(self) -> str:
        """The rule in the RateLimit-Policy header (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";q={self.amount};w={self.per_s}'


# name -> budget. Of an account's principal, but for `account`, `sign_in` and `anonymous`: see docs/limits.md.
DEFAULTS: Mapping[str, str] = {
    "account": "10 per 5 minutes",
    "sign_in": "60 per minute",
    "anonymous": "300 per minute",
    "order": "60 per minute",
    "driver": "600 per minute",
    "ops": "1200 per minute",
    "read": "1200 per minute",
    "write": "600 per minute",
    "machines": "20 per second",
    "internal": "1200 per minute",
    "pages": "1200 per minute",
}
OF_ADDRESS = frozenset({"sign_in", "machines", "internal", "pages"})  # whoever has signed in

EXACT = frozenset({"account", "sign_in"})


def rules(changes: str) -> dict[str, Rule]:
    """The budgets by name. `changes`: `name=budget`, comma separated, such as `order=5 per minute, read=90/second`.

    `ValueError`, in words, for what is not of this form.
    """
    budgets = dict(DEFAULTS)
    for change in filter(None, (part.strip() for part in changes.split(","))):
        name, _, budget = (part.strip() for part in change.partition("="))
        if name not in DEFAULTS:
            raise ValueError(f"{name!r} is none of the limits, which are {', '.join(DEFAULTS)}")
        budgets[name] = budget
    made = {}
    for name, budget in budgets.items():
        try:
            item = parse(budget)
        except ValueError:
            raise ValueError(f"{name}={budget} is not of the form order=60 per minute") from None
        if item.amount < 1 or item.get_expiry() < 1:
            raise ValueError(f"{name}={budget} lets nobody in")
        made[name] = Rule(name, item.amount, item.get_expiry(), name in EXACT)
    return made


class Standing(Struct, frozen=True):
    """How somebody stands with a rule after a request: `left` requests as far as is known, for `reset_s` seconds."""

    rule: Rule
    allowed: bool
    left: int
    reset_s: int
    is_stubborn: bool = False  # has been refused often, and asks on

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """RateLimit and RateLimit-Policy."""
        state = f'"{self.rule.name}";r={self.left};t={self.reset_s}'
        return [(b"ratelimit-policy", self.rule.policy.encode()), (b"ratelimit", state.encode())]

    def refusal(self) -> RateLimited:
        """The refusal that a request without budget gets."""
        detail = f"At most {self.rule.amount} requests in {self.rule.per_s} s ({self.rule.name})."
        return RateLimited(detail, retry_after_s=self.reset_s)


class Shared(Protocol):
    """Counts that all gateways see; `limits.aio.storage.RedisStorage`."""

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a count that ends by itself `expiry` seconds after it began; the count afterwards."""
        ...


class _Budget:
    """What one gateway knows of one budget in one window. `granted`: what it may spend; `others`: what others have."""

    __slots__ = ("granted", "is_spent", "others", "refused", "told", "used", "window")

    def __init__(self, window: int, free: int) -> None:
        self.window, self.granted = window, free
        self.used = self.told = self.others = self.refused = 0
        self.is_spent = False


class Limiter:
    """Spends budgets. At most `keys_limit` are known at a time, the oldest are forgotten first.

    `shared` None: this gateway counts alone. An answer of it is waited for `timeout_s`; after one that did not come it
    is left alone for `retry_s`. `secret` keeps addresses and e-mail addresses out of Redis.
    """

    def __init__(
        self,
        made: Mapping[str, Rule],
        *,
        shared: Shared | None,
        metrics: Metrics,
        keys_limit: int,
        timeout_s: float,
        retry_s: float,
        secret: str = "",
        pool: BlockingConnectionPool | None = None,
        wall_s: Callable[[], float] = time.time,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_on = bool(made)
        self._rules, self._shared, self._metrics = made, shared, metrics
        self._keys_limit, self._timeout_s, self._retry_s = keys_limit, timeout_s, retry_s
        self._secret = blake2b(secret.encode(), digest_size=32).digest()
        self._pool, self._wall_s, self._clock_s = pool, wall_s, clock_s
        self._budgets: OrderedDict[tuple[str, str], _Budget] = OrderedDict()
        self._away_until_s: float | None = None  # None: the shared counts answer

    async def spend(self, name: str, who: str) -> Standing:
        """Take one request from somebody's budget."""
        rule = self._rules[name]
        now_s = self._wall_s()
        window = int(now_s // rule.per_s)
        budget = self._budget(rule, who, window)
        allowed = budget.used < budget.granted
        if not allowed and not budget.is_spent:
            allowed = await self._ask(rule, who, budget)
        # Nothing is awaited in between, so what was granted is still there.
        if allowed:
            budget.used += 1
        else:
            budget.refused += 1
            self._metrics.rate_limited.labels(name).inc()
        left = 0 if budget.is_spent else max(0, rule.amount - budget.others - budget.used)
        reset_s = max(1, math.ceil((window + 1) * rule.per_s - now_s))
        return Standing(rule, allowed, left, reset_s, budget.refused > PATIENCE)

    async def check(self, name: str, who: str) -> None:
        """The same for a route that knows more of who asks; `RateLimited` when there is nothing left."""
        if self.is_on and not (standing := await self.spend(name, who)).allowed:
            raise standing.refusal()

    def _budget(self, rule: Rule, who: str, window: int) -> _Budget:
        key = (rule.name, who)
        budget = self._budgets.get(key)
        if budget is None or budget.window != window:
            budget = self._budgets[key] = _Budget(window, rule.free)
            self._budgets.move_to_end(key)
            if len(self._budgets) > self._keys_limit:
                self._budgets.popitem(last=False)
        return budget

    async def _ask(self, rule: Rule, who: str, budget: _Budget) -> bool:
        """Be granted more, by all gateways' count or, where that cannot be had, by this one's; False: nothing left."""
        # What was spent without a word, in the free share or while nobody answered, is told with it.
        asked = rule.block + max(0, budget.used - budget.told)
        budget.told += asked
        count = await self._count(
            f"{KEY_PREFIX}:{rule.name}:{self._digest(who)}:{budget.window}", rule, asked
        )
        if count is None:
            budget.told -= asked
            budget.granted = max(budget.granted, min(rule.amount, budget.used + 1))
            budget.is_spent = budget.granted == budget.used
        else:
            budget.others = max(0, count - budget.told)
            room = rule.amount - (count - rule.block)
            budget.granted += max(0, min(room, rule.block))
            budget.is_spent = room <= 0
        return budget.used < budget.granted

    async def _count(self, key: str, rule: Rule, amount: int) -> int | None:
        """All gateways' count after this; None: it cannot be had."""
        if self._shared is None:
            return None
        if self._away_until_s is not None:
            if self._clock_s() < self._away_until_s:
                return None
            self._away_until_s = self._clock_s() + self._retry_s  # one request finds out, the others go on
        try:
            async with asyncio.timeout(self._timeout_s):
                count = await self._shared.incr(key, rule.per_s + KEEP_S, amount)
        except (StorageError, OSError, TimeoutError) as error:
            self._metrics.rate_limit_asks.labels("unavailable").inc()
            if self._away_until_s is None:
                _log.warning("rate limits are counted alone", reason=type(error).__name__)
            self._away_until_s = self._clock_s() + self._retry_s
            return None
        if self._away_until_s is not None:
            _log.info("rate limits are counted together again")
            self._away_until_s = None
        self._metrics.rate_limit_asks.labels("answered").inc()
        return count

    def _digest(self, who: str) -> str:
        return blake2b(who.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret).hexdigest()

    async def close(self) -> None:
        """Give the connections back."""
        if self._pool is not None:
            await self._pool.aclose()


def limiter_of(config: Config, metrics: Metrics) -> Limiter:
    """The limiter as it is configured; one without rules where limits are off."""
    limits = config.limits
    is_on = limits.rate_limits != "off"
    shared, pool = None, None
    if is_on and config.redis_url:
        pool = BlockingConnectionPool.from_url(config.redis_url, max_connections=CONNECTIONS)
        options: dict[str, Any] = {"connection_pool": pool}
        shared = RedisStorage("async+redis://", wrap_exceptions=True, implementation="redispy", **options)
    return Limiter(
        rules(limits.rate_limit_rules) if is_on else {},
        shared=shared,
        metrics=metrics,
        keys_limit=limits.rate_limit_keys,
        timeout_s=limits.rate_limit_timeout_s,
        retry_s=limits.rate_limit_retry_s,
        secret=config.jwt_secret,
        pool=pool,
    )


# -- the middleware ---------------------------------------------------------------------------------------------------


class RateLimits:
    """Refuses a request before its body is read. Pure ASGI; sockets pass, they have limits of their own."""

    def __init__(self, app: ASGIApp, limiter: Limiter, tokens: Tokens, trusted_proxies: int) -> None:
        self._app, self._limiter, self._tokens = app, limiter, tokens
        self._trusted_proxies = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: MutableMapping[str, Any] = scope["state"]
        name = state["policy"].limit
        principal = state["principal"] = self._principal(scope)
        if principal is None or name in OF_ADDRESS:
            name = name if name in OF_ADDRESS else "anonymous"
            who = address_of(scope, self._trusted_proxies)
        else:
            who = principal.id
        standing = await self._limiter.spend(name, who)
        if standing.is_stubborn and (slow_down := scope.get("extensions", {}).get(SLOW_DOWN)) is not None:
            slow_down()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *standing.headers]
            await send(message)

        app = self._app if standing.allowed else problem(standing.refusal(), state.get("request_id", "-"))
        await app(scope, receive, send_with_headers)

    def _principal(self, scope: Scope) -> Principal | None:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = given.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            return self._tokens.principal(token)
        except Unauthenticated:
            return None


def address_of(scope: Scope, trusted_proxies: int) -> str:
    """Who asks where nobody has signed in: the peer's address, or the one that our outermost proxy has seen."""
    address = str((scope.get("client") or ("unknown",))[0])
    if trusted_proxies:
        given = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        hops = [hop.strip() for hop in given.decode("latin-1").split(",") if hop.strip()]
        # Each proxy adds whom it has seen at the end; what stands before ours is the client's own tale.
        if hops:
            address = hops[-min(trusted_proxies, len(hops))]
    return customer_of(address)
