"""What is allowed, written by hand from the law and the requirements, not from `domain.orders.lifecycle`.

A step is (state, event, role): who may say that what has happened, and where it leads. What is not here is forbidden.
`tests/qa` holds the tables, the deciders and the database against it, all of them, for every triple.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, TypeAlias

from domain.orders.lifecycle import OfferStatus, OrderEvent, OrderStatus, Role, TaskStatus


class Triple(NamedTuple):
    """Who says that what has happened in which state."""

    at: OrderStatus
    event: OrderEvent
    role: Role


# An order begins with a customer, as a draft.
BIRTH = (OrderEvent.CREATED, Role.CUSTOMER, OrderStatus.DRAFT)

_STEPS = """
    # Nobody pays before the age is verified, and the customer proves it in person (A1). A failed attempt leads nowhere.
    DRAFT               AGE_CHECK_PASSED    customer                  AGE_VERIFIED
    DRAFT               AGE_CHECK_FAILED    customer                  DRAFT
    DRAFT               AGE_CHECK_INCONCLUSIVE customer               DRAFT
    AGE_VERIFIED        PAYMENT_AUTHORIZED  customer                  PAYMENT_AUTHORIZED
    AGE_VERIFIED        PAYMENT_DECLINED    customer                  AGE_VERIFIED

    # The merchant is the seller: nothing leaves a store that its merchant did not agree to.
    PAYMENT_AUTHORIZED  MERCHANT_ACCEPTED   merchant                  CONFIRMED
    PAYMENT_AUTHORIZED  MERCHANT_REJECTED   merchant                  REJECTED
    CONFIRMED           GOODS_READY         merchant                  CONFIRMED
    ASSIGNED            GOODS_READY         merchant                  ASSIGNED

    # One driver takes the order, or is given it by an operator, and answers for it. Only the server itself and
    # operators take it away again, and only before the goods are in the car (G5).
    CONFIRMED           TASK_ASSIGNED       driver,dispatcher,admin   ASSIGNED
    ASSIGNED            TASK_RELEASED       system,dispatcher,admin   CONFIRMED
    ASSIGNED            ARRIVED_AT_STORE    driver                    ASSIGNED
    ASSIGNED            PICKED_UP           driver                    PICKED_UP
    PICKED_UP           ARRIVED_AT_DOOR     driver                    AT_DOOR

    # The door: goods change hands only after the driver has checked an ID there (A2, A3). No one else has a say, no
    # operator either.
    AT_DOOR             ID_CHECK_PASSED     driver                    ID_VERIFIED
    AT_DOOR             ID_CHECK_INCONCLUSIVE driver                  AT_DOOR
    ID_VERIFIED         DELIVERED           driver                    DELIVERED

    # What is not handed over goes back (A7): no third place for goods that are in a car.
    AT_DOOR             ID_CHECK_FAILED     driver                    REFUSED
    AT_DOOR             REFUSED             driver                    REFUSED
    ID_VERIFIED         REFUSED             driver                    REFUSED
    REFUSED             RETURN_INITIATED    system                    RETURNING
    RETURNING           ARRIVED_FOR_RETURN  driver                    RETURNING
    RETURNING           RETURN_CONFIRMED    driver                    RETURNED

    # Goods that are in a car and get neither to their door nor back by their driver: an operator says whether somebody
    # else brought them back, or that they are gone. Never that they were handed over (G5).
    PICKED_UP           RETURN_RESOLVED     dispatcher,admin          RETURNED
    PICKED_UP           WRITTEN_OFF         dispatcher,admin          WRITTEN_OFF
    AT_DOOR             RETURN_RESOLVED     dispatcher,admin          RETURNED
    AT_DOOR             WRITTEN_OFF         dispatcher,admin          WRITTEN_OFF
    ID_VERIFIED         RETURN_RESOLVED     dispatcher,admin          RETURNED
    ID_VERIFIED         WRITTEN_OFF         dispatcher,admin          WRITTEN_OFF
    RETURNING           RETURN_RESOLVED     dispatcher,admin          RETURNED
    RETURNING           WRITTEN_OFF         dispatcher,admin          WRITTEN_OFF

    # Customer and operators may call it off while the goods are in the store.
    DRAFT               CANCELLED           customer,dispatcher,admin CANCELLED
    AGE_VERIFIED        CANCELLED           customer,dispatcher,admin CANCELLED
    PAYMENT_AUTHORIZED  CANCELLED           customer,dispatcher,admin CANCELLED
    CONFIRMED           CANCELLED           customer,dispatcher,admin CANCELLED
    ASSIGNED            CANCELLED           customer,dispatcher,admin CANCELLED

    # The money is taken after delivery; then the order is closed, and nothing is ever changed again (C9).
    DELIVERED           ORDER_CLOSED        system                    CLOSED
"""


def _allowed() -> dict[Triple, OrderStatus]:
    found = {}
    for line in _STEPS.splitlines():
        if (words := line.split()) and words[0] != "#":
            at, event, roles, to = words
            for role in roles.split(","):
                found[Triple(OrderStatus(at), OrderEvent(event), Role(role))] = OrderStatus(to)
    return found


ALLOWED: dict[Triple, OrderStatus] = _allowed()


def way_to(status: OrderStatus) -> list[tuple[Triple, OrderStatus]]:
    """The shortest lawful way from a draft to a state."""
    ways: dict[OrderStatus, list[tuple[Triple, OrderStatus]]] = {BIRTH[2]: []}
    while status not in ways:
        for step in ALLOWED.items():
            if step[0].at in ways:
                ways.setdefault(step[1], [*ways[step[0].at], step])
    return ways[status]


OrderPair: TypeAlias = tuple[OrderStatus, OrderStatus]
ORDER_PAIRS: frozenset[OrderPair] = frozenset((triple.at, to) for triple, to in ALLOWED.items())

# Each of these has happened, in this order, before goods are handed over.
GATES = (
    OrderEvent.AGE_PASSED,
    OrderEvent.PAYMENT_AUTHORIZED,
    OrderEvent.MERCHANT_ACCEPTED,
    OrderEvent.ASSIGNED,
    OrderEvent.PICKED_UP,
    OrderEvent.ARRIVED_AT_DOOR,
    OrderEvent.ID_PASSED,
    OrderEvent.DELIVERED,
)
IN_THE_CAR = frozenset(
    {
        OrderStatus.PICKED_UP,
        OrderStatus.AT_DOOR,
        OrderStatus.ID_VERIFIED,
        OrderStatus.REFUSED,
        OrderStatus.RETURNING,
    }
)
OVER = frozenset(
    {
        OrderStatus.CLOSED,
        OrderStatus.CANCELLED,
        OrderStatus.REJECTED,
        OrderStatus.RETURNED,
        OrderStatus.WRITTEN_OFF,
    }
)

# A region decides while there is a task to be driven, the order's row before and after (no state has two deciders).
WITH_A_TASK = frozenset({OrderStatus.CONFIRMED, OrderStatus.ASSIGNED}) | IN_THE_CAR


def _along(*lines: str) -> frozenset[tuple[str, str]]:
    return frozenset(pair for line in lines for pair in pairwise(line.split()))


# A task is driven by whoever accepted it, goes back among the open ones before the goods are in the car, and is called
# off until then; afterwards it ends at the door, or by an operator's word.
TASK_PAIRS: frozenset[tuple[TaskStatus, TaskStatus]] = frozenset(
    (TaskStatus(at), TaskStatus(to))
    for at, to in _along(
        "OPEN OFFERED ASSIGNED AT_PICKUP PICKED_UP AT_DROPOFF DONE",
        "OFFERED OPEN",
        "ASSIGNED OPEN",
        "AT_PICKUP OPEN",
        "OPEN CANCELLED",
        "OFFERED CANCELLED",
        "ASSIGNED CANCELLED",
        "AT_PICKUP CANCELLED",
        "PICKED_UP FAILED",
        "AT_DROPOFF FAILED",
    )
)
# An offer has one outcome.
OFFER_PAIRS: frozenset[tuple[OfferStatus, OfferStatus]] = frozenset(
    (OfferStatus(at), OfferStatus(to))
    for at, to in _along("OFFERED ACCEPTED", "OFFERED REJECTED", "OFFERED EXPIRED", "OFFERED REVOKED")
)
