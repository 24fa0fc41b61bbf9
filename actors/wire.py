"""What people ask, on its way between actors: as bytes in MessagePack, the one argument of a call and its result.

Never pickle: what came from outside is in here, and nothing can come of it but what the types say. It is also a tenth
of the work. `Handles.call` encodes and decodes by the table `WIRES`, the actors' methods on their side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from actors.telemetry.tracing import Carried, Origins
from domain.orders.records import Answer, Outcome
from domain.ports import Command
from domain.region.messages import (
    Acked,
    Ask,
    Attach,
    Attached,
    Detach,
    GatewayLost,
    OfferSeenBy,
    TaskOpened,
)

T = TypeVar("T")

# What is posted to a region. Positions are columns of numbers and go another way (`seen`).
Posted: TypeAlias = Ask | OfferSeenBy | Attach | Detach | Acked | GatewayLost | TaskOpened


class _Sent(Struct, Generic[T], frozen=True, array_like=True):
    """An item with the requests that it is for."""

    item: T
    origins: Origins = ()
    since_ns: int = 0


class _Replied(Struct, frozen=True, array_like=True):
    """A region's reply; neither where there is none."""

    answer: Answer | None = None
    attached: Attached | None = None


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's own."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not sent")


_encode = msgspec.msgpack.Encoder(enc_hook=_plain).encode


class Wire:
    """Items of one type and the answers to them, in order. Items may be `Carried`."""

    def __init__(self, items: Any, answers: Any) -> None:
        self._items = msgspec.msgpack.Decoder(list[_Sent[items]])
        self._answers = msgspec.msgpack.Decoder(list[answers])

    def encode(self, items: Sequence[Any]) -> bytes:
        return _encode([_sent(item) for item in items])

    def decode(self, data: bytes) -> list[Any]:
        """What `encode` was given. `msgspec.MsgspecError` for anything else."""
        return [
            Carried(sent.item, sent.origins, sent.since_ns) if sent.origins else sent.item
            for sent in self._items.decode(data)
        ]

    def encode_answers(self, answers: Sequence[Any]) -> bytes:
        return _encode(answers)

    def decode_answers(self, data: bytes) -> list[Any]:
        """What `encode_answers` was given."""
        return self._answers.decode(data)


class _RegionWire(Wire):
    """Replies tell by their place which they are: their types have no tags."""

    def encode_answers(self, answers: Sequence[Any]) -> bytes:
        return super().encode_answers(
            [_Replied(attached=one) if isinstance(one, Attached) else _Replied(one) for one in answers]
        )

    def decode_answers(self, data: bytes) -> list[Any]:
        return [one.answer if one.attached is None else one.attached for one in super().decode_answers(data)]


def _sent(item: Any) -> _Sent[Any]:
    if isinstance(item, Carried):
        return _Sent(item.item, item.origins, item.since_ns)
    return _Sent(item)


APPEND = Wire(Command, Outcome)
POST = _RegionWire(Posted, _Replied)
WIRES = {"append": APPEND, "post": POST}  # by the method
