"""What a driver's bot asks of its shell."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

from msgspec import Struct

from domain.protocol import ClientFrame


class Send(Struct, frozen=True):
    """Send the frame on the socket."""

    frame: ClientFrame


class Call(Struct, frozen=True):
    """POST `body` to `path` with `key` as Idempotency-Key and bring the answer back to `DriverBot.on_answer`. `at`,
    `n`: when the driver took the step, and its number (see `domain.protocol.Taken`)."""

    key: str
    path: str
    body: dict[str, Any]
    at: datetime | None = None
    n: int | None = None


class Resync(Struct, frozen=True):
    """Server and driver disagree: connect anew and let the snapshot say how things stand."""

    reason: str


class Told(Struct, frozen=True):
    """For the run's books: this order was `delivered`, `refused` (goods still in the car), `returned` or is `gone`."""

    kind: str
    order_id: str


Action: TypeAlias = Send | Call | Resync | Told
