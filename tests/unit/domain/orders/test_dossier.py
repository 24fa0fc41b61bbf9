"""The chain holds as it was made, and names the first entry that was tampered with."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.orders.dossier import GENESIS, Entry, canonical, entry_hash, extend, verify
from domain.orders.lifecycle import OrderEvent, OrderStatus, Role
from domain.orders.records import OrderFact
from tests.support.build import NOW, chain, fact

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
# Text with lone surrogates is no JSON text: it cannot be written as UTF-8.
JSON = JSON.filter(lambda value: "\\ud" not in json.dumps(value))


def steps(n: int = 5) -> list[Entry]:
    events = [
        (OrderEvent.CREATED, OrderStatus.DRAFT),
        (OrderEvent.AGE_FAILED, OrderStatus.DRAFT),
        (OrderEvent.AGE_PASSED, OrderStatus.AGE_VERIFIED),
        (OrderEvent.PAYMENT_AUTHORIZED, OrderStatus.PAYMENT_AUTHORIZED),
        (OrderEvent.CANCELLED, OrderStatus.CANCELLED),
    ]
    return chain([fact(event, status, i, step=i) for i, (event, status) in enumerate(events[:n])])


def test_a_chain_extends_and_verifies() -> None:
    entries = steps()
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert entries[0].prev_hash == GENESIS
    assert entries[0].actor == "customer:cara"
    verdict = verify(entries)
    assert verdict.ok
    assert verdict.length == 5
    assert verdict.head == entries[-1].hash.hex()


def test_anyone_can_verify_with_a_json_library_and_sha256() -> None:
    """The published recipe, written out without our code."""
    head = bytes(32)
    for entry in steps():
        event = {
            name: getattr(entry, name)
            for name in ("order_id", "seq", "type", "status", "at_ms", "actor", "payload")
        }
        text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        head = hashlib.sha256(head + text.encode()).digest()
        assert entry.hash == head


def test_the_hash_of_a_known_entry_never_changes() -> None:
    """Stored dossiers outlive releases: this value is part of the format."""
    entry = extend(GENESIS, 1, fact(OrderEvent.CREATED, OrderStatus.DRAFT, 0, note="ü€😀", total_cents=2500))
    assert entry.hash.hex() == "10d25f9ae5ce47f9bdd722afdb16fbf4771d46318b848838ee38b3d2ed355bc5"


TAMPERED: dict[str, Any] = {
    "order_id": "order-2",
    "type": "DELIVERED",
    "status": "DELIVERED",
    "at_ms": NOW + 99,
    "actor": "driver:ann",
    "payload": {"step": 8},
}


@pytest.mark.parametrize("name", TAMPERED)
@pytest.mark.parametrize("position", range(5))
def test_an_altered_field_is_named(name: str, position: int) -> None:
    entries = steps()
    entries[position] = replace(entries[position], **{name: TAMPERED[name]})
    verdict = verify(entries)
    assert not verdict.ok
    # A changed order id of the first entry shows where the second belongs to another order, or at the first itself.
    assert verdict.bad_seq == position + 1
    assert verdict.reason


@pytest.mark.parametrize("name", ["hash", "prev_hash"])
@given(position=st.integers(0, 4), byte=st.integers(0, 31), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_hash_is_named(name: str, position: int, byte: int, bit: int) -> None:
    entries = steps()
    flipped = bytearray(getattr(entries[position], name))
    flipped[byte] ^= 1 << bit
    entries[position] = replace(entries[position], **{name: bytes(flipped)})
    verdict = verify(entries)
    assert not verdict.ok
    assert verdict.bad_seq == position + 1


@given(position=st.integers(0, 3))
def test_a_gap_is_named(position: int) -> None:
    entries = steps()
    del entries[position]
    verdict = verify(entries)
    assert not verdict.ok
    assert verdict.bad_seq == position + 2
    assert verdict.reason == f"sequence number {position + 2} where {position + 1} was due"


@given(position=st.integers(0, 3))
def test_two_entries_in_the_wrong_order_are_named(position: int) -> None:
    entries = steps()
    entries[position], entries[position + 1] = entries[position + 1], entries[position]
    verdict = verify(entries)
    assert not verdict.ok
    assert verdict.bad_seq == position + 2


def test_renumbered_entries_after_a_gap_are_named() -> None:
    entries = steps()
    del entries[2]
    entries = [replace(entry, seq=i) for i, entry in enumerate(entries, 1)]
    verdict = verify(entries)
    assert verdict.bad_seq == 3
    assert verdict.reason == "does not link to the entry before it"


def test_a_fork_is_named() -> None:
    """Two third entries on one second: each is sound in itself, and the second of them does not fit."""
    entries = steps(3)
    other = extend(entries[1].hash, 3, fact(OrderEvent.CANCELLED, OrderStatus.CANCELLED))
    assert not verify([*entries, other]).ok
    renumbered = extend(entries[1].hash, 4, fact(OrderEvent.CANCELLED, OrderStatus.CANCELLED))
    verdict = verify([*entries, renumbered])
    assert (verdict.bad_seq, verdict.reason) == (4, "does not link to the entry before it")


def test_an_entry_of_another_order_is_named_even_when_it_links() -> None:
    entries = steps(2)
    stray = OrderFact(
        order_id="order-2",
        event=OrderEvent.CANCELLED,
        status=OrderStatus.CANCELLED,
        at_ms=NOW,
        role=Role.ADMIN,
        actor_id="ada",
    )
    verdict = verify([*entries, extend(entries[-1].hash, 3, stray)])
    assert (verdict.bad_seq, verdict.reason) == (3, "belongs to another order")


def test_a_payload_altered_to_something_without_canonical_form_is_named() -> None:
    """Tampering may leave what we would never have written; that is a verdict too, no crash."""
    entries = steps()
    entries[1] = replace(entries[1], payload={"step": 1.5})
    verdict = verify(entries)
    assert (verdict.ok, verdict.bad_seq) == (False, 2)


def test_an_empty_dossier_is_no_proof() -> None:
    assert not verify([]).ok


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        {"a": 0.5},
        [1, [2.5]],
        {"a": {"b": [float("nan")]}},
        (1.5,),
        {1: "a"},
        {"a": {2.5: 1}},
        {"a": b"x"},
        {1},
    ],
)
def test_what_has_no_single_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical(value)


@given(JSON)
def test_canonical_json_reads_back_as_what_it_was(value: Any) -> None:
    assert json.loads(canonical(value)) == value


@given(JSON)
def test_canonical_json_is_one_form_however_it_was_built(value: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in reversed(list(value))}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    once = canonical(value)
    assert canonical(shuffled(value)) == once
    assert canonical(json.loads(once)) == once


def test_keys_are_sorted_by_utf16_code_units_as_rfc_8785_says() -> None:
    assert canonical({"\ue000": 1, "😀": 2, "a": 3}).decode() == '{"a":3,"😀":2,"\ue000":1}'


def test_the_hash_covers_everything_but_itself() -> None:
    entry = steps()[2]
    assert entry_hash(replace(entry, hash=b"")) == entry.hash
    changes = TAMPERED | {"seq": 9, "prev_hash": bytes(31) + b"\1"}
    for name, value in changes.items():
        assert entry_hash(replace(entry, **{name: value})) != entry.hash, name
