"""The protocol of one socket, without a socket."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import islice
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.hostile.mutants import as_received, mutants
from domain.errors import OfferTaken
from domain.orders.reasons import DeclineReason
from domain.orders.records import Answer
from domain.protocol import (
    CLOSE_SLOW_READER,
    Location,
    OfferExpired,
    Place,
    ServerFrame,
    Snapshot,
    TaskArrive,
    TaskUpdated,
    TaskView,
)
from domain.region.mailbox import SEQ_ROOM
from domain.region.messages import Accept, Arrive, Attached, Pickup, Reject
from gateway.sockets.connection import (
    CLOSE_BAD,
    CLOSE_TOO_LARGE,
    Connection,
    Greeting,
    Handled,
    Phase,
    Question,
    Renewal,
    Shown,
    Sighting,
)

BASE = SEQ_ROOM  # the first epoch's


def make(outbox_limit: int = 256) -> Connection:
    return Connection(max_frame_bytes=16_384, bad_frames_limit=3, outbox_limit=outbox_limit)


def welcome(
    connection: Connection, *missed: ServerFrame, resumed: bool = False, last_seq: int = BASE
) -> None:
    connection.welcome(
        Attached(resumed, Snapshot(last_seq=last_seq), missed),
        driver_id="d",
        heartbeat_s=15.0,
        server_time=datetime(2030, 1, 1, tzinfo=UTC),
        speed=1.0,
    )


def opened(**options: int) -> Connection:
    connection = make(**options)
    connection.receive('{"type":"hello","token":"t"}')
    welcome(connection)
    connection.take()
    return connection


def out(connection: Connection) -> list[dict[str, Any]]:
    return [json.loads(data) for data in connection.take()]


def push(seq: int) -> OfferExpired:
    return OfferExpired(seq=seq, offer_id=f"o{seq}")


def seqs(connection: Connection) -> list[int]:
    return [frame["seq"] for frame in out(connection) if "seq" in frame]


def test_hello_comes_first() -> None:
    connection = make()
    assert connection.receive('{"type":"hello","token":"t","resume_from":7}') == Greeting("t", 7)
    assert connection.phase is Phase.ATTACHING


def test_anything_else_before_the_hello_closes() -> None:
    connection = make()
    assert connection.receive('{"type":"ack","seq":1}') is None
    assert out(connection)[0]["code"] == "UNAUTHENTICATED"
    assert connection.closing is not None
    assert connection.closing.code == CLOSE_BAD


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        ({"type": "offer.seen", "offer_id": "o"}, Shown("o")),
        ({"type": "ack", "seq": 5}, Handled(5)),
        ({"type": "duty", "on": True, "lat": 1, "lng": 2}, Sighting(1.0, 2.0, True)),
        ({"type": "duty", "on": False}, Sighting(None, None, False)),
        (
            {"type": "duty", "on": True, "until": "2030-01-01T08:00:00-06:00"},
            Sighting(None, None, True, datetime(2030, 1, 1, 14, tzinfo=UTC)),
        ),
        (
            {"type": "location", "lat": 1, "lng": 2, "at": "2030-01-01T00:00:00Z", "seq": 0},
            Location(1.0, 2.0, datetime(2030, 1, 1, tzinfo=UTC), 0),
        ),
    ],
)
def test_frames_become_events(frame: dict[str, Any], event: object) -> None:
    assert opened().receive(json.dumps(frame)) == event


@pytest.mark.parametrize(
    ("frame", "action"),
    [
        ({"type": "offer.accept", "id": "1", "offer_id": "o"}, Accept(offer_id="o")),
        (
            {"type": "offer.reject", "id": "1", "offer_id": "o", "reason": "TOO_FAR"},
            Reject(offer_id="o", reason=DeclineReason.TOO_FAR),
        ),
        ({"type": "task.arrive", "id": "1", "task_id": "t"}, Arrive("t")),
        ({"type": "task.pickup", "id": "1", "task_id": "t"}, Pickup("t")),
    ],
)
def test_frames_with_an_id_become_questions(frame: dict[str, Any], action: object) -> None:
    event = opened().receive(json.dumps(frame))
    assert isinstance(event, Question)
    assert (event.id, event.action) == ("1", action)


def test_an_answer_carries_the_id_and_no_seq() -> None:
    connection = opened()
    question = connection.receive('{"type":"offer.accept","id":"x","offer_id":"o"}')
    assert isinstance(question, Question)
    connection.answer(question, Answer(body={"offer_id": "o", "tasks": []}))
    assert out(connection) == [{"type": "offer.accepted", "in_reply_to": "x", "offer_id": "o", "tasks": []}]
    connection.answer(question, Answer(code="OFFER_TAKEN", detail="gone"))
    connection.refuse("y", OfferTaken())
    assert [(frame["code"], frame["in_reply_to"]) for frame in out(connection)] == [
        ("OFFER_TAKEN", "x"),
        ("OFFER_TAKEN", "y"),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"type":"unheard.of"}',
        '{"type":"offer.accept","offer_id":"o"}',
        '{"type":"location","lat":NaN,"lng":0,"at":"2030-01-01T00:00:00Z","seq":1}',
        '{"type":"location","lat":Infinity,"lng":0,"at":"2030-01-01T00:00:00Z","seq":1}',
        '{"type":"location","lat":1e999,"lng":0,"at":"2030-01-01T00:00:00Z","seq":1}',
        '{"type":"location","lat":null,"lng":0,"at":"2030-01-01T00:00:00Z","seq":1}',
        '{"type":"location","lat":91,"lng":0,"at":"2030-01-01T00:00:00Z","seq":1}',
        '{"type":"location","lat":1,"lng":0,"at":"2030-01-01T00:00:00","seq":1}',
        '{"type":"location","lat":1,"lng":0,"at":"2030-01-01T00:00:00Z","seq":' + "9" * 400 + "}",
        '{"type":"offer.seen","offer_id":"\\u0000"}',
        '{"type":"offer.seen","offer_id":"\\ud800"}',
        '{"type":"hello","token":"t"}',
        "\ud800",
        "[" * 9000,
        b'{"type":"ack","seq":1}',
    ],
)
def test_three_bad_frames_in_a_row_close(bad: str | bytes) -> None:
    connection = opened()
    for _ in range(2):
        assert connection.receive(bad) is None
        assert connection.closing is None
    assert connection.receive('{"type":"ack","seq":1}') == Handled(1)
    for _ in range(3):
        connection.receive(bad)
    assert [frame["code"] for frame in out(connection)] == ["BAD_FRAME"] * 5
    assert connection.closing is not None
    assert connection.closing.code == CLOSE_BAD


@pytest.mark.parametrize(
    "telemetry",
    [
        '"speed_mps":-1,"heading_deg":-1,"accuracy_m":-1',
        '"speed_mps":-1.0,"heading_deg":361',
        '"heading_deg":-0.5',
        '"accuracy_m":null,"speed_mps":null',
        '"speed_mps":"fast"',
        '"speed_mps":true,"heading_deg":[1,{"x":2}]',
        '"accuracy_m":1e999',
        '"heading_deg":' + "9" * 400,
    ],
)
def test_telemetry_that_cannot_be_is_unknown_and_no_attack(telemetry: str) -> None:
    connection = opened()
    frame = '{"type":"location","lat":1,"lng":2,"at":"2030-01-01T00:00:00Z","seq":%d,' + telemetry + "}"
    at = datetime(2030, 1, 1, tzinfo=UTC)
    for seq in range(5):
        assert connection.receive(frame % seq) == Location(1.0, 2.0, at, seq)
    assert out(connection) == []
    assert connection.closing is None


def test_telemetry_that_is_known_is_kept() -> None:
    frame = '{"type":"location","lat":1,"lng":2,"seq":1,"speed_mps":0,"heading_deg":360,"accuracy_m":12.5}'
    assert opened().receive(frame) == Location(1.0, 2.0, None, 1, 0.0, 360.0, 12.5)


def test_unknown_telemetry_excuses_no_other_value() -> None:
    connection = opened()
    for _ in range(3):
        connection.receive('{"type":"location","speed_mps":"fast","lat":91,"lng":2,"seq":1}')
    assert connection.closing is not None
    assert connection.closing.code == CLOSE_BAD


@pytest.mark.parametrize("twice", ['"lat":1', '"speed_mps":-1', '"accuracy_m":5', '"seq":1'])
def test_unknown_telemetry_hides_no_key_that_comes_twice(twice: str) -> None:
    connection = opened()
    frame = '{"type":"location","lat":1,"lng":2,"seq":1,"speed_mps":-1,"accuracy_m":5,' + twice + "}"
    assert connection.receive(frame) is None
    assert out(connection)[0]["code"] == "BAD_FRAME"


@pytest.mark.parametrize("depth", range(800, 1_010))
def test_no_depth_of_nesting_raises(depth: int) -> None:
    """A parser may get to the end of a frame, and the look at its keys not."""
    make().receive('{"type":"ack","seq":1,"x":' + "[" * depth + "]" * depth + "}")


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400, "9" * 5000])
def test_a_number_that_nobody_asked_for_may_be_of_any_size(number: str) -> None:
    connection = opened()
    assert connection.receive('{"type":"ack","seq":1,"x":' + number + "}") == Handled(1)
    assert connection.receive('{"type":"ack","seq":1,"seq":2,"x":' + number + "}") is None


def test_positions_without_a_number_count_as_they_come() -> None:
    connection = opened()
    for _ in range(3):
        assert isinstance(connection.receive('{"type":"location","lat":1,"lng":2}'), Location)


def test_a_bad_frame_with_an_id_is_answered_by_it() -> None:
    connection = opened()
    connection.receive('{"type":"offer.accept","id":"x","offer_id":5}')
    assert out(connection)[0]["in_reply_to"] == "x"


def test_a_frame_over_the_limit_closes_at_once() -> None:
    connection = opened()
    frame = '{"type":"ack","seq":1,"x":"%s"}'
    assert connection.receive(frame % ("y" * (16_384 - len(frame) + 2))) == Handled(1)
    connection.receive(frame % ("y" * (16_384 - len(frame) + 3)))
    assert connection.closing is not None
    assert connection.closing.code == CLOSE_TOO_LARGE


def test_an_older_location_is_ignored() -> None:
    connection = opened()
    frame = '{"type":"location","lat":1,"lng":2,"at":"2030-01-01T00:00:00Z","seq":%d}'
    assert isinstance(connection.receive(frame % 5), Location)
    assert connection.receive(frame % 5) is None
    assert connection.receive(frame % 4) is None
    assert isinstance(connection.receive(frame % 6), Location)


def test_pushes_before_the_welcome_follow_it() -> None:
    connection = make()
    connection.receive('{"type":"hello","token":"t"}')
    connection.push(push(BASE + 2))
    connection.push(push(BASE + 1))
    assert not connection.has_output
    welcome(connection)
    frames = out(connection)
    assert frames[0]["type"] == "welcome"
    assert [frame["seq"] for frame in frames[1:]] == [BASE + 1, BASE + 2]


def test_what_the_snapshot_has_is_not_pushed_again() -> None:
    connection = make()
    connection.receive('{"type":"hello","token":"t"}')
    connection.push(push(BASE + 1))
    connection.push(push(BASE + 2))
    welcome(connection, last_seq=BASE + 1)
    assert seqs(connection) == [BASE + 2]


def test_a_resumed_client_gets_what_it_missed_once() -> None:
    connection = make()
    connection.receive('{"type":"hello","token":"t","resume_from":1}')
    connection.push(push(BASE + 4))
    missed = [push(BASE + n) for n in (2, 3, 4)]
    welcome(connection, *missed, resumed=True, last_seq=BASE + 4)
    connection.push(push(BASE + 3))
    connection.push(push(BASE + 5))
    assert seqs(connection) == [BASE + 2, BASE + 3, BASE + 4, BASE + 5]


def test_a_push_that_overtook_another_waits_for_it() -> None:
    connection = opened()
    connection.push(push(BASE + 2))
    assert connection.has_gap
    assert seqs(connection) == []
    connection.push(push(BASE + 1))
    assert not connection.has_gap
    assert seqs(connection) == [BASE + 1, BASE + 2]


def test_a_gap_is_filled_from_what_the_region_kept() -> None:
    connection = opened()
    connection.push(push(BASE + 3))
    kept = tuple(push(BASE + n) for n in (1, 2, 3))
    assert connection.fill(Attached(True, Snapshot(last_seq=BASE + 3), kept))
    assert seqs(connection) == [BASE + 1, BASE + 2, BASE + 3]
    assert not connection.has_gap


def test_a_later_life_of_the_region_numbers_anew() -> None:
    connection = opened()
    connection.push(push(BASE + 1))
    connection.push(push(2 * SEQ_ROOM + 1))
    connection.push(push(BASE + 2))
    connection.push(push(2 * SEQ_ROOM + 2))
    assert seqs(connection) == [BASE + 1, 2 * SEQ_ROOM + 1, 2 * SEQ_ROOM + 2]


def test_a_slow_reader_is_closed() -> None:
    connection = opened(outbox_limit=4)
    for n in range(1, 6):
        connection.push(push(BASE + n))
    assert connection.closing is not None
    assert connection.closing.code == CLOSE_SLOW_READER
    connection.push(push(BASE + 6))
    assert connection.take() == []


def test_the_first_close_wins() -> None:
    connection = opened()
    connection.close(4001, "taken over")
    connection.close(1012, "restart")
    assert connection.closing is not None
    assert connection.closing.code == 4001
    assert connection.receive('{"type":"ack","seq":1}') is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_TYPES = [
    "hello",
    "duty",
    "location",
    "offer.seen",
    "offer.accept",
    "offer.reject",
    "task.arrive",
    "task.pickup",
    "ack",
]
_FRAME = st.fixed_dictionaries(
    {"type": st.sampled_from(_TYPES)},
    optional={
        "id": _JSON, "token": _JSON, "resume_from": _JSON, "on": _JSON, "lat": _JSON, "lng": _JSON, "at": _JSON,
        "seq": _JSON, "offer_id": _JSON, "task_id": _JSON, "reason": _JSON, "until": _JSON,
    },
)  # fmt: skip


@given(
    st.lists(st.binary(max_size=200) | st.text(max_size=200) | _FRAME.map(json.dumps), max_size=8),
    st.booleans(),
)
def test_nothing_that_a_client_sends_raises(frames: list[str | bytes], is_open: bool) -> None:
    connection = opened() if is_open else make()
    for frame in frames:
        event = connection.receive(frame)
        if isinstance(event, Greeting):
            welcome(connection)
        elif isinstance(event, Question):
            connection.answer(event, Answer(code="NOT_FOUND", detail="-"))
    for data in connection.take():
        assert json.loads(data)["type"] in {"error", "welcome"}


def test_twenty_thousand_mutants_raise_nothing_and_fill_nothing() -> None:
    seed = 7
    rng = Random(seed)
    connection = make(outbox_limit=64)
    kinds: set[str] = set()
    opened_count = 0
    for number, data in enumerate(islice(mutants(rng), 20_000)):
        try:
            event = connection.receive(as_received(data, rng))
        except Exception as error:
            raise AssertionError(f"seed {seed}, frame {number}: {data!r}") from error
        kinds.add(type(event).__name__)
        if isinstance(event, Greeting):
            welcome(connection)
        elif isinstance(event, Question):
            connection.answer(event, Answer(code="NOT_FOUND", detail="-"))
        elif isinstance(event, Renewal):
            connection.renewed(event, 1.0)
        assert len(connection._out) <= 64
        if rng.random() < 0.1:
            for written in connection.take():
                assert json.loads(written)["type"] in {"error", "welcome", "auth.ok"}
        if connection.closing is not None:
            assert connection.closing.code in {CLOSE_BAD, CLOSE_TOO_LARGE, CLOSE_SLOW_READER}
            assert len(connection.closing.reason.encode()) <= 123
            assert sum(map(len, connection.take())) < 64 * 20_000
            connection, opened_count = rng.choice((opened, make))(outbox_limit=64), opened_count + 1
    # Every way through was taken, and many times over.
    assert kinds == {
        "NoneType", "Greeting", "Question", "Location", "Sighting", "Shown", "Handled", "Renewal"
    }  # fmt: skip
    assert opened_count > 500


def task_updated(seq: int, task_id: str, status: str = "ASSIGNED") -> TaskUpdated:
    place = Place(1.0, 2.0)
    view = TaskView(
        task_id=task_id, order_id="o", kind="DELIVERY", status=status, store_id="s", pickup=place, dropoff=place,
        min_age=21, ready_at=datetime(2030, 1, 1, tzinfo=UTC), due_at=datetime(2030, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return TaskUpdated(seq=seq, task=view)


def test_a_full_outbox_keeps_the_newest_of_each_task_and_offer() -> None:
    connection = opened(outbox_limit=4)
    connection.push(task_updated(BASE + 1, "a", "ASSIGNED"))
    connection.push(push(BASE + 2))
    connection.push(task_updated(BASE + 3, "b"))
    connection.push(task_updated(BASE + 4, "a", "PICKED_UP"))
    assert connection.closing is None
    connection.push(task_updated(BASE + 5, "a", "DELIVERED"))
    assert connection.closing is None
    frames = out(connection)
    assert [(frame["seq"], frame.get("skipped", 0)) for frame in frames] == [
        (BASE + 2, 1),
        (BASE + 3, 0),
        (BASE + 5, 1),
    ]
    assert frames[-1]["task"]["status"] == "DELIVERED"
    # Nothing is left out while there is room, and a client can account for every number.
    connection.push(task_updated(BASE + 6, "a"))
    connection.push(task_updated(BASE + 7, "a"))
    assert [(frame["seq"], frame.get("skipped", 0)) for frame in out(connection)] == [
        (BASE + 6, 0),
        (BASE + 7, 0),
    ]


def test_answers_are_never_left_out_and_nothing_is_across_a_welcome() -> None:
    connection = opened(outbox_limit=6)
    question = Question("x", TaskArrive, Arrive("a"))
    body = {"task": msgspec.to_builtins(task_updated(0, "a").task)}
    connection.push(task_updated(BASE + 1, "a"))
    for _ in range(2):
        connection.answer(question, Answer(body=body))
    welcome(connection, last_seq=BASE + 1)
    connection.push(task_updated(BASE + 2, "a"))
    connection.push(task_updated(BASE + 3, "a"))
    connection.push(task_updated(BASE + 4, "a"))
    assert [(frame["type"], frame.get("seq", 0), frame.get("skipped", 0)) for frame in out(connection)] == [
        ("task.updated", BASE + 1, 0),
        ("task.updated", 0, 0),
        ("task.updated", 0, 0),
        ("welcome", 0, 0),
        ("task.updated", BASE + 4, 2),
    ]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_whatever_is_left_out_is_counted_and_said_by_a_later_push(pushes: list[tuple[str, bool]]) -> None:
    connection = opened(outbox_limit=5)
    newest_of: dict[str, int] = {}
    got: list[dict[str, Any]] = []
    for seq, (task_id, is_read) in enumerate(pushes, BASE + 1):
        connection.push(task_updated(seq, task_id))
        newest_of[task_id] = seq
        if is_read and (data := connection.take_one()) is not None:
            got.append(json.loads(data))
    assert connection.closing is None
    got += out(connection)
    last = BASE
    for frame in got:
        assert frame["seq"] == last + 1 + frame.get("skipped", 0)
        last = frame["seq"]
    assert last == BASE + len(pushes)
    assert {frame["task"]["task_id"]: frame["seq"] for frame in got} == newest_of


@given(st.lists(st.integers(1, 12), max_size=40))
def test_what_is_put_out_rises_by_one_whatever_the_order(numbers: list[int]) -> None:
    connection = opened()
    for number in numbers:
        connection.push(push(BASE + number))
    sent = seqs(connection)
    assert sent == [BASE + n for n in range(1, len(sent) + 1)]
    assert len(sent) + 1 not in numbers


def test_a_client_that_missed_more_than_may_wait_gets_the_snapshot() -> None:
    missed = [OfferExpired(offer_id=str(n), seq=BASE + n) for n in range(1, 9)]
    connection = make(outbox_limit=8)
    connection.receive('{"type":"hello","token":"t","resume_from":1048576}')
    welcome(connection, *missed, resumed=True, last_seq=BASE + 8)
    [only] = out(connection)
    assert (only["type"], only.get("resumed")) == ("welcome", False)
    assert connection.closing is None
    connection.push(OfferExpired(offer_id="9", seq=BASE + 9))
    assert [frame["seq"] for frame in out(connection)] == [BASE + 9]
    assert not connection.fill(Attached(True, Snapshot(last_seq=BASE + 18), tuple(missed) * 2))
