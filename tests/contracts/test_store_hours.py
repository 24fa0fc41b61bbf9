"""What every store makes of opening hours: decided by those of now, kept with the task."""

from __future__ import annotations

from msgspec.structs import replace

from domain.orders.commands import MerchantReject
from domain.orders.hours import Opening
from domain.orders.lifecycle import Role, TaskStatus
from domain.orders.reasons import RejectReason
from domain.orders.records import Answer, Done
from domain.ports import Channel
from tests.contracts.store_world import REGION, START_MS, World

# START_MS is a Sunday, 10:06:40 in Dallas.
TEN_TO_TEN = (Opening(6, 10 * 60, 22 * 60),)
CLOSES_MS = START_MS - 400_000 + 12 * 3_600_000
TO_QUARTER_PAST = (Opening(6, 10 * 60, 10 * 60 + 15),)


async def test_the_closing_time_stays_with_the_task(world: World) -> None:
    await world.keep_hours(TEN_TO_TEN)
    task = await world.confirmed()
    assert task.closes_ms == CLOSES_MS
    assert await world.task(task.task_id) == task
    [told] = await world.waiting(Channel.TASKS)
    assert told.payload["task"]["closes_ms"] == CLOSES_MS
    assert (await world.dossier(task.order_id))[-1].payload["closes_ms"] == CLOSES_MS
    await world.keep_hours(TO_QUARTER_PAST)
    await world.open()
    records, at_door = world.to_door(task)
    refused, back = world.sent_back(at_door)
    assert await world.append(world.records(*records, refused)) == [Done(Answer())]
    image = await world.store.open_region(REGION, world.now_ms)
    assert [(row.task_id, row.closes_ms) for row in image.tasks] == [(back.task_id, CLOSES_MS)]
    assert [row.closes_ms for row in image.recent_tasks] == [CLOSES_MS]


async def test_an_order_is_decided_by_the_hours_of_now(world: World) -> None:
    create = world.create()
    order_id = create.order_id
    assert (await world.answer(create)).code is None
    await world.append(world.age(order_id), world.pay(order_id))
    await world.keep_hours(TO_QUARTER_PAST)
    accept = world.accept(order_id)
    assert (await world.answer(accept)).code == "TOO_LATE_TODAY"
    assert await world.status(order_id) == ("PAYMENT_AUTHORIZED", 3)
    assert len(await world.dossier(order_id)) == 3
    await world.keep_hours(())
    assert (await world.answer(world.accept(order_id))).code == "STORE_CLOSED"
    assert (await world.answer(world.create())).code == "STORE_CLOSED"
    assert await world.waiting(Channel.TASKS) == []
    await world.keep_hours(None)
    assert (await world.answer(accept)).code == "TOO_LATE_TODAY"  # a repeat gets the first answer
    assert (await world.answer(world.accept(order_id))).body["status"] == "CONFIRMED"


async def test_whose_store_is_closed_may_still_reject(world: World) -> None:
    order_id = await world.draft()
    await world.append(world.age(order_id), world.pay(order_id))
    await world.keep_hours(())
    reject = world.command(order_id, MerchantReject(RejectReason.CLOSING), Role.MERCHANT)
    assert (await world.answer(reject)).body["status"] == "REJECTED"


async def test_orders_of_one_batch_each_get_their_store(world: World) -> None:
    """One whose store the batch names itself, one whose store only its row knows, and one that is not there."""
    await world.keep_hours(TEN_TO_TEN)
    there = await world.draft()
    await world.append(world.age(there), world.pay(there))
    create = world.create()
    new = create.order_id
    stray = world.accept(there)
    outcomes = await world.append(
        world.accept(there),
        create,
        world.age(new),
        world.pay(new),
        world.accept(new),
        replace(stray, order_id=new[::-1]),
    )
    opened = [outcome.opened[0] for outcome in outcomes if isinstance(outcome, Done) and outcome.opened]
    assert [(task.order_id, task.closes_ms, task.status) for task in opened] == [
        (there, CLOSES_MS, TaskStatus.OPEN),
        (new, CLOSES_MS, TaskStatus.OPEN),
    ]
    last = outcomes[-1]
    assert isinstance(last, Done)
    assert last.answer.code == "NOT_FOUND"
