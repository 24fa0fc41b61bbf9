"""To the regions: tasks that were opened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from actors.config import Limits
from actors.persistence.carriers.carrier import Refused, read
from actors.persistence.carriers.options import CarrierOptions, usual
from domain.orders.records import Answer, OrderBrief, OutboxEvent, TaskRow
from domain.region.messages import Attached, TaskOpened

# Gives the region's reply to each (None: it took them all).
TellRegion: TypeAlias = Callable[
    [str, list[TaskOpened]], Awaitable[Sequence[Answer | Attached | None] | None]
]


class Opened(Struct, frozen=True):
    """Payload of `task.opened`."""

    task: TaskRow
    order: OrderBrief


class ToRegions:
    """The tasks of a market in one call."""

    apart = False

    def __init__(self, tell_region: TellRegion, options: CarrierOptions) -> None:
        self._tell_region, self.options = tell_region, options

    async def carry(self, events: list[OutboxEvent]) -> dict[int, Refused]:
        """See `Carrier`."""
        refused: dict[int, Refused] = {}
        told: list[tuple[OutboxEvent, Opened]] = []
        for event in events:
            try:
                told.append((event, read(event, Opened)))
            except Refused as error:
                refused[event.event_id] = error
        if told:
            messages = [TaskOpened(opened.task, opened.order) for _, opened in told]
            async with asyncio.timeout(self.options.deadline_s):
                replies = await self._tell_region(events[0].region_id, messages)
            for (event, _), reply in zip(told, replies or (), strict=bool(replies)):
                if isinstance(reply, Answer) and reply.code is not None:
                    refused[event.event_id] = Refused(reply.code)
        return refused


def of_regions(limits: Limits) -> CarrierOptions:
    """A driver waits for each: no company is waited for."""
    return replace(usual(limits), pace_s=0.0)
