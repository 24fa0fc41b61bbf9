"""A region whose lives end badly: it waits longer and longer, says why, and gives up rather than spin."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from actors.region.restarts import FIRST_WAIT_S, LIVES_LIMIT, LONGEST_WAIT_S, SHORT_LIFE_S, Restarts
from actors.region.shell import Reply
from domain.errors import RegionUnavailable
from domain.orders.lifecycle import OfferStatus, Role, TaskStatus
from domain.orders.records import Answer
from domain.region.messages import Accept, Acked, Ask, Cancel, Message, Tick
from tests.support.build import REGION, STORE_AT, ask, attach, seen
from tests.support.shells import DEADLINE_S, Faulty, Shell, until
from tests.support.story import put_order

# -- the count --------------------------------------------------------------------------------------------------------


def test_short_lives_wait_twice_as_long_each_time_up_to_a_limit_and_then_it_gives_up() -> None:
    restarts, now_s, waits = Restarts(), 0.0, []
    for _ in range(LIVES_LIMIT):
        restarts.began(now_s)
        waits.append(restarts.ended(now_s))
    assert waits[:3] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits[-2:] == [LONGEST_WAIT_S, None]


def test_a_success_in_between_takes_the_count_back_but_not_the_waits() -> None:
    """A deadline that fails in each life, while others are answered: never given up, and never a storm."""
    restarts, waits = Restarts(), []
    for _ in range(10 * LIVES_LIMIT):
        restarts.began(0.0)
        restarts.appended()
        waits.append(restarts.ended(0.0))
    assert None not in waits
    assert waits[-1] == LONGEST_WAIT_S


def test_after_a_long_life_the_waits_begin_anew() -> None:
    restarts = Restarts()
    for now_s in (0.0, 0.1, 0.2):
        restarts.began(now_s)
        restarts.ended(now_s)
    restarts.began(1.0)
    assert restarts.ended(1.0 + SHORT_LIFE_S) == FIRST_WAIT_S


# -- in the shell -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def make() -> object:
    """Makes a region with a driver at the store, who has been offered task-1. All are stopped at the end."""
    shells: list[Shell] = []

    async def offered(**options: object) -> Shell:
        one = Shell(**options)  # type: ignore[arg-type]
        shells.append(one)
        await one.shell.start()
        await one.shell.post([attach("ann")])
        one.shell.seen(seen({"ann": STORE_AT}))
        await one.shell.post([put_order(one.store.inner, 1, one.clock.now_ms())])
        await forward(one, 0.2)
        await until(lambda: len(one.sent) == 1)
        return one

    yield offered
    for one in shells:
        async with asyncio.timeout(DEADLINE_S):
            await one.shell.stop()


Make = Callable[..., Awaitable[Shell]]


async def forward(shell: Shell, seconds: float) -> None:
    """Move the clock and let the deadline loop see it."""
    shell.clock.forward(seconds)
    await shell.shell.post([Acked("ann", 0)])


def epoch(shell: Shell) -> int:
    return shell.store.inner.epochs[REGION]


def offer_id(shell: Shell) -> str:
    [offer] = [offer for offer in shell.store.inner.offers.values() if offer.status is OfferStatus.OFFERED]
    return offer.offer_id


async def replies(shell: Shell, *messages: Message) -> list[str | None]:
    async with asyncio.timeout(DEADLINE_S):
        found: list[Reply] = await shell.shell.post(messages)
    return [reply.code if isinstance(reply, Answer) else "?" for reply in found]


async def test_a_deadline_whose_record_is_always_refused_ends_the_process_and_says_so(make: Make) -> None:
    shell = await make()
    before = epoch(shell)
    shell.store.refuse = lambda record: any(offer.closed_ms is not None for offer in record.offers)
    expiring = offer_id(shell)
    with capture_logs() as logs:
        await forward(shell, 30)
        await until(lambda: bool(shell.deaths))
    assert shell.deaths == [f"{LIVES_LIMIT} lives in a row in which nothing became durable"]
    assert epoch(shell) == before + LIVES_LIMIT - 1
    told = [line for line in logs if line["event"] == "region.record_refused"]
    assert len(told) == LIVES_LIMIT
    assert told[0].pop("record_id")
    assert told[0] == {
        "event": "region.record_refused",
        "log_level": "error",
        "region_id": REGION,
        "constraint": "tasks_edge",
        "kind": ["Tick"],
        "tasks": ["task-1"],
        "offers": [expiring],
        "orders": [],
    }
    assert len(logs) < 5 * LIVES_LIMIT
    with pytest.raises(RegionUnavailable):
        await shell.shell.post([Acked("ann", 0)])


async def test_a_plan_whose_record_is_always_refused_ends_the_process(make: Make) -> None:
    shell = await make()
    shell.store.refuse = lambda record: any(task.task_id == "task-2" for task in record.tasks)
    await shell.shell.post([put_order(shell.store.inner, 2, shell.clock.now_ms())])
    sessions = iter(range(2, 1000))
    async with asyncio.timeout(DEADLINE_S):
        while not shell.deaths:
            with suppress(RegionUnavailable):  # between two lives
                shell.shell.seen(
                    seen({"bob": STORE_AT}, session=next(sessions))
                )  # as gateways do in each life
                await forward(shell, 3)
            await asyncio.sleep(0)
    assert shell.store.inner.tasks["task-2"].status is TaskStatus.OPEN


async def test_lives_in_which_something_became_durable_do_not_add_up(make: Make) -> None:
    shell = await make()
    shell.store.refuse = lambda record: any(fact.order_id == "order-2" for fact in record.orders)
    for n in range(2 * LIVES_LIMIT):
        number = 10 + n
        await shell.shell.post([put_order(shell.store.inner, number, shell.clock.now_ms())])
        if n == 0:
            await shell.shell.post([put_order(shell.store.inner, 2, shell.clock.now_ms())])
        cancel = ask(Cancel("order-2"), Role.CUSTOMER, "cara", key=f"bad{n}")
        fine = ask(Cancel(f"order-{number}"), Role.CUSTOMER, "cara", key=f"good{n}")
        assert await replies(shell, cancel) == ["INTERNAL_CONFLICT"]
        assert await replies(shell, fine) == [None]
    assert shell.deaths == []


async def test_between_lives_it_waits(make: Make) -> None:
    shell = await make(restarts=Restarts(first_wait_s=0.001, longest_wait_s=0.004, lives_limit=6))
    shell.store.refuse = lambda record: True
    began_s = asyncio.get_running_loop().time()
    await forward(shell, 30)
    await until(lambda: bool(shell.deaths))
    assert asyncio.get_running_loop().time() - began_s >= 0.001 + 0.002 + 3 * 0.004


async def test_a_failed_append_counts_as_a_life_in_vain(make: Make) -> None:
    shell = await make()
    shell.store.fail = LIVES_LIMIT
    with suppress(RegionUnavailable):
        await forward(shell, 30)
    await until(lambda: bool(shell.deaths))
    assert "in a row" in shell.deaths[0]


# -- steps that fail --------------------------------------------------------------------------------------------------


def is_accept(message: Message) -> bool:
    return isinstance(message, Ask) and isinstance(message.action, Accept) and message.principal_id == "eve"


@pytest.mark.parametrize("append", ["idle", "under way", "fails", "refused"])
async def test_a_step_that_fails_is_its_makers_matter_alone(make: Make, append: str) -> None:
    """Half a step may be in memory: nothing more is decided on it, and the others are answered by the next life."""
    faulty = Faulty()
    shell = await make(journal=faulty)
    before = epoch(shell)
    faulty.on = is_accept
    running = None
    if append != "idle":
        shell.store.gate.clear()
        shell.store.entered.clear()
        running = asyncio.ensure_future(
            shell.shell.post([ask(Accept(offer_id=offer_id(shell)), key="first")])
        )
        await shell.store.held_up()
        shell.store.fail = append == "fails"
        if append == "refused":
            shell.store.refuse = lambda record: bool(record.answers) and record.answers[0].key == "first"
    messages = [
        ask(Accept(offer_id=offer_id(shell)), who="bob", key="a"),
        ask(Accept(offer_id=offer_id(shell)), who="eve", key="b"),
        ask(Accept(offer_id=offer_id(shell)), who="cyd", key="c"),
    ]
    posted = asyncio.ensure_future(shell.shell.post(messages))
    await asyncio.sleep(0)
    with pytest.raises(RegionUnavailable):
        await shell.shell.post([Acked("ann", 0)])
    shell.store.gate.set()
    async with asyncio.timeout(DEADLINE_S):
        done = await asyncio.gather(posted, *([running] if running else []), return_exceptions=True)
    if append == "fails":
        assert all(isinstance(one, RegionUnavailable) for one in done)
    else:
        assert isinstance(done[0], list)
        codes = [reply.code for reply in done[0] if isinstance(reply, Answer)]
        assert codes == ["OFFER_TAKEN", "INTERNAL_ERROR", "OFFER_TAKEN"]
    if append in ("under way", "refused"):
        assert isinstance(done[1], list)
        [first] = done[1]
        assert isinstance(first, Answer)
        assert first.code == (None if append == "under way" else "INTERNAL_CONFLICT")
    assert epoch(shell) == before + 1
    assert shell.deaths == []
    assert await replies(shell, ask(Accept(offer_id="x"))) == ["OFFER_EXPIRED"]


async def test_a_step_that_always_fails_ends_the_process(make: Make) -> None:
    faulty = Faulty()
    shell = await make(journal=faulty)
    before = epoch(shell)
    faulty.on = lambda message: isinstance(message, Tick)
    shell.clock.forward(30)
    with capture_logs() as logs:
        await shell.shell.post([Acked("ann", 0)])
        await until(lambda: bool(shell.deaths))
    assert shell.deaths == [f"{LIVES_LIMIT} lives in a row in which nothing became durable"]
    assert epoch(shell) == before + LIVES_LIMIT - 1
    told = [line for line in logs if line["event"] == "region.step_failed"]
    assert {(line["kind"], line["error"]) for line in told} == {("Tick", "Broken()")}
    assert len(told) == LIVES_LIMIT


async def test_stopping_between_two_lives_leaves_nobody_waiting(make: Make) -> None:
    faulty = Faulty()
    shell = await make(journal=faulty, restarts=Restarts(first_wait_s=3600.0))
    shell.store.refuse = lambda record: bool(record.answers)
    shell.store.gate.clear()
    shell.store.entered.clear()
    culprit = asyncio.ensure_future(shell.shell.post([ask(Accept(offer_id=offer_id(shell)))]))
    await shell.store.held_up()
    bystander = asyncio.ensure_future(shell.shell.post([ask(Accept(offer_id=offer_id(shell)), who="bob")]))
    await asyncio.sleep(0)
    shell.store.gate.set()
    await until(culprit.done)
    await shell.shell.stop()
    with pytest.raises(RegionUnavailable):
        await bystander
