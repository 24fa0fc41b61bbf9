"""Pushes on their way to gateways: one call under way per gateway, so that they arrive in order; the rest collects."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from actors.telemetry.tracing import Origins, since
from domain.region.messages import Kick, Push

CALL_LIMIT = 2_000  # pushes in one call, to keep its argument below about 100 kB of typical frames


class PushQueues:
    """`send(gateway_id, pushes)` carries one batch out. When it fails, what waits is dropped and `lost(gateway_id)` is
    called: the region keeps every push until acknowledged and sends it again.

    Beyond `limit` waiting pushes the newest are dropped, and `lost` is called once those before them are out: told at
    once, the region would send everything again into an outbox that is still full, for ever.
    """

    def __init__(
        self,
        send: Callable[[str, list[Push | Kick]], Awaitable[None]],
        lost: Callable[[str], None],
        limit: int,
    ) -> None:
        self._send, self._lost, self._limit = send, lost, limit
        self._waiting: dict[str, deque[Push | Kick]] = {}
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._overflowed: set[str] = set()
        self._followed: list[tuple[int, Origins]] = []  # (wall ns, requests) of pushes that wait

    @property
    def waiting(self) -> int:
        """Pushes that no gateway has taken."""
        return sum(map(len, self._waiting.values()))

    def follow(self, origins: Origins) -> None:
        """What was just put in belongs to these requests: trace it until the next call to a gateway is through."""
        if any(origin.traceparent for origin in origins):
            self._followed.append((time.time_ns(), origins))

    def put(self, gateway_id: str, push: Push | Kick) -> None:
        waiting = self._waiting.setdefault(gateway_id, deque())
        if len(waiting) < self._limit:
            waiting.append(push)
        else:
            self._overflowed.add(gateway_id)
        if gateway_id not in self._senders:
            self._senders[gateway_id] = asyncio.ensure_future(self._drain(gateway_id))

    async def _drain(self, gateway_id: str) -> None:
        waiting = self._waiting[gateway_id]
        try:
            while waiting:
                batch = [waiting.popleft() for _ in range(min(len(waiting), CALL_LIMIT))]
                followed, self._followed = self._followed, []
                await self._send(gateway_id, batch)
                for since_ns, origins in followed:
                    since("push", since_ns, origins, gateway=gateway_id, pushes=len(batch))
        except Exception:
            waiting.clear()
            self._overflowed.add(gateway_id)
        finally:
            del self._senders[gateway_id]
        if gateway_id in self._overflowed:
            self._overflowed.discard(gateway_id)
            self._lost(gateway_id)

    async def stop(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._senders.values(), return_exceptions=True)
