"""Pay by its rules: nothing for what was not driven, and an hour with a task is worth the guarantee."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.marketplace.earnings import Drive, Earning, MoneyPolicy, earning, engaged_ms, guarantee_cents

RULES = MoneyPolicy()
DRIVE = Drive(
    task_id="t",
    order_id="o",
    driver_id="d",
    is_return=False,
    is_done=True,
    from_lat=32.78,
    from_lng=-96.8,
    to_lat=32.78,
    to_lng=-96.8,
    begun_ms=0,
    ended_ms=3_600_000,
    arrived_ms=600_000,
    picked_up_ms=1_200_000,
)


def paid(**changes: Any) -> Earning:
    return earning(replace(DRIVE, **changes), RULES)


def test_each_part_by_its_rule() -> None:
    there = paid(to_lat=32.87)  # ten kilometres and seven metres
    assert (there.order_cents, there.distance_cents, there.wait_cents) == (400, 600, 125)
    assert paid(bump_cents=200).total_cents == 725
    assert paid(arrived_ms=None).wait_cents == 0
    assert paid(picked_up_ms=600_000 + 359_999).wait_cents == 0
    assert paid(picked_up_ms=600_000 + 360_000).wait_cents == 25
    back = paid(is_return=True, to_lat=32.87)
    assert (back.order_cents, back.distance_cents, back.wait_cents) == (300, 600, 0)
    vain = paid(is_done=False, picked_up_ms=None, to_lat=32.87, bump_cents=200)
    assert (vain.total_cents, vain.wait_cents) == (45 * 25, 45 * 25)


def test_the_guarantee_is_for_time_with_a_task_and_counts_two_at_once_once() -> None:
    hour = replace(paid(arrived_ms=None), begun_ms=0)
    assert guarantee_cents([hour], RULES) == 1_500 - 400
    assert guarantee_cents([hour, replace(hour, task_id="u")], RULES) == 1_500 - 800
    assert guarantee_cents([replace(hour, bump_cents=9_999)], RULES) == 0
    assert guarantee_cents([], RULES) == 0


@given(spans=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=8))
def test_time_with_a_task_is_the_union(spans: list[tuple[int, int]]) -> None:
    earned = [replace(paid(), begun_ms=begun, ended_ms=begun + length) for begun, length in spans]
    exact = {ms for begun, length in spans for ms in range(begun, begun + length)}
    assert engaged_ms(earned) == len(exact)
