"""A scripted payment vendor: `fake:ok`, `fake:declined`, `fake:error`, `fake:timeout`.

What it takes by `fake:refund_declined`, `fake:refund_pending`, `fake:refund_fails_later` or `fake:refund_error` it
gives back so: the reference says it, so that every process knows.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from msgspec import Struct

from domain.ports import PaymentResult, RefundState, VendorError
from integrations.fake import FakeOptions, reference, script

T = TypeVar("T")

# What a refund comes to when it is asked for, and from then on.
REFUNDED: dict[str, tuple[RefundState, RefundState]] = {
    "refund_declined": (RefundState.FAILED, RefundState.FAILED),
    "refund_pending": (RefundState.PENDING, RefundState.DONE),
    "refund_fails_later": (RefundState.DONE, RefundState.FAILED),
}
REFUND_ERROR = "refund_error"
AUTHORIZED: dict[str, bool] = {
    "ok": True,
    "declined": False,
    REFUND_ERROR: True,
    **dict.fromkeys(REFUNDED, True),
}
REMEMBERED = 100_000  # requests, and holds


class Hold(Struct):
    """Money that was put aside: how much, how much of it was taken, and given back. `gone`: it was let go."""

    amount_cents: int
    taken_cents: int = 0
    returned_cents: int = 0
    gone: bool = False


class FakePayment:
    """`domain.ports.PaymentVendor` for trials and tests.

    Like a real one it answers a request that it knows as it did before, and refuses its name for anything else. It
    remembers within its process only: what another process was granted it takes for as good as held.
    """

    def __init__(self, options: FakeOptions) -> None:
        self._options = options
        self.holds: OrderedDict[str, Hold] = OrderedDict()  # by reference
        self._requests: OrderedDict[str, tuple[object, PaymentResult]] = OrderedDict()
        self._refunds: OrderedDict[str, tuple[tuple[str, int], RefundState]] = OrderedDict()
        self._released: OrderedDict[str, None] = OrderedDict()

    @property
    def left(self) -> list[str]:
        """Holds that were neither taken nor let go."""
        return [ref for ref, hold in self.holds.items() if not hold.gone and not hold.taken_cents]

    async def authorize(self, *, request_id: str, amount_cents: int, vendor_token: str) -> PaymentResult:
        """`VendorError` for `fake:error` and for a token without a script."""
        name = await script(vendor_token, self._options)
        if name not in AUTHORIZED:
            raise VendorError("the fake payment vendor has no such script")
        if request_id in self._released:
            raise VendorError("the request was let go")
        result = PaymentResult(AUTHORIZED[name], reference(_kind(name), request_id))
        first = self._first(request_id, ("authorize", amount_cents, vendor_token), result)
        if first.ok and first.vendor_ref not in self.holds:
            _put(self.holds, first.vendor_ref, Hold(amount_cents))
        return first

    async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult:
        """Carried out unless it is more than is held."""
        hold = self.holds.get(vendor_ref)
        ok = _own(vendor_ref) and (
            hold is None or (not hold.gone and hold.taken_cents + amount_cents <= hold.amount_cents)
        )
        known = request_id in self._requests
        result = self._first(request_id, ("capture", vendor_ref, amount_cents), PaymentResult(ok, vendor_ref))
        if hold is not None and result.ok and not known:
            hold.taken_cents += amount_cents
        return result

    async def void(self, *, request_id: str, vendor_ref: str) -> PaymentResult:
        """Always carried out; what was taken is given back."""
        hold = self.holds.get(vendor_ref)
        result = self._first(request_id, ("void", vendor_ref), PaymentResult(_own(vendor_ref), vendor_ref))
        if hold is not None and result.ok:
            hold.gone = True
        return result

    async def refund(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> RefundState:
        """By the script that the payment was taken by; refused for more than is left of what was taken."""
        name = _script_of(vendor_ref)
        if name == REFUND_ERROR:
            raise VendorError("the fake vendor was told to fail")
        asked = (vendor_ref, amount_cents)
        before = self._refunds.get(request_id)
        if before is not None and before[0] != asked:
            raise VendorError("the name of the request was used for something else")
        if before is None:
            hold = self.holds.get(vendor_ref)
            fits = hold is None or hold.returned_cents + amount_cents <= hold.taken_cents
            first, later = REFUNDED.get(name, (RefundState.DONE, RefundState.DONE))
            if not (fits and _own(vendor_ref)):
                first = later = RefundState.FAILED
            if hold is not None and first is not RefundState.FAILED:
                hold.returned_cents += amount_cents
            _put(self._refunds, request_id, (asked, later))
            return first
        return before[1]

    async def refund_state(self, *, request_id: str) -> RefundState | None:
        """See `domain.ports.PaymentVendor.refund_state`."""
        known = self._refunds.get(request_id)
        return None if known is None else known[1]

    async def release(self, *, request_id: str) -> PaymentResult:
        """As `void`, of what the request was granted; nothing will be from then on."""
        _put(self._released, request_id, None)
        _, granted = self._requests.get(
            request_id, (None, PaymentResult(False, reference("pay", request_id)))
        )
        return await self.void(request_id=f"release:{request_id}", vendor_ref=granted.vendor_ref)

    def _first(self, request_id: str, asked: object, result: PaymentResult) -> PaymentResult:
        before, first = self._requests.get(request_id, (asked, result))
        if before != asked:
            raise VendorError("the name of the request was used for something else")
        _put(self._requests, request_id, (asked, first))
        return first


def _put(table: OrderedDict[str, T], key: str, value: T) -> None:
    table[key] = value
    if len(table) > REMEMBERED:
        table.popitem(last=False)


def _kind(script_name: str) -> str:
    """What a reference begins with: it names the script of what is to come."""
    later = script_name in REFUNDED or script_name == REFUND_ERROR
    return f"pay_{script_name}" if later else "pay"


def _script_of(vendor_ref: str) -> str:
    return vendor_ref.removeprefix("fake_pay_").rpartition("_")[0]


def _own(vendor_ref: str) -> bool:
    return vendor_ref.startswith("fake_pay_")
