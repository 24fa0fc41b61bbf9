"""The merchant's evening: the store closes at ten, and what is refused at a door has to be back by then (F8, A7).

The law sends refused goods back to the seller, so nothing is sold that could not come back. Both stores.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from domain.ground.markets import MARKETS
from domain.ground.times import millis
from domain.orders.commands import MerchantAccept, MerchantReject
from domain.orders.dossier import verify
from domain.orders.hours import Opening
from domain.orders.lifecycle import OrderStatus, Role, TaskKind
from domain.orders.reasons import RejectReason
from domain.orders.records import Answer, Done, OrderBrief
from domain.region.jobs import Job, return_task
from tests.contracts.store_world import REGION, World, new_id

TEN_TO_TEN = tuple(Opening(day, 10 * 60, 22 * 60) for day in range(7))


def evening(clock: str) -> int:
    """Such a time on a Friday in Dallas."""
    zone = ZoneInfo(MARKETS[REGION].timezone)
    return millis(datetime.fromisoformat(f"2026-06-19T{clock}").replace(tzinfo=zone))


async def ordered(world: World, clock: str) -> str:
    """An order that is paid at this time of the evening and waits for the merchant."""
    world.now_ms = evening(clock) - 3000
    create = world.create()
    order_id = create.order_id
    outcomes = await world.append(create, world.age(order_id), world.pay(order_id))
    assert [outcome.answer.code for outcome in outcomes if isinstance(outcome, Done)] == [None] * 3
    assert world.now_ms == evening(clock)
    return order_id


async def accepted(world: World, order_id: str, clock: str, prep_s: float = 300.0) -> Answer:
    action = MerchantAccept(task_id=new_id(), prep_s=prep_s)
    return await world.answer(world.command(order_id, action, Role.MERCHANT, at_ms=evening(clock)))


async def test_what_could_not_come_back_before_ten_is_not_accepted_and_the_merchant_may_reject_it(
    world: World,
) -> None:
    await world.keep_hours(TEN_TO_TEN)
    order_id = await ordered(world, "21:30")
    answer = await accepted(world, order_id, "21:50")
    assert answer.code == "TOO_LATE_TODAY"
    assert "closes at 22:00" in answer.detail
    assert await world.status(order_id) == ("PAYMENT_AUTHORIZED", 3)
    assert [entry.type for entry in await world.dossier(order_id)][-1] == "PAYMENT_AUTHORIZED"
    assert (await world.store.open_region(REGION, world.now_ms)).tasks == ()
    reject = world.command(order_id, MerchantReject(RejectReason.CLOSING), Role.MERCHANT)
    assert (await world.answer(reject)).body["status"] == "REJECTED"


async def test_what_is_accepted_in_time_keeps_its_closing_time_to_the_return(world: World) -> None:
    await world.keep_hours(TEN_TO_TEN)
    order_id = await ordered(world, "20:55")
    assert (await accepted(world, order_id, "21:00")).body["status"] == "CONFIRMED"
    [task] = (await world.store.open_region(REGION, world.now_ms)).tasks
    assert task.closes_ms == evening("22:00")
    # The merchant closes earlier from tomorrow on: this promise stands.
    await world.keep_hours(())
    await world.open()
    records, at_door = world.to_door(task)
    refused, back = world.sent_back(at_door)
    await world.append(world.records(*records, refused))
    assert await world.status(order_id) == ("RETURNING", 10)
    [row] = (await world.store.open_region(REGION, world.now_ms)).tasks
    assert (row.task_id, row.kind, row.closes_ms) == (back.task_id, TaskKind.RETURN, evening("22:00"))
    assert verify(await world.dossier(order_id)).ok
    # The region makes its return tasks of the delivery's row, closing time and all.
    brief = OrderBrief(order_id=order_id, status=OrderStatus.REFUSED, customer_id="", merchant_id="")
    made = return_task(Job(at_door, brief), new_id(), world.driver_id, world.now_ms)
    assert (made.kind, made.closes_ms) == (TaskKind.RETURN, evening("22:00"))


async def test_how_long_packing_takes_is_part_of_it(world: World) -> None:
    await world.keep_hours(TEN_TO_TEN)
    order_id = await ordered(world, "21:00")
    assert (await accepted(world, order_id, "21:20", prep_s=1800.0)).code == "TOO_LATE_TODAY"
    assert (await accepted(world, order_id, "21:20", prep_s=60.0)).code is None


async def test_a_closed_store_sells_nothing(world: World) -> None:
    await world.keep_hours(TEN_TO_TEN)
    order_id = await ordered(world, "21:00")
    assert (await accepted(world, order_id, "22:00")).code == "STORE_CLOSED"
    for clock, code in (("09:59", "STORE_CLOSED"), ("21:58", "TOO_LATE_TODAY"), ("22:00", "STORE_CLOSED")):
        create = world.create(at_ms=evening(clock))
        assert (await world.answer(create)).code == code, clock
        assert await world.status(create.order_id) is None
        assert await world.dossier(create.order_id) == []
