"""Whether everything is there that work needs, and what each market is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from msgspec import Struct
from redis.asyncio import Redis

from domain.orders.records import Json
from gateway.services import Services

ASK_TIMEOUT_S = 2.0
SOLVES_FAILING = 2  # in a row: one is an accident, whose solve is asked for again
OK = "ok"
# Without it requests are slower and fan-out is narrower, and nothing is wrong.
HELPERS = ("redis",)


class Readiness(Struct, frozen=True):
    """Each part with `ok` or what is wrong with it, and each market with the parts that it needs and misses."""

    parts: dict[str, str]
    markets: dict[str, list[str]]

    @property
    def ready(self) -> bool:
        """Whether every market has all that it needs."""
        return not any(self.markets.values())

    @property
    def degraded(self) -> list[str]:
        """Helpers that are not there."""
        return [name for name in HELPERS if self.parts.get(name, OK) != OK]


async def readiness(services: Services) -> Readiness:
    """Ask every part at once. An order's decisions may go to any persistence actor: each market needs all of them."""
    config = services.config
    shared: dict[str, Awaitable[object]] = {"database": services.reads.regions()}
    shared |= {name: services.backend.answers(name) for name in config.persistence_names}
    if config.redis_url:
        shared["redis"] = _ping(config.redis_url)
    said, regions = await asyncio.gather(
        asyncio.gather(*map(_said, shared.values())),
        asyncio.gather(*(_region(services, region_id) for region_id in config.regions)),
    )
    parts: dict[str, str] = dict(zip(shared, said, strict=True))
    needed = [name for name in parts if name not in HELPERS]
    markets = {}
    for region_id, own in zip(config.regions, regions, strict=True):
        parts |= own
        markets[region_id] = [name for name in (*needed, *own) if parts[name] != OK]
    return Readiness(parts, markets)


async def _region(services: Services, region_id: str) -> dict[str, str]:
    """The region, and whether its solves come back, which only it knows."""
    stats: dict[str, Json] = {}

    async def ask() -> None:
        stats.update(await services.backend.stats(region_id))

    parts = {f"region:{region_id}": await _said(ask())}
    failing = int(stats.get("solves_failing", 0))
    if stats:
        parts[f"solver:{region_id}"] = OK if failing < SOLVES_FAILING else f"{failing} solves in a row failed"
    return parts


async def _said(answer: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            await answer
    except Exception as error:
        return type(error).__name__
    return OK


async def _ping(url: str) -> None:
    async with Redis.from_url(
        url, socket_timeout=ASK_TIMEOUT_S, socket_connect_timeout=ASK_TIMEOUT_S
    ) as redis:
        await redis.ping()
