"""What a region remembers of its answers."""

from __future__ import annotations

import msgspec

from domain.orders.records import Answer
from domain.region.jobs import BoundedDict

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(tuple[str, Answer]).decode


# The region does not know whether it has answered this before. Never leaves the server: the gateway looks in the
# database, and asks again when nothing is there.
LOOK_FIRST = Answer(code="LOOK_FIRST")


class Answers:
    """The answers to the latest `limit` requests, by scope and key, so that a repeat gets the first one. Kept encoded:
    as dictionaries the bodies of tens of thousands would be most of a region's memory."""

    def __init__(self, limit: int, *, complete: bool = True) -> None:
        """`complete`: whether these begin with all that there is to remember."""
        self.complete = complete  # nothing was forgotten: what is not known was never answered
        self._items: BoundedDict[tuple[str, str], bytes] = BoundedDict(limit)

    def remember(self, scope: str, key: str, fingerprint: str, answer: Answer) -> None:
        """`fingerprint`: of the request that this answers."""
        self.complete = self.complete and (len(self._items) < self._items.limit)
        self._items[(scope, key)] = _encode((fingerprint, answer))

    def known(self, scope: str, key: str) -> tuple[str, Answer] | None:
        """The fingerprint and the answer of the request that came first; None when it is not remembered."""
        packed = self._items.get((scope, key))
        return None if packed is None else _decode(packed)

    def __len__(self) -> int:
        return len(self._items)
