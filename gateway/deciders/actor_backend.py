"""The deciders as actors that are called by name, whatever carries the calls: collected, bounded, repeated."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias

import structlog

from actors.config import Limits, persistence_names, persistence_of
from actors.telemetry.metrics import Family, Labels, counter, gauge
from actors.telemetry.tracing import Carried, carried, since
from domain.errors import InternalConflict, Overloaded, RegionUnavailable, StoreBusy, StoreUnavailable
from domain.orders.commands import OrderCommand
from domain.orders.records import Answer, Done, Held, Json, Outcome, RecordRefused
from domain.region.messages import Accept, Ask, Attach, Attached, Detach, DriversSeen, Message
from domain.region.ops.frames import DriverLine, DriversAsked, OpsFrame
from gateway.deciders.collector import Collector, Unavailable
from gateway.deciders.ports import Notice

_log = structlog.stdlib.get_logger(__name__)

POST_BATCH_LIMIT = 2_000  # messages to a region in one call
# A region answers these in milliseconds; a longer wait means that it is busy or gone.
SEEN_TIMEOUT_S = 5.0
FRAME_TIMEOUT_S = 5.0
BUSY_PAUSES_S = (0.1, 0.3)  # before an order whose row somebody has locked is tried again
SILENT_S = 1.0  # without any answer, while questions wait: a region is silent

_Answered = Answer | Attached | None
# call(actor, method, *arguments): one attempt. `Unavailable` when the actor is not there, whatever became of the call;
# a `Refusal` that it raised comes as itself.
ActorCall: TypeAlias = Callable[..., Awaitable[Any]]


class ActorBackend:
    """`ports.Backend` over the actors `region:<id>` and `persistence:<n>`. `chance` spreads the repeats."""

    def __init__(
        self,
        call: ActorCall,
        regions: Iterable[str],
        limits: Limits,
        chance: random.Random | None = None,
        *,
        persistence_actors: int,
    ) -> None:
        self._call = call
        self._dropped = 0  # notices
        self._asking = Counter[str]()  # questions that wait for an answer, by region
        self._asking_limit = limits.region_silent_asks
        self._heard_s: dict[str, float] = {}  # region -> when it last answered, or was asked after a pause
        chance = chance or random.Random()
        self._regions: dict[str, Collector[Message, _Answered]] = {
            region_id: Collector(
                f"region {region_id}",
                self._caller(f"region:{region_id}", "post"),
                in_flight=1,
                batch_limit=POST_BATCH_LIMIT,
                queue_limit=limits.region_inbox_limit,
                deadline_s=limits.region_call_deadline_s,
                chance=chance,
            )
            for region_id in regions
        }
        self._persistence: dict[str, Collector[OrderCommand, Outcome]] = {
            name: Collector(
                "the order store",
                self._caller(name, "append"),
                in_flight=limits.append_in_flight,
                batch_limit=limits.append_batch_limit,
                queue_limit=limits.append_queue_limit,
                deadline_s=limits.region_call_deadline_s,
                chance=chance,
            )
            for name in persistence_names(persistence_actors)
        }

    async def decide(self, command: OrderCommand) -> Answer:
        """See `Backend`. `InternalConflict` when the database refused the change."""
        name = persistence_of(command.order_id, len(self._persistence))
        outcome = await self._persistence[name].ask(carried(command))
        for pause_s in BUSY_PAUSES_S:
            if not isinstance(outcome, Held):
                break
            await asyncio.sleep(pause_s)
            outcome = await self._persistence[name].ask(carried(command))
        if isinstance(outcome, Held):
            raise StoreBusy(retry_after_s=1)
        if isinstance(outcome, Done):
            return outcome.answer
        if isinstance(outcome, RecordRefused):
            _log.error(
                "change refused by the database", order_id=command.order_id, constraint=outcome.constraint
            )
        raise InternalConflict()

    async def ask(self, region_id: str, ask: Ask) -> Answer:
        """See `Backend`. A market that is silent keeps so many requests waiting and no more, for they have places that
        the other markets' need, too: `RegionUnavailable` beyond."""
        now_s = asyncio.get_running_loop().time
        if not self._asking[region_id]:
            self._heard_s[region_id] = now_s()
        elif self._asking[region_id] >= self._asking_limit and now_s() > self._heard_s[region_id] + SILENT_S:
            raise RegionUnavailable(f"Region {region_id} does not answer at the moment.", retry_after_s=1)
        self._asking[region_id] += 1
        try:
            answer = await self._regions[region_id].ask(carried(ask), ask.principal_id)
            self._heard_s[region_id] = now_s()
        finally:
            self._asking[region_id] -= 1
        assert isinstance(answer, Answer)
        return answer

    def submit(self, region_id: str, ask: Ask, done: Callable[[Answer | Exception], None]) -> None:
        """See `Backend`."""

        def answered(answer: _Answered | Exception) -> None:
            assert isinstance(answer, Answer | Exception)
            done(answer)

        urgent = isinstance(ask.action, Accept)  # others want the offer, too
        self._regions[region_id].submit(carried(ask), ask.principal_id, answered, urgent=urgent)

    async def attach(self, region_id: str, attach: Attach) -> Attached:
        """See `Backend`."""
        attached = await self._regions[region_id].ask(attach, attach.driver_id)
        assert isinstance(attached, Attached)
        return attached

    def notify(self, region_id: str, notice: Notice) -> None:
        """See `Backend`."""
        try:
            # What the driver says next over REST counts only when the region knows that the socket is gone.
            soon = isinstance(notice, Detach)
            self._regions[region_id].tell(notice, notice.driver_id, soon=soon)
        except Overloaded:
            self._dropped += 1
            _log.warning("notice dropped", region_id=region_id, notice=type(notice).__name__)

    async def seen(self, region_id: str, batch: DriversSeen) -> int:
        """See `Backend`."""
        epoch: int = await self._once(region_id, SEEN_TIMEOUT_S, "seen", batch)
        return epoch

    async def frame(self, region_id: str) -> OpsFrame:
        """See `Backend`."""
        frame: OpsFrame = await self._once(region_id, FRAME_TIMEOUT_S, "frame")
        return frame

    async def stats(self, region_id: str) -> dict[str, Json]:
        """See `Backend`."""
        stats: dict[str, Json] = await self._once(region_id, FRAME_TIMEOUT_S, "stats")
        return stats

    async def drivers(self, region_id: str, asked: DriversAsked) -> list[DriverLine]:
        """See `Backend`."""
        lines: list[DriverLine] = await self._once(region_id, FRAME_TIMEOUT_S, "drivers", asked)
        return lines

    async def answers(self, part: str) -> None:
        """See `Backend`."""
        await self._attempt(part, "started")

    async def _once(self, region_id: str, timeout_s: float, method: str, *args: Any) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._attempt(f"region:{region_id}", method, *args)
        except (Unavailable, TimeoutError) as error:
            raise RegionUnavailable(
                f"Region {region_id} is not serving at the moment.", retry_after_s=1
            ) from error

    def _caller(self, name: str, method: str) -> Callable[[list[Any]], Awaitable[Sequence[Any]]]:
        async def call(batch: list[Any]) -> Sequence[Any]:
            for item in batch:
                if type(item) is Carried:
                    since("collect", item.since_ns, item.origins, target=name, items=len(batch))
            answers: Sequence[Any] = await self._attempt(name, method, batch)
            return answers

        return call

    async def _attempt(self, name: str, method: str, *args: Any) -> Any:
        """One call; an actor that says of itself that it cannot serve now is as good as not there."""
        try:
            return await self._call(name, method, *args)
        except (RegionUnavailable, StoreUnavailable) as error:
            raise Unavailable(error.detail) from error

    def figures(self, labels: Labels) -> list[Family]:
        """What waits for the deciders and what was repeated, for Prometheus."""
        collectors: dict[str, Collector[Any, Any]] = {**self._persistence, **self._regions}
        each = [({**labels, "target": target}, collector) for target, collector in collectors.items()]
        return [
            gauge(
                "doorstep_collector_waiting",
                "Items waiting for a call to the target",
                *((own, len(collector)) for own, collector in each),
            ),
            counter(
                "doorstep_calls_retried",
                "Calls to actors that were repeated",
                *((own, collector.retries) for own, collector in each),
            ),
            counter("doorstep_notices_dropped", "Notices to overloaded regions", (labels, self._dropped)),
        ]

    async def close(self) -> None:
        """Give up what waits."""
        for collector in self._regions.values():
            await collector.close()
        for persistence in self._persistence.values():
            await persistence.close()
