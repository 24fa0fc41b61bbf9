"""What an append books: a hold with the step that takes it, and what came of it once, with what drivers have earned."""

from __future__ import annotations

from collections import Counter
from typing import Any

import asyncpg
from msgspec.structs import replace

from domain.marketplace.money import Account, Reason
from domain.orders.commands import CancelOrder, CloseOrder, RecordPayment, SettlePayment
from domain.orders.lifecycle import OrderEvent, OrderStatus, Role, TaskStatus
from domain.orders.reasons import CancelReason
from domain.orders.records import Done
from persistence.orders.memory import MemoryStore
from tests.contracts.store_world import World

TAKEN, LET_GO = SettlePayment(True, "pay-1"), SettlePayment(False, "pay-1")


async def booked(world: World, order_id: str) -> tuple[Counter[str], dict[str, int]]:
    """The reasons of an order's movements, and what is on each account because of them."""
    if isinstance(world.store, MemoryStore):
        own = [one for one in world.store.ledger.values() if one.order_id == order_id]
        rows = [(one.reason, entry.account, entry.amount_cents) for one in own for entry in one.entries]
        reasons = Counter(str(one.reason) for one in own)
    else:
        connection = await asyncpg.connect(str(world.owner_url))
        query = (
            "SELECT m.movement_id, m.reason, e.account, e.amount_cents::int FROM ledger_movements m"
            " JOIN ledger_entries e USING (movement_id) WHERE m.order_id = $1"
        )
        found = await connection.fetch(query, order_id)
        await connection.close()
        rows = [(row["reason"], row["account"], row["amount_cents"]) for row in found]
        reasons = Counter({row["movement_id"]: row["reason"] for row in found}.values())
    sums: dict[str, int] = {}
    for _, account, cents in rows:
        sums[str(account)] = sums.get(str(account), 0) + cents
    return reasons, {account: cents for account, cents in sums.items() if cents}


async def settle(world: World, order_id: str, *actions: Any) -> list[str | None]:
    commands = [world.command(order_id, action, Role.SYSTEM) for action in actions]
    outcomes = await world.append(*commands)
    return [outcome.answer.code for outcome in outcomes if isinstance(outcome, Done)]


async def test_a_hold_is_booked_with_the_step_that_takes_it(world: World) -> None:
    order_id = await world.draft()
    await world.answer(world.age(order_id))
    assert (await world.answer(world.pay(order_id, authorized=False))).code == "PAYMENT_DECLINED"
    assert await booked(world, order_id) == (Counter(), {})
    again: dict[str, Any] = {"key": "k", "scope": "s"}
    for _ in range(2):
        await world.answer(world.command(order_id, RecordPayment(True, "pay-1", 1), **again))
    reasons, sums = await booked(world, order_id)
    assert reasons == {Reason.ORDER_AUTHORIZED: 1}
    assert sums.keys() == {Account.HOLDS, Account.HELD}
    total_cents = sums[Account.HOLDS]
    assert (await settle(world, order_id, LET_GO)) == ["WRONG_STATE"]
    await world.answer(world.command(order_id, CancelOrder(CancelReason.CHANGED_MIND)))
    assert await settle(world, order_id, TAKEN) == ["WRONG_STATE"]
    assert await settle(world, order_id, SettlePayment(False, "pay-2")) == ["WRONG_STATE"]
    assert await settle(world, order_id, LET_GO, LET_GO) == [None, None]
    assert await settle(world, order_id, LET_GO, TAKEN) == [None, "WRONG_STATE"]
    reasons, sums = await booked(world, order_id)
    assert reasons == {Reason.ORDER_AUTHORIZED: 1, Reason.ORDER_VOIDED: 1}
    assert sums == {}
    assert total_cents > 0


async def test_nobody_but_the_system_settles(world: World) -> None:
    task = await world.confirmed()
    answer = await world.answer(world.command(task.order_id, TAKEN))
    assert answer.code == "FORBIDDEN"


async def test_a_capture_is_booked_once_with_what_the_driver_earned(world: World) -> None:
    await world.open()
    task = await world.confirmed()
    records, task = world.to_door(task)
    await world.append(world.records(*records, *world.delivered(task)))
    assert await settle(world, task.order_id, TAKEN, CloseOrder("pay-1")) == [None, None]
    for _ in range(2):
        assert await settle(world, task.order_id, TAKEN) == [None]
    reasons, sums = await booked(world, task.order_id)
    assert reasons == {Reason.ORDER_AUTHORIZED: 1, Reason.ORDER_CAPTURED: 1, Reason.DRIVER_EARNED: 1}
    assert sum(sums.values()) == 0
    assert Account.HOLDS not in sums
    assert Account.HELD not in sums
    pay_cents = sums[Account.DRIVER_COST]
    assert pay_cents > 400
    assert sums[Account.DRIVER_PAYABLE] == -pay_cents
    total = -sum(sums[name] for name in ("MERCHANT_PAYABLE", "PLATFORM_REVENUE", "TAX_LIABILITY"))
    assert sums[Account.CLEARING] == total


async def test_goods_that_came_back_are_not_paid_for_and_the_driver_is_both_ways(world: World) -> None:
    await world.open()
    task = await world.confirmed()
    records, task = world.to_door(task)
    refused, back = world.sent_back(task)
    arrived, back = world.moved(
        back, TaskStatus.AT_DROPOFF, OrderEvent.ARRIVED_FOR_RETURN, OrderStatus.RETURNING
    )
    done, back = world.moved(back, TaskStatus.DONE, OrderEvent.RETURN_CONFIRMED, OrderStatus.RETURNED)
    await world.append(world.records(*records, refused, arrived, done))
    status = await world.status(task.order_id)
    assert status is not None
    assert status[0] == OrderStatus.RETURNED
    assert await settle(world, task.order_id, LET_GO) == [None]
    reasons, sums = await booked(world, task.order_id)
    assert reasons == {Reason.ORDER_AUTHORIZED: 1, Reason.ORDER_VOIDED: 1, Reason.DRIVER_EARNED: 2}
    assert sums.keys() == {Account.DRIVER_COST, Account.DRIVER_PAYABLE}


async def test_a_driver_who_waited_in_vain_is_paid_for_that_alone(world: World) -> None:
    await world.open()
    task = await world.confirmed()
    first, task, offer = world.offered(task)
    second, task, _ = world.taken(task, offer)
    third, task = world.moved(task, TaskStatus.AT_PICKUP, OrderEvent.ARRIVED_AT_STORE, OrderStatus.ASSIGNED)
    world.now_ms += 25 * 60_000
    end = world.fact(task, OrderEvent.CANCELLED, OrderStatus.CANCELLED)
    gone = replace(task, status=TaskStatus.CANCELLED, ended_ms=end.at_ms)
    fourth = replace(first, record_id=task.task_id, tasks=(gone,), offers=(), orders=(end,))
    await world.append(world.records(first, second, third, fourth))
    assert await settle(world, task.order_id, LET_GO) == [None]
    _, sums = await booked(world, task.order_id)
    assert sums == {Account.DRIVER_COST: 500, Account.DRIVER_PAYABLE: -500}
