"""Rows put straight into the database, for asking what it refuses whatever the code would say.

A state is reached by walking the legal edges, with the locks on (but for `Rows.order`, which may have an ID checked
before its time). All of it happens in a transaction that is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import asyncpg
import msgspec

from domain.orders.lifecycle import OfferStatus, OrderStatus, TaskKind, TaskStatus
from persistence.tables import Base
from tests.contracts.store_world import World, new_id

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

WRITTEN = "written"

# Tries each statement for itself and takes it back: which constraint refused it, or that it was written.
_ATTEMPTS = f"""
CREATE FUNCTION pg_temp.attempts(statements text[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    statement text;
    outcome text;
    changed int;
    outcomes text[] := '{{}}';
BEGIN
    FOREACH statement IN ARRAY statements LOOP
        BEGIN
            EXECUTE statement;
            GET DIAGNOSTICS changed = ROW_COUNT;
            RAISE EXCEPTION USING ERRCODE = 'TRIED';
        EXCEPTION
            WHEN SQLSTATE 'TRIED' THEN
                outcome := CASE WHEN changed > 0 THEN '{WRITTEN}' ELSE 'no row' END;
            WHEN integrity_constraint_violation THEN
                GET STACKED DIAGNOSTICS outcome = CONSTRAINT_NAME;
        END;
        outcomes := outcomes || outcome;
    END LOOP;
    RETURN outcomes;
END $$
"""

# The ways along legal edges; a state is reached on the first that passes it.
_DOOR = "AGE_VERIFIED PAYMENT_AUTHORIZED CONFIRMED ASSIGNED PICKED_UP AT_DOOR"
_ORDER_WAYS = (
    f"DRAFT {_DOOR} ID_VERIFIED DELIVERED CLOSED",
    f"DRAFT {_DOOR} REFUSED RETURNING RETURNED",
    f"DRAFT {_DOOR} WRITTEN_OFF",
    "DRAFT AGE_VERIFIED PAYMENT_AUTHORIZED REJECTED",
    "DRAFT CANCELLED",
)
_TASK_WAYS = {
    TaskKind.DELIVERY: (
        "OPEN OFFERED ASSIGNED AT_PICKUP PICKED_UP AT_DROPOFF DONE",
        "OPEN OFFERED ASSIGNED AT_PICKUP PICKED_UP AT_DROPOFF FAILED",
        "OPEN CANCELLED",
    ),
    TaskKind.RETURN: ("PICKED_UP AT_DROPOFF DONE", "PICKED_UP AT_DROPOFF FAILED"),
}


def way(ways: Iterable[str], to: str) -> list[str]:
    """The states from the first after the start to `to`; `StopIteration` when no way leads there."""
    states = next(way.split() for way in ways if to in way.split())
    return states[1 : states.index(to) + 1]


def task_states(kind: TaskKind) -> list[TaskStatus]:
    """The states that a task of this kind can be in."""
    return [status for status in TaskStatus if any(status in way.split() for way in _TASK_WAYS[kind])]


def started(table: str, row_id: str, **fields: str) -> str:
    """The statement that puts a copy of a row in, with another id and other fields."""
    key = f"{table.removesuffix('s')}_id"
    changes = msgspec.json.encode({key: new_id()} | fields).decode()
    copy = f"SELECT (jsonb_populate_record(r, '{changes}')).* FROM {table} r WHERE {key} = '{row_id}'"
    names = ", ".join(
        column.name for column in Base.metadata.tables[table].columns if column.computed is None
    )
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM ({copy}) copied"


def moved(table: str, row_id: str, status: str, **fields: str) -> str:
    """The statement that changes a row's status, and fields to SQL expressions."""
    changes = "".join(f", {name} = {value}" for name, value in fields.items())
    return f"UPDATE {table}s SET status = '{status}'{changes} WHERE {table}_id = '{row_id}'"


class Rows:
    """Speaks SQL to the database, as somebody with the owner's password would."""

    def __init__(self, connection: Connection, order_id: str, task_id: str) -> None:
        self.connection = connection
        self.draft_id, self.open_id = order_id, task_id  # a draft and an open delivery, to copy

    @classmethod
    async def over(cls, connection: Connection, world: World) -> Rows:
        """With rows to copy that the real store has made."""
        await connection.execute(_ATTEMPTS)
        return cls(connection, await world.draft(), (await world.confirmed()).task_id)

    async def attempts(self, statements: Iterable[str]) -> list[str]:
        """What comes of each statement, were it the only one: `WRITTEN`, or the name of what refuses it."""
        outcomes = await self.connection.fetchval("SELECT pg_temp.attempts($1)", list(statements))
        return list(outcomes)

    async def attempt(self, statement: str) -> str:
        [outcome] = await self.attempts([statement])
        return outcome

    async def _copy(self, table: str, row_id: str, **fields: str) -> str:
        key = f"{table.removesuffix('s')}_id"
        return str(await self.connection.fetchval(f"{started(table, row_id, **fields)} RETURNING {key}"))

    # -- rows ---------------------------------------------------------------------------------------------------------

    async def order(self, status: OrderStatus = OrderStatus.DRAFT, *, door: bool = True) -> str:
        """An order; with `door`, all that its gate asks for is there, whatever the state."""
        order_id = await self._copy("orders", self.draft_id)
        handed_over = status in (OrderStatus.DELIVERED, OrderStatus.CLOSED)
        if door or handed_over:
            driver_id = new_id()
            task_id = await self.task(order_id, TaskStatus.AT_DROPOFF, driver_id)
            # Before its time, so that the gate has all that it asks for in every state.
            await self.connection.execute(
                "ALTER TABLE doorstep_checks DISABLE TRIGGER doorstep_checks_at_door"
            )
            await self.check(order_id, task_id, driver_id)
            await self.connection.execute(
                "ALTER TABLE doorstep_checks ENABLE ALWAYS TRIGGER doorstep_checks_at_door"
            )
        await self.walk(order_id, status)
        if handed_over:
            await self.connection.execute(moved("task", task_id, "DONE"))
        return order_id

    async def walk(self, order_id: str, to: OrderStatus) -> None:
        """Move a draft along legal edges."""
        for status in way(_ORDER_WAYS, to):
            await self.connection.execute(moved("order", order_id, status))

    async def task(
        self,
        order_id: str,
        status: TaskStatus,
        driver_id: str,
        kind: TaskKind = TaskKind.DELIVERY,
    ) -> str:
        """A task of the order, driven by this driver from the moment that it is accepted."""
        start = {"order_id": order_id}
        if kind is TaskKind.RETURN:
            start |= {"kind": "RETURN", "status": "PICKED_UP", "driver_id": driver_id}
        task_id = await self._copy("tasks", self.open_id, **start)
        for step in way(_TASK_WAYS[kind], status):
            await self.move_task(task_id, TaskStatus(step), driver_id)
        return task_id

    async def move_task(self, task_id: str, status: TaskStatus, driver_id: str) -> None:
        """One legal step of a task, with the offer that it takes."""
        fields = {}
        if status is TaskStatus.OPEN:
            fields = {"driver_id": "NULL", "offer_id": "NULL"}
        elif status is TaskStatus.OFFERED:
            fields = {"offer_id": f"'{await self.offer(task_id, driver_id)}'"}
        elif status is TaskStatus.ASSIGNED:
            find = "SELECT offer_id::text FROM tasks WHERE task_id = $1"
            await self.close_offer(await self.connection.fetchval(find, task_id), OfferStatus.ACCEPTED)
            fields = {"driver_id": f"'{driver_id}'"}
        await self.connection.execute(moved("task", task_id, status, **fields))

    async def offer(self, task_id: str, driver_id: str, status: OfferStatus = OfferStatus.OFFERED) -> str:
        """An offer of the task to the driver."""
        offer_id = new_id()
        await self.connection.execute(
            "INSERT INTO offers VALUES ($1, 'tx-dfw', $2, ARRAY[$3::uuid], 'OFFERED', 1, 2, '{}')",
            offer_id, driver_id, task_id,
        )  # fmt: skip
        if status is not OfferStatus.OFFERED:
            await self.close_offer(offer_id, status)
        return offer_id

    async def close_offer(self, offer_id: str, status: OfferStatus) -> None:
        await self.connection.execute(moved("offer", offer_id, status, closed_ms="1"))

    async def check(self, order_id: str, task_id: str, driver_id: str, *, passed: bool = True) -> None:
        """A check, while the order is at its door."""
        await self.connection.execute(
            "INSERT INTO doorstep_checks VALUES ($1, $2, $3, $4, $5, $5, true, true, true, 'scan', 'ref', 1)",
            new_id(), order_id, task_id, driver_id, passed,
        )  # fmt: skip
