"""A store's hours on the clock of its market, round midnight and daylight saving, and when goods could be back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.errors import StoreClosed, TooLateToday
from domain.ground.times import instant, millis
from domain.ground.travel import Haversine, Planar
from domain.orders.hours import (
    DAY_MIN,
    Holiday,
    Hours,
    Opening,
    Span,
    back_ms,
    closes_ms,
    is_open,
    return_by_ms,
)
from domain.solve import Services
from tests.support.build import DOOR_AT, STORE_AT

CHICAGO = "America/Chicago"
MONDAY, TUESDAY, FRIDAY, SATURDAY, SUNDAY = 0, 1, 4, 5, 6
TEN_TO_TEN = tuple(Opening(day, 10 * 60, 22 * 60) for day in range(7))
ALL_DAY = tuple(Opening(day, 0, DAY_MIN) for day in range(7))


def clock(day: str, at: str, zone: str = CHICAGO) -> int:
    """When the clock shows this, in ms; its first time where there are two."""
    return millis(datetime.fromisoformat(f"{day}T{at}").replace(tzinfo=ZoneInfo(zone)))


def closing(hours: Hours, day: str, at: str) -> int | None:
    return closes_ms(hours, CHICAGO, clock(day, at))


# -- ordinary days ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "opened"),
    [("09:59:59", False), ("10:00:00", True), ("16:00:00", True), ("21:59:59", True), ("22:00:00", False)],
)
def test_open_from_the_first_moment_to_before_the_last(at: str, opened: bool) -> None:
    assert is_open(TEN_TO_TEN, CHICAGO, clock("2026-06-17", at)) is opened


def test_closing_is_that_of_the_present_opening() -> None:
    siesta = (Opening(2, 9 * 60, 13 * 60), Opening(2, 16 * 60, 20 * 60))  # 2026-06-17 is a Wednesday
    assert closing(siesta, "2026-06-17", "09:30") == clock("2026-06-17", "13:00")
    assert closing(siesta, "2026-06-17", "14:00") == clock("2026-06-17", "14:00")
    assert closing(siesta, "2026-06-17", "19:59") == clock("2026-06-17", "20:00")
    assert closing(siesta, "2026-06-18", "19:59") == clock("2026-06-18", "19:59")


def test_a_closing_after_midnight_belongs_to_the_day_before() -> None:
    late = (Opening(FRIDAY, 18 * 60, 26 * 60), Opening(SUNDAY, 20 * 60, 25 * 60))
    assert closing(late, "2026-06-19", "23:00") == clock("2026-06-20", "02:00")
    assert closing(late, "2026-06-20", "01:59") == clock("2026-06-20", "02:00")
    assert not is_open(late, CHICAGO, clock("2026-06-20", "02:00"))
    assert not is_open(late, CHICAGO, clock("2026-06-19", "01:00"))
    assert closing(late, "2026-06-22", "00:30") == clock("2026-06-22", "01:00")  # Sunday night into Monday


def test_openings_that_touch_or_overlap_are_one() -> None:
    hours = (
        Opening(MONDAY, 10 * 60, 24 * 60),
        Opening(TUESDAY, 0, 2 * 60),
        Opening(TUESDAY, 60, 3 * 60),
    )
    assert closing(hours, "2026-06-15", "12:00") == clock("2026-06-16", "03:00")


def test_what_is_always_open_does_not_close_and_what_has_no_opening_is_closed() -> None:
    assert closing(None, "2026-06-17", "03:00") is None
    assert closing(ALL_DAY, "2026-06-17", "03:00") is None
    assert closing((), "2026-06-17", "12:00") == clock("2026-06-17", "12:00")
    assert not is_open((), CHICAGO, clock("2026-06-17", "12:00"))
    but_sunday = ALL_DAY[:SUNDAY]
    assert closing(but_sunday, "2026-06-17", "03:00") == clock("2026-06-21", "00:00")
    assert closing(but_sunday, "2026-06-22", "00:00") == clock("2026-06-28", "00:00")


@pytest.mark.parametrize(
    ("weekday", "opens", "closes"),
    [(-1, 0, 60), (7, 0, 60), (0, -1, 60), (0, 1440, 1500), (0, 600, 600), (0, 600, 599), (0, 600, 2041)],
)
def test_what_is_no_opening_is_refused(weekday: int, opens: int, closes: int) -> None:
    with pytest.raises(ValueError, match=r"weekday|opens_min|closes_min"):
        Opening(weekday, opens, closes)


# -- daylight saving --------------------------------------------------------------------------------------------------


def utc(text: str) -> int:
    return millis(datetime.fromisoformat(text).replace(tzinfo=UTC))


def test_the_night_that_lacks_an_hour() -> None:
    """2026-03-08: 02:00 CST is 03:00 CDT, and 02:00 is never shown."""
    night = (Opening(SATURDAY, 18 * 60, 26 * 60),)
    assert closing(night, "2026-03-07", "23:00") == utc("2026-03-08T08:00")
    assert closing(TEN_TO_TEN, "2026-03-08", "12:00") == utc("2026-03-09T03:00")  # 22:00 CDT
    assert not is_open(TEN_TO_TEN, CHICAGO, utc("2026-03-08T14:59"))
    assert is_open(TEN_TO_TEN, CHICAGO, utc("2026-03-08T15:00"))  # 10:00 CDT


def test_the_night_that_has_an_hour_twice() -> None:
    """2026-11-01: 02:00 CDT is 01:00 CST; the store closes when the clock shows 01:30 for the first time."""
    night = (Opening(SATURDAY, 18 * 60, 25 * 60 + 30),)
    assert closing(night, "2026-10-31", "23:00") == utc("2026-11-01T06:30")
    assert not is_open(night, CHICAGO, utc("2026-11-01T07:15"))  # 01:15 CST
    assert closing(TEN_TO_TEN, "2026-11-01", "12:00") == utc("2026-11-02T04:00")  # 22:00 CST


# -- properties -------------------------------------------------------------------------------------------------------

openings = st.builds(
    lambda day, opens, lasts: Opening(day, opens, opens + lasts),
    st.integers(0, 6),
    st.integers(0, DAY_MIN - 1),
    st.integers(1, DAY_MIN),
)
weeks = st.lists(openings, max_size=10).map(tuple)
# Half an hour of daylight saving, none, and an offset that is no whole hour among them.
zones = st.sampled_from([CHICAGO, "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
times = st.integers(utc("2025-01-01T00:00"), utc("2027-01-01T00:00"))


def week_of(hours: tuple[Opening, ...]) -> list[bool]:
    """Which minutes of a week are open, on a clock that nobody ever changes."""
    minutes = [False] * (7 * DAY_MIN)
    for opening in hours:
        for minute in range(opening.opens_min, opening.closes_min):
            minutes[(opening.weekday * DAY_MIN + minute) % len(minutes)] = True
    return minutes


@given(weeks, zones, times)
def test_hours_are_those_of_the_clock(hours: tuple[Opening, ...], zone: str, at_ms: int) -> None:
    """Minute by minute of a week without a change of the clock, by a table that knows no time zones."""
    begin = instant(at_ms).astimezone(ZoneInfo(zone))
    if (
        begin.utcoffset() != (begin + timedelta(days=9)).utcoffset()
        or begin.utcoffset() != (begin - timedelta(days=2)).utcoffset()
    ):
        return
    week = week_of(hours)
    now = begin.weekday() * DAY_MIN + begin.hour * 60 + begin.minute
    until_ms = closes_ms(hours, zone, at_ms)
    if all(week):
        assert until_ms is None
        return
    lasts = next(n for n in range(len(week)) if not week[(now + n) % len(week)])
    into_minute_ms = (begin.second * 1000) + begin.microsecond // 1000
    assert until_ms == at_ms + (lasts * 60_000 - into_minute_ms if lasts else 0)


@given(weeks, zones, times, st.floats(0, 1, exclude_max=True))
@example((Opening(SATURDAY, 18 * 60, 26 * 60),), CHICAGO, utc("2026-03-08T05:00"), 0.99)
def test_a_store_is_open_until_it_closes_and_then_it_is_not(
    hours: tuple[Opening, ...], zone: str, at_ms: int, share: float
) -> None:
    until_ms = closes_ms(hours, zone, at_ms)
    if until_ms is None:
        return
    assert until_ms >= at_ms
    assert is_open(hours, zone, at_ms) is (until_ms > at_ms)
    assert not is_open(hours, zone, until_ms)
    if until_ms > at_ms:
        between_ms = at_ms + int((until_ms - at_ms) * share)
        assert closes_ms(hours, zone, between_ms) == until_ms


# -- the way back -----------------------------------------------------------------------------------------------------

SERVICES = Services(pickup_before_s=1e6, pickup_after_s=30.0, door_before_s=120.0, door_after_s=10.0)


def test_goods_are_back_after_loading_two_trips_and_the_door() -> None:
    """On a plane with 60 s for each kilometre begun; whoever waits at the store need not come there first."""
    there = (0.0, 0.03)  # 3 km
    assert back_ms(1_000, (0.0, 0.0), there, Planar(metres_per_grain=1000.0), SERVICES) == 1_000 + 1000 * (
        30 + 180 + 120 + 10 + 180
    )


def test_the_way_back_is_driven_at_the_pace_of_its_hour() -> None:
    slow_after_one = Haversine(speed_mps=1.0, detour=1.0, hour_factor=(1.0,) + (3.0,) * 23)
    one_way_s = float(slow_after_one.seconds(*STORE_AT, *DOOR_AT, 0))
    assert one_way_s > 3600
    back = back_ms(0, STORE_AT, DOOR_AT, slow_after_one, Services(door_before_s=0.0))
    assert back == pytest.approx(4 * one_way_s * 1000, abs=2)


def test_refused_goods_must_be_back_before_the_store_closes() -> None:
    at_ms, by_ms = clock("2026-06-17", "21:00"), clock("2026-06-17", "22:00")
    assert return_by_ms(TEN_TO_TEN, CHICAGO, at_ms, lambda: by_ms) == by_ms
    with pytest.raises(TooLateToday, match="closes at 22:00; goods that are refused would be back at 22:00"):
        return_by_ms(TEN_TO_TEN, CHICAGO, at_ms, lambda: by_ms + 1)
    with pytest.raises(StoreClosed):
        return_by_ms(TEN_TO_TEN, CHICAGO, by_ms, lambda: by_ms)
    assert return_by_ms(None, CHICAGO, at_ms, lambda: 2**60) is None


# -- holidays ---------------------------------------------------------------------------------------------------------

CHRISTMAS = (Holiday("2026-12-24", (Span(10 * 60, 14 * 60),)), Holiday("2026-12-25"))


@pytest.mark.parametrize(
    ("day", "at", "closes"),
    [
        ("2026-12-23", "21:00", ("2026-12-23", "22:00")),
        ("2026-12-24", "09:59", None),
        ("2026-12-24", "10:00", ("2026-12-24", "14:00")),
        ("2026-12-24", "14:00", None),
        ("2026-12-25", "12:00", None),
        ("2026-12-26", "12:00", ("2026-12-26", "22:00")),
    ],
)
def test_a_holiday_has_its_own_hours(day: str, at: str, closes: tuple[str, str] | None) -> None:
    now_ms = clock(day, at)
    assert closes_ms(TEN_TO_TEN, CHICAGO, now_ms, CHRISTMAS) == (clock(*closes) if closes else now_ms)


def test_a_store_that_is_always_open_closes_for_a_holiday() -> None:
    before_ms = clock("2026-12-24", "23:59")
    assert closes_ms(None, CHICAGO, before_ms, CHRISTMAS[1:]) == clock("2026-12-25", "00:00")
    assert not is_open(None, CHICAGO, clock("2026-12-25", "00:00"), CHRISTMAS[1:])
    assert is_open(None, CHICAGO, clock("2026-12-26", "00:00"), CHRISTMAS[1:])


def test_a_night_that_began_before_a_holiday_lasts() -> None:
    nights = tuple(Opening(day, 18 * 60, 26 * 60) for day in range(7))
    assert closes_ms(nights, CHICAGO, clock("2026-12-25", "01:00"), CHRISTMAS[1:]) == clock(
        "2026-12-25", "02:00"
    )
    assert not is_open(nights, CHICAGO, clock("2026-12-25", "19:00"), CHRISTMAS[1:])
    assert not is_open(nights, CHICAGO, clock("2026-12-26", "01:00"), CHRISTMAS[1:])


@pytest.mark.parametrize("day", ["2026-02-30", "20261225", "2026-W01-1", "Christmas"])
def test_what_is_no_day(day: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Holiday(day)
