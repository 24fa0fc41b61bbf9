"""Text that people type, numbers and times as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ground.times import rfc_3339
from domain.text import decimal, legible, tidy


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  Anna  Schmidt ", "Anna Schmidt"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("\u200b\ufeffAnn\u200ba\u2060", "Anna"),
        ("1 Main St\r\nFlat\t2", "1 Main St Flat 2"),
        ("\u202eannA", "annA"),
        ("\u3000東京\u00a0都", "東京 都"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\u200dA\u200c", "A"),
    ],
)
def test_what_looks_the_same_is_the_same(typed: str, kept: str) -> None:
    assert legible(typed) == kept
    assert tidy(kept) == kept


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_text_of_ascii_is_told_at_once_and_the_same(typed: str) -> None:
    """A letter beyond it has the rest looked at one by one."""
    assert tidy(f"ü {typed}") == f"ü {tidy(typed)}".strip()


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "\u00a0\u2003\u3000",
        "\u200b\u200c\u200d\u2060\ufeff",
        "\u00ad\u180e\U000e0041",
        "\u3164\u115f\u1160\uffa0",
        "\u2800\u2800",
        "\u0301\u034f\ufe0f",
        "---",
        "...",
    ],
)
def test_nothing_that_can_be_read_is_no_name(typed: str) -> None:
    with pytest.raises(ValueError, match="letter or a digit"):
        legible(typed)


@pytest.mark.parametrize("typed", ["a\x00b", "a\x07b", "a\x7fb", "a\x85b", "a\ud800b"])
def test_control_characters_are_no_text(typed: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        tidy(typed)


@pytest.mark.parametrize(("text", "value"), [("32.78", 32.78), ("-96", -96.0), ("0", 0.0), ("1.5e2", 150.0)])
def test_numbers(text: str, value: float) -> None:
    assert decimal(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "3_2.78", "\u0663\u0662.78", "\uff13\uff12", " 32", "32 ", "+32", "032", "32.", ".5", "0x20"),
        *("nan", "inf", "1e", "1,5", "32\n", "--1"),
    ],
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="decimal digits"):
        decimal(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2030-01-01T00:00:00Z", datetime(2030, 1, 1, tzinfo=UTC)),
        ("2030-01-01t01:30:00.25+01:30", datetime(2030, 1, 1, microsecond=250_000, tzinfo=UTC)),
        ("2030-01-01T00:00:00.123456789z", datetime(2030, 1, 1, microsecond=123_456, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, 999_999, UTC)),
        ("2016-12-31T17:59:60.5-06:00", datetime(2016, 12, 31, 23, 59, 59, 999_999, UTC)),
    ],
)
def test_times(text: str, at: datetime) -> None:
    assert rfc_3339(text) == at
    assert rfc_3339(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "now",
            "1893456000",
            "2030-01-01",
            "2030-01-01T00:00Z",
            "2030-01-01T00:00:00",
            "20300101T000000Z",
        ),
        *("2030-13-01T00:00:00Z", "2030-02-30T00:00:00Z", "2030-01-01T24:00:01Z", "2030-01-01T00:00:61Z"),
        *("2030-01-01T12:00:60Z", "2030-01-01T23:59:60+01:00", "2030-01-01T00:00:00+24:00"),
        *("\u0662030-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-01:00"),
        "2030-01-01T00:00:00Z\n",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time|leap second"):
        rfc_3339(text)
