"""Pushes leave for each gateway in order, one call at a time; what cannot be sent is reported, never kept for ever."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from actors.region import pushes as region_pushes
from actors.region.pushes import PushQueues
from domain.region.messages import Kick, Push
from tests.support.shells import Broken, until


class Gateways:
    """Gateways whose calls can be held up and can fail."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.down: set[str] = set()
        self.got: dict[str, list[int]] = defaultdict(list)
        self.calls: list[tuple[str, int]] = []
        self.under_way: dict[str, int] = defaultdict(int)
        self.lost: list[str] = []

    async def send(self, gateway_id: str, pushes: list[Push | Kick]) -> None:
        self.under_way[gateway_id] += 1
        assert self.under_way[gateway_id] == 1, "two calls to one gateway may overtake each other"
        self.calls.append((gateway_id, len(pushes)))
        await self.gate.wait()
        self.under_way[gateway_id] -= 1
        if gateway_id in self.down:
            raise Broken
        self.got[gateway_id] += [push.session for push in pushes]


def push(n: int, gateway_id: str = "g0") -> Kick:
    return Kick(gateway_id, "ann", n)


async def test_order_is_kept_and_pushes_collect_while_a_call_is_under_way() -> None:
    gateways = Gateways()
    boxes = PushQueues(gateways.send, gateways.lost.append, 100)
    gateways.gate.clear()
    boxes.put("g0", push(0))
    await until(lambda: gateways.calls == [("g0", 1)])
    for n in range(1, 50):
        boxes.put("g0", push(n))
    gateways.gate.set()
    await boxes.stop()
    assert gateways.got["g0"] == list(range(50))
    assert gateways.calls == [("g0", 1), ("g0", 49)]


async def test_a_call_is_bounded() -> None:
    gateways = Gateways()
    boxes = PushQueues(gateways.send, gateways.lost.append, 10 * region_pushes.CALL_LIMIT)
    for n in range(region_pushes.CALL_LIMIT + 5):
        boxes.put("g0", push(n))
    await boxes.stop()
    assert [size for _, size in gateways.calls] == [region_pushes.CALL_LIMIT, 5]


async def test_one_gateway_does_not_hold_up_another() -> None:
    gateways = Gateways()
    boxes = PushQueues(gateways.send, gateways.lost.append, 100)
    gateways.gate.clear()
    boxes.put("g0", push(0))
    boxes.put("g1", push(1, "g1"))
    await until(lambda: len(gateways.calls) == 2)
    gateways.gate.set()
    await boxes.stop()


async def test_a_failed_call_reports_the_gateway_lost_and_drops_what_waited() -> None:
    gateways = Gateways()
    gateways.down.add("g0")
    boxes = PushQueues(gateways.send, gateways.lost.append, 100)
    gateways.gate.clear()
    boxes.put("g0", push(0))
    await until(lambda: len(gateways.calls) == 1)
    boxes.put("g0", push(1))
    gateways.gate.set()
    await boxes.stop()
    assert gateways.lost == ["g0"]
    assert gateways.got["g0"] == []
    gateways.down.clear()
    boxes.put("g0", push(2))
    await boxes.stop()
    assert gateways.got["g0"] == [2]


async def test_too_many_waiting_are_dropped_and_the_gateway_reported_lost() -> None:
    gateways = Gateways()
    boxes = PushQueues(gateways.send, gateways.lost.append, 3)
    gateways.gate.clear()
    boxes.put("g0", push(0))
    await until(lambda: len(gateways.calls) == 1)
    for n in range(1, 6):
        boxes.put("g0", push(n))
    assert gateways.lost == []  # told while its outbox is full, the region would fill it again
    gateways.gate.set()
    await boxes.stop()
    assert gateways.got["g0"] == [0, 1, 2, 3]
    assert gateways.lost == ["g0"]
