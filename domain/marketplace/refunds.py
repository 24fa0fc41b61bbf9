"""Refunds: what operators give back of a payment, in full or in part, and what became of it at the vendor."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import Forbidden, InvalidRequest, RefundTooMuch, WrongState
from domain.marketplace.change import Command, Decision, VendorAsk
from domain.marketplace.money import (
    Amounts,
    CameBack,
    Facts,
    GivenBack,
    NotGivenBack,
    Promised,
    RefundFacts,
    movements,
    part_of,
    share_of,
)
from domain.marketplace.payments import Payment
from domain.orders.lifecycle import Role


class RefundStatus(StrEnum):
    """How it stands. One that was DONE can fail later: the money came back."""

    PENDING = "PENDING"
    DONE = "DONE"
    FAILED = "FAILED"


class RefundReason(StrEnum):
    """Why money is given back."""

    ITEM_MISSING = "ITEM_MISSING"
    ITEM_WRONG = "ITEM_WRONG"
    ITEM_DAMAGED = "ITEM_DAMAGED"
    QUALITY = "QUALITY"
    LATE = "LATE"
    DRIVER_CONDUCT = "DRIVER_CONDUCT"
    OVERCHARGED = "OVERCHARGED"
    FRAUD = "FRAUD"
    GOODWILL = "GOODWILL"
    OTHER = "OTHER"


# For these the goods are the merchant's loss; for all others they are the platform's.
MERCHANT_BEARS = frozenset(
    {
        RefundReason.ITEM_MISSING,
        RefundReason.ITEM_WRONG,
        RefundReason.ITEM_DAMAGED,
        RefundReason.QUALITY,
        RefundReason.OVERCHARGED,
    }
)


class Refund(Struct, frozen=True, kw_only=True):
    """A refund, with all that its movements go by. `vendor_ref`: of the payment."""

    refund_id: str
    payment_id: str
    order_id: str
    region_id: str
    customer_id: str
    merchant_id: str
    jurisdiction: str
    vendor_ref: str
    goods_cents: int
    fee_cents: int
    tax_cents: int
    tip_cents: int
    commission_cents: int
    merchant_bears: bool
    merchant_taxes: bool
    reason: RefundReason
    asked_by: str
    created_ms: int
    status: RefundStatus = RefundStatus.PENDING
    ended_ms: int | None = None
    version: int = 1

    @property
    def parts(self) -> Amounts:
        """What it is made of."""
        return Amounts(
            goods_cents=self.goods_cents,
            fee_cents=self.fee_cents,
            tax_cents=self.tax_cents,
            tip_cents=self.tip_cents,
        )

    @property
    def facts(self) -> RefundFacts:
        """What its movements are made of."""
        return RefundFacts(
            refund_id=self.refund_id,
            order_id=self.order_id,
            customer_id=self.customer_id,
            merchant_id=self.merchant_id,
            jurisdiction=self.jurisdiction,
            parts=self.parts,
            commission_cents=self.commission_cents,
            merchant_bears=self.merchant_bears,
            merchant_taxes=self.merchant_taxes,
        )


class AskRefund(Struct, frozen=True, kw_only=True):
    """Give back so many cents, None for all that is left. `with_tip`: of the tip, too, which the driver keeps."""

    payment_id: str
    refund_id: str
    amount_cents: int | None
    with_tip: bool
    reason: RefundReason


class EndRefund(Struct, frozen=True, kw_only=True):
    """What the vendor has said of it."""

    refund_id: str
    is_done: bool


def ask_refund(action: AskRefund, before: Payment, command: Command) -> Decision:
    """`RefundTooMuch` for more than is left: that is promised at once, and asked of the vendor after the commit."""
    left = before.left if action.with_tip else replace(before.left, tip_cents=0)
    cents = left.total_cents if action.amount_cents is None else action.amount_cents
    if cents > left.total_cents or not left.total_cents:
        raise RefundTooMuch(f"{left.total_cents} cents are left of this payment.")
    if cents <= 0:
        raise InvalidRequest("A refund is of a cent at least.")
    parts = part_of(left, cents)
    kept_cents = before.left.goods_cents - parts.goods_cents
    refund = Refund(
        refund_id=action.refund_id,
        payment_id=before.payment_id,
        order_id=before.order_id,
        region_id=before.region_id,
        customer_id=before.customer_id,
        merchant_id=before.merchant_id,
        jurisdiction=before.jurisdiction,
        vendor_ref=before.vendor_ref,
        goods_cents=parts.goods_cents,
        fee_cents=parts.fee_cents,
        tax_cents=parts.tax_cents,
        tip_cents=parts.tip_cents,
        # Of what the merchant keeps, so that the commissions of all refunds add up to exactly that of the sale.
        commission_cents=share_of(before.left.goods_cents, before.commission_bp)
        - share_of(kept_cents, before.commission_bp),
        merchant_bears=action.reason in MERCHANT_BEARS,
        merchant_taxes=before.merchant_taxes,
        reason=action.reason,
        asked_by=command.actor_id,
        created_ms=command.at_ms,
    )
    ask = VendorAsk(
        topic="payment.refund",
        order_id=refund.order_id,
        region_id=refund.region_id,
        payload={"refund_id": refund.refund_id, "vendor_ref": refund.vendor_ref, "amount_cents": cents},
    )
    return Decision(
        shown=refund,
        new=(refund,),
        event="requested",
        movements=movements([Promised(refund.facts)], command.at_ms),
        asks=(ask,),
    )


def end_refund(action: EndRefund, before: Refund, command: Command) -> Decision:
    """A repeat changes nothing. `WrongState` where it has failed and is said to be done."""
    if command.role is not Role.SYSTEM:
        raise Forbidden("This step belongs to: system.")
    status = RefundStatus.DONE if action.is_done else RefundStatus.FAILED
    if before.status is status:
        return Decision(shown=before, changed=before)
    if before.status is RefundStatus.FAILED:
        raise WrongState("The refund has failed.")
    facts: Facts = GivenBack(before.facts)
    if status is RefundStatus.FAILED:
        facts = (
            NotGivenBack(before.facts) if before.status is RefundStatus.PENDING else CameBack(before.facts)
        )
    after = replace(before, status=status, ended_ms=command.at_ms)
    return Decision(
        shown=after,
        changed=after,
        event="paid" if action.is_done else "failed",
        movements=movements([facts], command.at_ms),
    )
