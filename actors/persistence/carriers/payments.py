"""To the payment vendor: an order that has ended is paid or let go, and what it has no use for is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from actors.clock import ServerClock
from actors.config import Limits
from actors.persistence.carriers.carrier import Refused, read
from actors.persistence.carriers.options import CarrierOptions, usual
from domain.marketplace.change import Carried, Command
from domain.marketplace.refunds import EndRefund, Refund
from domain.orders.commands import CloseOrder, OrderAction, OrderCommand, PaymentAction, SettlePayment
from domain.orders.lifecycle import OrderStatus, Role
from domain.orders.payment import Undo
from domain.orders.records import Answer, Done, Held, OutboxEvent
from domain.ports import PaymentResult, PaymentVendor, RefundState, RegionStore

T = TypeVar("T")
V = TypeVar("V")


class Settlement(Struct, frozen=True):
    """Payload of `payment.settle`: how the order ended and what was authorized (None: nothing)."""

    status: OrderStatus
    payment_ref: str | None
    total_cents: int


class RefundAsked(Struct, frozen=True):
    """Payload of `payment.refund`."""

    refund_id: str
    vendor_ref: str
    amount_cents: int


class Records(Protocol):
    """The marketplace's write path, which keeps refunds."""

    async def carry_out(self, command: Command, show: Callable[[Any], V], view: type[V]) -> Carried[V]:
        """See `persistence.marketplace.carry_out`."""
        ...


class ToPayments:
    """Each settlement for itself: one that the vendor thinks about for long holds up none."""

    apart = True

    def __init__(
        self,
        payment: PaymentVendor,
        store: RegionStore,
        records: Records | None,
        clock: ServerClock,
        options: CarrierOptions,
    ) -> None:
        """`store` takes the commands that book what became of an order's payment, `records` those of refunds: None
        where there are none, as in simulated worlds."""
        self._records, self._payment, self._store = records, payment, store
        self._clock, self.options = clock, options

    async def carry(self, events: list[OutboxEvent]) -> dict[int, Refused]:
        """See `Carrier`."""
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
        undo = read(event, Undo)
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
        if event.topic == "payment.refund":
            await self._refund(event)
            return
        order = read(event, Settlement)
        if order.payment_ref is not None and order.status is not OrderStatus.DELIVERED:
            result = await self._in_time(
                self._payment.void(request_id=f"void:{event.aggregate_id}", vendor_ref=order.payment_ref)
            )
            _granted(result, "void")
            await self._append(event, SettlePayment(taken=False, vendor_ref=order.payment_ref))
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
            # Booked and closed in one transaction.
            taken = SettlePayment(taken=True, vendor_ref=order.payment_ref)
            await self._append(event, taken, CloseOrder(order.payment_ref))

    async def _refund(self, event: OutboxEvent) -> None:
        """Give money back, and book what the vendor says of it. One that it is not done with is asked for again."""
        asked = read(event, RefundAsked)
        if self._records is None:
            raise Refused("nobody keeps refunds here", final=True)
        state = await self._in_time(
            self._payment.refund(
                request_id=f"refund:{asked.refund_id}",
                vendor_ref=asked.vendor_ref,
                amount_cents=asked.amount_cents,
            )
        )
        if state is RefundState.PENDING:
            raise Refused("the vendor is not done with the refund")
        command = Command(
            action=EndRefund(refund_id=asked.refund_id, is_done=state is RefundState.DONE),
            actor_id="settlement",
            role=Role.SYSTEM,
            at_ms=self._clock.now_ms(),
            owner_id=None,
        )
        await self._records.carry_out(command, lambda refund: refund, Refund)

    async def _append(self, event: OutboxEvent, *actions: OrderAction | PaymentAction) -> None:
        """Have it on the order's rows. A repeat finds it booked and the order closed, which is as good."""
        now_ms = self._clock.now_ms()
        commands = [
            OrderCommand(
                scope="system|settle",
                key=f"{event.aggregate_id}/{now_ms}",  # refusals are remembered: another try decides anew
                fingerprint="",
                role=Role.SYSTEM,
                principal_id="settlement",
                order_id=event.aggregate_id,
                at_ms=now_ms,
                action=action,
            )
            for action in actions
        ]
        for outcome in await self._store.append(commands):
            answer = outcome.answer if isinstance(outcome, Done) else Answer(code=type(outcome).__name__)
            if answer.code is not None and answer.body.get("status") != OrderStatus.CLOSED:
                held = isinstance(outcome, Held)  # somebody has the row, who may let it go
                raise Refused(f"the order was not settled: {answer.code}", silent=held)

    async def _in_time(self, call: Awaitable[T]) -> T:
        """A vendor's answer."""
        async with asyncio.timeout(self.options.deadline_s):
            return await call


def _granted(result: PaymentResult, what: str) -> None:
    """Money that did not move leaves the event where it is, to be tried again, and the order unclosed."""
    if not result.ok:
        raise Refused(f"the vendor refused the {what}")


def of_payments(limits: Limits) -> CarrierOptions:
    """A call of the vendor has the time that such a call has anywhere."""
    return replace(usual(limits), deadline_s=limits.vendor_timeout_s)
