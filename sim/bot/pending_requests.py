"""A driver's requests until they are answered: what is sent now, what waits for the network, and in which order.

Each has an id, the time at which it was taken and a number that rises, and keeps them however often and late it is
sent. Those about one offer or task are sent one after another, in the order in which they were taken. Times are seconds
on the server's clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TypeAlias

from msgspec import Struct

from domain import protocol as wire
from domain.orders.lifecycle import TaskStatus
from sim.bot.actions import Action, Call, Send

Frame: TypeAlias = wire.OfferAccept | wire.OfferReject | wire.TaskArrive | wire.TaskPickup
LIMIT = 200  # requests kept; a driver cannot have so many, so more is a bug


class Asked(Struct):
    """A request without an answer. `then`: the task's status if it is granted, where the driver goes on meanwhile.
    `due_s`: when to send it (again)."""

    key: str
    about: str
    what: Frame | Call
    then: TaskStatus | None = None
    due_s: float = float("-inf")
    times: int = 0


class PendingRequests:
    """Requests by key, oldest first."""

    def __init__(self) -> None:
        self._asked: dict[str, Asked] = {}
        self._n = 0

    def __len__(self) -> int:
        return len(self._asked)

    def __iter__(self) -> Iterator[Asked]:
        return iter(self._asked.values())

    def number(self, now_s: float) -> int:
        """The next number: the time in ms, so that it rises over two phones and a new app too, or one more."""
        self._n = max(self._n + 1, round(now_s * 1000))
        return self._n

    def count_from(self, n: int) -> None:
        """Another phone of the driver's has come so far."""
        self._n = max(self._n, n)

    def add(self, asked: Asked) -> None:
        """A new request."""
        assert len(self._asked) < LIMIT, "a driver who asks without end"
        self._asked[asked.key] = asked

    def get(self, key: str) -> Asked | None:
        """The request that this answers."""
        return self._asked.get(key)

    def pop(self, key: str) -> Asked | None:
        """The same; it is answered."""
        return self._asked.pop(key, None)

    def drop(self, about: str) -> None:
        """Forget all about an offer or a task."""
        self._asked = {key: asked for key, asked in self._asked.items() if asked.about != about}

    def keep(self, alive: Collection[str]) -> None:
        """Forget what is about none of these."""
        self._asked = {key: asked for key, asked in self._asked.items() if asked.about in alive}

    def about(self, *, offline: bool = False) -> set[str]:
        """Offers and tasks with a request; `offline`: those after whose request the driver has to wait."""
        return {asked.about for asked in self if not (offline and asked.then)}

    def first(self) -> list[Asked]:
        """The oldest request about each offer and task."""
        oldest: dict[str, Asked] = {}
        for asked in self:
            oldest.setdefault(asked.about, asked)
        return list(oldest.values())

    def send(self, now_s: float, timeout_s: float) -> list[Action]:
        """What is due, noted as sent. A frame is due again after `timeout_s`; a call has a shell that waits for its
        answer."""
        actions: list[Action] = []
        for asked in self.first():
            if now_s >= asked.due_s:
                is_call = isinstance(asked.what, Call)
                asked.due_s = float("inf") if is_call else now_s + timeout_s
                asked.times += 1
                actions.append(asked.what if isinstance(asked.what, Call) else Send(asked.what))
        return actions

    def next_s(self) -> float:
        """When something is due next."""
        return min((asked.due_s for asked in self.first()), default=float("inf"))

    def resend(self, now_s: float) -> None:
        """There is a socket again: what was sent on another may be lost."""
        for asked in self:
            if not isinstance(asked.what, Call):
                asked.due_s = now_s

    def turn_back(self, latest_s: float) -> None:
        """The clock was set back: nothing is due later than this."""
        for asked in self:
            if not isinstance(asked.what, Call):
                asked.due_s = min(asked.due_s, latest_s)
