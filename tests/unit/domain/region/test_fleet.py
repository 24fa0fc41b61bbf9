"""The drivers in columns: batches of pings in any order leave the newest of each, and nothing is lost while growing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.region.fleet import DriverState, Fleet
from domain.region.messages import DriversSeen, Kick, Push, Reported
from tests.support.build import NOW, at, seen

HERE, THERE = at(1, 1), at(5, 5)


def known(fleet: Fleet, driver_id: str = "ann") -> tuple[float, float, int, int, bool]:
    row = fleet.index[driver_id]
    return (
        float(fleet.lat[row]),
        float(fleet.lng[row]),
        int(fleet.session[row]),
        int(fleet.seq[row]),
        bool(fleet.on_duty[row]),
    )


def test_a_ping_sets_the_row() -> None:
    fleet = Fleet()
    appeared, went_off, came_on, kicks = fleet.see(NOW, seen({"ann": HERE, "bob": THERE}, session=3, seq=9))
    assert (appeared, went_off, came_on, kicks) == ([0, 1], [], True, [])
    assert known(fleet) == (*HERE, 3, 9, True)
    assert known(fleet, "bob") == (*THERE, 3, 9, True)
    assert (fleet.pings, len(fleet)) == (2, 2)


@pytest.mark.parametrize(("session", "seq"), [(3, 8), (2, 99), (0, 99)])
def test_an_older_ping_changes_nothing(session: int, seq: int) -> None:
    fleet = Fleet()
    fleet.see(NOW, seen({"ann": HERE}, session=3, seq=9))
    before = known(fleet)
    appeared, went_off, _, _ = fleet.see(NOW + 5, seen({"ann": THERE}, session=session, seq=seq, on=False))
    assert (known(fleet), appeared, went_off) == (before, [], [])
    assert fleet.seen_ms[0] == NOW


def test_one_old_ping_does_not_hold_up_the_others_of_its_batch() -> None:
    fleet = Fleet()
    fleet.see(NOW, seen({"ann": HERE, "bob": HERE}, session={"ann": 2, "bob": 1}))
    fleet.see(NOW, seen({"ann": THERE, "bob": THERE, "cyd": THERE}, seq=2))
    assert known(fleet, "ann")[:2] == HERE
    assert known(fleet, "bob")[:2] == THERE
    assert known(fleet, "cyd")[:2] == THERE


def test_a_later_session_counts_whatever_its_sequence_number() -> None:
    fleet = Fleet()
    fleet.see(NOW, seen({"ann": HERE}, session=3, seq=900))
    fleet.see(NOW, seen({"ann": THERE}, session=4, seq=0))
    assert known(fleet) == (*THERE, 4, 0, True)


def test_growth_keeps_every_row() -> None:
    fleet, n = Fleet(), 1000
    for i in range(n):
        fleet.see(NOW + i, seen({f"d{i}": at(i / 100)}, seq=i + 1))
    assert len(fleet) == n
    assert fleet.ids == [f"d{i}" for i in range(n)]
    assert all(known(fleet, f"d{i}") == (*at(i / 100), 1, i + 1, True) for i in range(n))
    assert len(fleet.free_rows(NOW + n, 90_000)) == n
    assert int(fleet.gateway[n]) == -1  # room ahead holds nobody


def test_a_batch_larger_than_the_room_is_one_step() -> None:
    fleet = Fleet()
    appeared, _, _, _ = fleet.see(NOW, seen({f"d{i}": HERE for i in range(10_000)}))
    assert appeared == list(range(10_000))


def test_an_empty_batch_is_nothing() -> None:
    fleet = Fleet()
    assert fleet.see(NOW, seen({})) == ([], [], False, [])
    assert fleet.pings == 0


def test_a_socket_appears_once() -> None:
    fleet = Fleet()
    assert fleet.see(NOW, seen({"ann": HERE}))[0] == [0]
    assert fleet.see(NOW, seen({"ann": HERE}, seq=2))[0] == []
    fleet.gateway[0] = -1  # its gateway was lost
    assert fleet.see(NOW, seen({"ann": HERE}, seq=3))[0] == [0]
    assert fleet.see(NOW, seen({"ann": HERE}, seq=4, gateway_id="gateway:1"))[0] == [0]


def test_a_driver_without_a_socket_never_appears() -> None:
    fleet = Fleet()
    assert fleet.see(NOW, seen({"ann": HERE}, session=0))[0] == []
    assert int(fleet.gateway[0]) == -1
    assert len(fleet.free_rows(NOW, 90_000)) == 1


def test_a_later_socket_closes_the_earlier() -> None:
    fleet = Fleet()
    fleet.see(NOW, seen({"ann": HERE}, session=1))
    _, _, _, kicks = fleet.see(NOW, seen({"ann": HERE}, session=2, gateway_id="gateway:1"))
    assert kicks == [Kick("gateway:0", "ann", 1)]
    _, _, _, kicks = fleet.see(NOW, seen({"ann": THERE}, session=1, seq=7))
    assert kicks == [Kick("gateway:0", "ann", 1)]
    assert known(fleet)[:3] == (*HERE, 2)


def test_a_word_over_rest_goes_to_the_socket_and_changes_nothing_by_itself() -> None:
    fleet = Fleet()
    fleet.see(NOW, seen({"ann": HERE, "bob": HERE}, session=7))
    report = seen({"ann": THERE, "cat": THERE}, session=0, seq=900, on=False, gateway_id="gateway:1")
    told = fleet.see(NOW, report).told
    assert told == [
        Push(
            "gateway:0",
            "ann",
            7,
            Reported(said_ms=900, lat=THERE[0], lng=THERE[1], on_duty=False, until_ms=0, from_ms=0),
        )
    ]
    assert bool(fleet.on_duty[fleet.row("ann")])
    assert known(fleet)[:2] == HERE
    # Told once: a gateway repeats what it knows.
    assert fleet.see(NOW, report).told == []


def test_going_off_duty_is_told_once() -> None:
    fleet = Fleet()
    fleet.see(NOW, seen({"ann": HERE, "bob": HERE}))
    assert fleet.see(NOW, seen({"ann": HERE}, seq=2, on=False))[1] == [0]
    assert fleet.see(NOW, seen({"ann": HERE}, seq=3, on=False))[1] == []


def test_who_is_free() -> None:
    fleet = Fleet()
    fleet.see(NOW, seen(dict.fromkeys(("ann", "bob", "cyd", "dee", "eve"), HERE)))
    fleet.see(NOW, seen({"bob": HERE}, seq=2, on=False))
    fleet.state[fleet.row("cyd")] = DriverState.OFFERED
    fleet.rest_until_ms[fleet.row("dee")] = NOW + 1
    fleet.row("fay")  # known by name, never seen
    assert fleet.free_rows(NOW, 90_000).tolist() == [0, 4]
    assert fleet.free_rows(NOW + 89_999, 90_000).tolist() == [0, 3, 4]
    assert fleet.free_rows(NOW + 90_000, 90_000).tolist() == []


def test_the_accept_rate_is_smoothed_and_never_zero() -> None:
    fleet = Fleet()
    fleet.see(NOW, seen({"ann": HERE, "bob": HERE}))
    columns = fleet.columns(NOW, np.array([0, 1]), np.array([0]), 1.5)
    assert columns.ids == ["ann", "bob"]
    assert columns.accept_rate.tolist() == [0.75, 0.75]
    fleet.offers[1] = 96
    columns = fleet.columns(NOW, np.array([0, 1]), np.array([0]), 1.5)
    # Who is new is taken for what the region knows of all.
    assert columns.accept_rate.tolist() == pytest.approx([0.03, 0.12 / 100])


def test_who_can_be_planned_with() -> None:
    fleet = Fleet()
    fleet.see(NOW, seen(dict.fromkeys(("ann", "bob", "cyd", "dee", "eve", "fay"), HERE)))
    for name, state in (
        ("bob", DriverState.OFFERED),
        ("cyd", DriverState.RETURNING),
        ("dee", DriverState.TO_DROPOFF),
        ("eve", DriverState.TO_PICKUP),
    ):
        fleet.state[fleet.row(name)] = state
    fleet.free_ms[[fleet.row("dee"), fleet.row("eve")]] = NOW + 60_000, NOW + 60_001
    fleet.until_ms[fleet.row("fay")] = NOW
    rows = fleet.rows_to_plan(NOW, 90_000, 60_000)
    columns = fleet.columns(NOW, rows, fleet.free_rows(NOW, 90_000), 1.5)
    assert columns.ids == ["ann", "bob", "dee"]
    assert columns.idle.tolist() == [True, False, False]
    assert columns.free_ms.tolist() == [NOW, NOW, NOW + 60_000]


PINGS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.integers(0, 4), st.booleans()), max_size=30
)


@given(PINGS, st.integers(1, 5))
def test_whatever_arrives_in_whatever_batches_the_newest_ping_stands(
    pings: list[tuple[str, int, int, bool]], batch: int
) -> None:
    fleet = Fleet()
    newest: dict[str, tuple[int, int, int]] = {}
    for start in range(0, len(pings), batch):
        # A gateway puts one ping of a driver into a batch.
        ones = {ping[0]: (i, ping) for i, ping in enumerate(pings[start : start + batch], start)}
        chosen = list(ones.values())
        for i, (name, session, seq, _) in chosen:
            if name not in newest or (session, seq) >= newest[name][:2]:
                newest[name] = (session, seq, i)
        fleet.see(
            NOW,
            DriversSeen(
                gateway_id="gateway:0",
                driver_ids=[ping[0] for _, ping in chosen],
                session=np.array([ping[1] for _, ping in chosen], np.int64),
                seq=np.array([ping[2] for _, ping in chosen], np.int64),
                lat=np.array([float(i) for i, _ in chosen]),
                lng=np.zeros(len(chosen)),
                on_duty=np.array([ping[3] for _, ping in chosen], np.bool_),
            ),
        )
    for name, (session, seq, i) in newest.items():
        assert known(fleet, name) == (float(i), 0.0, session, seq, pings[i][3])


def test_who_said_when_the_shift_begins_is_planned_with_and_not_asked() -> None:
    fleet = Fleet()
    batch = seen({"ann": HERE})
    fleet.see(NOW, replace(batch, from_ms=np.array([NOW + 60_000])))
    assert fleet.free_rows(NOW + 59_999, 90_000).tolist() == []
    assert fleet.rows_to_plan(NOW - 1, 90_000, 60_000).tolist() == []
    [row] = rows = fleet.rows_to_plan(NOW, 90_000, 60_000)
    columns = fleet.columns(NOW, rows, fleet.free_rows(NOW, 90_000), 1.5)
    assert (columns.free_ms.tolist(), columns.idle.tolist()) == ([NOW + 60_000], [False])
    assert columns.ahead.tolist() == [0.0]  # no hour is paid yet
    assert fleet.free_rows(NOW + 60_000, 90_000).tolist() == [row]
