"""Money at a vendor."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class PaymentResult(Struct, frozen=True):
    """`ok` False means declined; `vendor_ref` names the payment at the vendor."""

    ok: bool
    vendor_ref: str


class PaymentVendor(Protocol):
    """Every request is named by what it is for: the same name with the same content has the same outcome and moves
    money once; with other content it is a `VendorError`."""

    async def authorize(self, *, request_id: str, amount_cents: int, vendor_token: str) -> PaymentResult:
        """Put a hold on the money."""
        ...

    async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult:
        """Take what is held, or less."""
        ...

    async def void(self, *, request_id: str, vendor_ref: str) -> PaymentResult:
        """Let a hold go."""
        ...

    async def release(self, *, request_id: str) -> PaymentResult:
        """Let go whatever was granted to the authorization of this name. One that comes later is a `VendorError`."""
        ...
