"""Where committed events go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from domain.orders.records import OutboxEvent


class EventsRefused(Exception):
    """These events cannot go out as they are: `reasons` by event. All others of the batch are out, but for what comes
    after one of these of the same aggregate."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__(f"{len(reasons)} events")
        self.reasons = reasons


class EventBus(Protocol):
    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        """Events of one region, in this order, at least once. `EventsRefused` for some of them; anything else that is
        raised: it is not known which are out."""
        ...
