"""The outbox relay: hands committed events on until each was acknowledged. At least once; receivers dedupe by id."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import partial
from typing import Any

import structlog

from actors.persistence.carriers.carrier import Carrier, Refused
from actors.persistence.lanes import Lanes
from domain.orders.records import NotTaken, OutboxEvent
from domain.ports import IN_ORDER, Channel, Store

log = structlog.get_logger()

OUTCOMES = ("taken", "refused", "unanswered", "dead")


class Relay:
    """One loop per channel and its carrier, each woken after a commit and otherwise every `retry_s` of the carrier's
    options. Under load there is a commit every few milliseconds: a carrier with a `pace_s`, as for the bus and payments
    nobody waits, looks so often at most.

    No loop waits for a receiver: each region, each region's stream on the bus and each settlement goes its own way (see
    `lanes.py`) with a deadline. A region or a stream that does not answer is left alone, longer each time, and
    so is a single settlement. What its receiver refuses is tried again after a time that doubles, and is a dead letter
    after `tries`: kept, told of and left to a person. What merely finds nobody there is none, as long as nobody
    else gets an answer either: then the receiver is down, and comes back.

    Of several relays, the one with the channel's lease hands its events on, so that each order's come in their order. A
    lease that is not renewed in time, because its holder is dead or frozen, goes to the next who asks.
    """

    def __init__(
        self,
        store: Store,
        carriers: Mapping[Channel, Carrier],
        *,
        lease_s: float,
        holder: str = "persistence:0",
        heir_of: str | None = None,
        wake_others: Callable[[], None] = lambda: None,
    ) -> None:
        """`lease_s`: how long a channel is had unless that is renewed. `holder`: under which name leases are taken,
        another one for each process that ever was. `heir_of`: whose leases (those of the names beneath it) are free
        when this one starts, for it is dead. `wake_others` is called when something was committed here that others
        have to hand on."""
        self._holder, self._heir_of, self._wake_others = holder, heir_of, wake_others
        self._leases: dict[Channel, float] = {}  # held until this time of the loop
        self._store, self._carriers, self._lease_s = store, carriers, lease_s
        self._wakers = {channel: asyncio.Event() for channel in carriers}
        self._loops: list[asyncio.Task[None]] = []
        # By region; where each event goes for itself by region, whether it was tried before, and event.
        self._lanes: dict[Channel, Lanes[Any]] = {
            channel: Lanes(carrier.options.retry_s, carrier.options.rest_s)
            for channel, carrier in carriers.items()
        }
        # When a receiver last answered, time of the loop.
        self._answered_s = dict.fromkeys(carriers, -math.inf)
        self.outcomes: dict[tuple[str, str], int] = {
            (channel, outcome): 0 for channel in carriers for outcome in OUTCOMES
        }

    def start(self) -> None:
        inherited = asyncio.ensure_future(self._inherit())
        self._loops = [
            inherited,
            *(asyncio.ensure_future(self._run(one, inherited)) for one in self._carriers),
        ]

    async def _inherit(self) -> None:
        if self._heir_of is not None:
            with contextlib.suppress(Exception):  # then its leases end by themselves
                await self._store.release(self._heir_of)

    def wake(self, *, opened: bool = True) -> None:
        """Something was committed here; `opened`: a task among it, which its region must be told of at once."""
        for channel, waker in self._wakers.items():
            if opened or channel is not Channel.TASKS:
                waker.set()
        if len(self._leases) < len(self._wakers):
            self._wake_others()

    def look(self) -> None:
        """Something was committed, here or elsewhere."""
        for waker in self._wakers.values():
            waker.set()

    async def stop(self) -> None:
        under_way = [task for lanes in self._lanes.values() for task in lanes.under_way()]
        for task in (*self._loops, *under_way):
            task.cancel()
        await asyncio.gather(*self._loops, *under_way, return_exceptions=True)
        if self._leases:
            self._leases.clear()
            with contextlib.suppress(Exception):  # then they end by themselves
                await self._store.release(self._holder)

    async def _leads(self, channel: Channel) -> bool:
        """Whether this relay has the channel; renews the lease when half of it is over."""
        now_s, lease_s = asyncio.get_running_loop().time(), self._lease_s
        until_s = self._leases.get(channel, 0.0)
        if now_s < until_s - lease_s / 2:
            return True
        if await self._store.lease(f"outbox:{channel}", self._holder, lease_s):
            self._leases[channel] = now_s + lease_s
            return True
        self._leases.pop(channel, None)
        return False

    async def _run(self, channel: Channel, inherited: asyncio.Task[None]) -> None:
        waker, options = self._wakers[channel], self._carriers[channel].options
        await asyncio.wait((inherited,))
        while True:
            waker.clear()
            try:
                if await self._leads(channel):
                    await self._send_off(channel)
            except Exception as error:
                log.warning("relay.failed", channel=channel, error=f"{type(error).__name__}: {error}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(options.retry_s):
                    await waker.wait()
            if options.pace_s:
                await asyncio.sleep(options.pace_s)

    async def _send_off(self, channel: Channel) -> None:
        """Send what is due on its way."""
        carrier, closed = self._carriers[channel], self._lanes[channel].closed()
        limit = carrier.options.batch
        if not carrier.apart:
            by_region: dict[str, list[OutboxEvent]] = defaultdict(list)
            for event in await self._store.outbox_batch(channel, limit, closed):
                by_region[event.region_id].append(event)
            for region_id, events in by_region.items():
                self._send(channel, region_id, events, more=len(events) >= limit)
            return
        # Each market's new ones and such as were tried have room apart: a pile that nobody takes holds up none.
        busy = Counter((region_id, tried) for region_id, tried, _ in closed)
        under_way = [event_id for _, _, event_id in closed]
        for event in await self._store.outbox_batch(channel, limit, under_way=under_way):
            kind = event.region_id, event.attempts > 0
            busy[kind] += 1
            if busy[kind] <= limit:
                self._send(channel, (*kind, event.event_id), [event], more=busy[kind] == limit)

    def _send(self, channel: Channel, key: Hashable, events: list[OutboxEvent], *, more: bool) -> None:
        """Send these on their way; `more`: others of their kind wait until it is free."""

        def done(again: bool) -> None:
            if again or more:
                self._wakers[channel].set()

        self._lanes[channel].send(key, partial(self._carry, channel, events), done)

    async def _carry(self, channel: Channel, events: list[OutboxEvent]) -> bool:
        """Hand events on and mark what became of them. False when nobody is there: they wait as they were."""
        refused = {
            event.event_id: Refused(event.fault, final=True) for event in events if event.fault is not None
        }
        try:
            if readable := _passed(channel, events, refused):
                answers = await self._carriers[channel].carry(readable)
                if len(answers) < len(readable) or not all(error.silent for error in answers.values()):
                    self._answered_s[channel] = asyncio.get_running_loop().time()
                refused |= answers
            taken = [event.event_id for event in _passed(channel, events, refused)]
            if taken:
                await self._store.outbox_done(taken)
            if refused:
                failed = [
                    self._not_taken(channel, e, refused[e.event_id]) for e in events if e.event_id in refused
                ]
                await self._store.outbox_not_taken(failed)
        except Exception as error:
            self.outcomes[channel, "unanswered"] += len(events)
            log.warning(
                "relay.unanswered",
                channel=channel,
                region_id=events[0].region_id,
                events=len(events),
                error=f"{type(error).__name__}: {error}",
            )
            return False
        self.outcomes[channel, "taken"] += len(taken)
        return True

    def _not_taken(self, channel: Channel, event: OutboxEvent, error: Refused) -> NotTaken:
        """When it is tried again, if it is."""
        options, tries = self._carriers[channel].options, event.attempts + 1
        dead = error.final or tries >= options.tries
        if error.silent and dead:
            ago_s = asyncio.get_running_loop().time() - self._answered_s[channel]
            dead = ago_s < options.wait_s(event.attempts)
        self.outcomes[channel, "dead" if dead else "unanswered" if error.silent else "refused"] += 1
        tell = log.error if dead else log.warning
        tell(
            "relay.dead_letter" if dead else "relay.not_taken",
            channel=channel,
            event_id=event.event_id,
            topic=event.topic,
            region_id=event.region_id,
            **{f"{event.aggregate}_id": event.aggregate_id},
            tries=tries,
            reason=error.reason,
        )
        return NotTaken(
            event_id=event.event_id, reason=error.reason, again_s=None if dead else options.wait_s(tries)
        )


def _passed(channel: Channel, events: list[OutboxEvent], refused: Collection[int]) -> list[OutboxEvent]:
    """All but what was refused and, where the order is kept, what comes after it of the same aggregate."""
    held: set[tuple[str, str]] = set()
    passed = []
    for event in events:
        if event.event_id in refused:
            held.add(event.about)
        elif channel not in IN_ORDER or event.about not in held:
            passed.append(event)
    return passed
