"""A running server's own counters, from its metrics page."""

from __future__ import annotations

import httpx

TRIES = 3
_tokens: dict[str, str] = {}  # of metrics pages, by the server's URL


def know(server: str, token: str) -> None:
    """A server's metrics page is read with this token from now on."""
    _tokens[server.rstrip("/")] = token


def metrics_token(server: str) -> str:
    """The token of a server's metrics page."""
    return _tokens.get(server.rstrip("/"), "")


async def samples(server: str, name: str) -> list[float]:
    """The values of a metric, whatever their labels. `httpx.TransportError` when the server does not answer."""
    for attempt in range(TRIES):
        try:
            # A connection of its own: one that was left idle may be closed by the server just as it is used again.
            async with httpx.AsyncClient(base_url=server, timeout=20, trust_env=False) as http:
                token = metrics_token(server)
                answer = await http.get(
                    "/metrics", headers={"Authorization": f"Bearer {token}"} if token else {}
                )
            break
        except httpx.TransportError:
            if attempt == TRIES - 1:
                raise
    if answer.status_code != 200:
        raise RuntimeError(
            f"{server}/metrics answers {answer.status_code}: set METRICS_TOKEN to that server's"
        )
    page = answer.text
    return [
        float(line.split()[-1]) for line in page.splitlines() if line.startswith((name + " ", name + "{"))
    ]


async def counted(server: str, name: str) -> float:
    """A counter's sum over its labels. `RuntimeError` when the server has none of this name."""
    if not (values := await samples(server, name)):
        raise RuntimeError(f"{server} has no {name} on /metrics")
    return sum(values)
