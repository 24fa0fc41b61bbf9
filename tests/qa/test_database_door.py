"""The door in the database: what does not open it, and that the evidence of it stays as it was written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from domain.orders.lifecycle import OrderStatus, TaskKind, TaskStatus
from tests.contracts.store_world import new_id
from tests.qa.rows import WRITTEN, Rows, moved

pytestmark = pytest.mark.integration

# Puts something like a check into the database for an order and the driver at its door.
Forge: TypeAlias = Callable[[Rows, str, str, str], Awaitable[None]]


async def _no_check(rows: Rows, order_id: str, task_id: str, driver_id: str) -> None:
    pass


async def _failed(rows: Rows, order_id: str, task_id: str, driver_id: str) -> None:
    await rows.check(order_id, task_id, driver_id, passed=False)


async def _of_another_order(rows: Rows, order_id: str, task_id: str, driver_id: str) -> None:
    """The same driver's passed check at another door, and every mixture of the two."""
    other = await rows.order(door=False)
    other_task = await rows.task(other, TaskStatus.AT_DROPOFF, driver_id)
    await rows.walk(other, OrderStatus.AT_DOOR)
    await rows.check(other, other_task, driver_id)
    await rows.check(order_id, other_task, driver_id)
    await rows.check(other, task_id, driver_id)


async def _by_another_driver(rows: Rows, order_id: str, task_id: str, driver_id: str) -> None:
    await rows.check(order_id, task_id, new_id())


async def _for_the_return(rows: Rows, order_id: str, task_id: str, driver_id: str) -> None:
    back = await rows.task(order_id, TaskStatus.AT_DROPOFF, driver_id, TaskKind.RETURN)
    await rows.check(order_id, back, driver_id)


async def _by_the_former_holder(rows: Rows, order_id: str, task_id: str, driver_id: str) -> None:
    """The order's delivery was somebody else's before, who checked an ID and let the task go."""
    await rows.connection.execute(moved("task", task_id, "FAILED"))
    former = new_id()
    again = await rows.task(order_id, TaskStatus.ASSIGNED, former)
    await rows.check(order_id, again, former)
    for status in ("OPEN", "OFFERED", "ASSIGNED", "AT_PICKUP", "PICKED_UP", "AT_DROPOFF"):
        await rows.move_task(again, TaskStatus(status), driver_id)


async def _for_a_delivery_that_failed(rows: Rows, order_id: str, task_id: str, driver_id: str) -> None:
    await rows.check(order_id, task_id, driver_id)
    await rows.connection.execute(moved("task", task_id, "FAILED"))


async def _for_a_delivery_not_yet_there(rows: Rows, order_id: str, task_id: str, driver_id: str) -> None:
    await rows.connection.execute(moved("task", task_id, "FAILED"))
    again = await rows.task(order_id, TaskStatus.PICKED_UP, driver_id)
    await rows.check(order_id, again, driver_id)


SHUT: dict[str, Forge] = {
    "no check": _no_check,
    "a failed check": _failed,
    "a check of another order": _of_another_order,
    "a check by another driver": _by_another_driver,
    "a check for the return": _for_the_return,
    "a check by the former holder": _by_the_former_holder,
    "a check for a delivery that failed": _for_a_delivery_that_failed,
    "a check for a delivery that is not at the door": _for_a_delivery_not_yet_there,
}


async def at_the_door(rows: Rows) -> tuple[str, str, str]:
    """An order at its door, its task and the driver."""
    driver_id, order_id = new_id(), await rows.order(door=False)
    task_id = await rows.task(order_id, TaskStatus.AT_DROPOFF, driver_id)
    await rows.walk(order_id, OrderStatus.AT_DOOR)
    return order_id, task_id, driver_id


@pytest.mark.parametrize("name", SHUT)
async def test_the_door_stays_shut(rows: Rows, name: str) -> None:
    order_id, task_id, driver_id = await at_the_door(rows)
    await SHUT[name](rows, order_id, task_id, driver_id)
    await rows.connection.execute(moved("order", order_id, "ID_VERIFIED"))
    assert await rows.attempt(moved("order", order_id, "DELIVERED")) == "orders_door_gate"


async def test_the_door_opens_to_the_holders_passed_check(rows: Rows) -> None:
    order_id, task_id, driver_id = await at_the_door(rows)
    await rows.check(order_id, task_id, driver_id)
    await rows.connection.execute(moved("order", order_id, "ID_VERIFIED"))
    deliver = moved("order", order_id, "DELIVERED")
    done = moved("task", task_id, "DONE")
    assert await rows.attempts([deliver, f"{done}; {deliver}"]) == [WRITTEN, WRITTEN]


async def test_an_id_is_checked_at_the_door_and_nowhere_else(rows: Rows) -> None:
    """Not in the store for later, and not once more when it was decided already."""
    found = {}
    for status in OrderStatus:
        order_id, driver_id = await rows.order(status, door=False), new_id()
        task_id = await rows.task(order_id, TaskStatus.AT_DROPOFF, driver_id)
        found[status] = await rows.attempt(checked(order_id, task_id, driver_id))
    expected = dict.fromkeys(OrderStatus, "doorstep_checks_at_door")
    assert found == expected | {OrderStatus.AT_DOOR: WRITTEN}


def checked(order_id: str, task_id: str, driver_id: str) -> str:
    """The statement that records a passed check."""
    ids = ", ".join(f"'{id_}'" for id_ in (new_id(), order_id, task_id, driver_id))
    return f"INSERT INTO doorstep_checks VALUES ({ids}, true, true, true, true, true, 'scan', 'ref', 1)"


@pytest.mark.parametrize("table", ["dossier_events", "doorstep_checks"])
async def test_evidence_is_only_added_to(rows: Rows, table: str) -> None:
    order_id, task_id, driver_id = await at_the_door(rows)
    await rows.check(order_id, task_id, driver_id)
    columns = await rows.connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = $1", table
    )
    statements = [f"UPDATE {table} SET {column[0]} = {column[0]}" for column in columns]
    statements += [f"DELETE FROM {table}", f"TRUNCATE {table}"]
    outcomes = await rows.attempts(statements)
    assert set(outcomes) == {f"{table}_append_only"}
    assert len(outcomes) == len(columns) + 2
