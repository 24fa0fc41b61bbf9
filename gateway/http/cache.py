"""Answers that many ask for and that are worked out once: by whoever asks first, for all who ask within a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class AnswerCache:
    """One gateway's answers by name, each kept for `keep_s` after it was begun. One that fails is not kept."""

    def __init__(self, keep_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._keep_s, self._clock_s = keep_s, clock_s
        self._answers: dict[str, tuple[float, asyncio.Future[Any]]] = {}

    async def get(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """The answer of this name; `work` makes it anew where it is not there or too old. Names are few and fixed."""
        now_s = self._clock_s()
        begun_s, answer = self._answers.get(name, (0.0, None))
        if answer is None or (answer.done() and (now_s - begun_s >= self._keep_s or _failed(answer))):
            answer = asyncio.ensure_future(work())
            self._answers[name] = (now_s, answer)
        # Who goes away while it is made takes it from nobody else.
        made: T = await asyncio.shield(answer)
        return made


def _failed(answer: asyncio.Future[Any]) -> bool:
    return answer.cancelled() or answer.exception() is not None
