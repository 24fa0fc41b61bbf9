"""To the regions: tasks that were opened, and orders that are called off because their merchant was suspended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from actors.config import Limits
from actors.persistence.carriers.carrier import Refused, read
from actors.persistence.carriers.options import CarrierOptions, usual
from domain.errors import NotFound, WrongState
from domain.orders.lifecycle import Role
from domain.orders.reasons import CancelReason
from domain.orders.records import Answer, OrderBrief, OutboxEvent, TaskRow
from domain.region.messages import Ask, Attached, Cancel, TaskOpened

# Gives the region's reply to each `TaskOpened` or `Ask` (None: it took them all).
TellRegion: TypeAlias = Callable[[str, list[Any]], Awaitable[Sequence[Answer | Attached | None] | None]]

CALL_OFF = "order.call_off"
UNKNOWN_TRIES = 5  # of an order that its region does not know: its task may be on the way there, or is over


class Opened(Struct, frozen=True):
    """Payload of `task.opened`."""

    task: TaskRow
    order: OrderBrief


class CallOff(Struct, frozen=True):
    """Payload of `order.call_off`; `by`, `role`: of whoever is behind it."""

    order_id: str
    by: str
    role: Role


class ToRegions:
    """The tasks of a market in one call."""

    apart = False

    def __init__(self, tell_region: TellRegion, options: CarrierOptions) -> None:
        self._tell_region, self.options = tell_region, options

    async def carry(self, events: list[OutboxEvent]) -> dict[int, Refused]:
        """See `Carrier`."""
        refused: dict[int, Refused] = {}
        told: list[tuple[OutboxEvent, TaskOpened | Ask]] = []
        for event in events:
            try:
                told.append((event, _message(event)))
            except Refused as error:
                refused[event.event_id] = error
        if told:
            messages = [message for _, message in told]
            async with asyncio.timeout(self.options.deadline_s):
                replies = await self._tell_region(events[0].region_id, messages)
            for (event, _), reply in zip(told, replies or (), strict=bool(replies)):
                if isinstance(reply, Answer) and reply.code is not None and not _is_settled(event, reply):
                    refused[event.event_id] = Refused(reply.code)
        return refused


def _message(event: OutboxEvent) -> TaskOpened | Ask:
    if event.topic != CALL_OFF:
        opened = read(event, Opened)
        return TaskOpened(opened.task, opened.order)
    what = read(event, CallOff)
    return Ask(
        scope=f"{what.by}|{CALL_OFF}",
        key=str(event.event_id),
        fingerprint=what.order_id,
        role=what.role,
        principal_id=what.by,
        action=Cancel(what.order_id, CancelReason.STORE_TROUBLE),
    )


def _is_settled(event: OutboxEvent, reply: Answer) -> bool:
    """Whether nothing is left to call off: the goods are on the road, or the order is over."""
    return event.topic == CALL_OFF and (
        reply.code == WrongState.code or (reply.code == NotFound.code and event.attempts + 1 >= UNKNOWN_TRIES)
    )


def of_regions(limits: Limits) -> CarrierOptions:
    """A driver waits for each: no company is waited for."""
    return replace(usual(limits), pace_s=0.0)
