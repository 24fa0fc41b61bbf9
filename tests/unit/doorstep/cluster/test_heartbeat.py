"""Who is silent is replaced; who is dead, busy or starting is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from actors.config import Limits
from doorstep.cluster.heartbeat import Frozen, Heard, Pulse

LIMITS = Limits(heartbeat_s=0.01, silent_s=0.1, stuck_s=2.0)
HERE = Heard("node", 7, 0.0)


class Part:
    """Answers as it is told to, and is ended by whoever watches."""

    def __init__(self) -> None:
        self.answer: Heard | Exception | None = HERE
        self.asked = 0
        self.told_replaced = 0
        self.ended: list[Heard | None] = []
        self.said: list[str] = []
        self._news = asyncio.Event()

    async def ask(self, replaced: int) -> Heard:
        self.asked, self.told_replaced = self.asked + 1, replaced
        self._news.set()
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer

    async def end(self, heard: Heard | None) -> None:
        self.ended.append(heard)
        self.answer = HERE
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def beats(self, count: int = 5) -> None:
        enough = self.asked + count
        await self.until(lambda: self.asked >= enough)


@asynccontextmanager
async def watched(part: Part, start_s: float = 60.0) -> AsyncIterator[None]:
    pulse = Pulse("region:tx", part.ask, part.end, part.said.append, LIMITS, start_s=start_s)
    task = asyncio.create_task(pulse.watch())
    yield
    task.cancel()


async def test_a_frozen_one_is_ended_by_what_it_last_said_and_told_of() -> None:
    part = Part()
    async with watched(part):
        await part.beats()
        part.answer = None
        await part.until(lambda: bool(part.ended))
        await part.beats()
    assert part.ended == [HERE]
    assert part.told_replaced == 1
    assert part.said == ["region:tx has not answered for 0.1 s: its process is ended, and comes back"]


async def test_one_whose_loop_never_comes_round_is_ended() -> None:
    part = Part()
    async with watched(part):
        await part.beats()
        part.answer = Heard("node", 7, 1.9)
        await part.beats()
        assert part.ended == []
        part.answer = stuck = Heard("node", 7, 2.1)
        await part.until(lambda: bool(part.ended))
    assert part.ended == [stuck]
    assert "busy with one thing" in part.said[0]


async def test_one_that_died_comes_back_by_itself() -> None:
    part = Part()
    async with watched(part):
        await part.beats()
        part.answer = ConnectionError()
        await part.beats()
        part.answer = HERE
        await part.beats()
    assert part.ended == []


async def test_one_that_starts_is_given_its_time() -> None:
    part = Part()
    part.answer = None
    async with watched(part, start_s=0.3):
        await part.until(lambda: part.asked == 1)
        began_s = asyncio.get_running_loop().time()
        await part.until(lambda: bool(part.ended))
        assert asyncio.get_running_loop().time() - began_s > 0.25
    assert part.ended == [None]


async def test_one_that_cannot_be_ended_is_tried_again() -> None:
    part = Part()
    tries = 0

    async def end(heard: Heard | None) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            part.answer = HERE if tries == 1 else None
            raise ConnectionError
        await Part.end(part, heard)

    part.end = end  # type: ignore[method-assign]
    async with watched(part, start_s=0.1):
        await part.beats()
        part.answer = None
        await part.beats()
        part.answer = None
        await part.until(lambda: bool(part.ended))
    assert any("could not be ended: ConnectionError" in line for line in part.said)


@pytest.mark.parametrize("patience_s", [1.0, 5.0])
def test_a_process_that_stands_still_is_found_when_it_did_so_long_enough(patience_s: float) -> None:
    frozen = Frozen(patience_s)
    assert frozen.look(100.0, [1, 2]) == []
    assert frozen.look(100.0 + patience_s / 2, [1]) == []
    assert frozen.look(100.0 + patience_s, [1, 2]) == [1], "the other one ran meanwhile"
