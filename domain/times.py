"""Server milliseconds and RFC 3339 instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(ms: int) -> datetime:
    """Milliseconds since the Unix epoch as an aware datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=ms)


def millis(at: datetime) -> int:
    """An aware datetime as milliseconds since the Unix epoch."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def in_ms(seconds: float) -> int:
    """A duration in whole milliseconds."""
    return round(seconds * 1000)
