"""The database against the law: every pair of states of orders, tasks and offers, tried in plain SQL."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import TypeAlias

import pytest

from domain.orders.lifecycle import OfferStatus, OrderStatus, TaskKind, TaskStatus
from tests.contracts.store_world import new_id
from tests.qa.law import OFFER_PAIRS, ORDER_PAIRS, TASK_PAIRS
from tests.qa.rows import WRITTEN, Rows, moved, started, task_states

pytestmark = pytest.mark.integration


Outcomes: TypeAlias = dict[object, str]


def by_name(keys: Iterable[object], outcomes: list[str]) -> Outcomes:
    return dict(zip(keys, outcomes, strict=True))


# -- orders -----------------------------------------------------------------------------------------------------------


def order_move(before: OrderStatus, after: OrderStatus, door: bool) -> str:
    """What must come of an order's move, when all that the door's gate asks for is there or is not."""
    if before is not after and (before, after) not in ORDER_PAIRS:
        return "orders_edge"
    if before is not after is OrderStatus.DELIVERED and not door:
        return "orders_door_gate"
    return WRITTEN


@pytest.mark.parametrize("door", [True, False])
async def test_every_pair_of_order_states(rows: Rows, door: bool) -> None:
    found: Outcomes = {}
    expected: Outcomes = {}
    for before in OrderStatus:
        order_id = await rows.order(before, door=door)
        outcomes = await rows.attempts(moved("order", order_id, after) for after in OrderStatus)
        found |= by_name(product([before], OrderStatus), outcomes)
        expected |= {(before, after): order_move(before, after, door) for after in OrderStatus}
    assert found == expected
    assert len(found) == 16 * 16


async def test_the_doors_gate_stands_where_every_edge_was_smuggled_in(rows: Rows) -> None:
    edge = "INSERT INTO order_edges VALUES ($1, 'DELIVERED') ON CONFLICT DO NOTHING"
    await rows.connection.executemany(edge, [(before,) for before in OrderStatus])
    found = {}
    for door, before in product([True, False], set(OrderStatus) - {OrderStatus.DELIVERED}):
        order_id = await rows.order(before, door=door)
        found[before, door] = await rows.attempt(moved("order", order_id, "DELIVERED"))
    expected = dict.fromkeys(found, "orders_door_gate") | {(OrderStatus.ID_VERIFIED, True): WRITTEN}
    assert found == expected


# -- tasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TaskKind)
async def test_every_pair_of_task_states(rows: Rows, kind: TaskKind) -> None:
    """All else being as it should be: the offer is there, open or accepted, and the driver is the one who holds it."""
    found, expected = {}, {}
    for before in task_states(kind):
        driver_id = new_id()
        task_id = await rows.task(await rows.order(door=False), before, driver_id, kind)
        spare = await rows.offer(task_id, driver_id)
        accepted = moved("offer", spare, "ACCEPTED", closed_ms="1").replace(
            f"= '{spare}'", f"= (SELECT offer_id FROM tasks WHERE task_id = '{task_id}')"
        )
        for after in TaskStatus:
            fields = {}
            if before is after:
                pass
            elif after is TaskStatus.OPEN:
                fields = {"driver_id": "NULL", "offer_id": "NULL"}
            elif after is TaskStatus.OFFERED:
                fields = {"driver_id": "NULL", "offer_id": f"'{spare}'"}
            elif after is not TaskStatus.CANCELLED:
                fields = {"driver_id": f"'{driver_id}'"}
            move = moved("task", task_id, after, **fields)
            if before is TaskStatus.OFFERED and after is TaskStatus.ASSIGNED:
                move = f"{accepted}; {move}"
            legal = before is after or (before, after) in TASK_PAIRS
            found[before, after] = await rows.attempt(move)
            expected[before, after] = WRITTEN if legal else "tasks_edge"
    assert found == expected
    assert len(found) == len(task_states(kind)) * 9


async def test_a_task_is_offered_only_by_an_open_offer_of_it(rows: Rows) -> None:
    driver_id = new_id()
    task_id = await rows.task(await rows.order(door=False), TaskStatus.OPEN, driver_id)
    another = await rows.task(await rows.order(door=False), TaskStatus.OPEN, driver_id)
    ends = [status for status in OfferStatus if status is not OfferStatus.OFFERED]
    offers = [new_id(), await rows.offer(another, driver_id)]
    offers += [await rows.offer(task_id, driver_id, status) for status in ends]
    for offer in ["NULL", *(f"'{offer_id}'" for offer_id in offers)]:
        assert await rows.attempt(moved("task", task_id, "OFFERED", offer_id=offer)) == "tasks_offer"


async def test_a_task_is_assigned_only_by_its_own_offer_accepted_by_that_driver(rows: Rows) -> None:
    driver_id, stranger = new_id(), new_id()
    for status, holder in product(OfferStatus, (driver_id, stranger)):
        task_id = await rows.task(await rows.order(door=False), TaskStatus.OFFERED, driver_id)
        other = await rows.offer(task_id, stranger, OfferStatus.ACCEPTED)
        own = str(await rows.connection.fetchval("SELECT offer_id FROM tasks WHERE task_id = $1", task_id))
        if status is not OfferStatus.OFFERED:
            await rows.close_offer(own, status)
        right = status is OfferStatus.ACCEPTED and holder == driver_id
        assert await rows.attempts(
            moved("task", task_id, "ASSIGNED", driver_id=f"'{holder}'", offer_id=f"'{offer}'")
            for offer in (own, other)
        ) == [WRITTEN if right else "tasks_offer", "tasks_offer"], (status, holder == driver_id)


@pytest.mark.parametrize("kind", TaskKind)
async def test_a_task_in_hand_changes_neither_driver_nor_what_it_is(rows: Rows, kind: TaskKind) -> None:
    other = await rows.order(door=False)
    for status in task_states(kind):
        driver_id = new_id()
        task_id = await rows.task(await rows.order(door=False), status, driver_id, kind)
        set_ = f"UPDATE tasks SET {{}} WHERE task_id = '{task_id}'"
        changes = {
            "kind": f"kind = '{'RETURN' if kind is TaskKind.DELIVERY else 'DELIVERY'}'",
            "order": f"order_id = '{other}'",
            "region": "region_id = 'tx-aus'",
            "closing": "closes_ms = 1",
        }
        outcomes = await rows.attempts(set_.format(change) for change in changes.values())
        assert by_name(changes, outcomes) == dict.fromkeys(changes, "tasks_frozen"), status
        if status not in (TaskStatus.OPEN, TaskStatus.OFFERED, TaskStatus.CANCELLED):
            assert await rows.attempt(set_.format(f"driver_id = '{new_id()}'")) == "tasks_holder", status


# -- offers -----------------------------------------------------------------------------------------------------------


async def test_every_pair_of_offer_states(rows: Rows) -> None:
    found: Outcomes = {}
    expected: Outcomes = {}
    for before in OfferStatus:
        offer_id = await rows.offer(rows.open_id, new_id(), before)
        ends = {after: "NULL" if after is OfferStatus.OFFERED else "1" for after in OfferStatus}
        outcomes = await rows.attempts(
            moved("offer", offer_id, after, closed_ms=end) for after, end in ends.items()
        )
        found |= by_name(product([before], OfferStatus), outcomes)
        for after in OfferStatus:
            legal = before is after or (before, after) in OFFER_PAIRS
            expected[before, after] = WRITTEN if legal else "offers_edge"
    assert found == expected
    assert len(found) == 5 * 5


# -- beginnings -------------------------------------------------------------------------------------------------------


async def test_nothing_begins_in_the_middle(rows: Rows) -> None:
    orders = await rows.attempts(started("orders", rows.draft_id, status=status) for status in OrderStatus)
    assert by_name(OrderStatus, orders) == {
        status: WRITTEN if status is OrderStatus.DRAFT else "orders_start" for status in OrderStatus
    }
    order_id = await rows.order(door=False)
    kinds = list(product(TaskKind, TaskStatus))
    tasks = await rows.attempts(
        started("tasks", rows.open_id, order_id=order_id, kind=kind, status=status)
        if status in (TaskStatus.OPEN, TaskStatus.OFFERED, TaskStatus.CANCELLED)
        else started("tasks", rows.open_id, order_id=order_id, kind=kind, status=status, driver_id=new_id())
        for kind, status in kinds
    )
    starts = {(TaskKind.DELIVERY, TaskStatus.OPEN), (TaskKind.RETURN, TaskStatus.PICKED_UP)}
    assert by_name(kinds, tasks) == {kind: WRITTEN if kind in starts else "tasks_start" for kind in kinds}
    offer_id = await rows.offer(rows.open_id, new_id())
    offers = await rows.attempts(
        started("offers", offer_id, status=status)
        if status is OfferStatus.OFFERED
        else started("offers", offer_id, status=status, closed_ms="1")
        for status in OfferStatus
    )
    assert by_name(OfferStatus, offers) == {
        status: WRITTEN if status is OfferStatus.OFFERED else "offers_start" for status in OfferStatus
    }
