"""What is booked when a vendor has taken an order's money, or let it go: once, with what its drivers have earned."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import Forbidden, WrongState
from domain.ground.markets import MARKETS
from domain.marketplace.earnings import Drive, Earning, MoneyPolicy, TaxCollector, earning
from domain.marketplace.money import (
    Amounts,
    Captured,
    Earned,
    Facts,
    Held,
    LetGo,
    Movement,
    movements,
    share_of,
)
from domain.marketplace.payments import Payment
from domain.marketplace.pricing import area_of
from domain.orders.commands import OrderCommand, SettlePayment
from domain.orders.lifecycle import OrderEvent, OrderStatus, Role, TaskKind, TaskStatus
from domain.orders.payment import Attempt, AttemptStatus, ended
from domain.orders.records import Answer, TaskRow
from domain.orders.state import Books, Decision, OrderState

# How an order has ended whose money is taken, and how one whose money is let go.
_TAKEN = frozenset({OrderStatus.DELIVERED, OrderStatus.CLOSED})
_LET_GO = frozenset(
    {OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.RETURNED, OrderStatus.WRITTEN_OFF}
)
# Here an order has come to its end, and the vendor is asked.
SETTLED = _LET_GO | {OrderStatus.DELIVERED}
_OVER = {AttemptStatus.TAKEN: True, AttemptStatus.VOIDED: False}


class Step(Struct, frozen=True):
    """An event of an order's dossier, as far as pay goes by it. `actor`: "role:id"."""

    order_id: str
    type: str
    actor: str
    at_ms: int


def drives(tasks: Iterable[TaskRow], steps: Collection[Step], bumps: Mapping[str, int]) -> list[Drive]:
    """What was driven for these tasks, of those that have ended and were somebody's; `bumps`: more pay by offer."""
    found = []
    for task in tasks:
        if task.driver_id is None or task.ended_ms is None:
            continue
        own = {
            step.type: step.at_ms
            for step in steps
            if step.order_id == task.order_id and step.actor == f"{Role.DRIVER}:{task.driver_id}"
        }
        begins = {
            step.at_ms
            for step in steps
            if step.order_id == task.order_id and step.type == OrderEvent.RETURN_INITIATED
        }
        is_return = task.kind is TaskKind.RETURN
        begun_ms = max(begins, default=None) if is_return else own.get(OrderEvent.ASSIGNED)
        found.append(
            Drive(
                task_id=task.task_id,
                order_id=task.order_id,
                driver_id=task.driver_id,
                is_return=is_return,
                is_done=task.status in (TaskStatus.DONE, TaskStatus.FAILED),
                from_lat=task.pickup_lat,
                from_lng=task.pickup_lng,
                to_lat=task.dropoff_lat,
                to_lng=task.dropoff_lng,
                begun_ms=task.opened_ms if begun_ms is None else begun_ms,
                ended_ms=task.ended_ms,
                arrived_ms=own.get(OrderEvent.ARRIVED_AT_STORE),
                picked_up_ms=own.get(OrderEvent.PICKED_UP),
                bump_cents=0 if is_return or task.offer_id is None else bumps.get(task.offer_id, 0),
            )
        )
    return found


def held(order: OrderState, attempt: Attempt, at_ms: int) -> Books:
    """What an authorization books that the order takes as its own."""
    facts = Held(
        order_id=order.order_id,
        number=attempt.number,
        customer_id=order.customer_id,
        amount_cents=order.total_cents,
    )
    return Books(movements=movements([facts], at_ms))


def settle_payment(
    command: OrderCommand, order: OrderState, driven: Collection[Drive], rules: MoneyPolicy
) -> Decision:
    """Book what the vendor has done, once. `WrongState` for what does not go with how the order ended."""
    action = command.action
    assert isinstance(action, SettlePayment)
    if command.role is not Role.SYSTEM:
        raise Forbidden("This step belongs to: system.")
    attempt = _own(order, action.vendor_ref)
    if attempt.status in _OVER:
        if _OVER[attempt.status] is not action.taken:
            raise WrongState("The payment was settled otherwise.")
        return Decision(answer=Answer())
    if order.status not in (_TAKEN if action.taken else _LET_GO):
        raise WrongState(f"The payment is not settled so while the order is {order.status}.")
    status = AttemptStatus.TAKEN if action.taken else AttemptStatus.VOIDED
    after = replace(order, payments=ended(order.payments, attempt, status, action.vendor_ref))
    held_cents = order.total_cents if attempt.amount_cents is None else attempt.amount_cents
    earned = tuple(earning(drive, rules) for drive in driven)
    facts: list[Facts] = [_worked(one) for one in earned]
    payment = None
    if action.taken:
        driver_id = next((one.driver_id for one in driven if one.is_done and not one.is_return), "")
        payment = _payment(order, action.vendor_ref, driver_id, rules, command.at_ms)
        facts.append(_captured(payment, held_cents))
    else:
        facts.append(
            LetGo(
                order_id=order.order_id,
                number=attempt.number,
                customer_id=order.customer_id,
                amount_cents=held_cents,
            )
        )
    booked: tuple[Movement, ...] = movements(facts, command.at_ms)
    return Decision(
        answer=Answer(), order=after, books=Books(movements=booked, payment=payment, earnings=earned)
    )


def _own(order: OrderState, vendor_ref: str) -> Attempt:
    """The order's own authorization."""
    for attempt in order.payments:
        if attempt.vendor_ref == vendor_ref and (
            attempt.status is AttemptStatus.HELD or attempt.status in _OVER
        ):
            return attempt
    raise WrongState("The order has no such payment.")


def amounts_of(order: OrderState) -> Amounts:
    """What the order's total is made of."""
    return Amounts(
        goods_cents=order.goods_cents,
        fee_cents=order.fee_cents,
        tax_cents=order.tax_cents,
        tip_cents=order.tip_cents,
    )


def _payment(order: OrderState, vendor_ref: str, driver_id: str, rules: MoneyPolicy, at_ms: int) -> Payment:
    amounts = amounts_of(order)
    area = area_of(order.region_id, (order.dropoff_lat, order.dropoff_lng))
    return Payment(
        payment_id=order.order_id,
        order_id=order.order_id,
        region_id=order.region_id,
        customer_id=order.customer_id,
        merchant_id=order.merchant_id,
        driver_id=driver_id,
        jurisdiction=f"{MARKETS[order.region_id].jurisdiction} {area.name}",
        vendor_ref=vendor_ref,
        goods_cents=amounts.goods_cents,
        fee_cents=amounts.fee_cents,
        tax_cents=amounts.tax_cents,
        tip_cents=amounts.tip_cents,
        commission_bp=rules.commission_bp,
        merchant_taxes=rules.tax_collector is TaxCollector.MERCHANT,
        created_ms=at_ms,
    )


def _captured(payment: Payment, held_cents: int) -> Captured:
    return Captured(
        order_id=payment.order_id,
        held_cents=held_cents,
        customer_id=payment.customer_id,
        merchant_id=payment.merchant_id,
        driver_id=payment.driver_id,
        jurisdiction=payment.jurisdiction,
        amounts=payment.left,
        commission_cents=share_of(payment.goods_cents, payment.commission_bp),
        merchant_taxes=payment.merchant_taxes,
    )


def _worked(one: Earning) -> Earned:
    return Earned(
        order_id=one.order_id,
        task_id=one.task_id,
        driver_id=one.driver_id,
        amount_cents=one.total_cents,
    )
