"""The outbox relay: hands committed events on until each was acknowledged. At least once; receivers dedupe by id."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
import structlog

from actors.clock import ServerClock
from actors.config import Limits
from actors.persistence.lanes import Lanes
from domain.orders.decide import CloseOrder, OrderCommand
from domain.orders.lifecycle import OrderStatus, Role
from domain.orders.payment import Undo
from domain.orders.records import Answer, Done, Held, NotTaken, OrderBrief, OutboxEvent, Outcome, TaskRow
from domain.ports import (
    IN_ORDER,
    Channel,
    EventBus,
    EventsRefused,
    PaymentResult,
    PaymentVendor,
    Store,
    VendorError,
)
from domain.region.messages import Attached, TaskOpened

log = structlog.get_logger()

T = TypeVar("T")

# Gives the region's reply to each (None: it took them all).
TellRegion = Callable[[str, list[TaskOpened]], Awaitable[Sequence[Answer | Attached | None] | None]]

ALONE_LIMIT = (
    3  # events of a batch that failed are tried one by one, until so many have failed and none went out
)
OUTCOMES = ("taken", "refused", "unanswered", "dead")


class Settlement(msgspec.Struct, frozen=True):
    """Payload of `payment.settle`: how the order ended and what was authorized (None: nothing)."""

    status: OrderStatus
    payment_ref: str | None
    total_cents: int


class Opened(msgspec.Struct, frozen=True):
    """Payload of `task.opened`."""

    task: TaskRow
    order: OrderBrief


class Refused(Exception):
    """The receiver does not take this event. `final`: it never will; `silent`: it gave no answer."""

    def __init__(self, reason: str, *, final: bool = False, silent: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.final, self.silent = reason, final, silent


class Relay:
    """One loop per channel, each woken after a commit and otherwise every `outbox_retry_s`. Under load there is a
    commit every few milliseconds: the bus and payments, for which nobody waits, are looked at every `outbox_pace_s` at
    most.

    No loop waits for a receiver: each region, each region's stream on the bus and each settlement goes its own way (see
    `lanes.py`) with a deadline. A region or a stream that does not answer is left alone, longer each time, and
    so is a single settlement. What its receiver refuses is tried again after a time that doubles, and is a dead letter
    after `outbox_tries`: kept, told of and left to a person. What merely finds nobody there is none, as long as nobody
    else gets an answer either: then the receiver is down, and comes back.

    Of several relays, the one with the channel's lease hands its events on, so that each order's come in their order. A
    lease that is not renewed for `outbox_lease_s`, because its holder is dead or frozen, goes to the next who asks.
    """

    def __init__(
        self,
        store: Store,
        *,
        bus: EventBus,
        payment: PaymentVendor,
        tell_region: TellRegion,
        clock: ServerClock,
        limits: Limits,
        holder: str = "persistence:0",
        heir_of: str | None = None,
        wake_others: Callable[[], None] = lambda: None,
    ) -> None:
        """`holder`: under which name leases are taken, another one for each process that ever was. `heir_of`: whose
        leases (those of the names beneath it) are free when this one starts, for it is dead. `wake_others` is called
        when something was committed here that others have to hand on."""
        self._holder, self._heir_of, self._wake_others = holder, heir_of, wake_others
        self._leases: dict[Channel, float] = {}  # held until this time of the loop
        self._store, self._bus, self._payment = store, bus, payment
        self._tell_region, self._clock, self._limits = tell_region, clock, limits
        self._wakers = {channel: asyncio.Event() for channel in Channel}
        self._loops: list[asyncio.Task[None]] = []
        # By region; of payments by region, whether it was tried before, and event.
        self._lanes: dict[Channel, Lanes[Any]] = {
            channel: Lanes(limits.outbox_retry_s, limits.outbox_rest_s) for channel in Channel
        }
        # When a receiver last answered, time of the loop.
        self._answered_s = dict.fromkeys(Channel, -math.inf)
        self.outcomes: dict[tuple[str, str], int] = {
            (channel, outcome): 0 for channel in Channel for outcome in OUTCOMES
        }

    def start(self) -> None:
        inherited = asyncio.ensure_future(self._inherit())
        self._loops = [inherited, *(asyncio.ensure_future(self._run(one, inherited)) for one in Channel)]

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
        now_s, lease_s = asyncio.get_running_loop().time(), self._limits.outbox_lease_s
        until_s = self._leases.get(channel, 0.0)
        if now_s < until_s - lease_s / 2:
            return True
        if await self._store.lease(f"outbox:{channel}", self._holder, lease_s):
            self._leases[channel] = now_s + lease_s
            return True
        self._leases.pop(channel, None)
        return False

    async def _run(self, channel: Channel, inherited: asyncio.Task[None]) -> None:
        waker = self._wakers[channel]
        await asyncio.wait((inherited,))
        while True:
            waker.clear()
            try:
                if await self._leads(channel):
                    await self._send_off(channel)
            except Exception as error:
                log.warning("relay.failed", channel=channel, error=f"{type(error).__name__}: {error}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.outbox_retry_s):
                    await waker.wait()
            if channel is not Channel.TASKS:
                await asyncio.sleep(self._limits.outbox_pace_s)

    async def _send_off(self, channel: Channel) -> None:
        """Send what is due on its way."""
        closed, limit = self._lanes[channel].closed(), self._limits.outbox_batch
        if channel is not Channel.PAYMENTS:
            by_region: dict[str, list[OutboxEvent]] = defaultdict(list)
            for event in await self._store.outbox_batch(channel, limit, closed):
                by_region[event.region_id].append(event)
            for region_id, events in by_region.items():
                self._send(channel, region_id, events, more=len(events) >= limit)
            return
        # Each market's new settlements and such as were tried have room apart: a pile that nobody takes holds up none.
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
                answers = await self._carrier(channel)(readable)
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
        tries = event.attempts + 1
        dead = error.final or tries >= self._limits.outbox_tries
        if error.silent and dead:
            ago_s = asyncio.get_running_loop().time() - self._answered_s[channel]
            dead = ago_s < self._wait_s(event.attempts)
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
            event_id=event.event_id, reason=error.reason, again_s=None if dead else self._wait_s(tries)
        )

    def _wait_s(self, tries: int) -> float:
        """After so many tries."""
        return min(self._limits.outbox_retry_s * 2.0 ** min(tries - 1, 60), self._limits.outbox_backoff_s)

    # -- the receivers: what each refused, by event; raises when it does not answer -----------------------------------

    def _carrier(self, channel: Channel) -> Callable[[list[OutboxEvent]], Awaitable[dict[int, Refused]]]:
        return {Channel.BUS: self._publish, Channel.TASKS: self._tell, Channel.PAYMENTS: self._settle_one}[
            channel
        ]

    async def _publish(self, events: list[OutboxEvent]) -> dict[int, Refused]:
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
            async with asyncio.timeout(self._limits.outbox_deadline_s):
                await self._bus.publish(events)
        except EventsRefused as error:
            return {event_id: Refused(reason) for event_id, reason in error.reasons.items()}
        return {}

    async def _tell(self, events: list[OutboxEvent]) -> dict[int, Refused]:
        refused: dict[int, Refused] = {}
        told: list[tuple[OutboxEvent, Opened]] = []
        for event in events:
            try:
                told.append((event, _read(event, Opened)))
            except Refused as error:
                refused[event.event_id] = error
        if told:
            messages = [TaskOpened(opened.task, opened.order) for _, opened in told]
            async with asyncio.timeout(self._limits.outbox_deadline_s):
                replies = await self._tell_region(events[0].region_id, messages)
            for (event, _), reply in zip(told, replies or (), strict=bool(replies)):
                if isinstance(reply, Answer) and reply.code is not None:
                    refused[event.event_id] = Refused(reply.code)
        return refused

    async def _settle_one(self, events: list[OutboxEvent]) -> dict[int, Refused]:
        [event] = events
        try:
            await self._settle(event)
        except Refused as error:
            return {event.event_id: error}
        except Exception as error:
            return {event.event_id: Refused(type(error).__name__, silent=True)}
        return {}

    async def _undo(self, event: OutboxEvent) -> None:
        """Let go what the vendor granted and the order has no use for."""
        undo = _read(event, Undo)
        if undo.vendor_ref is None:
            call = self._payment.release(request_id=undo.request_id)
        else:
            call = self._payment.void(request_id=f"void:{undo.request_id}", vendor_ref=undo.vendor_ref)
        _granted(await self._in_time(call), "void")

    async def _settle(self, event: OutboxEvent) -> None:
        """Take the money when the goods were handed over, let it go when the order ended otherwise."""
        if event.topic == "payment.undo":
            await self._undo(event)
            return
        order = _read(event, Settlement)
        if order.payment_ref is not None and order.status is not OrderStatus.DELIVERED:
            result = await self._in_time(
                self._payment.void(request_id=f"void:{event.aggregate_id}", vendor_ref=order.payment_ref)
            )
            _granted(result, "void")
        if order.status is OrderStatus.DELIVERED:
            if order.payment_ref is None:
                raise Refused("nothing was authorized", final=True)
            result = await self._in_time(
                self._payment.capture(
                    request_id=f"capture:{event.aggregate_id}",
                    vendor_ref=order.payment_ref,
                    amount_cents=order.total_cents,
                )
            )
            _granted(result, "capture")
            command = OrderCommand(
                scope="system|settle",
                key=f"{event.aggregate_id}/{self._clock.now_ms()}",  # refusals are remembered: another try decides anew
                fingerprint="",
                role=Role.SYSTEM,
                principal_id="settlement",
                order_id=event.aggregate_id,
                at_ms=self._clock.now_ms(),
                action=CloseOrder(order.payment_ref),
            )
            outcome = await self._close(command)
            if not isinstance(outcome, Done) or outcome.answer.code is not None:
                code = outcome.answer.code if isinstance(outcome, Done) else type(outcome).__name__
                held = isinstance(outcome, Held)  # somebody has the row, who may let it go
                raise Refused(f"the order was not closed: {code}", silent=held)

    async def _close(self, command: OrderCommand) -> Outcome:
        """A repeat finds the order closed, which is as good."""
        [outcome] = await self._store.append([command])
        closed = isinstance(outcome, Done) and outcome.answer.body.get("status") == OrderStatus.CLOSED
        return Done(Answer()) if closed else outcome

    async def _in_time(self, call: Awaitable[T]) -> T:
        """A vendor's answer."""
        async with asyncio.timeout(self._limits.vendor_timeout_s):
            return await call


def _read(event: OutboxEvent, kind: type[T]) -> T:
    try:
        return msgspec.convert(event.payload, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise Refused(f"unreadable: {type(error).__name__}", final=True) from error


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


def _granted(result: PaymentResult, what: str) -> None:
    """Money that did not move leaves the event where it is, to be tried again, and the order unclosed."""
    if not result.ok:
        raise Refused(f"the vendor refused the {what}")
