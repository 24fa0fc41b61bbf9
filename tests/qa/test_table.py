"""The lifecycle table against the law: all states x events x roles, and what the table's graph cannot do."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import combinations, product

from domain.errors import Forbidden, WrongState
from domain.orders.lifecycle import (
    OFFER_EDGES,
    ORDER,
    ORDER_EDGES,
    REGION_DECIDES,
    TASK_EDGES,
    OrderEvent,
    OrderStatus,
    Role,
    advance_order,
)
from tests.qa.law import (
    ALLOWED,
    GATES,
    IN_THE_CAR,
    OFFER_PAIRS,
    ORDER_PAIRS,
    OVER,
    TASK_PAIRS,
    WITH_A_TASK,
    Triple,
)

# What the code allows, as the law writes it; the graphs below are those of the code.
CODE = {Triple(at, event, role): edge.to for (at, event), edge in ORDER.items() for role in edge.roles}


def outcome(triple: Triple) -> OrderStatus | str:
    """Where the triple leads, or the code of its refusal."""
    try:
        return advance_order(triple.at, triple.event, triple.role)
    except (WrongState, Forbidden) as error:
        return error.code


def lawful(triple: Triple) -> OrderStatus | str:
    """The same by the law: a step that nobody has here is wrong here, another's step is forbidden."""
    if triple in ALLOWED:
        return ALLOWED[triple]
    anybody = any(Triple(triple.at, triple.event, role) in ALLOWED for role in Role)
    return Forbidden.code if anybody else WrongState.code


def test_every_state_event_and_role() -> None:
    triples = [Triple(*parts) for parts in product(OrderStatus, OrderEvent, Role)]
    assert len(triples) == 16 * 26 * 7
    assert {triple: outcome(triple) for triple in triples} == {triple: lawful(triple) for triple in triples}
    assert len(ALLOWED) == 59


def test_every_pair_of_states_and_who_decides() -> None:
    assert ORDER_EDGES == ORDER_PAIRS
    assert TASK_EDGES == TASK_PAIRS
    assert OFFER_EDGES == OFFER_PAIRS
    assert REGION_DECIDES == WITH_A_TASK


# -- what leads to the door -------------------------------------------------------------------------------------------


def into(status: OrderStatus) -> set[Triple]:
    """The steps that lead to a state from another one."""
    return {triple for triple, to in CODE.items() if to is status and triple.at is not status}


def test_goods_are_handed_over_by_the_driver_after_a_passed_check() -> None:
    assert into(OrderStatus.DELIVERED) == {Triple(OrderStatus.ID_VERIFIED, OrderEvent.DELIVERED, Role.DRIVER)}
    assert into(OrderStatus.ID_VERIFIED) == {Triple(OrderStatus.AT_DOOR, OrderEvent.ID_PASSED, Role.DRIVER)}
    assert into(OrderStatus.AT_DOOR) == {
        Triple(OrderStatus.PICKED_UP, OrderEvent.ARRIVED_AT_DOOR, Role.DRIVER)
    }


def test_nothing_is_paid_before_the_customers_age_is_verified() -> None:
    paid = {triple for triple in CODE if triple.event is OrderEvent.PAYMENT_AUTHORIZED}
    assert paid == {Triple(OrderStatus.AGE_VERIFIED, OrderEvent.PAYMENT_AUTHORIZED, Role.CUSTOMER)}
    assert into(OrderStatus.AGE_VERIFIED) == {Triple(OrderStatus.DRAFT, OrderEvent.AGE_PASSED, Role.CUSTOMER)}
    assert into(OrderStatus.PAYMENT_AUTHORIZED) == paid


# -- what cannot be gone round ----------------------------------------------------------------------------------------


def reached(without: Collection[OrderEvent] = (), roles: Iterable[Role] = Role) -> set[Triple]:
    """All steps that some path from DRAFT takes, when these events never happen and only these roles act."""
    acting, states, steps = set(roles), {OrderStatus.DRAFT}, set[Triple]()
    while (
        more := {
            triple
            for triple in CODE
            if triple.at in states and triple.role in acting and triple.event not in without
        }
        - steps
    ):
        steps |= more
        states |= {CODE[triple] for triple in more}
    return steps


def test_no_path_to_delivery_skips_a_gate() -> None:
    """Each gate dominates all that come after it: take its event away, and none of them ever happens."""
    everything = {triple.event for triple in reached()}
    assert everything == set(OrderEvent) - {OrderEvent.CREATED}
    for number, gate in enumerate(GATES):
        happens = {triple.event for triple in reached(without={gate})}
        assert not happens & set(GATES[number:]), gate
        assert set(GATES[:number]) <= happens, gate


def test_delivery_takes_customer_merchant_and_driver_whoever_else_conspires() -> None:
    needed = {Role.CUSTOMER, Role.MERCHANT, Role.DRIVER}
    for size in range(len(Role) + 1):
        for roles in combinations(Role, size):
            delivered = any(triple.event is OrderEvent.DELIVERED for triple in reached(roles=roles))
            assert delivered is (needed <= set(roles)), roles


def test_operators_call_off_give_take_away_and_settle_what_is_lost_and_do_nothing_else() -> None:
    events = {role: {triple.event for triple in CODE if triple.role is role} for role in Role}
    assert (
        events[Role.ADMIN]
        == events[Role.DISPATCHER]
        == {
            OrderEvent.CANCELLED,
            OrderEvent.ASSIGNED,
            OrderEvent.RELEASED,
            OrderEvent.RETURN_RESOLVED,
            OrderEvent.WRITTEN_OFF,
        }
    )
    assert events[Role.SYSTEM] == {OrderEvent.RELEASED, OrderEvent.RETURN_INITIATED, OrderEvent.CLOSED}
    assert not {OrderEvent.ID_PASSED, OrderEvent.DELIVERED} & (events[Role.CUSTOMER] | events[Role.MERCHANT])


# -- goods in the car -------------------------------------------------------------------------------------------------


def onward(status: OrderStatus) -> set[OrderStatus]:
    """The states that goods come through from here until they are handed over, back in the store, or given
    up for lost by an operator."""
    found, leave = {status}, {OrderStatus.DELIVERED, OrderStatus.RETURNED, OrderStatus.WRITTEN_OFF}
    while more := {to for at, to in ORDER_EDGES if at in found - leave} - found:
        found |= more
    return found


def test_goods_in_the_car_end_at_the_customers_in_the_store_or_on_record_as_gone() -> None:
    ends = {OrderStatus.DELIVERED, OrderStatus.RETURNED, OrderStatus.WRITTEN_OFF}
    gone = {triple for triple in CODE if CODE[triple] is OrderStatus.WRITTEN_OFF}
    assert {triple.role for triple in gone} == {Role.DISPATCHER, Role.ADMIN}
    assert {CODE[triple] for triple in CODE if triple.event is OrderEvent.PICKED_UP} == {
        OrderStatus.PICKED_UP
    }
    assert onward(OrderStatus.PICKED_UP) == IN_THE_CAR | ends
    for status in IN_THE_CAR:
        assert onward(status) <= IN_THE_CAR | ends, f"goods vanish from {status}"
        assert OrderStatus.RETURNED in onward(status), f"goods cannot come back from {status}"


def test_what_is_over_stays_over() -> None:
    assert {triple.at for triple in CODE} == set(OrderStatus) - OVER
    assert {triple for triple in CODE if triple.at is OrderStatus.DELIVERED} == {
        Triple(OrderStatus.DELIVERED, OrderEvent.CLOSED, Role.SYSTEM)
    }
