"""The lifecycle tables: what they promise whatever else changes, and that look-ups follow them to the letter."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import product
from typing import TypeVar

import pytest

from domain.errors import Forbidden, WrongState
from domain.orders.lifecycle import (
    OFFER_EDGES,
    OPERATORS,
    ORDER,
    ORDER_EDGES,
    REGION_DECIDES,
    TASK,
    TASK_EDGES,
    TASK_ENDED,
    TASK_HELD,
    TASK_START,
    OfferStatus,
    OrderEvent,
    OrderStatus,
    Role,
    TaskEvent,
    TaskKind,
    TaskStatus,
    advance_order,
    advance_task,
)

S = TypeVar("S", bound=Hashable)

ORDER_ENDED = {
    OrderStatus.CLOSED,
    OrderStatus.CANCELLED,
    OrderStatus.REJECTED,
    OrderStatus.RETURNED,
    OrderStatus.WRITTEN_OFF,
}


def reachable(start: Iterable[S], edges: Iterable[tuple[S, S]]) -> set[S]:
    """All states that can be reached from the start states, these included."""
    edges, found = list(edges), set(start)
    while more := {to for at, to in edges if at in found} - found:
        found |= more
    return found


# -- orders -----------------------------------------------------------------------------------------------------------


def test_delivered_is_reached_from_id_verified_alone() -> None:
    into = {(at, event) for (at, event), edge in ORDER.items() if edge.to is OrderStatus.DELIVERED}
    assert into == {(OrderStatus.ID_VERIFIED, OrderEvent.DELIVERED)}


def test_id_verified_is_reached_by_a_passed_check_at_the_door_alone() -> None:
    into = {(at, event) for (at, event), edge in ORDER.items() if edge.to is OrderStatus.ID_VERIFIED}
    assert into == {(OrderStatus.AT_DOOR, OrderEvent.ID_PASSED)}


def test_without_a_passed_check_nothing_leads_to_delivered() -> None:
    edges = [(at, edge.to) for (at, event), edge in ORDER.items() if event is not OrderEvent.ID_PASSED]
    assert not {OrderStatus.DELIVERED, OrderStatus.CLOSED} & reachable([OrderStatus.DRAFT], edges)


def test_every_order_state_is_reachable_and_the_ends_have_no_way_out() -> None:
    assert reachable([OrderStatus.DRAFT], ORDER_EDGES) == set(OrderStatus)
    assert {at for at in OrderStatus if not any(edge[0] is at for edge in ORDER_EDGES)} == ORDER_ENDED


def test_from_every_order_state_an_end_can_be_reached() -> None:
    for status in OrderStatus:
        assert reachable([status], ORDER_EDGES) & ORDER_ENDED, status


def test_a_driver_alone_acts_at_the_door() -> None:
    """Operators settle what became of goods that get neither to the door nor back, and nothing else."""
    at_door = {OrderStatus.AT_DOOR, OrderStatus.ID_VERIFIED}
    by_hand = {OrderEvent.RETURN_RESOLVED, OrderEvent.WRITTEN_OFF}
    steps = [(event, edge.roles) for (at, event), edge in ORDER.items() if at in at_door]
    assert {role for event, roles in steps if event not in by_hand for role in roles} == {Role.DRIVER}
    assert {role for event, roles in steps if event in by_hand for role in roles} == set(OPERATORS)


def test_every_triple_follows_the_table() -> None:
    """Every (state, event, role): the edge's state for the edge's roles, else a refusal that says which."""
    granted = 0
    for status, event, role in product(OrderStatus, OrderEvent, Role):
        edge = ORDER.get((status, event))
        if edge is None:
            with pytest.raises(WrongState):
                advance_order(status, event, role)
        elif role not in edge.roles:
            with pytest.raises(Forbidden):
                advance_order(status, event, role)
        else:
            assert advance_order(status, event, role) is edge.to
            granted += 1
    assert granted == sum(len(edge.roles) for edge in ORDER.values())


def test_every_edge_belongs_to_somebody() -> None:
    assert all(edge.roles for edge in ORDER.values())


def test_who_may_cancel_is_the_same_wherever_it_is_possible() -> None:
    cancels = {at: edge for (at, event), edge in ORDER.items() if event is OrderEvent.CANCELLED}
    assert {edge.roles for edge in cancels.values()} == {
        frozenset({Role.CUSTOMER, Role.DISPATCHER, Role.ADMIN})
    }
    assert {edge.to for edge in cancels.values()} == {OrderStatus.CANCELLED}
    # Once the goods are in the vehicle, they come to the door or back to the store.
    assert not {OrderStatus.PICKED_UP, OrderStatus.AT_DOOR, OrderStatus.RETURNING} & cancels.keys()


def test_the_region_decides_from_confirmation_until_the_task_ends() -> None:
    on_task = {OrderStatus.CONFIRMED} | (
        reachable([OrderStatus.CONFIRMED], ORDER_EDGES) - ORDER_ENDED - {OrderStatus.DELIVERED}
    )
    assert on_task == REGION_DECIDES


# -- tasks and offers -------------------------------------------------------------------------------------------------


def test_every_task_pair_follows_the_table() -> None:
    for status, event in product(TaskStatus, TaskEvent):
        if (status, event) in TASK:
            assert advance_task(status, event) is TASK[status, event]
        else:
            with pytest.raises(WrongState):
                advance_task(status, event)


def test_a_delivery_reaches_every_task_state_and_the_ends_have_no_way_out() -> None:
    assert reachable([TASK_START[TaskKind.DELIVERY]], TASK_EDGES) == set(TaskStatus)
    assert {at for at in TaskStatus if not any(edge[0] is at for edge in TASK_EDGES)} == TASK_ENDED


def test_a_return_is_held_from_its_start_to_its_end() -> None:
    """The goods are in a driver's vehicle: a return is never open, and nobody can call it off."""
    states = reachable([TASK_START[TaskKind.RETURN]], TASK_EDGES)
    assert states <= TASK_HELD | TASK_ENDED
    assert TaskStatus.CANCELLED not in states


def test_a_task_is_held_by_acceptance_alone() -> None:
    into_held = {(at, event) for (at, event), to in TASK.items() if to in TASK_HELD and at not in TASK_HELD}
    assert into_held == {(TaskStatus.OFFERED, TaskEvent.ACCEPT)}


def test_an_offer_ends_once() -> None:
    ends = set(OfferStatus) - {OfferStatus.OFFERED}
    assert {(OfferStatus.OFFERED, end) for end in ends} == OFFER_EDGES
