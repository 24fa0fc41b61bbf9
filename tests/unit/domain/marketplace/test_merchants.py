"""A merchant's life by its table."""

from __future__ import annotations

import itertools

import pytest

from domain.errors import Forbidden, WrongState
from domain.marketplace.change import Command
from domain.marketplace.merchants import (
    MERCHANT,
    Merchant,
    MoveMerchant,
    ReviewReason,
    move_merchant,
)
from domain.marketplace.review import ReviewEvent, ReviewStatus
from domain.orders.lifecycle import Role


def moved(status: ReviewStatus, event: ReviewEvent, role: Role) -> Merchant:
    before = Merchant(
        merchant_id="m", name="Corner", legal_name="Corner LLC", address="1 Elm", created_ms=1, status=status
    )
    action = MoveMerchant(merchant_id="m", event=event, reason=ReviewReason.OTHER)
    command = Command(action=action, actor_id="a", role=role, at_ms=2, owner_id=None)
    after = move_merchant(action, before, command).changed
    assert isinstance(after, Merchant)
    return after


@pytest.mark.parametrize("event", ReviewEvent)
@pytest.mark.parametrize("status", ReviewStatus)
@pytest.mark.parametrize("role", Role)
def test_every_step_is_the_tables(status: ReviewStatus, event: ReviewEvent, role: Role) -> None:
    edge = MERCHANT.get((status, event))
    if edge is None:
        with pytest.raises(WrongState):
            moved(status, event, role)
    elif role not in edge.roles:
        with pytest.raises(Forbidden):
            moved(status, event, role)
    else:
        after = moved(status, event, role)
        assert after.status is edge.to
        assert (after.reason is not None) is edge.reasoned
        assert (after.reviewed_ms == 2) is (role is not Role.MERCHANT)


def test_nobody_approves_themselves_and_nothing_is_a_dead_end() -> None:
    to_approved = [edge for edge in MERCHANT.values() if edge.to is ReviewStatus.APPROVED]
    assert {role for edge in to_approved for role in edge.roles} == {Role.ADMIN}
    reached = {ReviewStatus.APPLIED}
    for _, ((at, _event), edge) in itertools.product(ReviewStatus, MERCHANT.items()):
        reached |= {edge.to} if at in reached else set()
    assert reached == set(ReviewStatus) == {at for at, _ in MERCHANT}


def test_what_comes_with_a_reason_is_what_the_database_asks_one_of() -> None:
    unsold = {ReviewStatus.INCOMPLETE, ReviewStatus.REJECTED, ReviewStatus.SUSPENDED}
    assert {edge.to for edge in MERCHANT.values() if edge.reasoned} == unsold
    assert all((edge.to in unsold) is edge.reasoned for edge in MERCHANT.values())
