"""The ledger's locks: raw SQL that does not balance, adds to what is booked, or changes it is refused by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeAlias
from uuid import UUID

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection, make_url, text

from domain.marketplace.money import movement_id
from persistence.engine import create_plain_engine
from persistence.migrate import alembic_config, migrate
from tests.contracts.store_world import new_id
from tests.support.database import server_url

pytestmark = pytest.mark.integration

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_MOVEMENT = "INSERT INTO ledger_movements VALUES ($1, 'PAID_OUT', $2, NULL, 1, $3)"
_ENTRY = "INSERT INTO ledger_entries VALUES ($1, $2, $3, $4, $5)"


@pytest.fixture
async def sql(fresh_database_url: str) -> AsyncIterator[Sql]:
    """As the server's role: what it can do wrong."""
    url = make_url(server_url(fresh_database_url)).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    yield connection
    await connection.close()


async def book(sql: Sql, *cents: int, lines: int | None = None, reference: str | None = None) -> str:
    """A movement with these entries, in a transaction of its own."""
    made_id = new_id()
    async with sql.transaction():
        await sql.execute(_MOVEMENT, made_id, reference or made_id, lines or len(cents))
        for line, amount in enumerate(cents):
            await sql.execute(_ENTRY, made_id, line, "BANK", "", amount)
    return made_id


async def add(sql: Sql, made_id: str) -> None:
    """Two more entries for it, which balance."""
    async with sql.transaction():
        await sql.execute(_ENTRY, made_id, 2, "BANK", "", 7)
        await sql.execute(_ENTRY, made_id, 3, "CLEARING", "", -7)


@pytest.mark.parametrize(
    ("cents", "lines", "lock"),
    [
        ((5, -4), None, "ledger_balance"),
        ((5, -5), 3, "ledger_lines"),
        ((), 2, "ledger_lines"),
        ((5, -5, 0), None, "ck_ledger_entries_amount"),
        ((5,), None, "ck_ledger_movements_lines"),
    ],
)
async def test_a_movement_balances_and_is_whole(
    sql: Sql, cents: tuple[int, ...], lines: int | None, lock: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await book(sql, *cents, lines=lines)
    assert caught.value.constraint_name == lock
    assert await sql.fetchval("SELECT count(*) FROM ledger_movements") == 0


async def test_what_happened_is_there_once_and_stays_as_it_is(sql: Sql, fresh_database_url: str) -> None:
    made_id = await book(sql, 5, -5, reference="once")
    with pytest.raises(asyncpg.UniqueViolationError) as twice:
        await book(sql, 5, -5, reference="once")
    assert twice.value.constraint_name == "uq_ledger_movements_reason"
    with pytest.raises(asyncpg.CheckViolationError) as later:
        await add(sql, made_id)
    assert later.value.constraint_name == "ledger_lines"
    with pytest.raises(asyncpg.CheckViolationError):
        await sql.execute(_ENTRY, made_id, 2, "POCKET", "", 7)
    changes = [
        f"{change} {table}{rest}"
        for table, column in (("ledger_movements", "at_ms"), ("ledger_entries", "amount_cents"))
        for change, rest in (("DELETE FROM", ""), ("UPDATE", f" SET {column} = 9"), ("TRUNCATE", " CASCADE"))
    ]
    owner = await asyncpg.connect(fresh_database_url.replace("+asyncpg", ""))
    try:
        for statement in changes:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await sql.execute(statement)
            with pytest.raises(asyncpg.CheckViolationError, match="refuses"):
                await owner.execute(statement)
    finally:
        await owner.close()


async def test_money_of_before_the_ledger_is_booked(empty_database_url: str) -> None:
    """A closed order, one that is under way, one whose hold was let go and one whose hold still is to be."""
    before = {"CLOSED": "closed", "CONFIRMED": "under way", "CANCELLED": "let go", "RETURNED": "to be let go"}
    ids = dict(zip(before, (str(UUID(int=n)) for n in range(1, 5)), strict=True))

    def at_0021(sync: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = sync
        command.upgrade(config, "0021")
        sync.execute(text("ALTER TABLE orders DISABLE TRIGGER USER"))
        sync.execute(
            text(
                "INSERT INTO users (user_id, email, password_hash, role, name, created_ms)"
                " VALUES (gen_random_uuid(), 'm@example.org', '', 'merchant', 'M', 1);"
            )
        )
        sync.execute(
            text(
                "INSERT INTO stores (store_id, merchant_id, region_id, name, lat, lng, address)"
                " SELECT gen_random_uuid(), user_id, 'tx-dfw', 'S', 32.8, -96.8, '1 Main St' FROM users"
            )
        )
        for status, order_id in ids.items():
            sync.execute(text(_OLD_ORDER), {"order_id": order_id, "status": status})
        sync.execute(
            text(
                "INSERT INTO outbox (channel, topic, region_id, aggregate, aggregate_id, at_ms, payload, stage,"
                " attempts) VALUES ('payments', 'payment.settle', 'tx-dfw', 'order', :order_id, 3, '{}', 'NEW', 0)"
            ),
            {"order_id": ids["RETURNED"]},
        )
        sync.execute(text("ALTER TABLE orders ENABLE TRIGGER USER"))

    await on(empty_database_url, at_0021)
    await migrate(empty_database_url, server_url(empty_database_url))
    connection = await asyncpg.connect(empty_database_url)
    try:
        rows = await connection.fetch(
            "SELECT order_id::text, reason, movement_id::text, reference FROM ledger_movements"
            " ORDER BY order_id, reason"
        )
        marks = await connection.fetch("SELECT payments -> 0 ->> 'status' AS s FROM orders ORDER BY order_id")
        sums = await connection.fetch(
            "SELECT account, sum(amount_cents) AS cents FROM ledger_entries GROUP BY account ORDER BY 1"
        )
        unbalanced = await connection.fetchval(
            "SELECT count(*) FROM (SELECT FROM ledger_entries GROUP BY movement_id HAVING sum(amount_cents) <> 0) b"
        )
    finally:
        await connection.close()
    names = {order_id: status for status, order_id in ids.items()}
    assert [(names[row["order_id"]], row["reason"]) for row in rows] == [
        ("CLOSED", "ORDER_AUTHORIZED"),
        ("CLOSED", "ORDER_CAPTURED"),
        ("CONFIRMED", "ORDER_AUTHORIZED"),
        ("CANCELLED", "ORDER_AUTHORIZED"),
        ("CANCELLED", "ORDER_VOIDED"),
        ("RETURNED", "ORDER_AUTHORIZED"),
    ]
    assert all(row["movement_id"] == movement_id(row["reason"], row["reference"]) for row in rows)
    assert [row["s"] for row in marks] == ["TAKEN", "HELD", "VOIDED", "HELD"]
    assert [tuple(row) for row in sums] == [
        ("CLEARING", 900),
        ("HELD", -1800),
        ("HOLDS", 1800),
        ("MERCHANT_PAYABLE", -900),
    ]
    assert unbalanced == 0


_OLD_ORDER = """
INSERT INTO orders (order_id, region_id, customer_id, merchant_id, store_id, status, version, min_age, total_cents,
    pickup_lat, pickup_lng, dropoff_lat, dropoff_lng, dropoff_address, created_ms, updated_ms, age_attempts,
    payment_ref, dossier_seq, dossier_hash)
SELECT :order_id, 'tx-dfw', gen_random_uuid(), merchant_id, store_id, :status, 1, 21, 900, 32.8, -96.8, 32.8, -96.8,
    '2 Elm St', 1, 2, 0, 'pay-1', 1, decode(repeat('00', 32), 'hex') FROM stores
"""


async def on(database_url: str, work: Callable[[Connection], None]) -> None:
    engine = create_plain_engine(database_url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(work)
    finally:
        await engine.dispose()
