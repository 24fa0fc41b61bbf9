"""A running server's own counters, from its metrics page."""

from __future__ import annotations

import httpx

TRIES = 3


async def samples(server: str, name: str) -> list[float]:
    """The values of a metric, whatever their labels. `httpx.TransportError` when the server does not answer."""
    for attempt in range(TRIES):
        try:
            # A connection of its own: one that was left idle may be closed by the server just as it is used again.
            async with httpx.AsyncClient(base_url=server, timeout=20, trust_env=False) as http:
                page = (await http.get("/metrics")).text
            break
        except httpx.TransportError:
            if attempt == TRIES - 1:
                raise
    return [
        float(line.split()[-1]) for line in page.splitlines() if line.startswith((name + " ", name + "{"))
    ]


async def counted(server: str, name: str) -> float:
    """A counter's sum over its labels. `RuntimeError` when the server has none of this name."""
    if not (values := await samples(server, name)):
        raise RuntimeError(f"{server} has no {name} on /metrics")
    return sum(values)
