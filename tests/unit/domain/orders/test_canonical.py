"""Both ways to write canonical JSON give the same bytes, those that were hashed ever since."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.orders.dossier import _is_plain, _ordered, canonical

# Everything that an encoder may escape in its own way, and what lies beyond 64 bits.
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
CONTROLS = st.text(
    alphabet=st.sampled_from([chr(n) for n in range(33)] + list('"\\/\x7f\u2028\ufeff')), max_size=8
)
SCALARS = st.none() | st.booleans() | st.integers() | TEXT | CONTROLS
KEYS = st.text(alphabet=st.characters(max_codepoint=127), max_size=5) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def slow(value: Any) -> bytes:
    return json.dumps(_ordered(value), separators=(",", ":"), ensure_ascii=False).encode()


@given(VALUES)
def test_the_fast_way_writes_what_the_slow_way_writes(value: Any) -> None:
    assert canonical(value) == slow(value)


@pytest.mark.parametrize("value", [1.0, [1.5], {"a": {"b": 2.0}}, {1: 2}, {"a": object()}])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical(value)


def test_broken_unicode_is_refused() -> None:
    for value in ("\ud800", {"\ud800": 1}, {"a": ["\udfff"]}):
        with pytest.raises(ValueError, match="surrogates"):
            canonical(value)


def test_keys_beyond_ascii_are_sorted_as_utf16() -> None:
    """U+1F600 comes before U+FB33 by its surrogates, after it by its code point."""
    assert canonical({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


def test_an_ordinary_payload_goes_the_fast_way() -> None:
    assert _is_plain({"task_id": "t", "items": [{"quantity": 2}], "closes_ms": None, "ok": True})
