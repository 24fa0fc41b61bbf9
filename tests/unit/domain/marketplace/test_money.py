"""Movements sum to zero whatever the facts, and what part refunds add up to is exactly the whole."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.marketplace.money import (
    PARTIES,
    REASONS,
    Account,
    Amounts,
    CameBack,
    Captured,
    GivenBack,
    NotGivenBack,
    Party,
    Promised,
    Reason,
    RefundFacts,
    movement,
    movement_id,
    part_of,
    share_of,
    split,
)

CENTS = st.integers(0, 2_000_000)
AMOUNTS = st.builds(Amounts, goods_cents=CENTS, fee_cents=CENTS, tax_cents=CENTS, tip_cents=CENTS)
IDS = st.sampled_from([f"00000000-0000-4000-8000-{n:012}" for n in range(4)])


def facts_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any facts of this kind, with an amount in each field of cents."""
    known: dict[Any, st.SearchStrategy[Any]] = {
        str: IDS,
        int: CENTS,
        bool: st.booleans(),
        Amounts: AMOUNTS,
        Party: st.just(Party.DRIVER),
        tuple[tuple[Account, int], ...]: st.tuples(
            st.tuples(st.just(Account.DRIVER_PAYABLE), CENTS), st.tuples(st.just(Account.TIPS_PAYABLE), CENTS)
        ),
    }
    fields = msgspec.structs.fields(kind)
    return st.builds(
        kind,
        **{
            field.name: facts_of(field.type) if field.type is RefundFacts else known[field.type]
            for field in fields
        },
    )


@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_movement_sums_to_zero_and_names_its_parties(kind: Any, data: st.DataObject) -> None:
    facts = data.draw(facts_of(kind))
    made = movement(facts, 7)
    if made is None:
        return
    assert sum(entry.amount_cents for entry in made.entries) == 0
    assert len(made.entries) >= 2
    for entry in made.entries:
        assert entry.amount_cents != 0
        assert (entry.party_id == "") is (PARTIES[entry.account] is Party.NOBODY)
    assert made.movement_id == movement_id(made.reason, made.reference)
    assert movement(facts, 8) == msgspec.structs.replace(made, at_ms=8)


def test_every_reason_has_one_rule() -> None:
    assert sorted(rule.reason for rule in REASONS.values()) == sorted(Reason)


@given(cents=CENTS, weights=st.lists(CENTS, min_size=1, max_size=8))
def test_a_split_adds_up_and_is_nowhere_a_cent_off(cents: int, weights: list[int]) -> None:
    whole = sum(weights)
    if not whole:
        assert split(0, weights) == [0] * len(weights)
        if cents:
            with pytest.raises(ValueError, match="nothing to split"):
                split(cents, weights)
        return
    shares = split(cents, weights)
    assert sum(shares) == cents
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share * whole - cents * weight) < whole


@given(whole=AMOUNTS, cuts=st.lists(st.integers(1, 4_000_000), max_size=12))
def test_part_refunds_add_up_to_exactly_the_whole(whole: Amounts, cuts: list[int]) -> None:
    left, given_back = whole, Amounts()
    for cut in cuts:
        part = part_of(left, min(cut, left.total_cents))
        assert part.total_cents == min(cut, left.total_cents)
        left, given_back = left.less(part), given_back.plus(part)
        assert min(left.goods_cents, left.fee_cents, left.tax_cents, left.tip_cents) >= 0
    assert given_back.plus(part_of(left, left.total_cents)) == whole


@given(cents=CENTS, points=st.integers(0, 10_000))
def test_a_share_is_rounded_half_up_and_never_more_than_all(cents: int, points: int) -> None:
    exact = cents * points / 10_000
    assert abs(share_of(cents, points) - exact) <= 0.5
    assert 0 <= share_of(cents, points) <= cents


def test_what_a_capture_and_its_refund_move() -> None:
    amounts = Amounts(goods_cents=2000, fee_cents=399, tax_cents=198, tip_cents=300)
    taken = movement(
        Captured(
            order_id="o",
            held_cents=3000,
            customer_id="c",
            merchant_id="m",
            driver_id="d",
            jurisdiction="TX",
            amounts=amounts,
            commission_cents=400,
            merchant_taxes=False,
        ),
        1,
    )
    refund = RefundFacts(
        refund_id="r",
        order_id="o",
        customer_id="c",
        merchant_id="m",
        jurisdiction="TX",
        parts=amounts.less(Amounts(tip_cents=300)),
        commission_cents=400,
        merchant_bears=True,
        merchant_taxes=False,
    )
    assert balances(taken) == {
        "HOLDS": -3000,
        "HELD c": 3000,
        "CLEARING": 2897,
        "MERCHANT_PAYABLE m": -1600,
        "PLATFORM_REVENUE": -799,
        "TAX_LIABILITY TX": -198,
        "TIPS_PAYABLE d": -300,
    }
    back = movement(Promised(refund), 2), movement(GivenBack(refund), 3)
    assert balances(taken, *back) == {
        "HOLDS": -3000,
        "HELD c": 3000,
        "CLEARING": 300,
        "TIPS_PAYABLE d": -300,
    }
    for undone in ((back[0], movement(NotGivenBack(refund), 4)), (*back, movement(CameBack(refund), 4))):
        assert balances(*undone) == {}


def balances(*movements: Any) -> dict[str, int]:
    """What is on each account; those with nothing are left out."""
    found: dict[str, int] = {}
    for made in movements:
        for entry in made.entries:
            name = f"{entry.account} {entry.party_id}".strip()
            found[name] = found.get(name, 0) + entry.amount_cents
    return {name: cents for name, cents in found.items() if cents}
