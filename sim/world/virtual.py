"""Virtual time: an event loop whose clock jumps to whatever is due next, and processes that can be killed or frozen.

The product's own coroutines run on it unchanged. Nothing here reads a clock or draws a number, so a run depends on its
seed alone. What belongs to which process is told by a context variable, which tasks and callbacks inherit: the
callbacks of a killed process never run again, as after kill -9, and those of a frozen one wait, as after SIGSTOP.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

SPIN_LIMIT = 100_000  # callbacks in one instant, after which nobody lets time go on
KEPT = 256  # tasks kept before those that are done are sorted out

_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class TimeStandsStill(Exception):
    """Somebody calls back again and again without letting time go on."""


class _Handle:
    """A callback to come; what asyncio asks of `Handle` and `TimerHandle`."""

    __slots__ = ("_cancelled", "_when", "args", "callback", "context", "process")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
        when: float,
    ) -> None:
        self.callback, self.args, self._when = callback, args, when
        self.context = contextvars.copy_context() if context is None else context
        self._cancelled = False
        self.process = self.context.get(_PROCESS)

    def cancel(self) -> None:
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when


class Process:
    """What lives and dies together. Its work starts with `spawn`."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.name, self.loop = name, loop
        self.alive, self.frozen = True, False
        self._backlog: list[_Handle] = []
        self._context = contextvars.Context()
        self._context.run(_PROCESS.set, self)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it in this process."""
        return self.loop.create_task(work, context=self._context.copy())

    def kill(self) -> None:
        """End the process where it stands: no clean-up, no last word."""
        self.alive = False
        self._backlog.clear()

    def freeze(self) -> None:
        """Stop the process without its knowing."""
        self.frozen = True

    def thaw(self) -> None:
        """Let the process go on with all that waited for it."""
        self.frozen = False
        backlog, self._backlog = self._backlog, []
        self.loop.put_back(backlog)

    def hold(self, handle: _Handle) -> None:
        """Keep a callback until the process is thawed."""
        self._backlog.append(handle)


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs callbacks in the order in which they are due; where nothing is due, time jumps. Starts at 0 s."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._numbers = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._kept = KEPT
        self.outside = contextvars.Context()  # of no process

    # -- what asyncio asks for ----------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]  # as `call_at`
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> Any:
        handle = _Handle(callback, args, context, self._now)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # as `call_at`
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # a handle of our own, and arguments of any type
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> Any:
        handle = _Handle(callback, args, context, when)
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None, **_: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        # Kept to the end: a dropped coroutine is closed by the interpreter, and what it does then, the work of a
        # process that is dead, would happen at a moment that no seed decides.
        self._tasks.append(task)
        if len(self._tasks) > 2 * self._kept:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._kept = max(KEPT, len(self._tasks))
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Asyncio reports tasks here that were dropped unfinished; with a killed process, that is the point."""

    # -- time ---------------------------------------------------------------------------------------------------------

    def put_back(self, handles: list[_Handle]) -> None:
        """Run these as soon as possible."""
        self._ready.extend(handles)

    def outside_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> None:
        """Call back later whatever happens to the process that asks."""
        self.call_at(self._now + delay_s, callback, *args, context=self.outside)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it in no process."""
        return self.create_task(work, context=self.outside.copy())

    def run(self, until: Callable[[], bool], end_s: float) -> bool:
        """Run until `until` holds (looked at after each callback), or time has come to `end_s`, or nothing is left to
        do; returns whether it holds. An exception of a callback comes out of here; `TimeStandsStill` beyond
        `SPIN_LIMIT` callbacks in one instant."""
        ready, timers, spins = self._ready, self._timers, 0
        asyncio._set_running_loop(self)
        try:
            while not until():
                if not ready:
                    while timers and timers[0][2]._cancelled:
                        heapq.heappop(timers)
                    if not timers or timers[0][0] > end_s:
                        self._now = max(self._now, end_s)
                        return until()
                    if timers[0][0] > self._now:
                        self._now, spins = timers[0][0], 0
                    while timers and timers[0][0] <= self._now:
                        ready.append(heapq.heappop(timers)[2])
                spins += 1
                if spins > SPIN_LIMIT:
                    raise TimeStandsStill
                handle = ready.popleft()
                process = handle.process
                if handle._cancelled or (process is not None and not process.alive):
                    continue
                if process is not None and process.frozen:
                    process.hold(handle)
                else:
                    handle.context.run(handle.callback, *handle.args)
            return True
        finally:
            asyncio._set_running_loop(None)

    def close(self) -> None:
        """End everything that is still under way, without letting it do anything more."""
        self._ready.clear()
        self._timers.clear()
        asyncio._set_running_loop(_Graveyard())  # type: ignore[abstract]  # it runs nothing
        try:
            for task in self._tasks:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    with contextlib.suppress(RuntimeError):  # it would rather wait for something
                        task.get_coro().close()
        finally:
            asyncio._set_running_loop(None)


class _Graveyard(VirtualLoop):
    """The loop of coroutines that are being closed: what they start does not begin."""

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None, **_: Any) -> Any:
        coro.close()
        return self.create_future()
