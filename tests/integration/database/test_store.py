"""What only a real database can show: several stores at once, migrations, lost connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy import Connection, text

from domain.compliance import RULEBOOKS
from domain.orders.commands import BeginAgeCheck
from domain.orders.dossier import verify
from domain.orders.lifecycle import OrderEvent, OrderStatus
from domain.orders.records import Answer, Done, Fenced, Outcome, Record, RecordRefused, StoredAnswer
from domain.ports import Channel
from persistence.engine import create_plain_engine, driver_connection
from persistence.migrate import alembic_config, current_revision, head_revision, migrate
from persistence.orders.postgres import PostgresStore
from persistence.outbox.dead_letters import DeadLetters
from persistence.reads.reads import Reads
from persistence.tables import Base
from tests.contracts.store_world import REGION, World, new_id
from tests.support.database import server_url

pytestmark = pytest.mark.integration

LIMIT = RULEBOOKS["TX"].age_attempts_limit


@pytest.fixture
async def stores(fresh_database_url: str) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """Two stores as two processes would have them."""
    url = server_url(fresh_database_url)
    one, two = PostgresStore(url), PostgresStore(url)
    yield one, two
    await one.close()
    await two.close()


@pytest.fixture
async def world(fresh_database_url: str, stores: tuple[PostgresStore, PostgresStore]) -> AsyncIterator[World]:
    reads = Reads.connect(server_url(fresh_database_url))
    yield await World(stores[0]).seed(reads)
    await reads.close()


def codes(outcomes: list[list[Outcome]]) -> list[str | None]:
    return [outcome.answer.code for batch in outcomes for outcome in batch if isinstance(outcome, Done)]


# -- several stores at once -------------------------------------------------------------------------------------------


async def test_one_key_in_many_stores_at_once_is_carried_out_once(
    world: World, stores: tuple[PostgresStore, PostgresStore]
) -> None:
    for _ in range(10):
        create = world.create()
        repeats = [replace(create, order_id=new_id()) for _ in range(8)]
        outcomes = await asyncio.gather(*(stores[i % 2].append([repeat]) for i, repeat in enumerate(repeats)))
        answers = {outcome.answer.body["id"] for (outcome,) in outcomes if isinstance(outcome, Done)}
        assert len(answers) == 1
    assert isinstance(world.reads, Reads)
    assert await world.reads.counts() == {OrderStatus.DRAFT: 10}


async def test_many_stores_on_the_same_orders_take_turns(
    world: World, stores: tuple[PostgresStore, PostgresStore]
) -> None:
    """Batches over the same orders in different sequences: nobody deadlocks for good, and one decline is on record."""
    ids = [await world.draft() for _ in range(5)]
    await world.append(*(world.age(order_id) for order_id in ids))
    batches = [
        [world.pay(order_id, authorized=False) for order_id in (ids if n % 2 else reversed(ids))]
        for n in range(12)
    ]
    outcomes = await asyncio.gather(*(stores[n % 2].append(batch) for n, batch in enumerate(batches)))
    assert codes(list(outcomes)).count("PAYMENT_DECLINED") == 60
    for order_id in ids:
        dossier = await world.dossier(order_id)
        assert (verify(dossier).ok, len(dossier)) == (True, 3)


async def test_tries_at_an_age_check_are_counted_by_person_across_stores(
    world: World, stores: tuple[PostgresStore, PostgresStore]
) -> None:
    """Tries on many orders at once, at several stores: the person's are counted as if they came one by one."""
    ids = [await world.draft() for _ in range(6)]
    for record in (False, True):  # granted before the vendor is asked, or at once
        tries = [
            world.age(order_id, passed=False) if record else world.command(order_id, BeginAgeCheck(new_id()))
            for order_id in ids * 4
        ]
        outcomes = await asyncio.gather(*(stores[n % 2].append([one]) for n, one in enumerate(tries)))
        refused = ("AGE_ATTEMPTS_EXHAUSTED", "AGE_CHECK_UNDER_WAY")
        granted = [code for code in codes(list(outcomes)) if code not in refused]
        assert granted == ([] if record else [None] * LIMIT)


async def test_a_region_that_was_replaced_is_fenced(
    world: World, stores: tuple[PostgresStore, PostgresStore]
) -> None:
    """The stale actor goes on through its own store, as it would behind a partition."""
    task = await world.confirmed()
    old = (await stores[0].open_region(REGION, world.now_ms)).epoch
    image = await stores[1].open_region(REGION, world.now_ms)
    assert (image.epoch, image.tasks) == (old + 1, (task,))
    stale, _, _ = world.offered(task)
    assert await stores[0].append([world.records(stale, epoch=old)]) == [Fenced(image.epoch)]
    fresh, offered, _ = world.offered(task)
    assert await stores[1].append([world.records(fresh, epoch=image.epoch)]) == [Done(Answer())]
    assert await world.task(task.task_id) == offered


async def test_taking_an_epoch_waits_for_the_appends_under_way(
    world: World, stores: tuple[PostgresStore, PostgresStore]
) -> None:
    """What an older epoch commits is in the image of the next one, or is not committed at all."""
    task = await world.confirmed()
    await world.open()
    record, offered, _ = world.offered(task)
    rival = create_plain_engine(stores[1].engine.url.render_as_string(False))
    try:
        async with rival.begin() as slow:  # an append that has passed the fence and not yet committed
            await slow.execute(text("SELECT epoch FROM regions FOR SHARE"))
            opening = asyncio.ensure_future(stores[1].open_region(REGION, world.now_ms))
            await asyncio.sleep(0.05)
            assert not opening.done()
            assert await stores[0].append([world.records(record)]) == [Done(Answer())]
        assert (await opening).tasks == (offered,)
    finally:
        await rival.dispose()


async def test_an_append_waits_for_an_epoch_that_is_being_taken(world: World) -> None:
    task = await world.confirmed()
    await world.open()
    record, _, _ = world.offered(task)
    assert isinstance(world.store, PostgresStore)
    rival = create_plain_engine(world.store.engine.url.render_as_string(False))
    try:
        async with rival.begin() as opening:
            await opening.execute(text("UPDATE regions SET epoch = epoch + 1"))
            append = asyncio.ensure_future(world.append(world.records(record)))
            await asyncio.sleep(0.05)
            assert not append.done()
        assert await append == [Fenced(world.epoch + 1)]
    finally:
        await rival.dispose()


# -- connections ------------------------------------------------------------------------------------------------------


async def test_a_closed_connection_in_the_pool_is_replaced(world: World) -> None:
    assert isinstance(world.store, PostgresStore)
    order_id = await world.draft()
    rival = create_plain_engine(world.store.engine.url.render_as_string(False))
    async with rival.begin() as other:
        await other.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    await rival.dispose()
    await asyncio.sleep(0.05)
    assert (await world.answer(world.age(order_id))).code is None
    assert world.reads is not None
    assert await world.reads.order(order_id) is not None


async def test_a_connection_left_in_a_transaction_is_not_handed_on(world: World) -> None:
    assert isinstance(world.store, PostgresStore)
    async with driver_connection(world.store.engine) as left:
        await left.execute("BEGIN")
    assert left.is_closed()
    async with driver_connection(world.store.engine) as connection:
        assert not connection.is_in_transaction()


async def test_limits_reach_the_server(fresh_database_url: str) -> None:
    store = PostgresStore(fresh_database_url, pool_size=1, statement_timeout_s=0.2, connect_timeout_s=0.2)
    async with store.engine.connect() as connection:
        assert (await connection.execute(text("SHOW statement_timeout"))).scalar() == "200ms"
        with pytest.raises(Exception, match="QueuePool limit"):
            await store.open_region(REGION, 0)
    await store.close()


# -- migrations -------------------------------------------------------------------------------------------------------


async def test_concurrent_starters_migrate_once(empty_database_url: str) -> None:
    assert await current_revision(empty_database_url) is None
    assert await asyncio.gather(*(migrate(empty_database_url) for _ in range(4))) == [head_revision()] * 4
    assert await current_revision(empty_database_url) == head_revision()
    assert await migrate(empty_database_url) == head_revision()


async def test_migrations_make_what_the_models_say(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    differences = await on(
        empty_database_url, lambda sync: compare_metadata(MigrationContext.configure(sync), Base.metadata)
    )
    assert differences == []
    # Alembic does not look at checks and index conditions, so Postgres is asked to describe both schemas.
    migrated = await on(empty_database_url, describe)
    modelled = await on(empty_database_url, from_models)
    assert migrated == modelled


async def test_migrations_go_back_and_forth(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    await on(empty_database_url, downgrade)
    assert await current_revision(empty_database_url) is None
    rest = await on(
        empty_database_url,
        lambda sync: sync.execute(
            text("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        ).all(),
    )
    assert rest == []
    assert await migrate(empty_database_url) == head_revision()


async def test_events_of_a_schema_without_aggregates_are_handed_on(empty_database_url: str) -> None:
    """One that waits, one that is tried again, a dead letter: all as they were, and of orders."""

    def to_0018(sync: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = sync
        command.upgrade(config, "0018")
        sync.execute(
            text(
                "INSERT INTO outbox (channel, topic, region_id, order_id, at_ms, payload, stage, attempts, next_try_at)"
                " VALUES ('bus', 'order.order_created', 'tx-dfw', gen_random_uuid(), 1, '{}', 'NEW', 0, NULL),"
                " ('tasks', 'task.opened', 'tx-dfw', gen_random_uuid(), 2, '{}', 'AGAIN', 3, now()),"
                " ('payments', 'payment.settle', 'tx-dfw', gen_random_uuid(), 3, '{}', 'DEAD', 16, NULL)"
            )
        )

    await on(empty_database_url, to_0018)
    url = server_url(empty_database_url)
    await migrate(empty_database_url, url)
    store = PostgresStore(url)
    dead = DeadLetters(store.engine)
    try:
        waiting = [event for channel in Channel for event in await store.outbox_batch(channel, 10)]
        assert [(event.at_ms, event.aggregate, event.region_id, event.attempts) for event in waiting] == [
            (1, "order", "tx-dfw", 0),
            (2, "order", "tx-dfw", 3),
        ]
        [letter] = await dead.oldest(None, 10)
        assert (letter.at_ms, letter.aggregate, letter.attempts) == (3, "order", 16)
    finally:
        await store.close()


async def on(database_url: str, work: Callable[[Connection], Any]) -> Any:
    engine = create_plain_engine(database_url)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def describe(connection: Connection) -> list[Any]:
    """All constraints and indexes of the schema in use, in Postgres's own words."""
    constraints = text(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = current_schema()::regnamespace AND conrelid <> 0 AND contype <> 'n'"
        " AND conrelid::regclass::text NOT LIKE '%alembic%' AND contype <> 't'"
    )
    indexes = text(
        "SELECT indexname, replace(indexdef, current_schema() || '.', '') FROM pg_indexes"
        " WHERE schemaname = current_schema() AND tablename NOT LIKE 'alembic%'"
    )
    options = text(
        "SELECT relname, reloptions::text FROM pg_class"
        " WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname NOT LIKE 'alembic%'"
    )
    return [
        sorted(tuple(row) for row in connection.execute(query)) for query in (constraints, indexes, options)
    ]


def from_models(connection: Connection) -> list[Any]:
    connection.execute(text("CREATE SCHEMA models"))
    connection.execute(text("SET LOCAL search_path = models"))
    Base.metadata.create_all(connection)
    return describe(connection)


def downgrade(connection: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.downgrade(config, "base")


# -- robustness -------------------------------------------------------------------------------------------------------


async def test_text_that_the_database_cannot_hold_spoils_no_other_command(world: World) -> None:
    await world.open()
    task = await world.confirmed()
    create = world.create()
    bad = replace(create, action=replace(create.action, dropoff_address="a\x00b"))
    fact = replace(
        world.fact(task, OrderEvent.GOODS_READY, OrderStatus.CONFIRMED), payload={"reason": "\ud800"}
    )
    stored = StoredAnswer(scope="s", key="k", fingerprint="f", answer=Answer(body={"x": "\ud800"}), at_ms=1)
    outcomes = await world.append(
        bad,
        world.records(Record(record_id=new_id(), orders=(fact,))),
        world.records(Record(record_id=new_id(), answers=(stored,))),
        world.create(),
    )
    assert [type(outcome) for outcome in outcomes] == [Done, RecordRefused, RecordRefused, Done]
    assert codes([outcomes]) == ["INTERNAL_CONFLICT", None]
