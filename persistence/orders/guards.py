"""The database's locks behind the lifecycle, for the store in memory: same tables, same names of what was broken.

Only what a wrong decision could break is here; formats and ranges of columns are Postgres's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from domain.orders.dossier import Entry
from domain.orders.lifecycle import (
    OFFER_EDGES,
    ORDER,
    ORDER_EDGES,
    TASK_EDGES,
    TASK_ENDED,
    TASK_HELD,
    TASK_START,
    OfferStatus,
    OrderEvent,
    OrderStatus,
    Role,
    TaskKind,
    TaskStatus,
)
from domain.orders.records import AgeAttempt, CheckOutcome, DoorCheck, OfferRow, TaskRow
from persistence.orders.plan import ConstraintBroken

_HAS_DRIVER = TASK_HELD | {TaskStatus.DONE, TaskStatus.FAILED}


# An order's first event comes from no state.
_BIRTH = (None, OrderEvent.CREATED, Role.CUSTOMER, OrderStatus.DRAFT)
# Every event that a dossier takes: the state before, what happened, by whom, and the state that it led to.
_STEPS = {_BIRTH} | {(at, event, role, edge.to) for (at, event), edge in ORDER.items() for role in edge.roles}


def guard_event(before: Entry | None, entry: Entry) -> None:
    """A dossier tells only of steps that the lifecycle has, each by a role that it belongs to."""
    role, _, _ = entry.actor.partition(":")
    step = (before.status if before else None, entry.type, role, entry.status)
    _hold(step in _STEPS, "dossier_events_step")


def guard_check(check: DoorCheck, known: bool, order: OrderStatus | None, task_exists: bool) -> None:
    """A check is written once, at the door of its order, for a task that is there, and passes only when every flag
    does. `order`: the order's status, None when there is none."""
    flags = check.over_age and check.not_expired and check.name_matches and check.sober
    _hold(not check.passed or flags, "ck_doorstep_checks_passed")
    _hold(check.unclear is None or not check.passed, "ck_doorstep_checks_unclear")
    _hold(not known, "pk_doorstep_checks")
    _hold(order is not None, "fk_doorstep_checks_order_id")
    _hold(task_exists, "fk_doorstep_checks_task_id")
    _hold(order is OrderStatus.AT_DOOR, "doorstep_checks_at_door")


def guard_attempt(before: AgeAttempt | None, after: AgeAttempt) -> None:
    """A try at an age check has one outcome and stays of its person and order."""
    if before is not None:
        _hold(before.outcome in (CheckOutcome.ASKED, CheckOutcome.UNAVAILABLE), "age_attempts_frozen")
        same = (before.customer_id, before.order_id) == (after.customer_id, after.order_id)
        _hold(same, "age_attempts_frozen")


def guard_offer(before: OfferRow | None, after: OfferRow) -> None:
    """An offer starts OFFERED and ends once; only its outcome changes."""
    if before is None:
        _hold(after.status is OfferStatus.OFFERED, "offers_start")
    else:
        _hold(before.status is after.status or (before.status, after.status) in OFFER_EDGES, "offers_edge")
        same = (before.region_id, before.driver_id) == (after.region_id, after.driver_id)
        _hold(same, "offers_frozen")
        _hold(after.status is not OfferStatus.OFFERED or before.task_ids == after.task_ids, "offers_frozen")
        _hold(before.closed_ms is None or _outcome(before) == _outcome(after), "offers_closed")
    _hold((after.status is OfferStatus.OFFERED) == (after.closed_ms is None), "ck_offers_closed")
    _hold(len(after.task_ids) > 0, "ck_offers_task_ids")


def _outcome(offer: OfferRow) -> tuple[int | None, int | None, str | None]:
    return offer.closed_ms, offer.seen_ms, offer.reason


def guard_task(
    before: TaskRow | None,
    after: TaskRow,
    of_order: Iterable[TaskRow],
    offer: OfferRow | None,
    order_exists: bool,
) -> None:
    """A task starts and moves by its table and is assigned only by its own offer, accepted by that driver.

    `of_order`: the order's other tasks; `offer`: the one that `after` names.
    """
    if before is None or _identity(before) != _identity(after):
        _hold(TASK_START[after.kind] is after.status, "tasks_start")
        _hold(before is None, "pk_tasks")
    else:
        _guard_move(before, after, offer)
    _hold(after.status not in _HAS_DRIVER or after.driver_id is not None, "ck_tasks_held_has_driver")
    _hold(after.status is not TaskStatus.OPEN or after.driver_id is None, "ck_tasks_open_is_free")
    if _live_delivery(after):
        _hold(not any(map(_live_delivery, of_order)), "uq_tasks_delivery")
    _hold(order_exists, "fk_tasks_order_id")


def _guard_move(before: TaskRow, after: TaskRow, offer: OfferRow | None) -> None:
    if (before.status, before.driver_id, before.offer_id) == (after.status, after.driver_id, after.offer_id):
        return
    _hold(before.status is after.status or (before.status, after.status) in TASK_EDGES, "tasks_edge")
    _hold(None in (before.driver_id, after.driver_id) or before.driver_id == after.driver_id, "tasks_holder")
    names_it = offer is not None and after.task_id in offer.task_ids
    if after.status is TaskStatus.OFFERED:
        _hold(names_it and offer is not None and offer.status is OfferStatus.OFFERED, "tasks_offer")
    if after.status is TaskStatus.ASSIGNED:
        accepted = offer is not None and offer.status is OfferStatus.ACCEPTED
        theirs = offer is not None and offer.driver_id == after.driver_id
        _hold(before.offer_id == after.offer_id and names_it and accepted and theirs, "tasks_offer")


def guard_order(
    before: OrderStatus | None,
    after: OrderStatus,
    order_id: str,
    checks: Iterable[DoorCheck],
    tasks: Mapping[str, TaskRow],
) -> None:
    """An order starts DRAFT, moves by its table, and is DELIVERED only behind the holder's passed check."""
    if before is None:
        _hold(after is OrderStatus.DRAFT, "orders_start")
        return
    if before is after:
        return
    _hold((before, after) in ORDER_EDGES, "orders_edge")
    if after is OrderStatus.DELIVERED:
        gate = any(
            check.passed and _held(tasks.get(check.task_id), order_id, check.driver_id) for check in checks
        )
        _hold(before is OrderStatus.ID_VERIFIED and gate, "orders_door_gate")


def _held(task: TaskRow | None, order_id: str, driver_id: str) -> bool:
    return (
        task is not None
        and task.order_id == order_id
        and task.driver_id == driver_id
        and task.kind is TaskKind.DELIVERY
        and task.status in (TaskStatus.AT_DROPOFF, TaskStatus.DONE)
    )


def _identity(task: TaskRow) -> tuple[str, str, TaskKind, int | None]:
    return task.order_id, task.region_id, task.kind, task.closes_ms


def _live_delivery(task: TaskRow) -> bool:
    return task.kind is TaskKind.DELIVERY and task.status not in TASK_ENDED


def _hold(condition: bool, constraint: str) -> None:
    if not condition:
        raise ConstraintBroken(constraint)
