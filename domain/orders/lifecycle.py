"""Lifecycles as tables. An illegal event is a failed look-up; the docs' diagrams and the database's edge tables are
made from these very dictionaries (the model is h11's `_state.py`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from domain.errors import Forbidden, WrongState


class Role(StrEnum):
    CUSTOMER = "customer"
    MERCHANT = "merchant"
    DRIVER = "driver"
    SUPPORT = "support"  # sees orders and tickets, and decides on no order
    DISPATCHER = "dispatcher"
    ADMIN = "admin"
    SYSTEM = "system"


# Who watches over a market and steps in.
OPERATORS = frozenset({Role.DISPATCHER, Role.ADMIN})


class OrderStatus(StrEnum):
    DRAFT = "DRAFT"
    AGE_VERIFIED = "AGE_VERIFIED"
    PAYMENT_AUTHORIZED = "PAYMENT_AUTHORIZED"
    CONFIRMED = "CONFIRMED"
    ASSIGNED = "ASSIGNED"
    PICKED_UP = "PICKED_UP"
    AT_DOOR = "AT_DOOR"
    ID_VERIFIED = "ID_VERIFIED"
    DELIVERED = "DELIVERED"
    CLOSED = "CLOSED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    REFUSED = "REFUSED"
    RETURNING = "RETURNING"
    RETURNED = "RETURNED"
    WRITTEN_OFF = "WRITTEN_OFF"


class OrderEvent(StrEnum):
    """What can happen to an order; the value is the type of its dossier event."""

    CREATED = "ORDER_CREATED"
    AGE_PASSED = "AGE_CHECK_PASSED"
    AGE_FAILED = "AGE_CHECK_FAILED"
    AGE_UNCLEAR = "AGE_CHECK_INCONCLUSIVE"
    PAYMENT_AUTHORIZED = "PAYMENT_AUTHORIZED"
    PAYMENT_DECLINED = "PAYMENT_DECLINED"
    MERCHANT_ACCEPTED = "MERCHANT_ACCEPTED"
    MERCHANT_REJECTED = "MERCHANT_REJECTED"
    GOODS_READY = "GOODS_READY"
    ASSIGNED = "TASK_ASSIGNED"
    RELEASED = "TASK_RELEASED"
    ARRIVED_AT_STORE = "ARRIVED_AT_STORE"
    PICKED_UP = "PICKED_UP"
    ARRIVED_AT_DOOR = "ARRIVED_AT_DOOR"
    ID_PASSED = "ID_CHECK_PASSED"
    ID_FAILED = "ID_CHECK_FAILED"
    ID_UNCLEAR = "ID_CHECK_INCONCLUSIVE"
    REFUSED = "REFUSED"
    RETURN_INITIATED = "RETURN_INITIATED"
    ARRIVED_FOR_RETURN = "ARRIVED_FOR_RETURN"
    RETURN_CONFIRMED = "RETURN_CONFIRMED"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"
    CLOSED = "ORDER_CLOSED"
    RETURN_RESOLVED = "RETURN_RESOLVED"
    WRITTEN_OFF = "WRITTEN_OFF"


class TaskKind(StrEnum):
    DELIVERY = "DELIVERY"
    RETURN = "RETURN"


class TaskStatus(StrEnum):
    OPEN = "OPEN"
    OFFERED = "OFFERED"
    ASSIGNED = "ASSIGNED"
    AT_PICKUP = "AT_PICKUP"
    PICKED_UP = "PICKED_UP"
    AT_DROPOFF = "AT_DROPOFF"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class TaskEvent(StrEnum):
    OFFER = "offer"
    WITHDRAW = "withdraw"
    ACCEPT = "accept"
    RELEASE = "release"
    ARRIVE = "arrive"
    PICKUP = "pickup"
    COMPLETE = "complete"
    FAIL = "fail"
    RESOLVE = "resolve"
    CANCEL = "cancel"


class OfferStatus(StrEnum):
    OFFERED = "OFFERED"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


class Edge(NamedTuple):
    """One step of the order lifecycle: where it leads and whose step it is."""

    to: OrderStatus
    roles: frozenset[Role]


_O, _E = OrderStatus, OrderEvent
_CUSTOMER = frozenset({Role.CUSTOMER})
_MERCHANT = frozenset({Role.MERCHANT})
_DRIVER = frozenset({Role.DRIVER})
_SYSTEM = frozenset({Role.SYSTEM})
_CANCELLERS = frozenset({Role.CUSTOMER}) | OPERATORS

# fmt: off
ORDER: dict[tuple[OrderStatus, OrderEvent], Edge] = {
    # decided on the order's row, by the persistence actor
    (_O.DRAFT,              _E.AGE_PASSED):         Edge(_O.AGE_VERIFIED, _CUSTOMER),
    (_O.DRAFT,              _E.AGE_FAILED):         Edge(_O.DRAFT, _CUSTOMER),
    (_O.DRAFT,              _E.AGE_UNCLEAR):        Edge(_O.DRAFT, _CUSTOMER),
    (_O.DRAFT,              _E.CANCELLED):          Edge(_O.CANCELLED, _CANCELLERS),
    (_O.AGE_VERIFIED,       _E.PAYMENT_AUTHORIZED): Edge(_O.PAYMENT_AUTHORIZED, _CUSTOMER),
    (_O.AGE_VERIFIED,       _E.PAYMENT_DECLINED):   Edge(_O.AGE_VERIFIED, _CUSTOMER),
    (_O.AGE_VERIFIED,       _E.CANCELLED):          Edge(_O.CANCELLED, _CANCELLERS),
    (_O.PAYMENT_AUTHORIZED, _E.MERCHANT_ACCEPTED):  Edge(_O.CONFIRMED, _MERCHANT),
    (_O.PAYMENT_AUTHORIZED, _E.MERCHANT_REJECTED):  Edge(_O.REJECTED, _MERCHANT),
    (_O.PAYMENT_AUTHORIZED, _E.CANCELLED):          Edge(_O.CANCELLED, _CANCELLERS),
    (_O.DELIVERED,          _E.CLOSED):             Edge(_O.CLOSED, _SYSTEM),
    # decided by the region, while the order has a task
    (_O.CONFIRMED,          _E.GOODS_READY):        Edge(_O.CONFIRMED, _MERCHANT),
    (_O.CONFIRMED,          _E.ASSIGNED):           Edge(_O.ASSIGNED, _DRIVER | OPERATORS),
    (_O.CONFIRMED,          _E.CANCELLED):          Edge(_O.CANCELLED, _CANCELLERS),
    (_O.ASSIGNED,           _E.GOODS_READY):        Edge(_O.ASSIGNED, _MERCHANT),
    (_O.ASSIGNED,           _E.RELEASED):           Edge(_O.CONFIRMED, _SYSTEM | OPERATORS),
    (_O.ASSIGNED,           _E.ARRIVED_AT_STORE):   Edge(_O.ASSIGNED, _DRIVER),
    (_O.ASSIGNED,           _E.PICKED_UP):          Edge(_O.PICKED_UP, _DRIVER),
    (_O.ASSIGNED,           _E.CANCELLED):          Edge(_O.CANCELLED, _CANCELLERS),
    (_O.PICKED_UP,          _E.ARRIVED_AT_DOOR):    Edge(_O.AT_DOOR, _DRIVER),
    (_O.AT_DOOR,            _E.ID_PASSED):          Edge(_O.ID_VERIFIED, _DRIVER),
    (_O.AT_DOOR,            _E.ID_FAILED):          Edge(_O.REFUSED, _DRIVER),
    (_O.AT_DOOR,            _E.ID_UNCLEAR):         Edge(_O.AT_DOOR, _DRIVER),
    (_O.AT_DOOR,            _E.REFUSED):            Edge(_O.REFUSED, _DRIVER),
    (_O.ID_VERIFIED,        _E.REFUSED):            Edge(_O.REFUSED, _DRIVER),
    (_O.ID_VERIFIED,        _E.DELIVERED):          Edge(_O.DELIVERED, _DRIVER),
    (_O.REFUSED,            _E.RETURN_INITIATED):   Edge(_O.RETURNING, _SYSTEM),
    (_O.RETURNING,          _E.ARRIVED_FOR_RETURN): Edge(_O.RETURNING, _DRIVER),
    (_O.RETURNING,          _E.RETURN_CONFIRMED):   Edge(_O.RETURNED, _DRIVER),
    # goods in a vehicle that do not get where they should: an operator says what became of them, never that they were
    # handed over
    (_O.PICKED_UP,          _E.RETURN_RESOLVED):    Edge(_O.RETURNED, OPERATORS),
    (_O.PICKED_UP,          _E.WRITTEN_OFF):        Edge(_O.WRITTEN_OFF, OPERATORS),
    (_O.AT_DOOR,            _E.RETURN_RESOLVED):    Edge(_O.RETURNED, OPERATORS),
    (_O.AT_DOOR,            _E.WRITTEN_OFF):        Edge(_O.WRITTEN_OFF, OPERATORS),
    (_O.ID_VERIFIED,        _E.RETURN_RESOLVED):    Edge(_O.RETURNED, OPERATORS),
    (_O.ID_VERIFIED,        _E.WRITTEN_OFF):        Edge(_O.WRITTEN_OFF, OPERATORS),
    (_O.RETURNING,          _E.RETURN_RESOLVED):    Edge(_O.RETURNED, OPERATORS),
    (_O.RETURNING,          _E.WRITTEN_OFF):        Edge(_O.WRITTEN_OFF, OPERATORS),
}

_T, _V = TaskStatus, TaskEvent
TASK: dict[tuple[TaskStatus, TaskEvent], TaskStatus] = {
    (_T.OPEN,       _V.OFFER):    _T.OFFERED,
    (_T.OPEN,       _V.CANCEL):   _T.CANCELLED,
    (_T.OFFERED,    _V.WITHDRAW): _T.OPEN,
    (_T.OFFERED,    _V.ACCEPT):   _T.ASSIGNED,
    (_T.OFFERED,    _V.CANCEL):   _T.CANCELLED,
    (_T.ASSIGNED,   _V.RELEASE):  _T.OPEN,
    (_T.ASSIGNED,   _V.ARRIVE):   _T.AT_PICKUP,
    (_T.ASSIGNED,   _V.CANCEL):   _T.CANCELLED,
    (_T.AT_PICKUP,  _V.PICKUP):   _T.PICKED_UP,
    (_T.AT_PICKUP,  _V.RELEASE):  _T.OPEN,
    (_T.AT_PICKUP,  _V.CANCEL):   _T.CANCELLED,
    (_T.PICKED_UP,  _V.ARRIVE):   _T.AT_DROPOFF,
    (_T.PICKED_UP,  _V.RESOLVE):  _T.FAILED,
    (_T.AT_DROPOFF, _V.COMPLETE): _T.DONE,
    (_T.AT_DROPOFF, _V.FAIL):     _T.FAILED,
    (_T.AT_DROPOFF, _V.RESOLVE):  _T.FAILED,
}
# A delivery starts OPEN; a return starts with the goods already in the vehicle of the driver who was refused.
TASK_START: dict[TaskKind, TaskStatus] = {TaskKind.DELIVERY: _T.OPEN, TaskKind.RETURN: _T.PICKED_UP}
TASK_ENDED = frozenset({_T.DONE, _T.FAILED, _T.CANCELLED})
TASK_HELD = frozenset({_T.ASSIGNED, _T.AT_PICKUP, _T.PICKED_UP, _T.AT_DROPOFF})
# A task can be taken from its holder until the goods are in the vehicle.
TASK_RELEASABLE = frozenset(at for at, event in TASK if event is _V.RELEASE)

_F = OfferStatus
OFFER_EDGES: frozenset[tuple[OfferStatus, OfferStatus]] = frozenset(
    (_F.OFFERED, end) for end in (_F.ACCEPTED, _F.REJECTED, _F.EXPIRED, _F.REVOKED)
)
# fmt: on

ORDER_EDGES: frozenset[tuple[OrderStatus, OrderStatus]] = frozenset(
    (at, edge.to) for (at, _), edge in ORDER.items()
)
TASK_EDGES: frozenset[tuple[TaskStatus, TaskStatus]] = frozenset((at, to) for (at, _), to in TASK.items())
# The states in which a region, not the row, decides (see "Who decides" in docs/architecture.md).
REGION_DECIDES = frozenset(
    {_O.CONFIRMED, _O.ASSIGNED, _O.PICKED_UP, _O.AT_DOOR, _O.ID_VERIFIED, _O.REFUSED, _O.RETURNING}
)


def advance_order(status: OrderStatus, event: OrderEvent, role: Role) -> OrderStatus:
    """The state after `event`; `WrongState` where there is no such edge, `Forbidden` where it is not the role's."""
    edge = ORDER.get((status, event))
    if edge is None:
        raise WrongState(f"{event} is not possible while the order is {status}.")
    if role not in edge.roles:
        raise Forbidden(f"{event} belongs to: {', '.join(sorted(edge.roles))}.")
    return edge.to


def advance_task(status: TaskStatus, event: TaskEvent) -> TaskStatus:
    """The state after `event`; `WrongState` where the table has no such edge."""
    to = TASK.get((status, event))
    if to is None:
        raise WrongState(f"'{event}' is not possible while the task is {status}.")
    return to
