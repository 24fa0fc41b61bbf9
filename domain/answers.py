"""What a region remembers of its answers."""

from __future__ import annotations

import msgspec

from domain.jobs import Lately
from domain.records import Answer

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(tuple[str, Answer]).decode


class Answers:
    """The answers to the latest `limit` requests, by scope and key, so that a repeat gets the first one. Kept encoded:
    as dictionaries the bodies of tens of thousands would be most of a region's memory."""

    def __init__(self, limit: int) -> None:
        self._items: Lately[tuple[str, str], bytes] = Lately(limit)

    def remember(self, scope: str, key: str, fingerprint: str, answer: Answer) -> None:
        """`fingerprint`: of the request that this answers."""
        self._items[(scope, key)] = _encode((fingerprint, answer))

    def known(self, scope: str, key: str) -> tuple[str, Answer] | None:
        """The fingerprint and the answer of the request that came first; None when it is not remembered."""
        packed = self._items.get((scope, key))
        return None if packed is None else _decode(packed)

    def __len__(self) -> int:
        return len(self._items)
