"""Group commit: a lone command waits for nothing, a crowd shares transactions, each gets its own outcome."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.config import Limits
from actors.persistence.carriers.registry import carriers
from actors.persistence.relay import Relay
from actors.persistence.shell import SLOW_LIMIT, SLOW_S, PersistenceShell
from domain.errors import Overloaded, StoreUnavailable
from domain.orders.commands import CancelOrder, OrderCommand
from domain.orders.records import Done, Outcome
from tests.support.build import command
from tests.support.shells import DEADLINE_S, Bus, HandClock, HeldStore, Payments, until


def made(**limits: Any) -> tuple[PersistenceShell, HeldStore]:
    store, bounds = HeldStore(), Limits(**limits)

    async def tell(region_id: str, opened: object) -> None: ...

    relay = Relay(
        store.inner,
        carriers(
            store.inner, bounds, bus=Bus(), payment=Payments(), tell_region=tell, clock=HandClock(hand=[0])
        ),
        lease_s=5.0,
    )
    return PersistenceShell(store, relay, HandClock(hand=[0]), bounds), store


def cancel(n: int) -> OrderCommand:
    return command(CancelOrder(), order_id=f"order-{n}")


def sizes(store: HeldStore) -> list[int]:
    return [len(call) for call in store.calls]


def append(shell: PersistenceShell, *commands: OrderCommand) -> asyncio.Task[list[Outcome]]:
    return asyncio.ensure_future(shell.append(commands))


async def test_a_lone_command_waits_for_nothing() -> None:
    shell, store = made()
    [outcome] = await shell.append([cancel(1)])
    assert isinstance(outcome, Done)
    assert outcome.answer.code == "NOT_FOUND"
    assert sizes(store) == [1]


async def test_commands_collect_while_an_append_is_under_way() -> None:
    shell, store = made(append_in_flight=1)
    store.gate.clear()
    tasks = [append(shell, cancel(0))]
    await store.held_up()
    tasks += [append(shell, cancel(n)) for n in range(1, 8)]
    await asyncio.sleep(0)
    store.gate.set()
    outcomes = await asyncio.gather(*tasks)
    assert sizes(store) == [1, 7]
    assert all(len(one) == 1 for one in outcomes)
    order = [one.order_id for call in store.calls for one in call if isinstance(one, OrderCommand)]
    assert order == [f"order-{n}" for n in range(8)]


async def test_at_most_so_many_transactions_at_once_each_of_bounded_size() -> None:
    shell, store = made(append_in_flight=2, append_batch_limit=3)
    store.gate.clear()
    tasks = [append(shell, cancel(n)) for n in range(9)]
    await store.held_up()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(store.calls) == 2
    store.gate.set()
    await asyncio.gather(*tasks)
    assert max(sizes(store)) <= 3
    assert sum(sizes(store)) == 9


async def test_a_command_put_in_as_a_committer_ends_is_carried_out() -> None:
    """The committer has found nothing waiting and is on its way out; the next command must not wait for a third."""
    shell, store = made(append_in_flight=1)
    store.gate.clear()
    first = append(shell, cancel(1))
    await store.held_up()
    store.gate.set()  # the committer runs next, then the second append, before anything else
    second = append(shell, cancel(2))
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(first, second)


async def test_a_failed_transaction_answers_all_its_commands_and_the_next_goes_on() -> None:
    shell, store = made(append_in_flight=1)
    store.gate.clear()
    store.fail = 1
    failing = append(shell, cancel(1), cancel(2))
    await store.held_up()
    fine = append(shell, cancel(3))
    await asyncio.sleep(0)
    store.gate.set()
    with pytest.raises(StoreUnavailable):
        await failing
    assert len(await fine) == 1


async def test_too_many_waiting_commands_are_refused() -> None:
    shell, store = made(append_in_flight=1, append_queue_limit=2)
    store.gate.clear()
    tasks = [append(shell, cancel(1))]
    await store.held_up()
    tasks.append(append(shell, cancel(2), cancel(3)))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await shell.append([cancel(4)])
    store.gate.set()
    await asyncio.gather(*tasks)
    assert len(await shell.append([cancel(5)])) == 1


async def test_a_caller_who_gave_up_does_not_disturb_the_others() -> None:
    shell, store = made(append_in_flight=1)
    store.gate.clear()
    gone = append(shell, cancel(1))
    await store.held_up()
    stays = append(shell, cancel(2))
    await asyncio.sleep(0)
    gone.cancel()
    await until(gone.done)
    store.gate.set()
    assert len(await stays) == 1
    await shell.stop()


async def test_transactions_that_stand_still_leave_room_for_others() -> None:
    """They wait for a row that somebody has locked, or for a disk; so many more may begin, and no endless number."""
    shell, store = made(append_in_flight=2, append_batch_limit=1)
    store.gate.clear()
    tasks = [append(shell, cancel(n)) for n in range(2 + SLOW_LIMIT + 2)]
    await until(lambda: len(store.calls) == 2 + SLOW_LIMIT)
    late = asyncio.get_running_loop().time() + 2 * SLOW_S
    await until(lambda: asyncio.get_running_loop().time() > late)
    assert len(store.calls) == 2 + SLOW_LIMIT, "the pool has no more"
    store.gate.set()
    await asyncio.gather(*tasks)
    # All are counted again: without slow ones there are two at a time, as before.
    store.gate.clear()
    before = len(store.calls)
    tasks = [append(shell, cancel(n)) for n in range(4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(store.calls) == before + 2
    store.gate.set()
    await asyncio.gather(*tasks)
