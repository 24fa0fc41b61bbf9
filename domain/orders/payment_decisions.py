"""Deciding on an order's payment: each hold that a vendor may have granted is on the row before the vendor is asked."""

from __future__ import annotations

from msgspec.structs import replace

from domain.errors import Forbidden, PaymentDeclined, PaymentUnderWay, Refusal
from domain.orders.commands import AbandonPayment, BeginPayment, OrderCommand, RecordPayment
from domain.orders.lifecycle import OrderEvent, Role, advance_order
from domain.orders.payment import (
    ATTEMPTS_LIMIT,
    Attempt,
    AttemptStatus,
    Undo,
    ended,
    numbered,
    open_attempt,
    request_id,
)
from domain.orders.records import Answer
from domain.orders.settling import held
from domain.orders.state import Decision, OrderState, advance, refused, with_refusal


def decide_payment(command: OrderCommand, order: OrderState) -> Decision:
    action = command.action
    assert isinstance(action, RecordPayment)
    ref = action.vendor_ref
    attempt = numbered(order.payments, action.number, ref, command.at_ms)
    if attempt.status is AttemptStatus.DECLINED:
        raise PaymentDeclined()
    event = OrderEvent.PAYMENT_AUTHORIZED if action.authorized else OrderEvent.PAYMENT_DECLINED
    advance_order(order.status, event, command.role)
    if attempt.status is not AttemptStatus.OPEN:
        raise PaymentUnderWay("This payment took too long and was let go: try again.")
    payload = {"vendor_ref": ref, "amount_cents": order.total_cents}
    if action.authorized:
        attempt = replace(attempt, amount_cents=order.total_cents)
        payments = ended(order.payments, attempt, AttemptStatus.HELD, ref)
        decision = advance(command, order, event, payload, payment_ref=ref, payments=payments)
        return replace(decision, books=held(order, attempt, command.at_ms))
    payments = ended(order.payments, attempt, AttemptStatus.DECLINED, ref)
    return with_refusal(advance(command, order, event, payload, payments=payments), PaymentDeclined())


def begin_payment(command: OrderCommand, order: OrderState) -> Decision:
    action, payments = command.action, order.payments
    assert isinstance(action, BeginPayment)
    undo: tuple[Undo, ...] = ()
    advance_order(order.status, OrderEvent.PAYMENT_AUTHORIZED, command.role)
    attempt = open_attempt(payments)
    if attempt is not None and attempt.token == action.token:
        # Nobody knows what became of it: asked again under its name, the vendor says.
        payments = (*payments[:-1], replace(attempt, begun_ms=command.at_ms))
    else:
        if attempt is not None:
            if command.at_ms < attempt.begun_ms + action.patience_ms:
                raise PaymentUnderWay(retry_after_s=1)
            payments = ended(payments, attempt, AttemptStatus.LET_GO, None)
            undo = (Undo(request_id(order.order_id, attempt.number), None),)
        if len(payments) >= ATTEMPTS_LIMIT:
            raise PaymentDeclined(f"{ATTEMPTS_LIMIT} payments of this order were tried.")
        new = Attempt(
            number=len(payments), token=action.token, status=AttemptStatus.OPEN, begun_ms=command.at_ms
        )
        payments = (*payments, new)
    number = payments[-1].number
    body = {
        "request_id": request_id(order.order_id, number),
        "number": number,
        "amount_cents": order.total_cents,
    }
    return Decision(answer=Answer(body=body), order=replace(order, payments=payments), undo=undo)


def not_wanted(command: OrderCommand, action: RecordPayment, order: OrderState, error: Refusal) -> Decision:
    """The vendor has answered an authorization that the order has no use for: what it granted is let go, once, and the
    order's own never."""
    attempt = numbered(order.payments, action.number, action.vendor_ref, command.at_ms)
    ref, status = action.vendor_ref, attempt.status
    # Nobody asked for what is not on the row, so nothing can have been granted.
    if attempt not in order.payments or ref in (attempt.vendor_ref, order.payment_ref):
        return Decision(answer=refused(error))
    over, after = AttemptStatus.LET_GO if action.authorized else AttemptStatus.DECLINED, None
    if status is AttemptStatus.OPEN or status is over:
        after = replace(order, payments=ended(order.payments, attempt, over, ref))
    undo = (Undo(request_id(order.order_id, attempt.number), ref),) if action.authorized else ()
    return Decision(answer=refused(error), order=after, undo=undo)


def abandon_payment(command: OrderCommand, order: OrderState) -> Decision:
    action = command.action
    assert isinstance(action, AbandonPayment)
    if command.role is not Role.SYSTEM:
        raise Forbidden("This step belongs to: system.")
    attempt = open_attempt(order.payments)
    if attempt is None or attempt.number != action.number or attempt.begun_ms >= action.before_ms:
        return Decision(answer=Answer())
    payments = ended(order.payments, attempt, AttemptStatus.LET_GO, None)
    undo = (Undo(request_id(order.order_id, attempt.number), None),)
    return Decision(answer=Answer(), order=replace(order, payments=payments), undo=undo)
