"""The database as a second lock: raw SQL that goes round the code is refused, by a constraint with a name."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest
from sqlalchemy import make_url

from domain.orders.lifecycle import OFFER_EDGES, ORDER_EDGES, TASK_EDGES, TASK_START, OrderStatus, TaskStatus
from domain.orders.records import TaskRow
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from tests.contracts.store_world import World, new_id
from tests.qa.rows import started
from tests.support.database import server_url

pytestmark = pytest.mark.integration


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    url = server_url(database_url)
    store, reads = PostgresStore(url), Reads.connect(url)
    yield await World(store).seed(reads)
    await reads.close()
    await store.close()


@pytest.fixture
async def sql(database_url: str, world: World) -> AsyncIterator[Sql]:
    """A connection of its own, as somebody with the password would have it."""
    url = make_url(database_url)
    connection = await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    yield connection
    await connection.close()


Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def refused(sql: Sql, statement: str, *args: object) -> str:
    """The name of the constraint that refused the statement."""
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
        await sql.execute(statement, *args)
    return str(caught.value.constraint_name)


async def move(sql: Sql, table: str, key: str, status: str) -> str:
    """Try to set a status and say which lock refused it."""
    return await refused(sql, f"UPDATE {table}s SET status = $2 WHERE {table}_id = $1", key, status)


# -- lifecycles -------------------------------------------------------------------------------------------------------


async def test_the_edge_tables_are_the_lifecycle(sql: Sql) -> None:
    tables: dict[str, Any] = {"order": ORDER_EDGES, "task": TASK_EDGES, "offer": OFFER_EDGES}
    for table, edges in tables.items():
        rows = await sql.fetch(f"SELECT from_status, to_status FROM {table}_edges")
        assert {tuple(row) for row in rows} == edges
    assert dict(await sql.fetch("SELECT kind, status FROM task_starts")) == TASK_START  # type: ignore[arg-type]


async def test_what_the_triggers_pass_without_a_look_are_edges_of_the_lifecycle(sql: Sql) -> None:
    """And none that has more to ask for: a hand-over its gate, a task that goes to a driver its offer."""
    never = {"order": {"DELIVERED"}, "task": {"OFFERED", "ASSIGNED"}, "offer": set[str]()}
    tables: dict[str, Any] = {"order": ORDER_EDGES, "task": TASK_EDGES, "offer": OFFER_EDGES}
    for table, edges in tables.items():
        definition = await sql.fetchval(
            "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = $1", f"{table}s_edge"
        )
        known = {tuple(pair.split()) for pair in re.findall(r"'([A-Z_]+ [A-Z_]+)'", definition)}
        assert known == {(str(at), str(to)) for at, to in edges if str(to) not in never[table]}


@pytest.mark.parametrize("status", [s for s in OrderStatus if (OrderStatus.CONFIRMED, s) not in ORDER_EDGES])
async def test_an_order_keeps_to_its_edges(world: World, sql: Sql, status: OrderStatus) -> None:
    task = await world.confirmed()
    assert await move(sql, "order", task.order_id, status) == "orders_edge"


@pytest.mark.parametrize("status", [s for s in TaskStatus if (TaskStatus.OPEN, s) not in TASK_EDGES][1:])
async def test_a_task_keeps_to_its_edges(world: World, sql: Sql, status: TaskStatus) -> None:
    task = await world.confirmed()
    assert await move(sql, "task", task.task_id, status) == "tasks_edge"


async def test_an_unknown_status_is_refused(world: World, sql: Sql) -> None:
    task = await world.confirmed()
    await sql.execute("INSERT INTO order_edges VALUES ('CONFIRMED', 'NONSENSE')")
    try:
        assert await move(sql, "order", task.order_id, "NONSENSE") == "ck_orders_status"
    finally:
        await sql.execute("DELETE FROM order_edges WHERE to_status = 'NONSENSE'")


async def test_an_order_starts_as_draft(world: World, sql: Sql) -> None:
    task = await world.confirmed()
    copy = "SELECT (jsonb_populate_record(o, jsonb_build_object('order_id', $2::text))).* FROM orders o"
    constraint = await refused(sql, f"INSERT INTO orders {copy} WHERE order_id = $1", task.order_id, new_id())
    assert constraint == "orders_start"


async def test_a_task_goes_to_another_driver_only_by_way_of_open(world: World, sql: Sql) -> None:
    task = await held(world)
    change = "UPDATE tasks SET driver_id = $2 WHERE task_id = $1"
    assert await refused(sql, change, task.task_id, new_id()) == "tasks_holder"
    assert await refused(sql, change, task.task_id, None) == "tasks_offer"


async def test_a_task_is_assigned_only_by_its_accepted_offer(world: World, sql: Sql) -> None:
    task = await world.confirmed()
    await world.open()
    record, offered, offer = world.offered(task)
    await world.append(world.records(record))
    assign = "UPDATE tasks SET status = 'ASSIGNED', driver_id = $2 WHERE task_id = $1"
    assert await refused(sql, assign, task.task_id, offer.driver_id) == "tasks_offer"  # not accepted
    taken, _, _ = world.taken(offered, offer)
    async with sql.transaction():
        await sql.execute(
            "UPDATE offers SET status = 'ACCEPTED', closed_ms = 1 WHERE offer_id = $1", offer.offer_id
        )
        with pytest.raises(asyncpg.CheckViolationError):  # somebody else's
            async with sql.transaction():
                await sql.execute(assign, task.task_id, new_id())
        await sql.execute(assign, task.task_id, offer.driver_id)
    assert taken.orders


async def test_an_offer_keeps_to_its_edges_and_its_driver(world: World, sql: Sql) -> None:
    task = await held(world)
    assert await move(sql, "offer", str(task.offer_id), "OFFERED") == "offers_edge"
    change = "UPDATE offers SET driver_id = $2 WHERE offer_id = $1"
    assert await refused(sql, change, str(task.offer_id), new_id()) == "offers_frozen"


async def test_an_order_has_one_delivery_under_way(world: World, sql: Sql) -> None:
    task = await world.confirmed()
    assert await refused(sql, started("tasks", task.task_id)) == "uq_tasks_delivery"


# -- the gate ---------------------------------------------------------------------------------------------------------


async def test_no_delivery_without_a_passed_check(world: World, sql: Sql) -> None:
    for checks in ((), ("stranger",), ("failed",), ("stranger", "failed"), ("failed", "passed")):
        task = await at_door(world)
        for check in checks:
            await add_check(sql, task, new_id() if check == "stranger" else task.driver_id, check != "failed")
        await sql.execute("UPDATE orders SET status = 'ID_VERIFIED' WHERE order_id = $1", task.order_id)
        if "passed" not in checks:
            assert await move(sql, "order", task.order_id, "DELIVERED") == "orders_door_gate"
        else:
            await sql.execute("UPDATE orders SET status = 'DELIVERED' WHERE order_id = $1", task.order_id)


async def test_the_gate_stands_even_where_an_edge_was_smuggled_in(world: World, sql: Sql) -> None:
    task = await at_door(world)
    await add_check(sql, task, task.driver_id, True)
    await sql.execute("INSERT INTO order_edges VALUES ('AT_DOOR', 'DELIVERED')")
    try:
        assert await move(sql, "order", task.order_id, "DELIVERED") == "orders_door_gate"
    finally:
        await sql.execute("DELETE FROM order_edges WHERE (from_status, to_status) = ('AT_DOOR', 'DELIVERED')")


async def test_a_check_passes_only_with_every_flag(world: World, sql: Sql) -> None:
    task = await at_door(world)
    with pytest.raises(asyncpg.CheckViolationError, match="ck_doorstep_checks_passed"):
        await add_check(sql, task, task.driver_id, True, sober=False)


# -- evidence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize("table", ["dossier_events", "doorstep_checks"])
async def test_evidence_refuses_update_delete_and_truncate(
    world: World, sql: Sql, table: str, role: str
) -> None:
    task = await at_door(world)
    await add_check(sql, task, task.driver_id, True)
    await sql.execute(f"SET session_replication_role = {role}")  # would switch ordinary triggers off
    for statement in (
        f"UPDATE {table} SET at_ms = 0",
        f"DELETE FROM {table} WHERE order_id = '{task.order_id}'",
        f"TRUNCATE {table}",
        "TRUNCATE orders CASCADE",
    ):
        name = await refused(sql, statement)
        assert name == f"{table}_append_only" or ("CASCADE" in statement and name.endswith("_append_only"))


@pytest.mark.parametrize("flaw", ["gap", "fork", "other history", "unknown order"])
async def test_a_dossier_event_must_link_to_the_one_before(world: World, sql: Sql, flaw: str) -> None:
    task = await world.confirmed()
    assert world.reads is not None
    last = (await world.reads.dossier(task.order_id))[-1]
    seq = last.seq + (2 if flaw == "gap" else 0 if flaw == "fork" else 1)
    order_id = new_id() if flaw == "unknown order" else task.order_id
    prev = bytes(32) if flaw == "other history" else last.hash
    constraint = await refused(
        sql,
        "INSERT INTO dossier_events VALUES ($1, $2, 'CANCELLED', 'CANCELLED', 1, 'x', '{}', $3, $3)",
        order_id,
        seq,
        prev,
    )
    expected = {"fork": "pk_dossier_events", "unknown order": "fk_dossier_events_order_id"}
    assert constraint in (expected.get(flaw, "dossier_events_chain"), "dossier_events_chain")


# -- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE orders SET total_cents = -1", "ck_orders_amounts"),
        ("UPDATE orders SET dropoff_lat = 90.5", "ck_orders_dropoff_earth"),
        ("UPDATE orders SET dropoff_lng = 'NaN'", "ck_orders_dropoff_earth"),
        ("UPDATE order_items SET quantity = 0", "ck_order_items_quantity"),
        ("UPDATE products SET price_cents = -1", "ck_products_price"),
        ("UPDATE stores SET lat = 'Infinity'", "ck_stores_on_earth"),
        ("UPDATE stores SET version = 0", "ck_stores_version"),
        ("UPDATE users SET role = 'king'", "ck_users_role"),
    ],
)
async def test_numbers_stay_in_their_ranges(world: World, sql: Sql, statement: str, constraint: str) -> None:
    await world.draft()
    assert await refused(sql, statement) == constraint


# -- helpers ----------------------------------------------------------------------------------------------------------


async def held(world: World) -> TaskRow:
    """A task that a driver has taken."""
    task = await world.confirmed()
    await world.open()
    made, offered, offer = world.offered(task)
    taken, row, _ = world.taken(offered, offer)
    await world.append(world.records(made, taken))
    return row


async def at_door(world: World) -> TaskRow:
    """A task whose driver stands at the door."""
    task = await world.confirmed()
    await world.open()
    records, row = world.to_door(task)
    await world.append(world.records(*records))
    return row


async def add_check(
    sql: Sql, task: TaskRow, driver_id: str | None, passed: bool, *, sober: bool = True
) -> None:
    await sql.execute(
        "INSERT INTO doorstep_checks VALUES ($1, $2, $3, $4, $5, $5, true, true, $6, 'scan', 'ref', 1)",
        new_id(), task.order_id, task.task_id, driver_id, passed, sober,
    )  # fmt: skip
