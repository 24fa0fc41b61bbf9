"""The loop that jumps, and the processes that can be killed or frozen."""

from __future__ import annotations

import asyncio

import pytest

from sim.world.virtual import Process, TimeStandsStill, VirtualLoop


class Clockwork:
    """A loop with a process that notes each second."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()  # type: ignore[abstract]  # see sim/world/world.py
        self.process = Process(self.loop, "clock")
        self.ticks: list[float] = []
        self.process.spawn(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.ticks.append(self.loop.time())

    def run(self, end_s: float) -> list[float]:
        self.loop.run(lambda: False, end_s)
        return self.ticks


def test_time_jumps_to_what_is_due() -> None:
    assert Clockwork().run(3.5) == [1, 2, 3]


def test_nothing_of_a_killed_process_runs_again() -> None:
    clock = Clockwork()
    clock.loop.outside_later(2.5, clock.process.kill)
    assert clock.run(9) == [1, 2]
    clock.loop.close()
    assert clock.ticks == [1, 2]


def test_a_frozen_process_goes_on_where_it_stood() -> None:
    clock = Clockwork()
    clock.loop.outside_later(1.5, clock.process.freeze)
    clock.loop.outside_later(4.2, clock.process.thaw)
    assert clock.run(6) == [1, 4.2, 5.2]


def test_a_child_of_a_process_dies_with_it() -> None:
    clock = Clockwork()
    lived: list[float] = []

    async def parent() -> None:
        asyncio.get_running_loop().create_task(child())
        await asyncio.sleep(100)

    async def child() -> None:
        while True:
            await asyncio.sleep(1)
            lived.append(clock.loop.time())

    clock.process.spawn(parent())
    clock.loop.outside_later(2.5, clock.process.kill)
    clock.run(9)
    assert lived == [1, 2]


def test_time_outs_locks_and_gathering_work_as_ever() -> None:
    loop = VirtualLoop()  # type: ignore[abstract]  # see sim/world/world.py

    async def work() -> list[object]:
        seen: list[object] = []
        try:
            async with asyncio.timeout(5):
                await asyncio.sleep(100)
        except TimeoutError:
            seen.append(loop.time())
        event = asyncio.Event()
        loop.call_later(3, event.set)
        await asyncio.wait_for(event.wait(), 10)
        seen.append(loop.time())
        return [*seen, await asyncio.gather(asyncio.sleep(2, "two"), asyncio.sleep(1, "one")), loop.time()]

    task = loop.start(work())
    assert loop.run(task.done, 1_000)
    assert task.result() == [5, 8, ["two", "one"], 10]


def test_what_an_interrupted_coroutine_would_still_do_is_not_done() -> None:
    loop = VirtualLoop()  # type: ignore[abstract]  # see sim/world/world.py
    done: list[str] = []

    async def last_word() -> None:
        done.append("said")

    async def work() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.shield(last_word())

    loop.start(work())
    loop.run(lambda: False, 1)
    loop.close()
    assert done == []


def test_whoever_never_lets_time_go_on_is_found() -> None:
    loop = VirtualLoop()  # type: ignore[abstract]  # see sim/world/world.py

    def spin() -> None:
        loop.call_soon(spin)

    loop.call_soon(spin)
    with pytest.raises(TimeStandsStill):
        loop.run(lambda: False, 1)
    loop.close()


def test_an_error_in_a_callback_comes_out() -> None:
    loop = VirtualLoop()  # type: ignore[abstract]  # see sim/world/world.py
    loop.outside_later(1, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        loop.run(lambda: False, 2)
