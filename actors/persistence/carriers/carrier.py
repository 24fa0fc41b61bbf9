"""What the relay asks of a carrier, and what a carrier says of events that it did not get rid of."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

from actors.persistence.carriers.options import CarrierOptions
from domain.orders.records import OutboxEvent

T = TypeVar("T")


class Refused(Exception):
    """The receiver does not take this event. `final`: it never will; `silent`: it gave no answer."""

    def __init__(self, reason: str, *, final: bool = False, silent: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.final, self.silent = reason, final, silent


class Carrier(Protocol):
    """The way of one channel's events."""

    @property
    def options(self) -> CarrierOptions: ...

    @property
    def apart(self) -> bool:
        """Each event goes for itself and comes alone. Otherwise those of a market go together, in their order."""
        ...

    async def carry(self, events: list[OutboxEvent]) -> dict[int, Refused]:
        """Hand these on; what was refused, by event. Raises when the receiver does not answer: they wait as they were.
        Keeps to its own deadline."""
        ...


def read(event: OutboxEvent, kind: type[T]) -> T:
    """Its payload. `Refused`, for ever, when it is something else."""
    try:
        return msgspec.convert(event.payload, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise Refused(f"unreadable: {type(error).__name__}", final=True) from error
