"""Calls to one actor, collected while a call is under way and repeated while the actor is being restarted.

A lone item waits for nothing; under load a batch grows with the time that a call takes. Repeating is harmless because
every item carries an id that its target knows (see `domain.records.StoredAnswer`).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog

from domain.errors import Overloaded, RegionUnavailable

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")
R = TypeVar("R")

BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 0.5
RETRY_AFTER_S = 2  # what a client is told when the deadline has passed


class Unavailable(Exception):
    """The target does not answer at the moment; the call may or may not have been carried out."""


class _Item(Generic[T, R]):
    __slots__ = ("deadline_s", "future", "value")

    def __init__(self, value: T, future: asyncio.Future[R] | None, deadline_s: float) -> None:
        self.value = value
        self.future = future
        self.deadline_s = deadline_s

    @property
    def is_wanted(self) -> bool:
        return self.future is None or not self.future.done()


class Collector(Generic[T, R]):
    """Batches of items for `call`, which answers each item and raises `Unavailable` when it is worth trying again.

    At most `in_flight` calls are under way (1 keeps the order of items), at most `batch_limit` items in one, at most
    `queue_limit` waiting (`Overloaded` beyond). An item that is not answered within `deadline_s` of wall time gets
    `RegionUnavailable`. `chance` spreads the repeats. Any other exception of `call` goes to every item of its batch.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[list[T]], Awaitable[Sequence[R]]],
        *,
        in_flight: int,
        batch_limit: int,
        queue_limit: int,
        deadline_s: float,
        chance: random.Random,
    ) -> None:
        self.name = name
        self._call = call
        self._in_flight = in_flight
        self._batch_limit = batch_limit
        self._queue_limit = queue_limit
        self._deadline_s = deadline_s
        self._chance = chance
        self._queue: deque[_Item[T, R]] = deque()
        self._senders: set[asyncio.Task[None]] = set()
        self._sending = 0  # senders that will look at the queue again
        self.retries = 0

    def __len__(self) -> int:
        return len(self._queue)

    async def ask(self, value: T) -> R:
        """The answer to `value`."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._enqueue(value, future)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await future
        except TimeoutError:
            raise self._given_up() from None

    def tell(self, value: T) -> None:
        """Send `value` in order with the rest and want no answer."""
        self._enqueue(value, None)

    def _enqueue(self, value: T, future: asyncio.Future[R] | None) -> None:
        if len(self._queue) >= self._queue_limit:
            raise Overloaded(
                f"{self.name} has {self._queue_limit} requests waiting.", retry_after_s=RETRY_AFTER_S
            )
        deadline_s = asyncio.get_running_loop().time() + self._deadline_s
        self._queue.append(_Item(value, future, deadline_s))
        if self._sending < self._in_flight:
            self._sending += 1
            sender = asyncio.create_task(self._send(), name=f"collector {self.name}")
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)

    def _given_up(self) -> RegionUnavailable:
        return RegionUnavailable(f"{self.name} does not answer at the moment.", retry_after_s=RETRY_AFTER_S)

    async def _send(self) -> None:
        try:
            await self._empty_queue()
        finally:
            # In the same step as the last look at the queue: an item that comes later starts a sender of its own.
            self._sending -= 1

    async def _empty_queue(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_limit))]
            batch = [item for item in batch if item.is_wanted]
            try:
                await self._deliver(batch)
            except BaseException as error:
                for item in batch:
                    if item.future is not None and not item.future.done():
                        item.future.set_exception(error if isinstance(error, Exception) else self._given_up())
                if not isinstance(error, Exception):
                    raise

    async def _deliver(self, batch: list[_Item[T, R]]) -> None:
        """Call until it works; leave out what nobody waits for any more."""
        loop = asyncio.get_running_loop()
        backoff_s, attempts = BACKOFF_FIRST_S, 0
        while batch:
            try:
                async with asyncio.timeout_at(max(item.deadline_s for item in batch)):
                    answers = await self._call([item.value for item in batch])
            except (Unavailable, TimeoutError) as error:
                self.retries += 1
                attempts += 1
                if attempts & (attempts - 1) == 0:  # the 1st, 2nd, 4th, 8th, ...: enough to see it
                    reason = str(error) or "timeout"
                    _log.warning(
                        "retrying", target=self.name, items=len(batch), attempts=attempts, reason=reason
                    )
                await asyncio.sleep(backoff_s * self._chance.uniform(0.5, 1.0))
                backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
                now_s = loop.time()
                batch = [item for item in batch if item.is_wanted and item.deadline_s > now_s]
            else:
                if len(answers) != len(batch):
                    raise RuntimeError(f"{self.name} gave {len(answers)} answers to {len(batch)} items")
                for item, answer in zip(batch, answers, strict=True):
                    if item.future is not None and not item.future.done():
                        item.future.set_result(answer)
                return

    async def close(self) -> None:
        """Give up what is under way or waiting."""
        for sender in list(self._senders):
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        for item in self._queue:
            if item.future is not None and not item.future.done():
                item.future.set_exception(self._given_up())
        self._queue.clear()
