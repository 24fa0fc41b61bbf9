"""The run's books: what became of each order, as the bots saw it and as the server says."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from sim.demo.api import Account

DELIVERED = frozenset({"DELIVERED", "CLOSED"})
ENDED = DELIVERED | {"RETURNED", "CANCELLED", "REJECTED"}
_STATUS_OF = {
    "delivered": DELIVERED,
    "returned": frozenset({"RETURNED"}),
    "under_age": frozenset({"CANCELLED"}),
}


class OrderNote(Struct, kw_only=True):
    """An order of this run. `outcome` is what the bots saw last; instants in server seconds."""

    order_id: str
    customer: Account
    placed_s: float
    outcome: str = "open"  # open | refused | delivered | returned | under_age | cancelled
    status: str | None = None  # as the server says, read after the end


class Tally:
    """Orders by id. `to_audit` holds those that have ended and were not compared with the server yet."""

    def __init__(self) -> None:
        self.open: dict[str, OrderNote] = {}
        self.to_audit: list[OrderNote] = []
        self.count: Counter[str] = Counter()
        self.disagreed: list[str] = []
        self.broken: list[str] = []
        self.ctd_min: list[float] = []  # click-to-door, server minutes

    def placed(self, note: OrderNote) -> None:
        """The server has taken the order."""
        self.count["orders"] += 1
        self.open[note.order_id] = note

    def told(self, kind: str, order_id: str, now_s: float) -> None:
        """News of an order: `refused`, `delivered`, `returned`, `under_age`; other news changes nothing here.

        Orders of an earlier run, which a driver may still hold, are not in these books.
        """
        note = self.open.get(order_id)
        if note is None or kind in ("gone", note.outcome):
            return
        if kind == "refused" or (kind == "returned" and note.outcome != "refused"):
            self.count["refused"] += 1
        note.outcome = kind
        if kind != "refused":
            self._end(note, now_s)

    def found(self, note: OrderNote, status: str, now_s: float) -> None:
        """The server was asked about an order of which there was no news."""
        if note.order_id not in self.open:
            return
        if status in DELIVERED:
            self.told("delivered", note.order_id, now_s)
        elif status == "RETURNED":
            self.told("returned", note.order_id, now_s)
        elif status in ("REFUSED", "RETURNING") and note.outcome == "open":
            self.told("refused", note.order_id, now_s)
        elif status in ("CANCELLED", "REJECTED"):
            note.outcome = "cancelled"
            self._end(note, now_s)

    def _end(self, note: OrderNote, now_s: float) -> None:
        del self.open[note.order_id]
        self.count[note.outcome] += 1
        if note.outcome == "delivered":
            self.ctd_min.append((now_s - note.placed_s) / 60)
        self.to_audit.append(note)

    def audited(self, note: OrderNote, status: str, dossier_ok: bool | None) -> None:
        """The server's word on an order that ended. `dossier_ok` is None where no dossier was due."""
        note.status = status
        self.count["audited"] += 1
        expected = _STATUS_OF.get(note.outcome)
        if expected is not None and status not in expected:
            self.disagreed.append(f"{note.order_id}: {note.outcome} here, {status} there")
        if dossier_ok is not None:
            self.count["dossiers_verified" if dossier_ok else "dossiers_broken"] += 1
        if dossier_ok is False:
            self.broken.append(note.order_id)

    @property
    def ended(self) -> int:
        return sum(self.count[kind] for kind in ("delivered", "returned", "under_age", "cancelled"))
