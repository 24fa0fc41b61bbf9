"""Authorizations on the order's row: there before the vendor is asked, and nothing that was granted is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

from domain.orders.commands import AbandonPayment, BeginPayment, CancelOrder, RecordPayment
from domain.orders.lifecycle import Role
from domain.orders.reasons import CancelReason
from domain.orders.records import Done
from domain.ports import Channel
from persistence.orders.memory import MemoryStore
from tests.contracts.store_world import World

LATER_MS = 2**50


async def payable(world: World) -> str:
    order_id = await world.draft()
    await world.answer(world.age(order_id))
    return order_id


async def begun(world: World, order_id: str, token: str = "card") -> dict[str, Any]:
    return (await world.answer(world.command(order_id, BeginPayment(token, 0)))).body


async def undone(world: World, order_id: str) -> list[tuple[str, str | None]]:
    events = [event for event in await world.waiting(Channel.PAYMENTS) if event.aggregate_id == order_id]
    return [
        (event.payload["request_id"], event.payload["vendor_ref"])
        for event in events
        if event.topic == "payment.undo"
    ]


async def opened(world: World, order_id: str) -> list[int]:
    return [
        number for found, number in await world.store.open_payments(LATER_MS, 10_000) if found == order_id
    ]


async def test_what_is_begun_is_on_the_row_and_no_step_of_the_order(world: World) -> None:
    order_id = await payable(world)
    before = await world.status(order_id), await world.dossier(order_id)
    first = await begun(world, order_id)
    assert first["request_id"] == f"authorize:{order_id}:0"
    assert await begun(world, order_id) == first
    assert (await world.status(order_id), await world.dossier(order_id)) == before
    assert await opened(world, order_id) == [0]
    assert await world.store.open_payments(0, 10) == []
    assert (await world.answer(world.pay(order_id))).code is None
    assert await opened(world, order_id) == []
    assert await undone(world, order_id) == []


async def test_numbers_rise_only_when_one_is_over(world: World) -> None:
    order_id = await payable(world)
    names = [(await begun(world, order_id))["request_id"]]
    assert (await world.answer(world.pay(order_id, authorized=False))).code == "PAYMENT_DECLINED"
    names += [(await begun(world, order_id, token))["request_id"] for token in ("card", "card", "other")]
    assert [name.rpartition(":")[2] for name in names] == ["0", "1", "1", "2"]
    # The one that another card took the place of is let go by its name.
    assert await undone(world, order_id) == [(names[1], None)]


async def test_a_yes_that_is_refused_is_let_go_once_and_the_orders_own_never(world: World) -> None:
    order_id = await payable(world)
    await begun(world, order_id)
    await world.answer(world.command(order_id, CancelOrder(CancelReason.CHANGED_MIND)))
    for _ in range(3):
        assert (await world.answer(world.pay(order_id))).code == "WRONG_STATE"
    assert await undone(world, order_id) == [(f"authorize:{order_id}:0", "pay-1")]
    assert await opened(world, order_id) == []

    order_id = await payable(world)
    await begun(world, order_id)
    outcomes = await world.append(*(world.pay(order_id) for _ in range(3)))
    codes = [outcome.answer.code for outcome in outcomes if isinstance(outcome, Done)]
    assert codes == [None, "WRONG_STATE", "WRONG_STATE"]
    assert await undone(world, order_id) == []
    # Another hold than its own is none of the order's.
    stray = world.command(order_id, RecordPayment(True, "pay-2", 0))
    assert (await world.answer(stray)).code == "WRONG_STATE"
    assert await undone(world, order_id) == [(f"authorize:{order_id}:0", "pay-2")]


async def test_what_nobody_ends_is_abandoned_unless_it_was_begun_again(world: World) -> None:
    order_id = await payable(world)
    await begun(world, order_id)
    at_ms = world.tick()
    await begun(world, order_id)
    for before_ms, left in ((at_ms, [0]), (LATER_MS, [])):
        action = AbandonPayment(0, before_ms)
        done = await world.answer(world.command(order_id, action, Role.SYSTEM))
        assert done.code is None
        assert await opened(world, order_id) == left
    assert await undone(world, order_id) == [(f"authorize:{order_id}:0", None)]
    # Whoever comes after that with the vendor's yes is refused, and the hold goes.
    late = world.command(order_id, RecordPayment(True, "pay-1", 0))
    assert (await world.answer(late)).code == "PAYMENT_UNDER_WAY"
    assert (await undone(world, order_id))[1:] == [(f"authorize:{order_id}:0", "pay-1")]
    assert (await world.answer(world.command(order_id, AbandonPayment(0, 1)))).code == "FORBIDDEN"


async def test_a_repeat_of_the_key_gets_the_answer_and_not_a_beginning(world: World) -> None:
    order_id = await payable(world)
    same: dict[str, Any] = {"scope": "s", "key": "k"}
    await world.answer(world.command(order_id, BeginPayment("card", 0), **same))
    paid = await world.answer(world.pay(order_id, **same))
    assert await world.answer(world.command(order_id, BeginPayment("card", 0), **same)) == paid


async def test_beginning_and_cancelling_at_once(world: World) -> None:
    order_id = await payable(world)
    await asyncio.gather(
        *(world.append(world.command(order_id, BeginPayment("card", 0))) for _ in range(4)),
        world.append(world.command(order_id, CancelOrder(CancelReason.CHANGED_MIND))),
    )
    status = await world.status(order_id)
    assert status is not None
    assert status[0] == "CANCELLED"


async def test_a_change_in_between_is_not_written_over(world: World) -> None:
    if not isinstance(world.store, MemoryStore):
        return  # Postgres holds the row's lock from the reading to the commit
    order_id = await payable(world)
    begin = world.store.begin([world.command(order_id, BeginPayment("card", 0))])
    await world.answer(world.command(order_id, CancelOrder(CancelReason.CHANGED_MIND)))
    world.store.commit(begin)
    status = await world.status(order_id)
    assert status is not None
    assert status[0] == "CANCELLED"
