"""Server milliseconds and RFC 3339 instants."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}):([0-9]{2})(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
LEAP = 60  # the second that some minutes before midnight UTC have beyond their fifty-nine


def instant(ms: int) -> datetime:
    """Milliseconds since the Unix epoch as an aware datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=ms)


def millis(at: datetime) -> int:
    """An aware datetime as milliseconds since the Unix epoch."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def in_ms(seconds: float) -> int:
    """A duration in whole milliseconds."""
    return round(seconds * 1000)


def rfc_3339(text: str) -> datetime:
    """The time that is written there, in UTC. A leap second, which clocks of ours do not have, is the end of the second
    before it. `ValueError` for what RFC 3339 does not write."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError("is not a time as RFC 3339 writes it")
    day, minute, second, fraction, offset = match.groups()
    is_leap = int(second) == LEAP
    fraction = ".999999" if is_leap else (fraction or ".0")[:7]
    try:
        at = datetime.fromisoformat(
            f"{day}T{minute}:{59 if is_leap else second}{fraction:0<7}{offset.upper().replace('Z', '+00:00')}"
        ).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a time that there is") from None
    if is_leap and (at.hour, at.minute) != (23, 59):
        raise ValueError("has a leap second where there is none: they come at 23:59:60 UTC")
    return at
