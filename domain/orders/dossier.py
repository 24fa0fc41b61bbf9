"""The order dossier: an append-only chain of events, each hash covering the one before.

    hash(n) = SHA-256( hash(n-1) || canonical JSON of event n ),   hash(0) = 32 zero bytes

Canonical JSON is the RFC 8785 form restricted to strings, integers, booleans, null, lists and objects: keys sorted, no
white space, UTF-8. Floats are refused, because their printed form is where implementations disagree. Anyone with the
events can verify the chain without the server.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from domain.orders.records import Json, OrderFact

GENESIS = bytes(32)


class Entry(Struct, frozen=True, kw_only=True):
    """One event of a dossier as stored; `seq` starts at 1."""

    order_id: str
    seq: int
    type: str
    status: str
    at_ms: int
    actor: str  # "role:id"
    payload: dict[str, Json]
    prev_hash: bytes
    hash: bytes = b""


class Verdict(Struct, frozen=True):
    """`ok`, the number of entries, and for a broken chain the first bad sequence number and what is wrong with it."""

    ok: bool
    length: int
    head: str
    bad_seq: int | None = None
    reason: str | None = None


def canonical(value: Json) -> bytes:
    """Canonical JSON bytes; `TypeError` for a float or anything that is not JSON, `ValueError` for broken Unicode."""
    if _is_plain(value):
        return _PLAIN.encode(value)
    return json.dumps(_ordered(value), separators=(",", ":"), ensure_ascii=False).encode()


# The same bytes several times as fast for nearly all payloads; a test compares the two.
_PLAIN = msgspec.json.Encoder(order="sorted")
_INT_LIMIT = 2**63


def _is_plain(value: Json) -> bool:
    """Whether the value is made of nothing but the JSON types themselves, with keys that any order sorts alike."""
    kind: type[object] = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_INT_LIMIT <= value < _INT_LIMIT)
    if kind is dict:
        return all(type(key) is str and key.isascii() and _is_plain(item) for key, item in value.items())
    return kind in (list, tuple) and all(map(_is_plain, value))


def _ordered(value: Json) -> Json:
    """The value with the keys of its objects in the order of RFC 8785, by UTF-16 code units."""
    if isinstance(value, float):
        raise TypeError("a dossier payload holds no floats")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the keys of a dossier payload are strings")
        return {key: _ordered(value[key]) for key in sorted(value, key=_utf16)}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    return value


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")


def entry_hash(entry: Entry) -> bytes:
    """The hash of one entry, 32 bytes, from its content and its `prev_hash`; its own `hash` is not read."""
    return _hash(
        entry.prev_hash,
        {
            "order_id": entry.order_id,
            "seq": entry.seq,
            "type": entry.type,
            "status": entry.status,
            "at_ms": entry.at_ms,
            "actor": entry.actor,
            "payload": entry.payload,
        },
    )


def _hash(prev_hash: bytes, body: dict[str, Json]) -> bytes:
    return hashlib.sha256(prev_hash + canonical(body)).digest()


def extend(prev_hash: bytes, seq: int, fact: OrderFact) -> Entry:
    """The entry that `fact` adds as number `seq` to a chain whose head is `prev_hash`."""
    body: dict[str, Json] = {
        "order_id": fact.order_id,
        "seq": seq,
        "type": str(fact.event),
        "status": str(fact.status),
        "at_ms": fact.at_ms,
        "actor": f"{fact.role}:{fact.actor_id}",
        "payload": fact.payload,
    }
    return Entry(**body, prev_hash=prev_hash, hash=_hash(prev_hash, body))


def verify(entries: Iterable[Entry]) -> Verdict:
    """Check a whole chain: order ids alike, no gap, each link and each hash right."""
    head, length, order_id = GENESIS, 0, None
    for entry in entries:
        length += 1
        order_id = order_id or entry.order_id
        reason = None
        if entry.order_id != order_id:
            reason = "belongs to another order"
        elif entry.seq != length:
            reason = f"sequence number {entry.seq} where {length} was due"
        elif entry.prev_hash != head:
            reason = "does not link to the entry before it"
        elif not _sound(entry):
            reason = "content does not match its hash"
        if reason:
            return Verdict(False, length, head.hex(), entry.seq, reason)
        head = entry.hash
    if length == 0:
        return Verdict(False, 0, head.hex(), None, "the dossier is empty")
    return Verdict(True, length, head.hex())


def _sound(entry: Entry) -> bool:
    try:
        return entry.hash == entry_hash(entry)
    except (
        TypeError,
        ValueError,
    ):  # tampered into something that has no canonical form, so it never had a hash
        return False
