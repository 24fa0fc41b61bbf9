"""The outside recorder of `bench live`, and its verdict: every answer that the load was given must stand in a dossier.

The server has no part in this: what was answered is noted in the load process as it came in, and the dossiers are read
afterwards through the public interface and verified link by link.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from msgspec import Struct, field

from domain.orders.dossier import Entry, verify
from domain.orders.lifecycle import OrderEvent

DELIVERED = frozenset({"DELIVERED", "CLOSED"})
WAITING = "CONFIRMED"
UNDER_WAY = frozenset({"ASSIGNED", "PICKED_UP", "AT_DOOR", "ID_VERIFIED"})
NAMED = 10  # findings that are told one by one


class Note(Struct):
    """An order that the server has taken. `refused`: the step of its checkout that failed, by its code."""

    order_id: str
    customer: int
    due_s: float  # monotonic time at which the merchant's acceptance was due
    measured: bool = True
    offered: bool = False
    delivered: bool = False
    refused: str | None = None


class Accepted(Struct, frozen=True):
    """A task was given to a driver, durably, said the server."""

    task_id: str
    order_id: str
    driver_id: str


class Record(Struct):
    """All that was answered."""

    orders: dict[str, Note] = field(default_factory=dict)
    accepted: list[Accepted] = field(default_factory=list)

    def open(self) -> list[Note]:
        """Orders that are not at their end as far as the load knows."""
        return [note for note in self.orders.values() if not note.delivered and note.refused is None]


class Findings(Struct):
    """`lost`: an answer without its event, an order that is gone, left without a word or with a broken chain; `twice`:
    a task that two drivers were given. `at_end`: orders by how they stand."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    at_end: Counter[str] = field(default_factory=Counter)

    def values(self) -> dict[str, Any]:
        """Plain values for the report."""
        return {
            "lost_count": len(self.lost),
            "twice_count": len(self.twice),
            "at_end": dict(self.at_end),
            "named": (self.lost + self.twice)[:NAMED],
        }


def judge(record: Record, dossiers: dict[str, list[Entry]]) -> Findings:
    """Compare the record with the dossiers, by order id; an order without one is missing there."""
    found = Findings()
    for note in record.orders.values():
        entries = dossiers.get(note.order_id, [])
        _judge_order(note, entries, found)
    holders: dict[str, set[str]] = {}
    for accepted in record.accepted:
        holders.setdefault(accepted.task_id, set()).add(accepted.driver_id)
        actor = f"driver:{accepted.driver_id}"
        entries = dossiers.get(accepted.order_id, [])
        if not any(entry.type == OrderEvent.ASSIGNED and entry.actor == actor for entry in entries):
            found.lost.append(
                f"order {accepted.order_id}: accepted by {accepted.driver_id}, not in its dossier"
            )
    for task_id, drivers in holders.items():
        if len(drivers) > 1 and not _was_released(task_id, record, dossiers):
            found.twice.append(f"task {task_id}: {len(drivers)} drivers were told that it is theirs")
    return found


def _judge_order(note: Note, entries: list[Entry], found: Findings) -> None:
    verdict = verify(entries)
    if not verdict.ok:
        found.lost.append(f"order {note.order_id}: {verdict.reason}")
        found.at_end["broken"] += 1
        return
    status = entries[-1].status
    if note.delivered and status not in DELIVERED:
        found.lost.append(f"order {note.order_id}: delivered, said the server, and is {status}")
    held = 0
    for entry in entries:
        held += (entry.type == OrderEvent.ASSIGNED) - (entry.type == OrderEvent.RELEASED)
        if held > 1:
            found.twice.append(f"order {note.order_id}: assigned twice")
            break
    if status in DELIVERED:
        found.at_end["delivered"] += 1
    elif status in UNDER_WAY:
        found.at_end["under way"] += 1
    elif status == WAITING:
        found.at_end["waiting"] += 1
    elif note.refused is not None:
        found.at_end[f"refused: {note.refused}"] += 1
    else:
        found.at_end[status] += 1
        found.lost.append(f"order {note.order_id}: is {status}, and nobody said why")


def _was_released(task_id: str, record: Record, dossiers: dict[str, list[Entry]]) -> bool:
    """Whether the task was taken from its first holder in between, as from a driver who was lost."""
    orders = {accepted.order_id for accepted in record.accepted if accepted.task_id == task_id}
    return any(entry.type == OrderEvent.RELEASED for one in orders for entry in dossiers.get(one, []))


def entry_of(event: dict[str, Any]) -> Entry:
    """An event as the dossier endpoint tells it."""
    names = ("order_id", "seq", "type", "status", "at_ms", "actor", "payload")
    return Entry(
        **{name: event[name] for name in names},
        prev_hash=bytes.fromhex(event["prev_hash"]),
        hash=bytes.fromhex(event["hash"]),
    )
