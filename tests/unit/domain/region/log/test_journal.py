"""The journal: messages come back as they went in, and a digest stands for all that a step decided."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from domain.orders.records import Answer, OfferRow, Record
from domain.protocol import OfferExpired
from domain.region.log.journal import DIGEST_BYTES, Chain, Entry, decode, digest, encode
from domain.region.machine import Region
from domain.region.messages import DriversSeen, Kick, Message, PlanReady, Push, Ready
from tests.support.build import NOW, problem, seen
from tests.support.chance import Move, moves, play
from tests.support.recording import Recorded

ROOT = Path(__file__).parents[5]


class Kept:
    """A journal in memory, and a second region that is told what was decoded."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.kinds: set[str] = set()
        self.began_with: list[tuple[Region, int]] = []

    def began(self, region: Region, now_ms: int) -> None:
        self.began_with.append((region, now_ms))

    def failed(self, now_ms: int, message: Message) -> None:
        pass

    def stepped(self, now_ms: int, message: Message, ready: Ready) -> None:
        data = encode(Entry(now_ms, message, digest(ready)))
        entry = decode(data)
        assert encode(entry) == data
        assert (entry.now_ms, type(entry.message), entry.digest) == (now_ms, type(message), digest(ready))
        if not isinstance(message, DriversSeen | PlanReady):  # arrays do not compare; their bytes did
            assert entry.message == message
        self.kinds.add(type(message).__name__)
        self.chain.add(entry.digest)


@settings(max_examples=30)
@given(moves)
def test_every_message_of_a_life_comes_back(some: list[Move]) -> None:
    kept = Kept()
    play(Recorded(kept), some)
    assert {"DriversSeen", "Attach", "TaskOpened"} <= kept.kinds


def test_columns_come_back_to_the_byte() -> None:
    batch = seen({"ann": (32.80000000000001, -96.1), "bob": (float("nan"), -0.0)}, session=2**62)
    batch = replace(batch, on_duty=np.array([True, False, True])[::2], seq=np.array([1, 2], np.int32))
    back = decode(encode(Entry(NOW, batch, b""))).message
    assert isinstance(back, DriversSeen)
    for name in ("session", "seq", "lat", "lng", "on_duty"):
        mine, theirs = getattr(batch, name), getattr(back, name)
        assert (mine.dtype, mine.tobytes()) == (theirs.dtype, theirs.tobytes()), name
    assert back.driver_ids == ["ann", "bob"]


@pytest.mark.parametrize(
    "column", [np.array([object()]), np.zeros((2, 2)), np.array(["2020"], "M8[D]"), {1}, object()]
)
def test_what_is_no_column_is_not_kept(column: Any) -> None:
    batch = replace(seen({"ann": (32.8, -96.8)}), lat=column)
    if isinstance(column, set):
        with pytest.raises(msgspec.MsgspecError):
            decode(encode(Entry(NOW, batch, b"")))
    else:
        with pytest.raises(TypeError, match="cannot be kept"):
            encode(Entry(NOW, batch, b""))


@pytest.mark.parametrize(
    "junk", [b"", b"\x93", b"junk", msgspec.msgpack.encode([1, {"type": "Nobody"}, b""])]
)
def test_what_is_no_entry_is_refused(junk: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(junk)


@pytest.mark.parametrize("column", [["|O", b"12345678"], ["<i8", b"123"], ["<i8"], 7, None, ["<i8", 5]])
def test_a_column_that_is_none_is_refused(column: Any) -> None:
    entry = msgspec.msgpack.decode(encode(Entry(NOW, seen({"ann": (32.8, -96.8)}), b"")))
    entry[1]["seq"] = column
    with pytest.raises(msgspec.MsgspecError):
        decode(msgspec.msgpack.encode(entry))


# -- digests ----------------------------------------------------------------------------------------------------------


def offer(**features: float) -> OfferRow:
    return OfferRow(
        offer_id="offer-1",
        region_id="tx-dfw",
        driver_id="ann",
        task_ids=("task-1",),
        status="OFFERED",  # type: ignore[arg-type]
        made_ms=NOW,
        expires_ms=NOW + 1,
        features=features,
    )


def outcomes() -> list[Ready]:
    """Outcomes no two of which are the same decision."""
    return [
        Ready(),
        Ready(records=[Record(record_id="r1")]),
        Ready(records=[Record(record_id="r2")]),
        Ready(records=[Record(record_id="r1", offers=(offer(km=1.0),))]),
        Ready(records=[Record(record_id="r1", offers=(offer(km=1.0000000000000002),))]),
        Ready(records=[Record(record_id="r1"), Record(record_id="r2")]),
        Ready(records=[Record(record_id="r2"), Record(record_id="r1")]),
        Ready(pushes=[Kick("g0", "ann", 1)]),
        Ready(pushes=[Push("g0", "ann", 1, OfferExpired(offer_id="offer-1"))]),
        Ready(pushes=[Push("g0", "ann", 1, OfferExpired(offer_id="offer-1", seq=2))]),
        Ready(reply=Answer()),
        Ready(reply=Answer("NOT_FOUND")),
        Ready(solve=problem([(32.8, -96.8)], [])),
        Ready(solve=problem([(32.8, -96.8)], [(32.8, -96.8)])),
        Ready(solve=problem([(32.8, -96.8)], [(32.8, -96.80000000000001)])),
    ]


def test_any_difference_in_a_decision_shows() -> None:
    digests = [digest(ready) for ready in outcomes()]
    assert len(set(digests)) == len(digests)
    assert {len(one) for one in digests} == {DIGEST_BYTES}
    assert digests == [digest(ready) for ready in outcomes()]


def test_the_order_of_a_dictionary_is_no_decision_and_a_scalar_of_numpy_is_a_number() -> None:
    one = Ready(records=[Record(record_id="r1", offers=(offer(km=1.0, p=0.5),))])
    other = Ready(records=[Record(record_id="r1", offers=(offer(p=np.float64(0.5), km=1.0),))])
    assert digest(one) == digest(other)


def test_a_chain_tells_the_order() -> None:
    one, other = Chain(), Chain()
    for digested in (b"a", b"b"):
        one.add(digested)
    for digested in (b"b", b"a"):
        other.add(digested)
    assert one.value() != other.value()


SCRIPT = """
from tests.support.chance import play
from tests.unit.domain.region.log.test_journal import LIFE, Kept
from tests.support.recording import Recorded
kept = Kept()
play(Recorded(kept), LIFE)
print(kept.chain.value(), hash("ann"))
"""

# Several holders of several tasks, refusals, a restart: whatever a region keeps in sets and dictionaries.
LIFE: list[Move] = [
    *[("drive", i, i, 0.0) for i in range(3)],
    *[("order", 0, 0, 0.3)] * 4,
    *[("next", 5, i % 4, 0.3) for i in range(12)],
    ("underage", 5, 0, 0.0),
    ("reject", 5, 1, 0.3),
    ("restart", 0, 0, 5.0),
    *[("drive", i, i, 0.0) for i in range(3)],
    *[("next", 5, i % 4, 0.3) for i in range(12)],
    ("cancel", 0, 1, 31.0),
    ("attach", 1, 1, 0.0),
    ("lost", 0, 0, 0.3),
]


def test_two_processes_with_different_hash_seeds_decide_the_same() -> None:
    printed = []
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        printed.append(run.stdout.split())
    assert printed[0][1] != printed[1][1], "the seeds took effect"
    assert printed[0][0] == printed[1][0]
