"""The payment vendor of a simulated world: it keeps holds as a real one does, and who has none gets no money.

Whom a request is about is told by its vendor token, `fake:<script>@<id>`: the people of a world write it there, and the
product hands it on without reading it.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class HoldState(StrEnum):
    LIVE = "live"
    CAPTURED = "captured"
    VOIDED = "voided"


class Hold(Struct):
    """Money that the vendor keeps for an order. `stuck`: the vendor refuses for good to capture or void it."""

    ref: str
    order_id: str
    amount_cents: int
    state: HoldState = HoldState.LIVE
    captured_cents: int = 0
    stuck: bool = False


class Bank:
    """Holds by reference. What was done once is done again without effect, and a voided hold gives nothing."""

    def __init__(self) -> None:
        self.holds: dict[str, Hold] = {}
        self.refs: dict[str, str] = {}  # request -> the hold that it was granted
        self.released: set[str] = set()  # requests that will be granted nothing any more

    def hold(self, request_id: str, ref: str, order_id: str, amount_cents: int) -> Hold:
        """The hold of this request, new unless it was granted before."""
        self.refs[request_id] = ref
        return self.holds.setdefault(ref, Hold(ref, order_id, amount_cents))

    def live(self, order_id: str) -> list[Hold]:
        """The order's holds that were neither captured nor let go."""
        return [
            hold for hold in self.holds.values() if hold.order_id == order_id and hold.state is HoldState.LIVE
        ]

    def capture(self, ref: str, amount_cents: int) -> bool:
        """Whether the money moved, now or before."""
        hold = self.holds.get(ref)
        if hold is None or hold.stuck or hold.state is HoldState.VOIDED or amount_cents > hold.amount_cents:
            return False
        hold.state, hold.captured_cents = HoldState.CAPTURED, amount_cents
        return True

    def release(self, request_id: str) -> bool:
        """Let go what this request was granted, if anything, and grant it nothing from now on."""
        self.released.add(request_id)
        return request_id not in self.refs or self.void(self.refs[request_id])

    def void(self, ref: str) -> bool:
        """Whether the money is free, now or before."""
        hold = self.holds.get(ref)
        if hold is None or hold.stuck or hold.state is HoldState.CAPTURED:
            return False
        hold.state = HoldState.VOIDED
        return True


def token(script: str, about: str) -> str:
    """A vendor token for this script of the fake vendors, about this order or person."""
    return f"fake:{script}@{about}"


def read_token(vendor_token: str) -> tuple[str, str]:
    """The fake vendors' own token, and whom it is about (empty where it does not say)."""
    plain, _, about = vendor_token.partition("@")
    return plain, about
