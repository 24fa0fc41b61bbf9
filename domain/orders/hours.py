"""When a store is open: hours by weekday on the clock of its market, whatever daylight saving does to it.

Times are server milliseconds. A clock time that comes twice is the first one, and one that is skipped counts from the
offset before the gap (RFC 5545, 3.3.5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

from msgspec import Struct

from domain.errors import StoreClosed, TooLateToday
from domain.ground.times import in_ms, instant, millis
from domain.ground.travel import TravelTimes
from domain.solve import Services

DAY_MIN = 24 * 60
OPENINGS_LIMIT = 50  # of one store
HOLIDAYS_LIMIT = 100  # of one store, past ones among them
HOLIDAY_OPENINGS_LIMIT = 5  # of one day
# A store that is open for so long without a break does not close: every weekday has come round.
_ROUND_MS = 8 * DAY_MIN * 60_000


class Opening(Struct, frozen=True):
    """One opening: `weekday` from 0 (Monday), both ends in minutes from that day's midnight on the market's clock.
    `closes_min` above 1440 is on the next day. `ValueError` for what is no opening."""

    weekday: int
    opens_min: int
    closes_min: int

    def __post_init__(self) -> None:
        if not 0 <= self.weekday <= 6:
            raise ValueError(f"weekday is from 0 (Monday) to 6, and not {self.weekday}")
        if not 0 <= self.opens_min < DAY_MIN:
            raise ValueError(f"opens_min is from 0 to {DAY_MIN - 1}, and not {self.opens_min}")
        if not 0 < self.closes_min - self.opens_min <= DAY_MIN:
            raise ValueError(f"closes_min is after opens_min by at most {DAY_MIN}")


class Span(Struct, frozen=True):
    """From when until when, in minutes from a day's midnight, as of an `Opening`. `ValueError` for what is none."""

    opens_min: int
    closes_min: int

    def __post_init__(self) -> None:
        Opening(0, self.opens_min, self.closes_min)


class Holiday(Struct, frozen=True):
    """A day with openings of its own, in place of those that begin on it by the week: none for closed all day. `day`:
    as ISO 8601 has it, such as 2026-12-25. `ValueError` for what is no day."""

    day: str
    openings: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        if date.fromisoformat(self.day).isoformat() != self.day:
            raise ValueError("a day is written like 2026-12-25")
        if len(self.openings) > HOLIDAY_OPENINGS_LIMIT:
            raise ValueError(f"a day has at most {HOLIDAY_OPENINGS_LIMIT} openings")


Point: TypeAlias = tuple[float, float]  # latitude and longitude in degrees

# None: always open. Openings may touch and overlap.
Hours: TypeAlias = tuple[Opening, ...] | None
_ALWAYS = tuple(Opening(day, 0, DAY_MIN) for day in range(7))


def is_open(hours: Hours, timezone: str, at_ms: int, holidays: Sequence[Holiday] = ()) -> bool:
    """Whether the store is open at this time; at the very moment of closing it is not."""
    return closes_ms(hours, timezone, at_ms, holidays) != at_ms


def closes_ms(hours: Hours, timezone: str, at_ms: int, holidays: Sequence[Holiday] = ()) -> int | None:
    """Until when the store is open without a break from `at_ms` on: `at_ms` itself where it is closed, None where it
    does not close within a week. `timezone`: IANA."""
    if hours is None and not holidays:
        return None
    zone, until_ms = ZoneInfo(timezone), at_ms
    week = _ALWAYS if hours is None else hours
    exceptions = {date.fromisoformat(holiday.day): holiday.openings for holiday in holidays}
    while until_ms - at_ms < _ROUND_MS:
        openings = _openings(week, exceptions, zone, until_ms)
        later = [closes for opens, closes in openings if opens <= until_ms < closes]
        if not later:
            return until_ms
        until_ms = max(later)
    return None


def return_by_ms(
    hours: Hours, timezone: str, at_ms: int, back_ms: Callable[[], int], holidays: Sequence[Holiday] = ()
) -> int | None:
    """Until when the store that is open at `at_ms` takes refused goods back, None where it does not close.

    `StoreClosed`, and `TooLateToday` when `back_ms()`, the time when they would be back, is after that.
    """
    by_ms = closes_ms(hours, timezone, at_ms, holidays)
    if by_ms is None:
        return None
    if by_ms <= at_ms:
        raise StoreClosed()
    if (late_ms := back_ms()) > by_ms:
        zone = ZoneInfo(timezone)
        closes, back = (f"{instant(ms).astimezone(zone):%H:%M}" for ms in (by_ms, late_ms))
        raise TooLateToday(f"The store closes at {closes}; goods that are refused would be back at {back}.")
    return by_ms


def back_ms(ready_ms: int, store: Point, door: Point, travel: TravelTimes, services: Services) -> int:
    """When goods that are refused at the door are back at best: with a driver who waits for them at the store.

    back = ready + loading + trip + stop at the door + trip back
    """
    leave_ms = ready_ms + in_ms(services.pickup_after_s)
    there_s = float(travel.seconds(*store, *door, leave_ms))
    turn_ms = leave_ms + in_ms(there_s + services.door_before_s + services.door_after_s)
    return turn_ms + in_ms(float(travel.seconds(*door, *store, turn_ms)))


def _openings(
    hours: tuple[Opening, ...], exceptions: Mapping[date, tuple[Span, ...]], zone: ZoneInfo, at_ms: int
) -> Iterator[tuple[int, int]]:
    """Beginning and end, in ms, of the openings that may hold `at_ms`: those of its day and of the day before."""
    today = instant(at_ms).astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        weekly = (one for one in hours if one.weekday == day.weekday())
        for opening in exceptions.get(day, weekly):
            yield _clock_ms(day, opening.opens_min, zone), _clock_ms(day, opening.closes_min, zone)


def _clock_ms(day: date, minutes: int, zone: ZoneInfo) -> int:
    """When the clock shows so many minutes from the day's midnight."""
    return millis(datetime.combine(day, time(), zone) + timedelta(minutes=minutes))
