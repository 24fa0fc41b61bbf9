"""The cluster of a simulated world: processes by name, and calls between them that may be lost, late or repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from gateway.deciders.collector import Unavailable
from sim.world.faults import Faults
from sim.world.virtual import Process, VirtualLoop

LATENCY_S = (0.0004, 0.003)  # one way, wall time
LATE_S = (0.02, 2.5)  # one way, where a delay struck
NOTICED_S = (0.05, 1.0)  # until a caller hears that the callee is gone or the call was lost

# What the network may do to a call: an append is carried out at most once, as by Ray with `max_task_retries=0`.
_REPEATABLE = frozenset({"post", "seen"})


class Node(Process):
    """A process with the object that is called in it. `lost` calls are told when it dies."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        super().__init__(loop, name)
        self.target: Any = None
        self.ahead_s = 0.0  # of its clock, wall time
        self.calls: dict[int, _Call] = {}
        self.on_kill: list[Callable[[], None]] = []

    def kill(self) -> None:
        """See `Process.kill`; whatever hangs on this process hears of it."""
        if self.alive:
            super().kill()
            for told in self.on_kill:
                told()


class _Call:
    __slots__ = ("args", "future", "market", "method", "name", "number")

    def __init__(
        self,
        number: int,
        name: str,
        method: str,
        args: tuple[Any, ...],
        future: asyncio.Future[Any],
        market: str,
    ) -> None:
        self.number, self.name, self.method, self.args, self.future = number, name, method, args, future
        self.market = market

    def settle(self, result: Any, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Net:
    """Who is reached under which name now, and how a call gets there and back."""

    def __init__(self, loop: VirtualLoop, chance: Random, faults: Faults) -> None:
        self._loop, self._chance, self._faults = loop, chance, faults
        self.nodes: dict[str, Node] = {}
        self.delivered = 0  # messages that arrived somewhere: the steps of a world
        self._calls = 0

    def step(self) -> None:
        """Something arrived."""
        self.delivered += 1

    def latency_s(self, market: str = "") -> float:
        """One way's wall time."""
        if self._faults.strikes("delay", 0.02, market):
            return self._faults.amount("delay", *LATE_S)
        return self._chance.uniform(*LATENCY_S)

    async def call(self, name: str, method: str, *args: Any, market: str | None = None) -> Any:
        """One attempt to call; `Unavailable` when no answer can be had, whatever became of the call. `market`: whose
        call it is, None for that of the region called."""
        self._calls += 1
        kind, _, of = name.partition(":")
        market = market or (of if kind == "region" else "")
        call = _Call(self._calls, name, method, args, self._loop.create_future(), market)
        if self._faults.strikes("lose", 0.01, market):
            self._fail(call)
        elif not self._faults.strikes("hang", 0.003, market):
            self._loop.outside_later(self.latency_s(market), self._arrive, call)
            if method in _REPEATABLE and self._faults.strikes("repeat", 0.03, market):
                self._loop.outside_later(self.latency_s(market) * 2, self._arrive, call)
        return await call.future

    def _fail(self, call: _Call) -> None:
        wait_s = self._chance.uniform(*NOTICED_S)
        self._loop.outside_later(wait_s, call.settle, None, Unavailable("no answer"))

    def _arrive(self, call: _Call) -> None:
        node = self.nodes.get(call.name)
        if node is None or not node.alive:
            self._fail(call)
            return
        self.step()
        node.calls[call.number] = call
        node.spawn(self._serve(node, call))

    async def _serve(self, node: Node, call: _Call) -> None:
        result, failure = None, None
        try:
            result = await getattr(node.target, call.method)(*call.args)
        except Exception as error:
            failure = error
        node.calls.pop(call.number, None)
        if self._faults.strikes("lose", 0.01, call.market):
            self._fail(call)
        elif not self._faults.strikes("hang", 0.003, call.market):
            self._loop.outside_later(self.latency_s(call.market), call.settle, result, failure)

    def abandon(self, node: Node) -> None:
        """The cluster holds this process for dead: who waits for it is told, and nobody is sent there any more."""
        if self.nodes.get(node.name) is node:
            del self.nodes[node.name]
        calls, node.calls = node.calls, {}
        for call in calls.values():
            self._fail(call)
