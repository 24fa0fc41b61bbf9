"""Which records must wait because something that they are about is locked, and which rest on those.

A record rests on every earlier one that shares a subject with it: an order, a task, an offer, a driver, a check or a
request. What shares none was decided alike whether the earlier one was written or not, so it may become durable first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from domain.orders.records import Record
from domain.region.messages import Message

_NAMES = ("order_id", "task_id", "offer_id", "driver_id", "principal_id")


def subjects(record: Record) -> set[str]:
    """The ids of all that the record is about."""
    found = {fact.order_id for fact in record.orders}
    for task in record.tasks:
        found |= {task.task_id, task.order_id}
        if task.driver_id is not None:
            found.add(task.driver_id)
    for offer in record.offers:
        found |= {offer.offer_id, offer.driver_id, *offer.task_ids}
    for check in record.checks:
        found |= {check.order_id, check.task_id, check.driver_id}
    found |= {f"{answer.scope} {answer.key}" for answer in record.answers}
    return found


def orders_of(records: Iterable[Record]) -> set[str]:
    """The orders that the records are about."""
    found: set[str] = set()
    for record in records:
        found |= {fact.order_id for fact in record.orders} | {task.order_id for task in record.tasks}
        found |= {check.order_id for check in record.checks}
    return found


def behind(records: Iterable[Record], locked: Collection[str], among: set[str]) -> list[Record]:
    """The records that must wait, in order: those whose id is `locked`, those about one of `among`, and all that come
    after one of them and rest on it. What they are about is added to `among`."""
    waiting = []
    for record in records:
        about = subjects(record)
        if record.record_id in locked or not among.isdisjoint(about):
            among |= about
            waiting.append(record)
    return waiting


def message_subjects(message: Message) -> set[str]:
    """The ids that a message names."""
    parts = (message, getattr(message, "action", None), getattr(message, "task", None))
    found = {getattr(part, name, None) for part in parts for name in _NAMES}
    return {one for one in found if isinstance(one, str)}
