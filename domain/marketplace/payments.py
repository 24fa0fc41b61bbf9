"""Payments that were taken: what is left of each to be given back."""

from __future__ import annotations

from msgspec import Struct

from domain.marketplace.money import Amounts


class Payment(Struct, frozen=True, kw_only=True):
    """What was taken for an order, under the order's id, and how much of it was promised back. `jurisdiction`: whose
    tax it has; `commission_bp`: hundredths of a per cent of the goods that are the platform's; `merchant_taxes`: the
    merchant owes the tax."""

    payment_id: str
    order_id: str
    region_id: str
    customer_id: str
    merchant_id: str
    driver_id: str
    jurisdiction: str
    vendor_ref: str
    goods_cents: int
    fee_cents: int
    tax_cents: int
    tip_cents: int
    commission_bp: int
    merchant_taxes: bool
    created_ms: int
    refunded_goods_cents: int = 0
    refunded_fee_cents: int = 0
    refunded_tax_cents: int = 0
    refunded_tip_cents: int = 0
    version: int = 1

    @property
    def left(self) -> Amounts:
        """What can still be given back."""
        return Amounts(
            goods_cents=self.goods_cents - self.refunded_goods_cents,
            fee_cents=self.fee_cents - self.refunded_fee_cents,
            tax_cents=self.tax_cents - self.refunded_tax_cents,
            tip_cents=self.tip_cents - self.refunded_tip_cents,
        )
