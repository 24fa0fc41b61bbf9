"""Who waits for a slot: in turns by address and account, and bounded."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from actors.config import Limits
from domain.errors import Overloaded
from gateway.http.auth import HASHES_AT_ONCE, HASHES_OF_ADDRESS_LIMIT
from gateway.http.fair_queue import Asker, FairQueue
from tests.support.gateway_world import PASSWORD, running, until


class Desk:
    """One slot, and who got it in which order."""

    def __init__(self, waiting: int = 100, address: int = 50, account: int = 10) -> None:
        self.queue = FairQueue(1, waiting, address, account)
        self.order: list[str] = []
        self.gate = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, address: str, account: str = "a", times: int = 1) -> None:
        for _ in range(times):
            self.tasks.append(asyncio.create_task(self._one(Asker(address, account))))
            await asyncio.sleep(0)

    async def _one(self, asker: Asker) -> None:
        async with self.queue.turn(asker):
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
    assert desk.queue.waiting == 0


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
    assert desk.queue.waiting == 1
    desk.tasks[0].cancel()  # the third is given the slot, and goes before it knows
    await asyncio.sleep(0)
    desk.tasks[2].cancel()
    await asyncio.sleep(0)
    await desk.ask("2")
    assert (await desk.results())[3] == ""
    with pytest.raises(Overloaded):
        async with FairQueue(0, 0, 0, 0).turn(Asker("1", "a")):
            pass


async def test_one_address_that_floods_the_signing_in_keeps_nobody_else_waiting() -> None:
    limits = Limits(rate_limits="off", trusted_proxies=1)
    async with running(limits=limits) as world:
        done: list[str] = []

        async def sign_in(address: str, email: str) -> int:
            form = {"username": email, "password": PASSWORD}
            answer = await world.http.post("/v1/auth/token", data=form, headers={"X-Forwarded-For": address})
            done.append(address)
            return int(answer.status_code)

        flood = [asyncio.create_task(sign_in("6.6.6.6", f"{n}@example.org")) for n in range(100)]
        turns = world.services.passwords.queue
        await until(lambda: turns.waiting == HASHES_OF_ADDRESS_LIMIT)
        assert await sign_in("1.1.1.1", "anna@example.org") == 401
        assert len(done) < HASHES_OF_ADDRESS_LIMIT
        codes = Counter(await asyncio.gather(*flood))
        assert codes == {
            401: HASHES_OF_ADDRESS_LIMIT + HASHES_AT_ONCE,
            503: 100 - HASHES_OF_ADDRESS_LIMIT - HASHES_AT_ONCE,
        }
