"""The deciders with a stop-watch: how long decisions take, what becomes of them, and a log line for each."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from domain.errors import InternalError, Refusal
from domain.orders.commands import OrderCommand
from domain.orders.records import Answer, Json
from domain.region.messages import Ask, Attach, Attached, DriversSeen
from domain.region.ops.frames import DriverLine, DriversAsked, OpsFrame
from gateway.deciders.ports import Backend, Notice
from gateway.http.metrics import Metrics

_log = structlog.stdlib.get_logger(__name__)
_says = logging.getLogger(__name__)  # whether anybody reads a line is cheaper to ask here

_IDS = ("order_id", "task_id", "offer_id")


class Observed:
    """`gateway.deciders.ports.Backend` over another one. What carries pings and notices is passed on as it is."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend, self._metrics = backend, metrics

    async def decide(self, command: OrderCommand) -> Answer:
        """See `Backend`."""
        return await self._timed(command.action, self._backend.decide(command), order_id=command.order_id)

    async def ask(self, region_id: str, ask: Ask) -> Answer:
        """See `Backend`."""
        return await self._timed(ask.action, self._backend.ask(region_id, ask), region_id=region_id)

    def submit(self, region_id: str, ask: Ask, done: Callable[[Answer | Exception], None]) -> None:
        """See `Backend`."""
        started_s = time.perf_counter()

        def answered(outcome: Answer | Exception) -> None:
            self._note(ask.action, outcome, time.perf_counter() - started_s, region_id=region_id)
            done(outcome)

        self._backend.submit(region_id, ask, answered)

    async def _timed(self, action: Any, answer: Awaitable[Answer], **ids: str) -> Answer:
        outcome: Answer | BaseException = InternalError()
        started_s = time.perf_counter()
        try:
            outcome = await answer
            return outcome
        except Refusal as error:
            outcome = error
            raise
        finally:
            self._note(action, outcome, time.perf_counter() - started_s, **ids)

    def _note(self, action: Any, outcome: Answer | BaseException, took_s: float, **ids: str) -> None:
        name, code = type(action).__name__, InternalError.code
        if isinstance(outcome, Answer):
            code = outcome.code or "done"
        elif isinstance(outcome, Refusal):
            code = outcome.code
        self._metrics.decision_s.labels(name).observe(took_s)
        self._metrics.decisions.labels(name, code).inc()
        if _says.isEnabledFor(logging.DEBUG):
            ids |= {field: value for field in _IDS if (value := getattr(action, field, None)) is not None}
            _log.debug("decided", action=name, outcome=code, took_s=round(took_s, 4), **ids)

    async def attach(self, region_id: str, attach: Attach) -> Attached:
        """See `Backend`."""
        return await self._backend.attach(region_id, attach)

    def notify(self, region_id: str, notice: Notice) -> None:
        """See `Backend`."""
        self._backend.notify(region_id, notice)

    async def seen(self, region_id: str, batch: DriversSeen) -> int:
        """See `Backend`."""
        return await self._backend.seen(region_id, batch)

    async def frame(self, region_id: str) -> OpsFrame:
        """See `Backend`."""
        return await self._backend.frame(region_id)

    async def stats(self, region_id: str) -> dict[str, Json]:
        """See `Backend`."""
        return await self._backend.stats(region_id)

    async def drivers(self, region_id: str, asked: DriversAsked) -> list[DriverLine]:
        """See `Backend`."""
        return await self._backend.drivers(region_id, asked)

    async def answers(self, part: str) -> None:
        """See `Backend`."""
        await self._backend.answers(part)
