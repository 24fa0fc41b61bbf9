"""Records that should never have been made: every store refuses them by name, and nothing else with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from domain.orders.lifecycle import OfferStatus, OrderEvent, OrderStatus, Role, TaskKind, TaskStatus
from domain.orders.records import Answer, Done, Record, RecordRefused, TaskRow
from tests.contracts.store_world import World, new_id

Make = Callable[[World, TaskRow], Record]


def _tasks(*tasks: TaskRow) -> Record:
    return Record(record_id=new_id(), tasks=tasks)


def _task_edge(world: World, task: TaskRow) -> Record:
    return _tasks(replace(task, status=TaskStatus.DONE, driver_id=world.driver_id))


def _order_edge(world: World, task: TaskRow) -> Record:
    return Record(record_id=new_id(), orders=(world.fact(task, OrderEvent.PICKED_UP, OrderStatus.PICKED_UP),))


def _order_of_the_rows(world: World, task: TaskRow) -> Record:
    gone = world.fact(task, OrderEvent.CANCELLED, OrderStatus.CANCELLED)
    return Record(record_id=new_id(), orders=(gone, gone))


def _unknown_order(world: World, task: TaskRow) -> Record:
    fact = world.fact(task, OrderEvent.ASSIGNED, OrderStatus.ASSIGNED)
    return Record(record_id=new_id(), orders=(replace(fact, order_id=new_id()),))


def _float(world: World, task: TaskRow) -> Record:
    fact = world.fact(task, OrderEvent.GOODS_READY, OrderStatus.CONFIRMED)
    return Record(record_id=new_id(), orders=(replace(fact, payload={"km": 1.5}),))


def _offer_never_made(world: World, task: TaskRow) -> Record:
    _, _, offer = world.offered(task)
    return Record(record_id=new_id(), offers=(replace(offer, status=OfferStatus.EXPIRED, closed_ms=1),))


def _open_offer_with_end(world: World, task: TaskRow) -> Record:
    _, _, offer = world.offered(task)
    return Record(record_id=new_id(), offers=(replace(offer, closed_ms=1),))


def _offer_of_nothing(world: World, task: TaskRow) -> Record:
    _, _, offer = world.offered(task)
    return Record(record_id=new_id(), offers=(replace(offer, task_ids=()),))


def _offered_without_offer(world: World, task: TaskRow) -> Record:
    return _tasks(replace(task, status=TaskStatus.OFFERED, offer_id=new_id()))


def _check_in_the_store(world: World, task: TaskRow) -> Record:
    return Record(record_id=new_id(), checks=(world.check(task),))


def _step_of_another_role(world: World, task: TaskRow) -> Record:
    fact = world.fact(task, OrderEvent.GOODS_READY, OrderStatus.CONFIRMED)
    return Record(record_id=new_id(), orders=(replace(fact, role=Role.DRIVER),))


def _check_of_no_task(world: World, task: TaskRow) -> Record:
    return Record(record_id=new_id(), checks=(replace(world.check(task), task_id=new_id()),))


BROKEN: dict[str, tuple[Make, str]] = {
    "task edge": (_task_edge, "tasks_edge"),
    "order edge": (_order_edge, "orders_edge"),
    "order that the rows decide": (_order_of_the_rows, "orders_decider"),
    "unknown order": (_unknown_order, "orders_exist"),
    "float in a dossier": (_float, "dossier_events_payload"),
    "offer that was never made": (_offer_never_made, "offers_start"),
    "open offer with an end": (_open_offer_with_end, "ck_offers_closed"),
    "offer of nothing": (_offer_of_nothing, "ck_offers_task_ids"),
    "offered without an offer": (_offered_without_offer, "tasks_offer"),
    "check of no task": (_check_of_no_task, "fk_doorstep_checks_task_id"),
    "check in the store": (_check_in_the_store, "doorstep_checks_at_door"),
    "step of another role": (_step_of_another_role, "dossier_events_step"),
    "passed with a failed flag": (
        lambda world, task: Record(record_id=new_id(), checks=(replace(world.check(task), over_age=False),)),
        "ck_doorstep_checks_passed",
    ),
    "other region": (lambda _, task: _tasks(replace(task, region_id="tx-aus")), "other_region"),
    "second delivery": (lambda _, task: _tasks(replace(task, task_id=new_id())), "uq_tasks_delivery"),
    "task with another closing time": (lambda _, task: _tasks(replace(task, closes_ms=1)), "pk_tasks"),
    "task of another order": (lambda _, task: _tasks(replace(task, order_id=new_id())), "pk_tasks"),
    "task that starts offered": (
        lambda _, task: _tasks(replace(task, task_id=new_id(), status=TaskStatus.OFFERED)),
        "tasks_start",
    ),
    "return held by nobody": (
        lambda _, task: _tasks(
            replace(task, task_id=new_id(), kind=TaskKind.RETURN, status=TaskStatus.PICKED_UP)
        ),
        "ck_tasks_held_has_driver",
    ),
    "open and held": (
        lambda world, task: _tasks(replace(task, driver_id=world.driver_id)),
        "ck_tasks_open_is_free",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_bad_record_is_named_and_the_others_commit(world: World, name: str) -> None:
    good, bad = await world.confirmed(), await world.confirmed()
    await world.open()
    make, constraint = BROKEN[name]
    record = make(world, bad)
    fine, offered, _ = world.offered(good)
    create = world.create()
    outcomes = await world.append(world.records(fine), world.records(record), create)
    assert outcomes[:2] == [Done(Answer()), RecordRefused(record.record_id, constraint)]
    assert await world.task(good.task_id) == offered
    assert await world.task(bad.task_id) == bad
    assert await world.status(bad.order_id) == ("CONFIRMED", 4)
    assert await world.status(create.order_id) == ("DRAFT", 1)


async def test_a_command_with_a_bad_record_writes_none_of_its_records(world: World) -> None:
    task = await world.confirmed()
    await world.open()
    first, offered, offer = world.offered(task)
    second, taken, _ = world.taken(offered, offer)
    bad = _tasks(replace(taken, status=TaskStatus.DONE))
    after, _ = world.moved(taken, TaskStatus.AT_PICKUP, OrderEvent.ARRIVED_AT_STORE, OrderStatus.ASSIGNED)
    (outcome,) = await world.append(world.records(first, second, bad, after))
    assert outcome == RecordRefused(bad.record_id, "tasks_edge")
    assert await world.task(task.task_id) == task
    assert await world.status(task.order_id) == ("CONFIRMED", 4)
    image = await world.store.open_region(task.region_id, world.now_ms)
    assert (image.offers, image.answers) == ((), ())


async def test_a_task_has_one_winner(world: World) -> None:
    """Two drivers, two offers, and records as two confused regions would make them: one assignment stands."""
    task = await world.confirmed()
    await world.open()
    one, offered, offer_one = world.offered(task, new_id())
    _, _, offer_two = world.offered(task, new_id())
    two = Record(record_id=new_id(), offers=(offer_two,))
    assert await world.append(world.records(one, two)) == [Done(Answer())]
    wrong, _, _ = world.taken(replace(offered, offer_id=offer_two.offer_id), offer_two)
    right, taken, _ = world.taken(offered, offer_one)
    assert await world.append(world.records(wrong)) == [RecordRefused(wrong.record_id, "tasks_offer")]
    assert await world.append(world.records(right)) == [Done(Answer())]
    again, _, _ = world.taken(offered, offer_one)
    assert await world.append(world.records(again)) == [
        RecordRefused(again.record_id, "offers_closed")
    ]  # the same winner, but at another time
    told = Record(record_id=new_id(), orders=again.orders)
    assert await world.append(world.records(told)) == [
        RecordRefused(told.record_id, "dossier_events_step")
    ]  # and the dossier would tell of it twice
    stolen = _tasks(replace(taken, status=TaskStatus.AT_PICKUP, driver_id=new_id()))
    assert await world.append(world.records(stolen)) == [RecordRefused(stolen.record_id, "tasks_holder")]
    assert await world.task(task.task_id) == taken


async def test_a_release_gives_the_task_to_nobody_and_only_before_the_pick_up(world: World) -> None:
    task, other = await world.confirmed(), await world.confirmed()
    await world.open()
    made, offered, offer = world.offered(task)
    accepted, held, offer = world.taken(offered, offer)
    assert await world.append(world.records(made, accepted)) == [Done(Answer())]
    kept = _tasks(replace(held, status=TaskStatus.OPEN, offer_id=None))
    assert await world.append(world.records(kept)) == [RecordRefused(kept.record_id, "ck_tasks_open_is_free")]
    released, free = world.released(held)
    assert await world.append(world.records(released)) == [Done(Answer())]
    # The offer that was accepted once assigns it to nobody again.
    back = _tasks(
        replace(free, status=TaskStatus.ASSIGNED, driver_id=offer.driver_id, offer_id=offer.offer_id)
    )
    assert await world.append(world.records(back)) == [RecordRefused(back.record_id, "tasks_edge")]
    late, _ = world.moved(held, TaskStatus.AT_PICKUP, OrderEvent.ARRIVED_AT_STORE, OrderStatus.ASSIGNED)
    assert await world.append(world.records(late)) == [RecordRefused(late.record_id, "tasks_edge")]
    records, at_door = world.to_door(other)
    assert await world.append(world.records(*records)) == [Done(Answer())]
    too_late, _ = world.released(at_door)
    assert await world.append(world.records(too_late)) == [RecordRefused(too_late.record_id, "tasks_edge")]


async def test_an_offer_ends_once(world: World) -> None:
    task = await world.confirmed()
    await world.open()
    made, offered, offer = world.offered(task)
    ended, _, closed = world.expired(offered, offer)
    assert await world.append(world.records(made, ended)) == [Done(Answer())]
    late = Record(record_id=new_id(), offers=(replace(closed, status=OfferStatus.ACCEPTED),))
    assert await world.append(world.records(late)) == [RecordRefused(late.record_id, "offers_edge")]
    passed_on = Record(record_id=new_id(), offers=(replace(closed, driver_id=new_id()),))
    assert await world.append(world.records(passed_on)) == [
        RecordRefused(passed_on.record_id, "offers_frozen")
    ]


@pytest.mark.parametrize("check", ["none", "failed", "by another driver", "of another order"])
async def test_no_delivery_without_the_holders_passed_check(world: World, check: str) -> None:
    task, other = await world.confirmed(), await world.confirmed()
    await world.open()
    records, at_door = world.to_door(task)
    others, at_other_door = world.to_door(other)
    checks = {
        "none": (),
        "failed": (world.check(at_door, passed=False),),
        "by another driver": (world.check(at_door, driver_id=new_id()),),
        "of another order": (world.check(at_other_door),),
    }[check]
    passed, _ = world.moved(at_door, None, OrderEvent.ID_PASSED, OrderStatus.ID_VERIFIED, checks=checks)
    done, _ = world.moved(at_door, TaskStatus.DONE, OrderEvent.DELIVERED, OrderStatus.DELIVERED)
    assert await world.append(world.records(*records, *others, passed)) == [Done(Answer())]
    assert await world.append(world.records(done)) == [RecordRefused(done.record_id, "orders_door_gate")]
    assert await world.status(task.order_id) == ("ID_VERIFIED", 9)


async def test_a_command_that_the_database_refuses_spoils_no_other(world: World) -> None:
    """Two deliveries under one task id: the second is our own mistake, so it is answered as one."""
    one, two = await world.draft(), await world.draft()
    for order_id in (one, two):
        await world.append(world.age(order_id), world.pay(order_id))
    first = world.accept(one)
    second = replace(world.accept(two), action=first.action)
    outcomes = await world.append(first, second, world.create())
    codes = [outcome.answer.code for outcome in outcomes if isinstance(outcome, Done)]
    assert codes == [None, "INTERNAL_CONFLICT", None]
    assert await world.status(two) == ("PAYMENT_AUTHORIZED", 3)
    assert (await world.answer(second)).code == "INTERNAL_CONFLICT"  # nothing was stored under its key


async def test_a_command_that_cannot_be_decided_spoils_no_other(world: World) -> None:
    order_id = await world.draft()
    await world.append(world.age(order_id), world.pay(order_id))
    accept = world.accept(order_id)
    endless = replace(accept, action=replace(accept.action, prep_s=float("inf")))
    failed, made = await world.append(endless, world.create())
    assert isinstance(failed, Done)
    assert failed.answer.code == "INTERNAL_ERROR"
    assert isinstance(made, Done)
    assert made.answer.code is None
