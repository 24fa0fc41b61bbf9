"""The database against somebody with the server's password: what the role has not been given it cannot do, and what it
has been given is refused by a trigger where it would change what never changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest
from sqlalchemy.dialects import postgresql

from domain.orders.state import AMOUNTS
from doorstep.server import StartError, _require_plain_role
from persistence import tables
from persistence.grants import FUNCTIONS, GRANTS
from persistence.migrate import migrate
from persistence.orders.postgres import PostgresStore
from persistence.reads.reads import Reads
from persistence.roles import ensure_role, fitness, matches, verifier
from tests.contracts.store_world import World
from tests.support.database import PASSWORD, ROLE, server_url

pytestmark = pytest.mark.integration

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DENIED = "denied"
DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_DATABASE = "SELECT oid FROM pg_database WHERE datname = current_database()"
LOCKED_ONLY = {("idempotency", "at_ms"), ("offer_explanations", "made_ms")}  # given for row locks


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    url = server_url(database_url)
    store, reads = PostgresStore(url), Reads.connect(url)
    yield await World(store).seed(reads)
    await reads.close()
    await store.close()


@pytest.fixture
async def owner(database_url: str, world: World) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def server(database_url: str, world: World) -> AsyncIterator[Connection]:
    """A connection with the server's name and password, as whoever has taken over the server."""
    connection = await asyncpg.connect(server_url(database_url))
    yield connection
    await connection.close()


async def attempt(connection: Connection, *statements: str) -> str:
    """What comes of the statements, all taken back: `written`, `DENIED`, or the name of what refuses them."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        for statement in statements:
            await connection.execute(statement)
        return "written"
    except asyncpg.InsufficientPrivilegeError:
        return DENIED
    except asyncpg.IntegrityConstraintViolationError as error:
        return str(error.constraint_name)
    finally:
        await transaction.rollback()


# -- the table of rights ----------------------------------------------------------------------------------------------


async def test_every_table_has_its_line_and_every_line_its_table(owner: Connection) -> None:
    """A new table without a line in `persistence/grants.py` would be one that the server cannot read."""
    there = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    assert {row["relname"] for row in there} == set(GRANTS)
    for name, grant in GRANTS.items():
        if name != "alembic_version":
            assert set(grant.update) <= {
                column.name for column in tables.Base.metadata.tables[name].columns
            }, name


async def test_the_role_has_these_rights_and_no_others(owner: Connection) -> None:
    found = await owner.fetch(
        """
        SELECT c.relname AS name, a.privilege_type AS privilege, NULL AS col
        FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
        WHERE c.relnamespace = 'public'::regnamespace AND r.rolname = $1
        UNION ALL SELECT c.relname, a.privilege_type, t.attname
        FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
        JOIN pg_roles r ON r.oid = a.grantee
        WHERE c.relnamespace = 'public'::regnamespace AND r.rolname = $1
        """,
        ROLE,
    )
    wanted: set[tuple[str, str, str | None]] = set()
    for name, grant in GRANTS.items():
        wanted.add((name, "SELECT", None))
        wanted |= {(name, "INSERT", None)} if grant.insert else set()
        wanted |= {(name, "DELETE", None)} if grant.delete else set()
        wanted |= {(name, "UPDATE", column) for column in grant.update}
    assert {tuple(row) for row in found} == wanted


async def test_nobody_else_has_a_right(owner: Connection) -> None:
    assert not await owner.fetchval(
        """
        SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.relnamespace = 'public'::regnamespace AND a.grantee = 0
        """
    )
    for function in FUNCTIONS:
        assert not await owner.fetchval(
            "SELECT has_function_privilege('pg_monitor', $1, 'EXECUTE')", function
        )


async def test_rights_that_were_added_are_taken_back(owner: Connection, database_url: str) -> None:
    await owner.execute(f"GRANT ALL ON dossier_events TO {ROLE}; REVOKE INSERT ON orders FROM {ROLE}")
    found = await fitness(server_url(database_url))
    assert found.too_much == f"the role {ROLE} has DELETE on dossier_events"
    assert found.too_little == f"the role {ROLE} lacks INSERT on orders"
    await migrate(database_url, server_url(database_url))
    assert await fitness(server_url(database_url)) == (None, None)


# -- what the role cannot do ------------------------------------------------------------------------------------------


async def test_evidence_is_neither_changed_nor_removed(server: Connection, world: World) -> None:
    await world.draft()
    for table in ("dossier_events", "doorstep_checks", "order_items"):
        assert await attempt(server, f"UPDATE {table} SET order_id = order_id") == DENIED
        assert await attempt(server, f"DELETE FROM {table}") == DENIED
    for table in GRANTS:
        assert await attempt(server, f"TRUNCATE {table} CASCADE") == DENIED, table


async def test_triggers_and_tables_are_the_owners(server: Connection) -> None:
    for table in GRANTS:
        for statement in (
            f"ALTER TABLE {table} DISABLE TRIGGER ALL",
            f"ALTER TABLE {table} DISABLE TRIGGER USER",
            f"DROP TABLE {table} CASCADE",
            f"ALTER TABLE {table} ADD COLUMN extra int",
            f"ALTER TABLE {table} OWNER TO {ROLE}",
            f"CREATE INDEX ON {table} ((1))",
            f"CREATE TRIGGER mine BEFORE UPDATE ON {table} EXECUTE FUNCTION row_frozen()",
            f"CREATE RULE mine AS ON UPDATE TO {table} DO INSTEAD NOTHING",
            f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
            if not GRANTS[table].delete
            else "DROP SCHEMA public",
        ):
            assert await attempt(server, statement) == DENIED, statement
    for statement in (
        "SET session_replication_role = replica",
        "SET ROLE doorstep",
        f"ALTER ROLE {ROLE} SUPERUSER",
        "CREATE ROLE another LOGIN",
        "CREATE TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE OR REPLACE FUNCTION row_frozen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "DROP FUNCTION orders_edge() CASCADE",
        "ALTER FUNCTION orders_edge() SET search_path = pg_temp",
        "COPY orders TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/hostname')",
    ):
        assert await attempt(server, statement) == DENIED, statement


async def test_the_lifecycle_is_read_only(server: Connection) -> None:
    for table in (
        "order_edges",
        "order_steps",
        "task_edges",
        "offer_edges",
        "task_starts",
        "alembic_version",
    ):
        assert await attempt(server, f"INSERT INTO {table} SELECT * FROM {table}") == DENIED
        assert await attempt(server, f"DELETE FROM {table}") == DENIED
    for table in ("order_edges", "task_edges", "offer_edges"):
        assert await attempt(server, f"UPDATE {table} SET to_status = 'DELIVERED'") == DENIED


async def test_a_temporary_table_does_not_stand_in_for_the_edges(server: Connection, world: World) -> None:
    """Triggers look an edge up by the table's name, and a temporary table would come first."""
    order_id = await world.draft()
    forged = "CREATE TEMPORARY TABLE order_edges ON COMMIT DROP AS SELECT 'DRAFT' AS from_status, 'CLOSED' AS to_status"
    move = f"UPDATE orders SET status = 'CLOSED' WHERE order_id = '{order_id}'"
    assert await attempt(server, forged, move) == "orders_edge"


async def test_nothing_is_delivered_without_a_check(server: Connection, world: World) -> None:
    order_id = (await world.confirmed()).order_id
    steps = ("ASSIGNED", "PICKED_UP", "AT_DOOR", "ID_VERIFIED", "DELIVERED")
    walk = [f"UPDATE orders SET status = '{step}' WHERE order_id = '{order_id}'" for step in steps]
    assert await attempt(server, walk[-1]) == "orders_edge"
    assert await attempt(server, *walk) == "orders_door_gate"
    assert await attempt(server, *walk[:-1]) == "written"


async def test_what_never_changes_is_refused_to_everybody(
    server: Connection, owner: Connection, world: World
) -> None:
    """To the server's role by its rights, or by a trigger where every change of a row names the column; to the owner by
    a trigger."""
    task = await world.confirmed()
    await world.open()
    record, _, _ = world.offered(task)
    await world.append(world.records(record))
    values = {"UUID": "gen_random_uuid()", "TEXT": "'other'", "BIGINT": "7", "INTEGER": "7", "FLOAT": "7"}
    values |= {"UUID[]": "'{}'", "JSONB": "'{\"a\": 1}'", "JSON": "'{\"a\": 1}'", "BYTEA": "'x'"}
    frozen = {
        "orders": {
            *("order_id", "region_id", "customer_id", "merchant_id", "store_id", "min_age", *AMOUNTS),
            *("pickup_lat", "pickup_lng", "dropoff_lat", "dropoff_lng", "dropoff_address", "created_ms"),
        },
        "tasks": {
            *("task_id", "order_id", "region_id", "kind", "store_id", "min_age", "opened_ms", "closes_ms"),
            *("pickup_lat", "pickup_lng", "dropoff_lat", "dropoff_lng", "dropoff_address"),
        },
        "offers": {"offer_id", "region_id", "driver_id", "task_ids", "made_ms", "features"},
        "users": {"user_id", "created_ms"},
        "stores": {"store_id", "merchant_id", "region_id"},
        "products": {"product_id", "store_id"},
    }
    for table, columns in frozen.items():
        for name in columns:
            kind = tables.Base.metadata.tables[table].columns[name].type
            value = values[kind.compile(dialect=DIALECT).partition("(")[0]]
            change = f"UPDATE {table} SET {name} = {value}"
            if name in AMOUNTS:  # another sum that is one
                part = "fee_cents" if name == "total_cents" else name
                change = f"UPDATE orders SET {part} = {part} + 1, total_cents = total_cents + 1"
            # A row that would lose its parent or its children is told by the key, which is looked at before.
            outcome = await attempt(owner, change)
            assert outcome == f"{table}_frozen" or (name.endswith("_id") and outcome.startswith("fk_")), (
                change
            )
            theirs = name in GRANTS[table].update
            assert await attempt(server, change) == (f"{table}_frozen" if theirs else DENIED), change


async def test_rows_of_which_nothing_changes(server: Connection, owner: Connection, world: World) -> None:
    await world.draft()
    assert await attempt(owner, "UPDATE idempotency SET code = 'X'") == "idempotency_frozen"
    assert await attempt(owner, "UPDATE order_items SET quantity = 1") == "order_items_append_only"
    assert await attempt(owner, "DELETE FROM order_items") == "order_items_append_only"
    for table, column in LOCKED_ONLY:
        assert await attempt(server, f"UPDATE {table} SET {column} = 0") == f"{table}_frozen"


async def test_a_closed_offer_stays_as_it_was_closed(
    server: Connection, owner: Connection, world: World
) -> None:
    await world.open()
    record, _, offer = world.offered(await world.confirmed())
    await world.append(world.records(record))
    this = f"WHERE offer_id = '{offer.offer_id}'"
    close = f"UPDATE offers SET status = 'REJECTED', closed_ms = 5, reason = 'TOO_FAR' {this}"
    assert await attempt(server, f"DELETE FROM offers {this}") == DENIED
    assert await attempt(owner, f"DELETE FROM offers {this}") == "offers_open"
    assert await attempt(server, close) == "written"
    for change in ("reason = 'OTHER'", "closed_ms = 6", "seen_ms = 1", "expires_ms = 9"):
        assert await attempt(server, close, f"UPDATE offers SET {change} {this}") == "offers_closed", change
    assert await attempt(server, close, f"UPDATE offers SET status = 'ACCEPTED' {this}") == "offers_edge"


async def test_an_event_that_waits_is_not_thrown_away(server: Connection, world: World) -> None:
    await world.draft()
    assert await attempt(server, "DELETE FROM outbox WHERE done_at IS NULL") == "outbox_waiting"


@pytest.mark.parametrize(
    ("channel", "topic", "aggregate", "region", "constraint"),
    [
        ("bus", "merchant.created", "merchant", "", "written"),
        ("bus", "merchant.created", "order", "tx-dfw", "ck_outbox_topic"),
        ("bus", ".created", "", "tx-dfw", "ck_outbox_aggregate"),
        ("payments", "payment.settle", "merchant", "tx-dfw", "ck_outbox_of_orders"),
        ("tasks", "task.opened", "merchant", "tx-dfw", "ck_outbox_of_orders"),
        ("bus", "order.created", "order", "", "ck_outbox_region"),
    ],
)
async def test_an_event_is_about_something_and_where_that_is(
    server: Connection, channel: str, topic: str, aggregate: str, region: str, constraint: str
) -> None:
    put = (
        "INSERT INTO outbox (channel, topic, aggregate, aggregate_id, region_id, at_ms, payload)"
        f" VALUES ('{channel}', '{topic}', '{aggregate}', gen_random_uuid(), '{region}', 1, '{{}}')"
    )
    assert await attempt(server, put) == constraint


async def test_the_fence_goes_forward_only(server: Connection, world: World) -> None:
    await world.open()
    for epoch in ("epoch - 1", "epoch", "0"):
        assert await attempt(server, f"UPDATE regions SET epoch = {epoch}") == "regions_forward"
    assert await attempt(server, "UPDATE regions SET epoch = epoch + 1") == "written"


async def test_old_offers_go_by_the_function_only_when_they_are_counted(
    server: Connection, world: World
) -> None:
    await world.open()
    record, _, _ = world.offered(await world.confirmed())
    await world.append(world.records(record))
    assert await server.fetchval("SELECT forget_offers($1, $2)", 2**62, 1_000) == 0


# -- triggers and functions -------------------------------------------------------------------------------------------


async def test_every_trigger_fires_whatever_a_session_says(owner: Connection, world: World) -> None:
    await world.draft()
    assert [
        tuple(row)
        for row in await owner.fetch(
            """
            SELECT t.tgrelid::regclass::text, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
            WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal AND t.tgenabled <> 'A'
            """
        )
    ] == []
    await owner.execute("SET session_replication_role = replica")
    assert (
        await attempt(
            owner,
            'INSERT INTO orders SELECT (jsonb_populate_record(o, \'{"status": "CLOSED"}\')).* FROM orders o',
        )
        == "orders_start"
    )


async def test_every_function_looks_into_one_schema(owner: Connection) -> None:
    for row in await owner.fetch(
        "SELECT proname, proconfig::text AS config FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    ):
        assert "search_path=public, pg_temp" in str(row["config"]), row["proname"]


# -- how a server starts ----------------------------------------------------------------------------------------------


async def test_production_refuses_a_role_that_owns_the_tables(database_url: str, world: World) -> None:
    said: list[str] = []
    await _require_plain_role(server_url(database_url), "production", said.append)
    assert said == []
    with pytest.raises(StartError, match=r"^DATABASE_URL: the role \w+ is a superuser; .*DATABASE_OWNER_URL"):
        await _require_plain_role(database_url, "production", said.append)
    assert said == []
    await _require_plain_role(database_url, "local", said.append)
    [line] = said
    assert line.startswith("warning: DATABASE_URL: the role ")
    assert "\n" not in line


async def test_an_owner_who_is_no_superuser(empty_database_url: str) -> None:
    """As on a Postgres that somebody else runs: it migrates, and the role that is there already is given its rights."""
    root = await asyncpg.connect(empty_database_url)
    name = f"doorstep_test_owner_{await root.fetchval(_DATABASE)}"
    try:
        await ensure_role(empty_database_url, server_url(empty_database_url))
        await root.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
        await root.execute(f"GRANT CREATE ON SCHEMA public TO {name}")
        owner_url = server_url(empty_database_url).replace(ROLE, name)
        await migrate(owner_url, server_url(empty_database_url))
        assert await fitness(server_url(empty_database_url)) == (None, None)
        assert (await fitness(owner_url)).too_much == f"the role {name} owns the tables"
        url = server_url(empty_database_url)
        store, reads = PostgresStore(url), Reads.connect(url)
        await (await World(store).seed(reads)).confirmed()
        await store.close()
        await reads.close()
        await root.execute(f"REVOKE SELECT ON users FROM {ROLE}")
        with pytest.raises(StartError, match=r"lacks SELECT on users\. Run `doorstep migrate`"):
            await _require_plain_role(server_url(empty_database_url), "local", print)
    finally:
        await root.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")
        await root.close()


async def test_a_server_that_was_its_own_owner_becomes_plain(empty_database_url: str) -> None:
    """A folder or database of before: one role did everything, and its data stay."""
    await migrate(empty_database_url)
    store, reads = PostgresStore(empty_database_url), Reads.connect(empty_database_url)
    before = await (await World(store).seed(reads)).confirmed()
    await store.close()
    await reads.close()
    url = server_url(empty_database_url)
    await migrate(empty_database_url, url)
    reads = Reads.connect(url)
    assert await reads.task(before.task_id) == before
    await reads.close()


async def test_the_roles_password_is_that_of_its_url(empty_database_url: str) -> None:
    root = await asyncpg.connect(empty_database_url)
    name = f"doorstep_test_role_{await root.fetchval(_DATABASE)}"
    first = server_url(empty_database_url).replace(ROLE, name)
    second = first.replace(first.split(":")[2].partition("@")[0], "another%20%27one%27")
    try:
        for url in (first, second, second):
            await ensure_role(empty_database_url, url)
            await (await asyncpg.connect(url)).close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(first)
    finally:
        await root.execute(f"DROP ROLE {name}")
        await root.close()


def test_a_verifier_is_of_its_password() -> None:
    assert matches(verifier("one"), "one")
    assert not matches(verifier("one"), "other")
    for stored in (None, "", "md5abc", "SCRAM-SHA-256$nonsense"):
        assert not matches(stored, "one")
    assert verifier("one") != verifier("one"), "a salt of its own"
