"""The outbox relay: hands committed events on until each was acknowledged. At least once; receivers dedupe by id."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from actors.clock import ServerClock
from actors.config import Limits
from domain.lifecycle import OrderStatus, Role
from domain.messages import TaskOpened
from domain.order import CloseOrder, OrderCommand
from domain.ports import Channel, EventBus, PaymentResult, PaymentVendor, Store, VendorError
from domain.records import OrderBrief, OutboxEvent, TaskRow

log = structlog.get_logger()

TellRegion = Callable[[str, list[TaskOpened]], Awaitable[None]]


class Settlement(msgspec.Struct, frozen=True):
    """Payload of `payment.settle`: how the order ended and what was authorized (None: nothing)."""

    status: OrderStatus
    payment_ref: str | None
    total_cents: int


class Opened(msgspec.Struct, frozen=True):
    """Payload of `task.opened`."""

    task: TaskRow
    order: OrderBrief


class Relay:
    """One loop per channel, each woken after a commit and otherwise every `outbox_retry_s`. Under load there is a
    commit every few milliseconds: the bus and payments, for which nobody waits, are looked at every `outbox_pace_s` at
    most.

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
        wake_others: Callable[[], None] = lambda: None,
    ) -> None:
        """`holder`: under which name leases are taken. `wake_others` is called when something was committed here that
        others have to hand on."""
        self._holder, self._wake_others = holder, wake_others
        self._leases: dict[Channel, float] = {}  # held until this time of the loop
        self._down: dict[str, float] = {}  # region -> not to be asked before this time of the loop
        self._store, self._bus, self._payment = store, bus, payment
        self._tell_region, self._clock, self._limits = tell_region, clock, limits
        self._wakers = {channel: asyncio.Event() for channel in Channel}
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        carriers = {
            Channel.BUS: self._publish,
            Channel.TASKS: self._tell_regions,
            Channel.PAYMENTS: self._settle_all,
        }
        self._loops = [
            asyncio.ensure_future(self._run(channel, carry)) for channel, carry in carriers.items()
        ]

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
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
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

    async def _run(
        self, channel: Channel, carry: Callable[[list[OutboxEvent]], Awaitable[list[int]]]
    ) -> None:
        waker, limit = self._wakers[channel], self._limits.outbox_batch
        while True:
            waker.clear()
            more = False
            try:
                events: list[OutboxEvent] = []
                if await self._leads(channel):
                    events = await self._store.outbox_batch(channel, limit, self._down_regions(channel))
                done = await carry(events) if events else []
                if done:
                    await self._store.outbox_done(done)
                # Of tasks, those whose region failed just now are left out of the next batch, so it is another one.
                more = len(events) == limit and (len(done) > 0 or channel is Channel.TASKS)
            except Exception as error:
                log.warning("relay.failed", channel=channel, error=f"{type(error).__name__}: {error}")
            if not more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.outbox_retry_s):
                        await waker.wait()
                if channel is not Channel.TASKS:
                    await asyncio.sleep(self._limits.outbox_pace_s)

    def _down_regions(self, channel: Channel) -> list[str]:
        """Those that were not there a moment ago. Their events are left out, or they would fill every batch."""
        if channel is not Channel.TASKS:
            return []
        now_s = asyncio.get_running_loop().time()
        self._down = {region_id: until_s for region_id, until_s in self._down.items() if until_s > now_s}
        return sorted(self._down)

    async def _publish(self, events: list[OutboxEvent]) -> list[int]:
        await self._bus.publish(events)
        return [event.event_id for event in events]

    async def _tell_regions(self, events: list[OutboxEvent]) -> list[int]:
        by_region: dict[str, list[OutboxEvent]] = defaultdict(list)
        for event in events:
            by_region[event.region_id].append(event)
        return await _what_worked([self._tell(region_id, ones) for region_id, ones in by_region.items()])

    async def _settle_all(self, events: list[OutboxEvent]) -> list[int]:
        return await _what_worked([self._settle(event) for event in events])

    async def _tell(self, region_id: str, events: Sequence[OutboxEvent]) -> list[int]:
        try:
            payloads = [msgspec.convert(event.payload, Opened) for event in events]
            await self._tell_region(
                region_id, [TaskOpened(payload.task, payload.order) for payload in payloads]
            )
        except Exception:
            self._down[region_id] = asyncio.get_running_loop().time() + self._limits.outbox_retry_s
            raise
        return [event.event_id for event in events]

    async def _settle(self, event: OutboxEvent) -> list[int]:
        """Take the money when the goods were handed over, let it go when the order ended otherwise."""
        order = msgspec.convert(event.payload, Settlement)
        if order.payment_ref is not None and order.status is not OrderStatus.DELIVERED:
            result = await self._payment.void(
                request_id=f"void:{event.order_id}", vendor_ref=order.payment_ref
            )
            _granted(result, "void")
        if order.status is OrderStatus.DELIVERED:
            assert order.payment_ref is not None
            result = await self._payment.capture(
                request_id=f"capture:{event.order_id}",
                vendor_ref=order.payment_ref,
                amount_cents=order.total_cents,
            )
            _granted(result, "capture")
            command = OrderCommand(
                scope="system|settle",
                key=event.order_id,
                fingerprint="",
                role=Role.SYSTEM,
                principal_id="settlement",
                order_id=event.order_id,
                at_ms=self._clock.now_ms(),
                action=CloseOrder(order.payment_ref),
            )
            await self._store.append([command])
        return [event.event_id]


async def _what_worked(jobs: Sequence[Awaitable[list[int]]]) -> list[int]:
    """Do them side by side; ids of the events of those that did not fail."""
    results = await asyncio.gather(*jobs, return_exceptions=True)
    done: list[int] = []
    for result in results:
        if isinstance(result, BaseException):
            log.warning("relay.work_failed", error=f"{type(result).__name__}: {result}")
        else:
            done += result
    return done


def _granted(result: PaymentResult, what: str) -> None:
    """Money that did not move leaves the event where it is, to be tried again, and the order unclosed."""
    if not result.ok:
        raise VendorError(f"the vendor refused the {what} of {result.vendor_ref}")
