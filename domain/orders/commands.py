"""What is asked of an order's rows."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from domain.orders.lifecycle import Role
from domain.orders.reasons import CancelReason, RejectReason
from domain.orders.records import CheckOutcome

ITEMS_LIMIT = 100  # lines of an order

QUANTITY_LIMIT = 100  # of a product, in one line

PRICE_LIMIT_CENTS = 1_000_000

TOTAL_LIMIT_CENTS = 1_000_000  # of an order; the database refuses more as well


class OrderItem(Struct, frozen=True):
    product_id: str
    quantity: int


class CreateOrder(Struct, frozen=True, kw_only=True, tag=True):
    store_id: str
    items: tuple[OrderItem, ...]
    dropoff_lat: float
    dropoff_lng: float
    dropoff_address: str


class BeginAgeCheck(Struct, frozen=True, tag=True):
    """The customer tries to prove their age: to be granted before the vendor is asked."""

    attempt_id: str


class RecordAgeCheck(Struct, frozen=True, tag=True):
    """What the vendor said of a try, or that it said nothing. One that was not granted before is granted now or not."""

    attempt_id: str
    outcome: CheckOutcome
    vendor_ref: str = ""


class BeginPayment(Struct, frozen=True, tag=True):
    """An authorization is about to be asked for. `token`: a digest of the vendor token; `patience_ms`: for so long one
    with another token is waited for, before it is let go. Answered with the request's name, number and amount."""

    token: str
    patience_ms: int


class RecordPayment(Struct, frozen=True, tag=True):
    """A conclusive answer to the authorization of this number (None: the one under way)."""

    authorized: bool
    vendor_ref: str
    number: int | None = None


class AbandonPayment(Struct, frozen=True, tag=True):
    """Nobody has said what became of this authorization, which was last asked for before `before_ms`."""

    number: int
    before_ms: int


class SettlePayment(Struct, frozen=True, tag=True):
    """The vendor has taken the order's money, or let it go: what it held under `vendor_ref`."""

    taken: bool
    vendor_ref: str


class MerchantAccept(Struct, frozen=True, tag=True):
    """`prep_s`: the merchant's estimate until the goods are packed, None for the market's default. `task_id`: of the
    delivery that this opens."""

    task_id: str
    prep_s: float | None


class MerchantReject(Struct, frozen=True, tag=True):
    reason: RejectReason = RejectReason.UNSPECIFIED


class CancelOrder(Struct, frozen=True, tag=True):
    reason: CancelReason = CancelReason.UNSPECIFIED


class CloseOrder(Struct, frozen=True, tag=True):
    """Payment is captured; nothing is left to do."""

    payment_ref: str = ""


OrderAction: TypeAlias = (
    CreateOrder
    | BeginAgeCheck
    | RecordAgeCheck
    | RecordPayment
    | MerchantAccept
    | MerchantReject
    | CancelOrder
    | CloseOrder
)

# No step of an order, and not what a client asked for: the answer is not the first to its key.
PaymentAction: TypeAlias = BeginPayment | AbandonPayment | SettlePayment


class OrderCommand(Struct, frozen=True, kw_only=True, tag=True):
    """An action on one order. (scope, key) is the request's id, see `domain.orders.records.StoredAnswer`.
    `principal_id`: who acts, as the dossier has it; `acts_for`: the merchant that they work for, None for themselves.
    """

    scope: str
    key: str
    fingerprint: str
    role: Role
    principal_id: str
    order_id: str
    at_ms: int
    action: OrderAction | PaymentAction
    if_match: tuple[int, ...] | None = None  # any of these versions; None: whatever it is
    acts_for: str | None = None

    @property
    def party_id(self) -> str:
        """Whose orders they are."""
        return self.principal_id if self.acts_for is None else self.acts_for
