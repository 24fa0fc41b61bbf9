"""Calls to one actor, collected while a call is under way and repeated while the actor is being restarted.

A lone item waits for nothing; under load a batch grows with the time that a call takes. Repeating is harmless because
every item carries an id that its target knows (see `domain.orders.records.StoredAnswer`).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Generic, TypeVar

import structlog

from domain.errors import Overloaded, RegionUnavailable

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")
R = TypeVar("R")

LINGER_S = 0.05  # for which something that nobody waits for an answer to waits for company
BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 0.5
RETRY_AFTER_S = 2  # what a client is told when the deadline has passed


class Unavailable(Exception):
    """The target does not answer at the moment; the call may or may not have been carried out."""


class _Item(Generic[T, R]):
    """Something to send. `done` gets the answer, or the exception in its place, once at most."""

    __slots__ = ("deadline_s", "done", "is_wanted", "key", "timer", "value")

    def __init__(
        self, value: T, key: str, deadline_s: float, done: Callable[[R | Exception], None] | None
    ) -> None:
        self.value = value
        self.key = key
        self.deadline_s = deadline_s
        self.done = done
        self.is_wanted = True
        self.timer: asyncio.TimerHandle | None = None

    def settle(self, outcome: R | Exception) -> None:
        if self.is_wanted and self.done is not None:
            self.drop()
            self.done(outcome)

    def drop(self) -> None:
        self.is_wanted = False
        if self.timer is not None:
            self.timer.cancel()


class Collector(Generic[T, R]):
    """Batches of items for `call`, which answers each item and raises `Unavailable` when it is worth trying again.

    At most `in_flight` calls are under way, and one more when something is urgent; at most `batch_limit` items in one,
    at most `queue_limit` waiting (`Overloaded` beyond). Items of one `key` keep their order: while one is under way,
    the others wait. An item that is not answered within `deadline_s` of wall time gets `RegionUnavailable`. `chance`
    spreads the repeats. Any other exception of `call` goes to every item of its batch.
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
        self._busy: set[str] = set()  # keys of which something is under way
        self._sending = 0  # senders that will look at the queue again
        self._lingering: asyncio.TimerHandle | None = None
        self.retries = 0

    def __len__(self) -> int:
        return len(self._queue)

    async def ask(self, value: T, key: str = "") -> R:
        """The answer to `value`. The empty key is nobody's."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        item = self._submit(value, key, partial(_resolve, future), urgent=False)
        try:
            return await future
        finally:
            item.drop()

    def submit(
        self, value: T, key: str, done: Callable[[R | Exception], None], *, urgent: bool = False
    ) -> None:
        """As `ask`, for a caller who does not wait: `done` gets what `ask` would return or raise, in the very turn of
        the event loop in which it is known, and in the caller's context. `Overloaded` is raised here."""
        context = copy_context()
        self._submit(value, key, lambda outcome: context.run(done, outcome), urgent=urgent)

    def _submit(
        self, value: T, key: str, done: Callable[[R | Exception], None], *, urgent: bool
    ) -> _Item[T, R]:
        item = self._enqueue(value, key, done)
        item.timer = asyncio.get_running_loop().call_later(self._deadline_s, self._give_up, item)
        self._start_sender(self._in_flight + urgent)
        return item

    def tell(self, value: T, key: str = "", *, soon: bool = False) -> None:
        """Send `value` and want no answer: like a question when `soon`, else after `LINGER_S` at the latest."""
        self._enqueue(value, key, None)
        if soon:
            self._start_sender(self._in_flight)
        elif not self._sending and self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(
                LINGER_S, self._start_sender, self._in_flight
            )

    def _enqueue(self, value: T, key: str, done: Callable[[R | Exception], None] | None) -> _Item[T, R]:
        if len(self._queue) >= self._queue_limit:
            raise Overloaded(
                f"{self.name} has {self._queue_limit} requests waiting.", retry_after_s=RETRY_AFTER_S
            )
        deadline_s = asyncio.get_running_loop().time() + self._deadline_s
        item: _Item[T, R] = _Item(value, key, deadline_s, done)
        self._queue.append(item)
        return item

    def _start_sender(self, limit: int) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if self._sending < limit:
            self._sending += 1
            sender = asyncio.create_task(self._send(), name=f"collector {self.name}")
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)

    def _give_up(self, item: _Item[T, R]) -> None:
        item.settle(self._given_up())

    def _given_up(self) -> RegionUnavailable:
        return RegionUnavailable(f"{self.name} does not answer at the moment.", retry_after_s=RETRY_AFTER_S)

    async def _send(self) -> None:
        try:
            await self._empty_queue()
        finally:
            # In the same step as the last look at the queue: an item that comes later starts a sender of its own.
            self._sending -= 1

    async def _empty_queue(self) -> None:
        while batch := self._next_batch():
            keys = {item.key for item in batch if item.key}
            self._busy |= keys
            try:
                await self._deliver([item for item in batch if item.is_wanted])
            except BaseException as error:
                for item in batch:
                    item.settle(error if isinstance(error, Exception) else self._given_up())
                if not isinstance(error, Exception):
                    raise
            finally:
                self._busy -= keys
            if self._sending > self._in_flight:
                return  # there was something urgent

    def _next_batch(self) -> list[_Item[T, R]]:
        """What may go now. For what may not, the sender that has its key under way will look again."""
        batch: list[_Item[T, R]] = []
        later: list[_Item[T, R]] = []
        while self._queue and len(batch) < self._batch_limit:
            item = self._queue.popleft()
            (later if item.key in self._busy else batch).append(item)
        self._queue.extendleft(reversed(later))
        return batch

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
                    item.settle(answer)
                return

    async def close(self) -> None:
        """Give up what is under way or waiting."""
        for sender in list(self._senders):
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        if self._lingering is not None:
            self._lingering.cancel()
        for item in self._queue:
            item.settle(self._given_up())
        self._queue.clear()


def _resolve(future: asyncio.Future[R], outcome: R | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
