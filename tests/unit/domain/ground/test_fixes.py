"""Which positions are believed: by age, by accuracy, by place and by the speed of a jump."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.ground.fixes import JITTER_MS, Bounds, Doubt, Track, boxes

DALLAS, HOUSTON = (32.78, -96.80), (29.76, -95.37)
NOW_MS = 1_800_000_000_000
BOUNDS = Bounds(
    age_ms=60_000,
    clock_ms=30_000,
    accuracy_m=1_000.0,
    speed_mps=70.0,
    slack_m=500.0,
    confirmations=3,
    boxes=boxes(("tx-dfw", "tx-hou", "tx-aus"), 100_000.0),
)


class Phone:
    """A driver's phone on duty in Dallas, whose clock is `ahead_ms` of the server's."""

    def __init__(self, ahead_ms: int = 0, **bounds: Any) -> None:
        self.track = Track(replace(BOUNDS, **bounds))
        self.ahead_ms, self.now_ms = ahead_ms, NOW_MS
        assert self.track.doubt(*DALLAS, None, None, NOW_MS) is None

    def says(
        self,
        place: tuple[float, float],
        *,
        ago_s: float = 0.0,
        after_s: float = 1.0,
        accuracy_m: float | None = None,
    ) -> Doubt | None:
        """A position of `ago_s` before, said `after_s` after the last one."""
        self.now_ms += round(after_s * 1000)
        at_ms = self.now_ms + self.ahead_ms - round(ago_s * 1000)
        return self.track.doubt(*place, at_ms, accuracy_m, self.now_ms)

    @property
    def place(self) -> tuple[float, float]:
        return self.track.lat, self.track.lng


def near(n: int) -> tuple[float, float]:
    """Places some 11 m apart."""
    return DALLAS[0] + n * 1e-4, DALLAS[1]


# -- age --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_s", [0, 20, -20, 3600, 86_400])
def test_a_queue_said_after_a_new_position_moves_nobody(ahead_s: int) -> None:
    phone = Phone(ahead_s * 1000)
    assert phone.says(near(1), after_s=20.0) is None
    for n, minutes in enumerate((15, 14, 13, 12, 11, 10, 1, 0.5)):
        assert phone.says(near(5 + n), ago_s=60 * minutes, after_s=0.01) is Doubt.OLD
    assert phone.place == near(1)
    assert phone.says(near(2)) is None
    assert phone.place == near(2)


@pytest.mark.parametrize("spread_s", [0.01, 1.0])
def test_a_queue_alone_moves_nobody_until_it_has_caught_up(spread_s: float) -> None:
    phone = Phone()
    doubts = [phone.says(near(n), ago_s=900 - 30 * n, after_s=spread_s) for n in range(28)]
    assert doubts == [Doubt.OLD] * 28
    assert phone.place == DALLAS
    assert phone.says(near(31)) is None


def test_of_two_that_overtook_each_other_the_newest_counts() -> None:
    phone = Phone()
    assert phone.says(near(2)) is None
    assert phone.says(near(1), ago_s=2.0) is Doubt.OLD


def test_an_old_position_is_not_taken_for_want_of_a_newer_one() -> None:
    phone = Phone()
    assert phone.says(near(1), ago_s=900.0, after_s=7200.0) is Doubt.OLD


def test_a_queue_that_takes_its_time_is_no_clock_that_is_behind() -> None:
    phone = Phone()
    assert {phone.says(near(n), ago_s=3600.0 - n * 10) for n in range(100)} == {Doubt.OLD}


def test_what_was_said_on_another_way_is_not_taken_back() -> None:
    phone = Phone()
    assert phone.says(near(9), ago_s=30.0, after_s=JITTER_MS / 1000) is Doubt.OLD
    assert phone.says(near(9), ago_s=1.0, after_s=0.0) is None


def test_a_clock_that_is_ahead_counts_as_now() -> None:
    phone = Phone(40 * 365 * 86_400_000)
    for n in range(5):
        assert phone.says(near(n)) is None
    assert phone.track.ms == phone.now_ms


def test_a_clock_that_was_ahead_and_is_put_right() -> None:
    phone = Phone(3_600_000)
    assert phone.says(near(1)) is None
    phone.ahead_ms = 0
    for n in range(2, 5):
        assert phone.says(near(n)) is None
    assert phone.says(near(9), ago_s=600) is Doubt.OLD


@pytest.mark.parametrize("behind_s", [90, 3600, 10 * 365 * 86_400])
def test_a_clock_that_is_behind_is_known_after_a_while(behind_s: int) -> None:
    phone = Phone(-behind_s * 1000)
    doubts = [phone.says(near(n), after_s=5.0) for n in range(10)]
    assert doubts == [Doubt.OLD] * 6 + [None] * 4
    # From then on old is what is old by that clock.
    assert phone.says(near(20), ago_s=120, after_s=0.1) is Doubt.OLD


def test_another_phone_has_another_clock() -> None:
    phone = Phone(3_600_000)
    assert phone.says(near(1)) is None
    phone.track.another_phone()
    phone.ahead_ms = 0
    assert phone.says(near(2)) is None
    assert phone.says(near(9), ago_s=600) is Doubt.OLD


def test_a_phone_without_a_clock_is_heard_now() -> None:
    track = Track(BOUNDS)
    for n in range(3):
        assert track.doubt(*near(n), None, None, NOW_MS + n) is None


# -- place and accuracy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [(0.0, 0.0), (1e-7, -1e-7), (90.0, 0.0), (-90.0, 180.0), (48.8, 2.3), (32.78, 96.80), (-32.78, -96.80)],
)
def test_what_is_in_reach_of_no_market_is_never_believed(place: tuple[float, float]) -> None:
    phone = Phone()
    for _ in range(10):
        assert phone.says(place, after_s=3600.0) is Doubt.ELSEWHERE
    assert phone.place == DALLAS
    assert Track(BOUNDS).doubt(*place, None, None, NOW_MS) is Doubt.ELSEWHERE


def test_a_driver_may_come_from_outside() -> None:
    for place in (
        (33.9, -96.97),
        (32.85, -95.2),
        *((market.south + 0.1, market.west + 0.1) for market in BOUNDS.boxes),
    ):
        assert Track(BOUNDS).doubt(*place, None, None, NOW_MS) is None


@pytest.mark.parametrize(
    ("accuracy_m", "doubt"), [(None, None), (0.0, None), (1_000.0, None), (1_001.0, Doubt.VAGUE)]
)
def test_what_is_too_vague_is_not_taken(accuracy_m: float | None, doubt: Doubt | None) -> None:
    assert Phone().says(near(1), accuracy_m=accuracy_m) is doubt


# -- jumps ------------------------------------------------------------------------------------------------------------


def test_a_moment_elsewhere_moves_nobody() -> None:
    phone = Phone()
    for n in range(5):
        assert phone.says(HOUSTON) is Doubt.JUMP
        assert phone.says((30.27, -97.74)) is Doubt.JUMP  # nor do jumps that do not agree
        assert phone.says(near(n)) is None
    assert phone.place == near(4)


def test_a_jump_that_goes_on_is_believed() -> None:
    phone = Phone()
    far = [(DALLAS[0] + 0.1 + n * 1e-4, DALLAS[1]) for n in range(5)]
    assert [phone.says(place) for place in far] == [Doubt.JUMP, Doubt.JUMP, None, None, None]
    assert phone.place == far[-1]


def test_after_a_long_silence_a_driver_may_be_far_away() -> None:
    assert Phone().says(HOUSTON, after_s=3600.0) is Doubt.JUMP, "362 km"
    assert Phone().says(HOUSTON, after_s=2 * 3600.0) is None


def test_no_speed_is_made_of_a_clock() -> None:
    phone = Phone()
    phone.ahead_ms = 86_400_000  # a day later all at once
    assert phone.says(HOUSTON) is Doubt.JUMP


@pytest.mark.parametrize("ahead_s", [0, -5, 300])
def test_a_fast_driver_is_no_jump(ahead_s: int) -> None:
    phone = Phone(ahead_s * 1000)
    lat, lng = DALLAS
    for n in range(200):
        lat += 45.0 / 111_195  # 160 km/h
        assert phone.says((lat, lng), after_s=(0.2, 1.8)[n % 2]) is None


@given(
    st.lists(
        st.tuples(
            st.floats(-90, 90),
            st.floats(-180, 180),
            st.none() | st.integers(-(2**62), 2**62),
            st.integers(0, 10**9),
        ),
        max_size=30,
    )
)
def test_whatever_is_said_the_driver_is_in_reach_and_the_time_is_none_of_the_future(
    said: list[tuple[float, float, int | None, int]],
) -> None:
    track, now_ms = Track(BOUNDS), NOW_MS
    for lat, lng, at_ms, after_ms in said:
        now_ms += after_ms
        if track.doubt(lat, lng, at_ms, None, now_ms) is None:
            assert (track.lat, track.lng) == (lat, lng)
            assert any(box.south <= lat <= box.north and box.west <= lng <= box.east for box in BOUNDS.boxes)
            assert now_ms - BOUNDS.age_ms <= track.ms <= now_ms
