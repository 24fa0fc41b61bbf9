"""Who waits for a slot: in turns by address and account, and bounded."""

from __future__ import annotations

import asyncio

import pytest

from domain.errors import Overloaded
from gateway.turns import Asker, Turns


class Desk:
    """One slot, and who got it in which order."""

    def __init__(self, waiting: int = 100, address: int = 50, account: int = 10) -> None:
        self.turns = Turns(1, waiting, address, account)
        self.order: list[str] = []
        self.gate = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, address: str, account: str = "a", times: int = 1) -> None:
        for _ in range(times):
            self.tasks.append(asyncio.create_task(self._one(Asker(address, account))))
            await asyncio.sleep(0)

    async def _one(self, asker: Asker) -> None:
        async with self.turns.turn(asker):
            await self.gate.wait()
            self.order.append(f"{asker.address}{asker.account}")

    async def results(self) -> list[str]:
        self.gate.set()
        done = await asyncio.gather(*self.tasks, return_exceptions=True)
        return ["" if one is None else type(one).__name__ for one in done]


async def test_one_who_asks_once_does_not_wait_for_one_who_asks_often() -> None:
    desk = Desk()
    await desk.ask("1", times=8)
    await desk.ask("1", "b")
    await desk.ask("2")
    assert await desk.results() == [""] * 10
    assert desk.order[:4] == ["1a", "1a", "2a", "1b"]
    assert desk.turns.waiting == 0


async def test_waiting_is_bounded_for_an_account_and_an_address() -> None:
    desk = Desk(address=5, account=3)
    await desk.ask("1", "a", times=6)  # one has the slot, three wait
    await desk.ask("1", "b", times=4)
    await desk.ask("2", "a")
    expected = [""] * 4 + ["Overloaded"] * 2 + [""] * 2 + ["Overloaded"] * 2 + [""]
    assert await desk.results() == expected


async def test_in_a_full_queue_the_largest_crowd_makes_room() -> None:
    desk = Desk(waiting=4)
    await desk.ask("1", times=5)
    await desk.ask("2")
    await desk.ask("1")
    await desk.ask("3")
    await desk.ask("4")
    await desk.ask("5")
    results = await desk.results()
    assert results == [
        "",
        "",
        "Overloaded",
        "Overloaded",
        "Overloaded",
        "",
        "Overloaded",
        "",
        "",
        "Overloaded",
    ]


async def test_who_goes_away_leaves_the_slot_and_the_line() -> None:
    desk = Desk()
    await desk.ask("1", times=3)
    desk.tasks[1].cancel()
    await asyncio.sleep(0)
    assert desk.turns.waiting == 1
    desk.tasks[0].cancel()  # the third is given the slot, and goes before it knows
    await asyncio.sleep(0)
    desk.tasks[2].cancel()
    await asyncio.sleep(0)
    await desk.ask("2")
    assert (await desk.results())[3] == ""
    with pytest.raises(Overloaded):
        async with Turns(0, 0, 0, 0).turn(Asker("1", "a")):
            pass
