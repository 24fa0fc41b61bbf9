"""To the event bus, for the outside."""

from __future__ import annotations

import asyncio

from actors.persistence.carriers.carrier import Refused
from actors.persistence.carriers.options import CarrierOptions
from domain.orders.records import OutboxEvent
from domain.ports import EventBus, EventsRefused, VendorError

# Events of a batch that failed are tried one by one, until so many have failed and none went out.
ALONE_LIMIT = 3


class ToBus:
    """A market's events at a time, as they must keep their order."""

    apart = False

    def __init__(self, bus: EventBus, options: CarrierOptions) -> None:
        self._bus, self.options = bus, options

    async def carry(self, events: list[OutboxEvent]) -> dict[int, Refused]:
        """See `Carrier`."""
        try:
            return await self._put(events)
        except TimeoutError:
            raise
        except Exception:
            if len(events) == 1:
                raise
        return await self._put_apart(events)

    async def _put_apart(self, events: list[OutboxEvent]) -> dict[int, Refused]:
        """One of a batch may be what the bus cannot bear."""
        refused: dict[int, Refused] = {}
        held: set[tuple[str, str]] = set()
        out = 0
        for event in events:
            if event.about in held:
                continue
            try:
                answer = await self._put([event])
            except Exception as error:
                answer = {event.event_id: Refused(type(error).__name__, silent=True)}
                if not out and len(refused) + 1 >= ALONE_LIMIT:
                    raise
            else:
                out += 1
            if answer:
                refused |= answer
                held.add(event.about)
        if not out:
            raise VendorError("the bus takes nothing")
        return refused

    async def _put(self, events: list[OutboxEvent]) -> dict[int, Refused]:
        try:
            async with asyncio.timeout(self.options.deadline_s):
                await self._bus.publish(events)
        except EventsRefused as error:
            return {event_id: Refused(reason) for event_id, reason in error.reasons.items()}
        return {}
