"""Money at a vendor."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from msgspec import Struct


class PaymentResult(Struct, frozen=True):
    """`ok` False means declined; `vendor_ref` names the payment at the vendor."""

    ok: bool
    vendor_ref: str


class RefundState(StrEnum):
    """What became of a refund, as far as the vendor knows. One that was DONE may still fail."""

    PENDING = "PENDING"
    DONE = "DONE"
    FAILED = "FAILED"


class PaymentVendor(Protocol):
    """Every request is named by what it is for: the same name with the same content has the same outcome and moves
    money once; with other content it is a `VendorError`."""

    async def authorize(self, *, request_id: str, amount_cents: int, vendor_token: str) -> PaymentResult:
        """Put a hold on the money."""
        ...

    async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult:
        """Take what is held, or less."""
        ...

    async def refund(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> RefundState:
        """Give back of what was taken, never more than that. A repeat is told how it stands."""
        ...

    async def refund_state(self, *, request_id: str) -> RefundState | None:
        """How the refund of this name stands; None for one that was never asked for."""
        ...

    async def void(self, *, request_id: str, vendor_ref: str) -> PaymentResult:
        """Let a hold go."""
        ...

    async def release(self, *, request_id: str) -> PaymentResult:
        """Let go whatever was granted to the authorization of this name. One that comes later is a `VendorError`."""
        ...
