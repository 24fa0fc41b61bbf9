"""A scripted payment vendor: `fake:ok`, `fake:declined`, `fake:error`, `fake:timeout`."""

from __future__ import annotations

from domain.ports import PaymentResult, VendorError
from integrations.fake import reference, script

AUTHORIZED: dict[str, bool] = {"ok": True, "declined": False}


class FakePayment:
    """`domain.ports.PaymentVendor` for trials and tests. It keeps nothing: a repeat gets the same reference."""

    async def authorize(self, *, request_id: str, amount_cents: int, vendor_token: str) -> PaymentResult:
        """`VendorError` for `fake:error` and for a token without a script."""
        name = await script(vendor_token)
        if name not in AUTHORIZED:
            raise VendorError("the fake payment vendor has no such script")
        return PaymentResult(AUTHORIZED[name], reference("pay", request_id))

    async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult:
        """Always carried out: only what was authorized has a reference of this vendor."""
        return PaymentResult(_own(vendor_ref), vendor_ref)

    async def void(self, *, request_id: str, vendor_ref: str) -> PaymentResult:
        """Always carried out, as `capture`."""
        return PaymentResult(_own(vendor_ref), vendor_ref)


def _own(vendor_ref: str) -> bool:
    return vendor_ref.startswith("fake_pay_")
