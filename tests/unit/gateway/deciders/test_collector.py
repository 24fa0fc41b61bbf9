"""Calls are collected while one is under way, and repeated while their target is away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from domain.errors import Overloaded, RegionUnavailable
from gateway.deciders.collector import Collector, Unavailable


class Target:
    """Answers n with n * 10; `failures` are raised first, one a call."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls: list[list[int]] = []
        self.gate: asyncio.Event | None = None
        self.called = asyncio.Event()
        self.most_at_once = 0
        self._now = 0

    async def __call__(self, batch: list[int]) -> Sequence[int]:
        self.calls.append(batch)
        self.called.set()
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.failures:
                raise self.failures.pop(0)
            return [value * 10 for value in batch]
        finally:
            self._now -= 1


async def turns(number: int = 5) -> None:
    """Let the event loop go round."""
    for _ in range(number):
        await asyncio.sleep(0)


def make(
    target: Target,
    *,
    in_flight: int = 1,
    batch_limit: int = 100,
    queue_limit: int = 1000,
    deadline_s: float = 5.0,
) -> Collector[int, int]:
    return Collector(
        "the target",
        target,
        in_flight=in_flight,
        batch_limit=batch_limit,
        queue_limit=queue_limit,
        deadline_s=deadline_s,
        chance=random.Random(1),
    )


async def test_who_does_not_wait_is_answered_once() -> None:
    target, heard = Target(ValueError("no")), list[int | Exception]()
    collector = make(target)
    collector.submit(1, "", heard.append)
    collector.submit(2, "", heard.append)
    with pytest.raises(ValueError, match="no"):
        await collector.ask(3)
    assert [type(one) for one in heard] == [ValueError, ValueError]
    heard.clear()
    collector.submit(4, "", heard.append)
    await collector.ask(5)
    await collector.close()
    assert heard == [40]


async def test_who_does_not_wait_is_answered_in_the_context_of_the_question() -> None:
    heard, who, collector = list[str](), ContextVar("who", default="nobody"), make(Target())
    for name in ("ann", "bob"):
        token = who.set(name)
        collector.submit(1, "", lambda _: heard.append(who.get()))
        who.reset(token)
    await collector.ask(2)
    assert heard == ["ann", "bob"]


async def test_who_does_not_wait_hears_of_the_deadline_and_of_the_end() -> None:
    target, heard = Target(), asyncio.Queue[int | Exception]()
    target.gate = asyncio.Event()
    collector = make(target, deadline_s=0.05)
    collector.submit(1, "", heard.put_nowait)
    async with asyncio.timeout(5):
        assert isinstance(await heard.get(), RegionUnavailable)
    collector = make(target)
    collector.submit(2, "", heard.put_nowait)
    await asyncio.sleep(0)  # the call is under way
    collector.submit(3, "", heard.put_nowait)
    await collector.close()
    assert [type(heard.get_nowait()) for _ in range(heard.qsize())] == [RegionUnavailable] * 2


async def test_what_wants_no_answer_goes_with_the_next_that_does() -> None:
    target = Target()
    collector = make(target)
    collector.tell(1)
    assert await collector.ask(2) == 20
    assert target.calls == [[1, 2]]
    for n in (3, 4):
        target.called.clear()
        collector.tell(n)
        async with asyncio.timeout(5):
            await target.called.wait()
    assert target.calls[1:] == [[3], [4]]
    await collector.close()


async def test_what_is_urgent_waits_for_one_call_less_and_takes_along_what_may_go() -> None:
    target, heard = Target(), list[int | Exception]()
    target.gate = asyncio.Event()
    collector = make(target)
    first = asyncio.create_task(collector.ask(1, "ann"))
    async with asyncio.timeout(5):
        await target.called.wait()
    rest = [asyncio.create_task(collector.ask(n, key)) for n, key in ((2, "bob"), (3, "ann"))]
    await turns()
    assert target.calls == [[1]]  # nothing of it is urgent
    collector.submit(4, "ann", heard.append, urgent=True)  # behind the others of hers
    collector.submit(5, "eve", heard.append, urgent=True)
    await turns()
    assert target.calls == [[1], [2, 5]]
    collector.submit(6, "joe", heard.append, urgent=True)
    await turns()
    assert len(target.calls) == 2  # no third at once
    target.gate.set()
    assert await asyncio.gather(first, *rest) == [10, 20, 30]
    await collector.ask(7)
    assert sorted(str(one) for one in heard) == ["40", "50", "60"]
    assert [n for call in target.calls for n in call if n in (1, 3, 4)] == [1, 3, 4]
    assert target.most_at_once == 2


@pytest.mark.parametrize("seed", range(20))
async def test_of_one_key_all_comes_in_order_whatever_is_urgent(seed: int) -> None:
    chance, target, heard = random.Random(seed), Target(), list[int | Exception]()
    plain = target.__call__

    async def slowly(batch: list[int]) -> Sequence[int]:
        answers = await plain(batch)
        await turns(chance.randrange(8))
        return answers

    collector = Collector[int, int](
        "the target", slowly, in_flight=chance.choice((1, 2)), batch_limit=chance.choice((1, 3, 100)),
        queue_limit=1000, deadline_s=5.0, chance=chance,
    )  # fmt: skip
    for n in range(200):
        collector.submit(n, f"k{n % 7}", heard.append, urgent=chance.random() < 0.3)
        await turns(chance.randrange(3))
    async with asyncio.timeout(5):
        while len(heard) < 200:
            await turns()
    sent = [n for call in target.calls for n in call]
    assert sorted(sent) == list(range(200))
    for key in range(7):
        mine = [n for n in sent if n % 7 == key]
        assert mine == sorted(mine)


async def test_what_is_told_soon_waits_for_no_company() -> None:
    target = Target()
    collector = make(target)
    collector.tell(1)
    collector.tell(2, soon=True)
    await turns()
    assert target.calls == [[1, 2]]
    await collector.close()


async def test_a_lone_item_waits_for_nothing() -> None:
    target = Target()
    assert await make(target).ask(1) == 10
    assert target.calls == [[1]]


async def test_items_collect_while_a_call_is_under_way_in_order() -> None:
    target = Target()
    target.gate = asyncio.Event()
    collector = make(target)
    first = asyncio.create_task(collector.ask(0))
    await asyncio.sleep(0.01)
    rest = [asyncio.create_task(collector.ask(n)) for n in range(1, 6)]
    await asyncio.sleep(0)
    collector.tell(6)
    await asyncio.sleep(0.01)
    target.gate.set()
    assert await first == 0
    assert [await task for task in rest] == [10, 20, 30, 40, 50]
    assert target.calls == [[0], [1, 2, 3, 4, 5, 6]]
    assert target.most_at_once == 1


async def test_batches_and_calls_under_way_are_limited() -> None:
    target = Target()
    target.gate = asyncio.Event()
    collector = make(target, in_flight=2, batch_limit=3)
    tasks = [asyncio.create_task(collector.ask(n)) for n in range(10)]
    await asyncio.sleep(0.01)
    target.gate.set()
    assert [await task for task in tasks] == [n * 10 for n in range(10)]
    assert max(len(call) for call in target.calls) == 3
    assert target.most_at_once == 2


async def test_the_same_items_are_sent_again_until_the_target_is_back() -> None:
    target = Target(Unavailable("gone"), Unavailable("still gone"))
    collector = make(target)
    assert await collector.ask(7) == 70
    assert target.calls == [[7], [7], [7]]
    assert collector.retries == 2


async def test_after_the_deadline_the_client_is_told_to_come_again() -> None:
    target = Target(*[Unavailable("gone")] * 100)
    collector = make(target, deadline_s=0.2)
    with pytest.raises(RegionUnavailable) as caught:
        await collector.ask(1)
    assert caught.value.retry_after_s is not None
    # What nobody waits for is not sent any more, and later items are not held up by it.
    target.failures.clear()
    assert await collector.ask(2) == 20
    assert target.calls[-1] == [2]


async def test_a_call_that_hangs_is_given_up() -> None:
    target = Target()
    target.gate = asyncio.Event()
    collector = make(target, deadline_s=0.5)
    with pytest.raises(RegionUnavailable):
        await collector.ask(1)
    target.gate = None
    assert await collector.ask(2) == 20


async def test_an_item_right_after_an_answer_is_not_left_lying() -> None:
    collector = make(Target())
    assert [await collector.ask(n) for n in range(50)] == [n * 10 for n in range(50)]


async def test_any_other_failure_goes_to_all_of_its_batch_at_once() -> None:
    target = Target(Overloaded(), RuntimeError("bug"))
    collector = make(target)
    with pytest.raises(Overloaded):
        await collector.ask(1)
    with pytest.raises(RuntimeError):
        await collector.ask(1)
    assert await collector.ask(1) == 10


async def test_a_wrong_number_of_answers_is_an_error_not_a_mix_up() -> None:
    async def call(batch: list[int]) -> Sequence[int]:
        return [1] * (len(batch) + 1)

    collector: Collector[int, int] = Collector(
        "x", call, in_flight=1, batch_limit=9, queue_limit=9, deadline_s=1.0, chance=random.Random(1)
    )
    with pytest.raises(RuntimeError):
        await collector.ask(1)


async def test_a_full_queue_refuses() -> None:
    target = Target()
    target.gate = asyncio.Event()
    collector = make(target, queue_limit=2)
    under_way = asyncio.create_task(collector.ask(0))
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(collector.ask(n)) for n in (1, 2)]
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await collector.ask(3)
    target.gate.set()
    await asyncio.gather(under_way, *waiting)


async def test_a_client_that_went_away_costs_no_call() -> None:
    target = Target()
    target.gate = asyncio.Event()
    collector = make(target)
    first = asyncio.create_task(collector.ask(0))
    await asyncio.sleep(0.01)
    gone = asyncio.create_task(collector.ask(1))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    target.gate.set()
    await first
    assert await collector.ask(2) == 20
    assert target.calls == [[0], [2]]


async def test_close_gives_up_what_waits() -> None:
    target = Target()
    target.gate = asyncio.Event()
    collector = make(target)
    tasks = [asyncio.create_task(collector.ask(n)) for n in range(2)]
    await asyncio.sleep(0.01)
    await collector.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, RegionUnavailable) for result in results)
