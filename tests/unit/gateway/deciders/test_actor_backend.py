"""What a gateway's calls to a region carry, and what of it waits for the call before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from actors.config import Limits
from actors.telemetry.tracing import Carried
from domain.errors import RegionUnavailable
from domain.orders.lifecycle import Role
from domain.orders.records import Answer
from domain.region.messages import Accept, Acked, Action, Arrive, Ask, Detach
from gateway.deciders.actor_backend import ActorBackend
from tests.unit.gateway.deciders.test_collector import turns

REGION = "tx-dfw"


def ask(who: str, action: Action) -> Ask:
    return Ask(scope=who, key="k", fingerprint="", role=Role.DRIVER, principal_id=who, action=action)


class Line:
    """A region that answers when it is let."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.gate = asyncio.Event()

    async def call(self, name: str, method: str, batch: Sequence[Any]) -> list[Answer]:
        self.calls.append([item.item if type(item) is Carried else item for item in batch])
        await self.gate.wait()
        return [Answer() for _ in batch]


async def test_an_accept_and_a_sockets_end_do_not_wait() -> None:
    line, answers = Line(), list[Answer | Exception]()
    backend = ActorBackend(line.call, (REGION,), Limits(), persistence_actors=1)
    end, ack = Detach(driver_id="joe", session=1), Acked("sue", 7)
    arrive, other, accept = ask("ann", Arrive("t1")), ask("bob", Arrive("t2")), ask("eve", Accept("o"))

    backend.notify(REGION, ack)
    await turns()
    assert line.calls == []  # there is time
    backend.notify(REGION, end)
    await turns()
    assert line.calls == [[ack, end]]
    backend.submit(REGION, arrive, answers.append)
    await turns()
    assert len(line.calls) == 1
    backend.submit(REGION, accept, answers.append)
    await turns()
    assert line.calls[1:] == [[arrive, accept]]
    line.gate.set()
    backend.submit(REGION, other, answers.append)
    async with asyncio.timeout(5):
        while len(answers) < 3:
            await turns()
    assert line.calls[2:] == [[other]]
    await backend.close()


async def test_a_silent_market_keeps_so_many_requests_waiting_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They have places that the requests for other markets need."""
    monkeypatch.setattr("gateway.deciders.actor_backend.SILENT_S", 0.02)
    frozen, lively = Line(), Line()
    lively.gate.set()

    async def call(name: str, method: str, batch: Sequence[Any]) -> list[Answer]:
        return await (frozen if name == f"region:{REGION}" else lively).call(name, method, batch)

    backend = ActorBackend(call, (REGION, "tx-hou"), Limits(region_silent_asks=3), persistence_actors=1)

    def asked(region_id: str, n: int) -> asyncio.Task[Answer]:
        return asyncio.ensure_future(backend.ask(region_id, ask(f"who{n}", Arrive(f"t{n}"))))

    waiting = [asked(REGION, n) for n in range(5)]  # it was not silent when they came
    await asyncio.sleep(0.03)
    async with asyncio.timeout(5):
        with pytest.raises(RegionUnavailable):
            await asked(REGION, 6)
        assert await asked("tx-hou", 7) == Answer()
        frozen.gate.set()
        assert await asyncio.gather(*waiting) == [Answer()] * 5
        assert await asked(REGION, 8) == Answer()
