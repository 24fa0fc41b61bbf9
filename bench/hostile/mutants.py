"""Frames that no client should send, made from frames that one does: for fuzzing the driver socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

AT = "2030-01-01T00:00:00Z"
ID = "6f1a2c1e-54b5-4a6e-9f60-3d1f0f4d7a51"
# One valid frame of each kind; a hello is out of turn on an open socket.
VALID: tuple[dict[str, Any], ...] = (
    {"type": "hello", "token": "x" * 40, "resume_from": 7},
    {"type": "duty", "on": True, "lat": 32.7, "lng": -96.8, "until": AT, "begins": AT},
    {
        "type": "location",
        "lat": 32.7,
        "lng": -96.8,
        "at": AT,
        "seq": 1,
        "speed_mps": 3.0,
        "heading_deg": 10.0,
    },
    {"type": "offer.seen", "offer_id": ID},
    {"type": "offer.accept", "id": "a", "offer_id": ID},
    {"type": "offer.reject", "id": "b", "offer_id": ID, "reason": "TOO_FAR"},
    {"type": "task.arrive", "id": "c", "task_id": ID},
    {"type": "task.pickup", "id": "d", "task_id": ID},
    {"type": "ack", "seq": 3},
    {"type": "auth", "id": "e", "token": "y" * 40},
)
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**53 + 1, -(2**63), 10**400, 1e308, -1e308, 0.1, "", "\x00", "\ud800", "A" * 5000,
    "💥" * 100, [], {}, [[]], {"": {}}, "NaN", "9999-99-99T99:99:99Z", "2030-01-01T00:00:00", [ID] * 50,
    {"type": "ack", "seq": 1},
)  # fmt: skip
_LITERALS = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e99999",
    b"01",
    b"0x10",
    b"'",
    b"\\u0000",
    b"\\ud800",
    b"//",
    b"\xff\xfe",
    b"\x00",
)


def _wrong_value(rng: Random, frame: dict[str, Any]) -> bytes:
    frame[rng.choice(list(frame))] = rng.choice(_ODD)
    return _text(frame)


def _left_out(rng: Random, frame: dict[str, Any]) -> bytes:
    del frame[rng.choice(list(frame))]
    return _text(frame)


def _added(rng: Random, frame: dict[str, Any]) -> bytes:
    frame["".join(rng.choices("abc.type\u0000_", k=rng.randint(0, 8)))] = rng.choice(_ODD)
    return _text(frame)


def _crossed(rng: Random, frame: dict[str, Any]) -> bytes:
    return _text({**frame, **rng.choice(VALID)})


def _said_twice(rng: Random, frame: dict[str, Any]) -> bytes:
    return _text(frame)[:-1] + b"," + _text(rng.choice(VALID))[1:]


def _nested(rng: Random, frame: dict[str, Any]) -> bytes:
    depth = rng.choice((10, 100, 1000, 5000))
    inside = b"[" * depth + (b"]" * depth if rng.random() < 0.5 else b"")
    return _text(frame)[:-1] + b',"x":' + inside + b"}"


def _flipped(rng: Random, frame: dict[str, Any]) -> bytes:
    data = bytearray(_text(frame))
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _cut(rng: Random, frame: dict[str, Any]) -> bytes:
    data = _text(frame)
    return data[: rng.randrange(len(data))]


def _spliced(rng: Random, frame: dict[str, Any]) -> bytes:
    data = _text(frame)
    at = rng.randrange(len(data))
    return data[:at] + rng.choice(_LITERALS) + data[at + rng.randint(0, 6) :]


def _long(rng: Random, frame: dict[str, Any]) -> bytes:
    return _text({**frame, "x": "y" * rng.choices((1_000, 15_000, 17_000), (60, 38, 2))[0]})


def _noise(rng: Random, frame: dict[str, Any]) -> bytes:
    return rng.randbytes(rng.randint(0, 300))


def _huge_number(rng: Random, frame: dict[str, Any]) -> bytes:
    key = rng.choice(list(frame))
    return _text({**frame, key: 0}).replace(
        f'"{key}": 0'.encode(), f'"{key}": {"9" * rng.randint(20, 4000)}'.encode()
    )


_MUTATIONS: tuple[Callable[[Random, dict[str, Any]], bytes], ...] = (
    _wrong_value, _left_out, _added, _crossed, _said_twice, _nested, _flipped, _cut, _spliced, _long, _noise,
    _huge_number,
)  # fmt: skip


def _text(frame: dict[str, Any]) -> bytes:
    return json.dumps(frame).encode()


def mutants(rng: Random) -> Iterator[bytes]:
    """Payloads without end. Some are valid after all: order and repetition are wrong, too."""
    while True:
        frame = dict(rng.choice(VALID))
        yield _text(frame) if rng.random() < 0.1 else rng.choice(_MUTATIONS)(rng, frame)


def as_received(data: bytes, rng: Random) -> str | bytes:
    """A payload as the state machine gets it: text where it is UTF-8, and now and then as a binary frame."""
    try:
        return data if rng.random() < 0.02 else data.decode()
    except UnicodeDecodeError:
        return data
