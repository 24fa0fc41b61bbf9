"""What must hold of money: the vendor's holds against the orders that they are for."""

from __future__ import annotations

from collections.abc import Callable

from domain.orders.lifecycle import OrderStatus
from domain.orders.payment import AttemptStatus, request_id
from persistence.orders.memory import MemoryStore
from sim.world.payment_vendor import Bank, Hold, HoldState

Must = Callable[[bool, str, Callable[[], str] | str], None]
HANDED_OVER = frozenset({OrderStatus.DELIVERED, OrderStatus.CLOSED})


class MoneyRules:
    """Looks at every grant and every settlement as it happens, and at all holds in the end."""

    def __init__(self, bank: Bank, memory: MemoryStore, must: Must) -> None:
        self._bank, self._memory, self._must = bank, memory, must

    def held(self, hold: Hold) -> None:
        """The vendor keeps money for an order."""
        order = self._memory.order(hold.order_id)
        fits = order is not None and order.total_cents == hold.amount_cents
        self._must(fits, "holds", f"{hold.ref} of {hold.amount_cents} cents was made for {hold.order_id}")
        refs = {one.ref for one in self._bank.live(hold.order_id)} - self._let_go(hold.order_id)
        self._must(len(refs) <= 1, "holds", f"{len(refs)} holds live for {hold.order_id}")

    def _let_go(self, order_id: str) -> set[str]:
        """Holds of which it is on the order's row that they are on their way out."""
        order = self._memory.order(order_id)
        attempts = () if order is None else order.payments
        over = [one.number for one in attempts if one.status is AttemptStatus.LET_GO]
        return {self._bank.refs.get(request_id(order_id, number), "") for number in over}

    def settled(self, ref: str, what: str) -> None:
        """The vendor was asked to capture or void."""
        hold = self._bank.holds.get(ref)
        order = None if hold is None else self._memory.order(hold.order_id)
        paid_for = order is not None and order.status in HANDED_OVER and order.payment_ref == ref
        self._must(paid_for == (what == "capture"), "money", f"{what} of {ref} for {hold and hold.order_id}")

    def is_stuck(self, order_id: str) -> bool:
        """Whether the vendor keeps the order's settlement from ending, so that nobody here is to blame."""
        return any(hold.stuck for hold in self._bank.holds.values() if hold.order_id == order_id)

    def quiet(self) -> None:
        """All has ended: each hold is captured for what was handed over, or let go."""
        for hold in self._bank.holds.values():
            order = self._memory.order(hold.order_id)
            assert order is not None
            own = order.payment_ref == hold.ref
            due = HoldState.VOIDED
            if own and order.status in HANDED_OVER:
                due = HoldState.CAPTURED
            elif own and order.status is OrderStatus.PAYMENT_AUTHORIZED:
                due = HoldState.LIVE
            name = f"{hold.ref} for {hold.order_id}, {order.status}"
            self._must(hold.state is due or hold.stuck, "holds", f"{name}, is {hold.state} and not {due}")
            if hold.state is HoldState.CAPTURED:
                cents = hold.captured_cents
                self._must(cents == order.total_cents, "holds", f"{name}: {cents} cents were taken")
        for order in self._memory.orders.values():
            if order.status in HANDED_OVER:
                ref = order.payment_ref or ""
                self._must(
                    ref in self._bank.holds, "holds", f"{order.order_id} was handed over without a hold"
                )
