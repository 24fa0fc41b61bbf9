"""The shell round a region: nothing is answered before it is durable, and no failure of the store answers twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from actors.region.shell import Reply
from domain.errors import Overloaded, RegionUnavailable
from domain.orders.lifecycle import OfferStatus, Role, TaskStatus
from domain.orders.records import Answer, RegionImage, RegionRecords, TaskRow
from domain.region.messages import Accept, Acked, Arrive, Cancel, Message, Push, Reject
from tests.support.build import REGION, STORE_AT, ask, attach, seen
from tests.support.shells import DEADLINE_S, Broken, HeldStore, Shell, until
from tests.support.story import put_order


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    """A region with a driver at the store, who has been offered task-1."""
    one = Shell()
    await one.shell.start()
    await one.shell.post([attach("ann")])
    one.shell.seen(seen({"ann": STORE_AT}))
    await one.shell.post([put_order(one.store.inner, 1, one.clock.now_ms())])
    one.clock.forward(0.2)
    await one.shell.post([Acked("ann", 0)])  # wakes the deadline loop: the clock has moved
    await until(lambda: len(one.sent) == 1)
    one.store.calls.clear()
    one.store.entered.clear()
    yield one
    one.store.gate.set()
    async with asyncio.timeout(DEADLINE_S):
        await one.shell.stop()


def offer_id(shell: Shell) -> str:
    [offer] = [offer for offer in shell.store.inner.offers.values() if offer.status is OfferStatus.OFFERED]
    return offer.offer_id


def posted(shell: Shell, *messages: Message) -> asyncio.Task[list[Reply]]:
    return asyncio.ensure_future(shell.shell.post(messages))


async def answer(task: asyncio.Task[list[Reply]]) -> Answer:
    async with asyncio.timeout(DEADLINE_S):
        [reply] = await task
    assert isinstance(reply, Answer)
    return reply


def assigned(shell: Shell) -> int:
    """How many times the order's dossier says that it was assigned."""
    return [entry.type for entry in shell.store.inner.dossier("order-1")].count("TASK_ASSIGNED")


async def test_the_offer_is_durable_before_it_is_pushed(shell: Shell) -> None:
    [push] = shell.sent
    assert isinstance(push, Push)
    assert shell.store.inner.tasks["task-1"].status is TaskStatus.OFFERED
    # Another offer, whose append is held up: nothing is pushed until it is through.
    shell.store.gate.clear()
    held = posted(shell, ask(Reject(offer_id=offer_id(shell)), by="rest"))
    await shell.store.held_up()
    await asyncio.sleep(0)
    assert len(shell.sent) == 1
    shell.store.gate.set()
    await answer(held)
    await until(lambda: len(shell.sent) == 2)


async def test_nobody_is_answered_before_the_append_is_through(shell: Shell) -> None:
    shell.store.gate.clear()
    first = posted(shell, ask(Accept(offer_id=offer_id(shell))))
    await shell.store.held_up()
    second = posted(shell, ask(Accept(offer_id=offer_id(shell)), who="bob"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not first.done()
    assert not second.done()
    shell.store.gate.set()
    assert (await answer(first)).code is None
    assert (await answer(second)).code == "OFFER_TAKEN"


async def test_what_comes_during_an_append_makes_one_next_append(shell: Shell) -> None:
    shell.store.gate.clear()
    first = posted(shell, ask(Accept(offer_id=offer_id(shell))))
    await shell.store.held_up()
    later = [put_order(shell.store.inner, n, shell.clock.now_ms()) for n in (2, 3)]
    cancels = [ask(Cancel(f"order-{n}"), Role.CUSTOMER, "cara", key=f"c{n}") for n in (2, 3)]
    second = posted(shell, *later, *cancels)
    await asyncio.sleep(0)
    shell.store.gate.set()
    await answer(first)
    assert [reply.code for reply in await second if isinstance(reply, Answer)] == [None] * 4
    commands = [command for call in shell.store.calls for command in call]
    assert [len(command.records) for command in commands if isinstance(command, RegionRecords)] == [1, 2]


@pytest.mark.parametrize("committed", [False, True])
async def test_after_a_failed_append_a_new_life_answers_from_what_is_durable(
    shell: Shell, committed: bool
) -> None:
    """Whoever waited is told to ask again, and the same request is answered as if nothing had happened."""
    epoch = shell.store.inner.epochs[REGION]
    request = ask(Accept(offer_id=offer_id(shell)))
    shell.store.lose, shell.store.fail = (1, 0) if committed else (0, 1)
    with pytest.raises(RegionUnavailable):
        await answer(posted(shell, request))
    await until(lambda: shell.store.inner.epochs[REGION] == epoch + 1)
    assert (await answer(posted(shell, request))).code is None
    assert (await answer(posted(shell, request))).code is None
    assert assigned(shell) == 1
    assert shell.deaths == []
    assert shell.shell.stats()["epoch"] == epoch + 1


async def test_a_store_that_is_gone_for_a_while_is_waited_for(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = 0
    open_region = shell.store.open_region

    async def sometimes(region_id: str, now_ms: int) -> object:
        nonlocal opens
        opens += 1
        if opens < 3:
            raise Broken
        return await open_region(region_id, now_ms)

    monkeypatch.setattr(shell.store, "open_region", sometimes)
    shell.store.fail = 1
    request = ask(Accept(offer_id=offer_id(shell)))
    with pytest.raises(RegionUnavailable):
        await answer(posted(shell, request))
    with pytest.raises(RegionUnavailable):
        await shell.shell.post([request])
    async with asyncio.timeout(DEADLINE_S):
        while opens < 3:  # noqa: ASYNC110 - the shell's own back-off passes here
            await asyncio.sleep(0.01)
    assert (await answer(posted(shell, request))).code is None


async def test_a_fenced_region_dies_and_answers_nobody(shell: Shell) -> None:
    request = posted(shell, ask(Accept(offer_id=offer_id(shell))))
    shell.store.inner.open_region_now(REGION, shell.clock.now_ms())  # another process has the region
    await until(lambda: bool(shell.deaths))
    assert "fenced" in shell.deaths[0]
    assert not request.done()
    assert assigned(shell) == 0
    with pytest.raises(RegionUnavailable):
        await shell.shell.post([ask(Accept(offer_id="x"))])
    request.cancel()


async def test_a_refused_record_is_its_makers_matter_alone(shell: Shell) -> None:
    """The database's second lock bit: that ask is told so, the others are decided again and answered."""
    epoch = shell.store.inner.epochs[REGION]
    await shell.shell.post([put_order(shell.store.inner, 2, shell.clock.now_ms())])
    shell.store.refuse = lambda record: any(fact.order_id == "order-2" for fact in record.orders)
    shell.store.gate.clear()
    first = posted(shell, ask(Accept(offer_id=offer_id(shell))))
    await shell.store.held_up()
    culprit = posted(shell, ask(Cancel("order-2"), Role.CUSTOMER, "cara"))
    bystander = posted(shell, ask(Accept(offer_id=offer_id(shell)), who="bob"))
    await asyncio.sleep(0)
    shell.store.gate.set()
    assert (await answer(first)).code is None
    assert (await answer(culprit)).code == "INTERNAL_CONFLICT"
    assert (await answer(bystander)).code == "OFFER_TAKEN"
    assert shell.store.inner.epochs[REGION] == epoch + 1
    assert shell.store.inner.tasks["task-2"].status is not TaskStatus.CANCELLED
    assert assigned(shell) == 1


async def test_a_refused_record_takes_no_neighbour_of_its_append_with_it(shell: Shell) -> None:
    await shell.shell.post([put_order(shell.store.inner, 2, shell.clock.now_ms())])
    shell.store.refuse = lambda record: any(fact.order_id == "order-2" for fact in record.orders)
    replies = await shell.shell.post(
        [ask(Cancel("order-2"), Role.CUSTOMER, "cara"), ask(Accept(offer_id=offer_id(shell)))]
    )
    assert [reply.code for reply in replies if isinstance(reply, Answer)] == ["INTERNAL_CONFLICT", None]
    assert assigned(shell) == 1
    shell.store.refuse = lambda record: False
    [again] = await shell.shell.post([ask(Cancel("order-2"), Role.CUSTOMER, "cara")])
    assert again == replies[0], "who was told that nothing was done is not granted it later"


async def test_too_much_waiting_is_refused_and_what_waits_is_served() -> None:
    small = Shell(region_inbox_limit=3)
    await small.shell.start()
    await small.shell.post([put_order(small.store.inner, 1, small.clock.now_ms())])
    small.store.gate.clear()
    first = posted(small, ask(Cancel("order-1"), Role.CUSTOMER, "cara"))
    await small.store.held_up()
    more = posted(small, ask(Accept(offer_id="x"), key="a"), ask(Accept(offer_id="x"), key="b"))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await small.shell.post([ask(Accept(offer_id="x"), key="c")])
    small.store.gate.set()
    assert (await answer(first)).code is None
    assert len(await more) == 2
    await small.shell.stop()


async def test_a_batch_beyond_the_limit_is_taken_when_nothing_waits() -> None:
    small = Shell(region_inbox_limit=1)
    await small.shell.start()
    opened = [put_order(small.store.inner, n, small.clock.now_ms()) for n in (1, 2, 3)]
    assert len(await small.shell.post(opened)) == 3, "or nobody could ever tell the region of them"
    await small.shell.stop()


async def test_under_load_positions_wait_for_decisions() -> None:
    small = Shell(region_shed_at=1)
    await small.shell.start()
    await small.shell.post([put_order(small.store.inner, 1, small.clock.now_ms())])
    pings, nothing = seen({"ann": STORE_AT}), seen({})
    epoch = small.shell.seen(pings)
    small.store.gate.clear()
    asked = posted(small, ask(Cancel("order-1"), Role.CUSTOMER, "cara"), Acked("ann", 0))
    await small.store.held_up()
    with pytest.raises(Overloaded):
        small.shell.seen(pings)
    assert small.shell.seen(nothing) == epoch, "a gateway that knocks is let in"
    small.store.gate.set()
    await asked
    assert small.shell.seen(pings) == epoch
    await small.shell.stop()


async def test_an_offer_expires_by_the_deadline_loop(shell: Shell) -> None:
    expiring = offer_id(shell)
    shell.clock.forward(29.9)
    await shell.shell.post([Acked("ann", 0)])
    assert shell.store.inner.offers[expiring].status is OfferStatus.OFFERED
    shell.clock.forward(0.1)
    await shell.shell.post([Acked("ann", 0)])
    await until(lambda: shell.store.inner.offers[expiring].status is OfferStatus.EXPIRED)
    await until(lambda: len(shell.sent) == 2)


async def test_before_it_is_restored_a_region_refuses() -> None:
    one = Shell(HeldStore())
    with pytest.raises(RegionUnavailable):
        await one.shell.post([Acked("ann", 0)])
    with pytest.raises(RegionUnavailable):
        one.shell.seen(seen({"ann": STORE_AT}))


@pytest.mark.parametrize("trouble", ["none", "refused", "failed"])
async def test_stopping_lets_what_is_under_way_end(shell: Shell, trouble: str) -> None:
    shell.store.gate.clear()
    request = posted(shell, ask(Accept(offer_id=offer_id(shell))))
    await shell.store.held_up()
    if trouble == "refused":
        shell.store.refuse = lambda record: True
    elif trouble == "failed":
        shell.store.fail = 1
    stopping = asyncio.ensure_future(shell.shell.stop())
    await asyncio.sleep(0)
    with pytest.raises(RegionUnavailable):
        await shell.shell.post([Acked("ann", 0)])
    shell.store.gate.set()
    async with asyncio.timeout(DEADLINE_S):
        await stopping
        [done] = await asyncio.gather(request, return_exceptions=True)
    if trouble == "failed":
        assert isinstance(done, RegionUnavailable)
    else:
        assert isinstance(done, list)
        assert isinstance(done[0], Answer)
        assert done[0].code == (None if trouble == "none" else "INTERNAL_CONFLICT")


async def test_a_solve_that_does_not_come_back_is_cancelled_and_counted_and_the_region_looks_again() -> None:
    one = Shell(hung=(1, 2), solve_timeout_s=0.05)
    await one.shell.start()
    await one.shell.post([attach("ann")])
    one.shell.seen(seen({"ann": STORE_AT}))
    await one.shell.post([put_order(one.store.inner, 1, one.clock.now_ms())])
    for hung in (1, 2):
        one.clock.forward(5.0)
        await one.shell.post([Acked("ann", 0)])  # wakes the deadline loop: the clock has moved
        await until(lambda hung=hung: one.cancelled == hung)  # type: ignore[misc]
        await until(lambda hung=hung: one.shell.stats()["solves_failing"] == hung)  # type: ignore[misc]
    one.clock.forward(5.0)
    one.shell.seen(seen({"ann": STORE_AT}))
    await one.shell.post([Acked("ann", 0)])
    await until(lambda: len(one.sent) == 1)
    assert one.solves == 3
    assert one.shell.stats()["solves_failing"] == 0
    counted = {family.name: family.samples[0][-1] for family in one.shell.figures() if family.samples}
    assert counted["doorstep_region_solves_hung"] == 2
    await one.shell.stop()


# -- rows that cannot be restored -------------------------------------------------------------------------------------


def spoiled(shell: Shell, task_id: str, **changes: Any) -> TaskRow:
    """Change a task by hand; returns it as it was."""
    before = shell.store.inner.tasks[task_id]
    shell.store.inner.tasks[task_id] = replace(before, **changes)
    return before


async def test_a_bad_row_is_named_and_the_market_serves_until_it_is_mended() -> None:
    first, store = Shell(), HeldStore()
    orders = [put_order(store.inner, n, first.clock.now_ms()) for n in (1, 2)]
    shell = Shell(store, region_mend_s=0.01)
    good = spoiled(shell, "task-1", due_ms=2**61)
    with capture_logs() as logs:
        await shell.shell.start()
    [told] = [line for line in logs if line["event"] == "region.row_set_aside"]
    assert (told["row_id"], told["order_id"], told["error"]) == ("task-1", "order-1", "OverflowError")
    assert told["log_level"] == "error"
    assert "Elm" not in str(logs)
    assert figure(shell, "doorstep_region_rows_aside") == 1
    cancel = ask(Cancel("order-1"), Role.CUSTOMER, "cara", key="one")
    [answer, other] = await shell.shell.post(
        [cancel, ask(Cancel("order-2"), Role.CUSTOMER, "cara", key="two")]
    )
    assert isinstance(answer, Answer)
    assert isinstance(other, Answer)
    assert (answer.code, other.code) == ("REGION_UNAVAILABLE", None)
    assert await shell.shell.post([orders[0]]) == [Answer()]
    epoch = store.inner.epochs[REGION]
    spoiled(shell, "task-1", due_ms=good.due_ms)
    await until(lambda: store.inner.epochs[REGION] == epoch + 1)
    await until(lambda: figure(shell, "doorstep_region_serving") == 1)
    assert figure(shell, "doorstep_region_rows_aside") == 0
    [answer] = await shell.shell.post([ask(Cancel("order-1"), Role.CUSTOMER, "cara", key="three")])
    assert isinstance(answer, Answer)
    assert answer.code is None
    await shell.shell.stop()
    assert shell.deaths == []


async def test_a_row_that_stays_bad_costs_no_lives() -> None:
    store = HeldStore()
    put_order(store.inner, 1, Shell().clock.now_ms())
    looks = 0
    look = store.look_at_region

    async def counted(region_id: str, now_ms: int) -> RegionImage:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise Broken
        return await look(region_id, now_ms)

    store.look_at_region = counted  # type: ignore[method-assign]
    shell = Shell(store, region_mend_s=0.001)
    spoiled(shell, "task-1", due_ms=2**61)
    await shell.shell.start()
    await until(lambda: looks > 5)
    assert store.inner.epochs[REGION] == 1
    await shell.shell.stop()


async def test_an_image_that_is_no_good_is_told_of_and_asked_for_until_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No row is at fault, or the loading itself fails: never silent, never the end of it."""
    shell = Shell()
    opened = shell.store.open_region
    tries = 0

    async def failing(region_id: str, now_ms: int) -> RegionImage:
        nonlocal tries
        tries += 1
        if tries < 10:
            image = await opened(region_id, now_ms)
            if tries % 2:
                raise ValueError("12 Elm Street is no status")
            return replace(image, counters="none")
        return await opened(region_id, now_ms)

    monkeypatch.setattr(shell.store, "open_region", failing)
    monkeypatch.setattr("actors.region.shell.RESTORE_FIRST_WAIT_S", 0.0)
    monkeypatch.setattr("actors.region.shell.RESTORE_LONGEST_WAIT_S", 0.0)
    with capture_logs() as logs:
        await shell.shell.start()
    told = [line for line in logs if line["event"] == "region.restore_failed"]
    assert [(line["tries"], line["log_level"]) for line in told] == [
        (1, "warning"),
        (2, "warning"),
        (4, "warning"),
        (8, "error"),
    ]
    assert [line["what"] for line in told] == ["the store does not answer", *["the image is no good"] * 3]
    assert all(line["where"] and line["region_id"] == REGION for line in told)
    assert "Elm" not in str(logs)
    assert figure(shell, "doorstep_region_restores_failed") == 9
    assert figure(shell, "doorstep_region_serving") == 1
    await shell.shell.stop()


def figure(shell: Shell, name: str) -> float:
    """A number of the region's for Prometheus."""
    [value] = [sample.value for one in shell.shell.figures() if one.name == name for sample in one.samples]
    return float(value)


# -- rows that somebody has locked ------------------------------------------------------------------------------------


async def test_a_locked_order_holds_up_nobody_but_its_own(shell: Shell) -> None:
    """Its answer, its driver's pushes and what comes after it wait in their order; another order goes on at once."""
    epoch = shell.store.inner.epochs[REGION]
    await shell.shell.post([put_order(shell.store.inner, 2, shell.clock.now_ms())])
    shell.store.locked = {"order-1"}
    accept = ask(Accept(offer_id=offer_id(shell)))
    first = posted(shell, accept)
    await until(lambda: len(shell.store.calls) == 1)
    other = await answer(posted(shell, ask(Cancel("order-2"), Role.CUSTOMER, "cara")))
    assert other.code is None
    assert shell.store.inner.tasks["task-2"].status is TaskStatus.CANCELLED
    repeat = posted(shell, accept)
    later = posted(shell, ask(Arrive("task-1")))
    tries = len(shell.store.calls)
    await until(lambda: len(shell.store.calls) >= tries + 2)  # it is tried again, and again
    assert not any(request.done() for request in (first, repeat, later))
    assert assigned(shell) == 0
    shell.store.locked = set()
    assert (await answer(first)).code is None
    assert await answer(repeat) == await answer(first)
    assert (await answer(later)).code is None
    assert assigned(shell) == 1
    assert shell.store.inner.epochs[REGION] == epoch, "nobody had to begin anew"


async def test_a_life_that_ends_takes_what_was_held_along(shell: Shell) -> None:
    shell.store.locked = {"order-1"}
    request = posted(shell, ask(Accept(offer_id=offer_id(shell))))
    await until(lambda: len(shell.store.calls) == 1)
    shell.store.fail = 1
    with pytest.raises(RegionUnavailable):
        await request
    shell.store.locked = set()
    await until(lambda: shell.store.inner.epochs[REGION] > 1)
    assert assigned(shell) == 0


async def test_stopping_does_not_wait_for_a_locked_row(shell: Shell) -> None:
    shell.store.locked = {"order-1"}
    request = posted(shell, ask(Accept(offer_id=offer_id(shell))))
    await until(lambda: len(shell.store.calls) == 1)
    async with asyncio.timeout(DEADLINE_S):
        await shell.shell.stop()
        with pytest.raises(RegionUnavailable):
            await request
