"""What went into a region and a digest of what it decided, as bytes: enough to step a day again and compare.

A digest is over every field of a step's `Ready`, so that two runs that decide the same have the same digests in every
process, and a difference in any record, push, answer or solve request shows. It tells runs apart by accident, not by
malice: who can write the log can write its digests.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, get_origin

import msgspec
import numpy as np
from msgspec import Struct

from domain.region.messages import Message, Ready

DIGEST_BYTES = 8
CHAIN_BYTES = 16
FAILED = bytes(DIGEST_BYTES)  # in place of a digest: the step raised

# What a column of a message may be. Kept with the column, for a live one may be narrower than its annotation.
_DTYPES = {name: np.dtype(name) for name in ("|b1", "|i1", "<i4", "<i8", "<f4", "<f8")}


class Entry(Struct, frozen=True, array_like=True):
    """One step: the server's time in ms since the Unix epoch, what came in, and the digest of what was decided."""

    now_ms: int
    message: Message
    digest: bytes


class Chain:
    """A running hash over digests in order: two runs with the same value decided the same all along."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=CHAIN_BYTES)

    def add(self, digest: bytes) -> None:
        self._hash.update(digest)

    def value(self) -> str:
        """The hash so far, in hex digits."""
        return self._hash.hexdigest()


def digest(ready: Ready) -> bytes:
    """`DIGEST_BYTES` bytes that stand for all that a step decided."""
    if ready == _NOTHING:
        return _NOTHING_DIGEST
    return blake2b(_canonical(ready), digest_size=DIGEST_BYTES).digest()


def encode(entry: Entry) -> bytes:
    """The entry as MessagePack. `TypeError` for a message that holds what no message should."""
    return _encode(entry)


def decode(data: bytes) -> Entry:
    """The entry that `encode` made into bytes; `msgspec.MsgspecError` for anything else."""
    return _decode(data)


def _write(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or value.dtype.str not in _DTYPES:
            raise TypeError(f"a column of {value.ndim} dimensions and type {value.dtype} cannot be kept")
        return value.dtype.str, value.tobytes()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept")


def _read(kind: Any, value: Any) -> Any:
    if get_origin(kind) is not np.ndarray:
        raise TypeError(f"{kind} cannot be read")
    # Errors of these two lines become a msgspec.ValidationError that names the field.
    name, data = value
    if name not in _DTYPES:
        raise ValueError(f"no column is of type {name!r}")
    return np.frombuffer(data, _DTYPES[name])


_encode = msgspec.msgpack.Encoder(enc_hook=_write).encode
_decode = msgspec.msgpack.Decoder(Entry, dec_hook=_read).decode
# Dictionaries and sets are sorted: their order is no decision, and that of a set differs from process to process.
_canonical = msgspec.msgpack.Encoder(enc_hook=_write, order="deterministic").encode

_NOTHING = Ready()
_NOTHING_DIGEST = blake2b(_canonical(_NOTHING), digest_size=DIGEST_BYTES).digest()
