"""Records as a broken region would make them: every state x event x role that is not the law's is refused whole.

Both stores, so that the one in memory refuses what the database refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import text

from domain.orders.commands import CancelOrder, CloseOrder, MerchantReject
from domain.orders.lifecycle import OrderEvent, OrderStatus, Role, TaskStatus
from domain.orders.records import Answer, Done, Record, RecordRefused, TaskRow
from persistence.orders.memory import MemoryStore
from persistence.orders.postgres import PostgresStore
from tests.contracts.store_world import World, new_id
from tests.qa.law import ALLOWED, BIRTH, WITH_A_TASK, Triple

LEADS_TO: dict[OrderEvent, set[OrderStatus]] = {event: set() for event in OrderEvent}
LEADS_TO[BIRTH[0]].add(BIRTH[2])
for triple, to in ALLOWED.items():
    LEADS_TO[triple.event].add(to)


async def reached(world: World, status: OrderStatus) -> TaskRow:
    """An order brought to the state through the store, as the task that it has, had or would have had."""
    S, E = OrderStatus, OrderEvent
    if status not in WITH_A_TASK | {S.DELIVERED, S.CLOSED, S.RETURNED, S.WRITTEN_OFF}:
        id_ = await world.draft()
        steps = {
            S.AGE_VERIFIED: [world.age(id_)],
            S.PAYMENT_AUTHORIZED: [world.age(id_), world.pay(id_)],
            S.REJECTED: [world.age(id_), world.pay(id_), world.command(id_, MerchantReject(), Role.MERCHANT)],
            S.CANCELLED: [world.command(id_, CancelOrder())],
        }
        await world.append(*steps.get(status, ()))
        return replace(await world.confirmed(), order_id=id_)
    task = await world.confirmed()
    records, at_door = world.to_door(task)
    passed, done = world.delivered(at_door)
    failed, back = world.sent_back(at_door)
    arrived, back = world.moved(back, TaskStatus.AT_DROPOFF, E.ARRIVED_FOR_RETURN, S.RETURNING)
    home, _ = world.moved(back, TaskStatus.DONE, E.RETURN_CONFIRMED, S.RETURNED)
    gone, _ = world.moved(at_door, TaskStatus.FAILED, E.WRITTEN_OFF, S.WRITTEN_OFF)
    refusal = Record(record_id=new_id(), orders=(world.fact(task, E.REFUSED, S.REFUSED),))
    steps_of = {
        S.CONFIRMED: [],
        S.ASSIGNED: records[:2],
        S.PICKED_UP: records[:4],
        S.AT_DOOR: records,
        S.ID_VERIFIED: [*records, passed],
        S.DELIVERED: [*records, passed, done],
        S.CLOSED: [*records, passed, done],
        S.REFUSED: [*records, refusal],
        S.RETURNING: [*records, failed],
        S.RETURNED: [*records, failed, arrived, home],
        S.WRITTEN_OFF: [*records, gone],
    }
    assert await world.append(world.records(*steps_of[status])) == [Done(Answer())]
    if status is S.CLOSED:
        await world.append(world.command(task.order_id, CloseOrder("pay-1"), Role.SYSTEM))
    return task


def forged(world: World, task: TaskRow, triple: Triple) -> Iterator[Record]:
    """The triple as a fact that leads where its event leads somewhere else, or nowhere."""
    for status in sorted(LEADS_TO[triple.event] | {triple.at}):
        fact = replace(world.fact(task, triple.event, status), role=triple.role)
        yield Record(record_id=new_id(), orders=(fact,))


async def contents(world: World) -> Any:
    """All that the store holds."""
    if isinstance(world.store, MemoryStore):
        store = world.store
        tables = (store.orders, store.tasks, store.offers, store.checks, store.dossiers, store.outbox)
        return msgspec.json.encode(tables), dict(store.answers)
    assert isinstance(world.store, PostgresStore)
    tables_ = ["orders", "tasks", "offers", "doorstep_checks", "dossier_events", "outbox", "idempotency"]
    digests = ", ".join(f"(SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {t} t)" for t in tables_)
    async with world.store.engine.connect() as connection:
        return tuple((await connection.execute(text(f"SELECT {digests}"))).one())


async def test_every_triple_that_is_not_the_laws_is_refused_and_leaves_nothing(world: World) -> None:
    await world.open()
    triples = 0
    for at in OrderStatus:
        task = await reached(world, at)
        assert (await world.status(task.order_id) or ("",))[0] == at
        before, records = await contents(world), list[Record]()
        for event, role in product(OrderEvent, Role):
            triple = Triple(at, event, role)
            lawful = ALLOWED.get(triple) if at in WITH_A_TASK else None
            records += (r for r in forged(world, task, triple) if r.orders[0].status is not lawful)
            triples += 1
        outcomes = await world.append(*map(world.records, records))
        for record, outcome in zip(records, outcomes, strict=True):
            assert isinstance(outcome, RecordRefused), record.orders[0]
            assert outcome.record_id == record.record_id
            locks = {"orders_edge", "orders_door_gate", "dossier_events_step"}
            assert outcome.constraint in (locks if at in WITH_A_TASK else {"orders_decider"}), record.orders[
                0
            ]
        assert await contents(world) == before, at
    assert triples == 16 * 26 * 7


async def test_every_triple_of_the_law_is_taken_as_a_fact_while_the_region_decides(world: World) -> None:
    await world.open()
    lawful = {triple: to for triple, to in ALLOWED.items() if triple.at in WITH_A_TASK}
    assert len(lawful) == 42
    for triple, to in lawful.items():
        task = await reached(world, triple.at)
        fact = replace(world.fact(task, triple.event, to), role=triple.role)
        record = Record(record_id=new_id(), orders=(fact,))
        assert await world.append(world.records(record)) == [Done(Answer())], triple
        assert (await world.dossier(task.order_id))[-1].status == to


async def test_nobody_delivers_by_any_event_behind_a_door_where_no_id_was_checked(world: World) -> None:
    await world.open()
    task = await reached(world, OrderStatus.AT_DOOR)
    unchecked, _ = world.moved(task, None, OrderEvent.ID_PASSED, OrderStatus.ID_VERIFIED)
    assert await world.append(world.records(unchecked)) == [Done(Answer())]
    before = await contents(world)
    for event, role in product(OrderEvent, Role):
        fact = replace(world.fact(task, event, OrderStatus.DELIVERED), role=role)
        record = Record(record_id=new_id(), orders=(fact,))
        assert await world.append(world.records(record)) == [
            RecordRefused(record.record_id, "orders_door_gate")
        ], fact
    assert await contents(world) == before
