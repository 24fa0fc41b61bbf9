"""Everything that can be asked of a region or of an order's row, and by hand who is granted what in which situation."""

from __future__ import annotations

from collections.abc import Callable

from domain.orders.commands import (
    BeginAgeCheck,
    CancelOrder,
    CloseOrder,
    CreateOrder,
    MerchantReject,
    OrderAction,
    OrderItem,
    RecordAgeCheck,
    RecordPayment,
)
from domain.orders.lifecycle import Role
from domain.orders.reasons import CancelReason, DispatchReason, RefuseReason, RejectReason, Resolution
from domain.orders.records import CheckOutcome
from domain.region.messages import (
    Accept,
    Action,
    Arrive,
    Assign,
    Cancel,
    ConfirmReturn,
    Deliver,
    DispatchTick,
    ExpireOffers,
    GoodsReady,
    NoteIdCheck,
    Pickup,
    Reassign,
    Refuse,
    Reject,
    Release,
    Resolve,
)
from tests.qa.situations import MERCHANT_ACCEPTS, ORDER, PEOPLE, SITUATIONS, Case, among
from tests.support import build

# -- what can be asked ------------------------------------------------------------------------------------------------

REGION: dict[str, Callable[[Case], Action]] = {
    "accept": lambda case: Accept(offer_id=case.offer_id),
    "accept by task": lambda case: Accept(task_id=case.task_id),
    "reject": lambda case: Reject(offer_id=case.offer_id),
    "reject by task": lambda case: Reject(task_id=case.task_id),
    "arrive": lambda case: Arrive(case.task_id),
    "pick up": lambda case: Pickup(case.task_id),
    "pass": lambda case: build.id_check(ORDER),
    "unclear": lambda case: NoteIdCheck(ORDER, CheckOutcome.REVIEW, True, "scan"),
    "fail": lambda case: build.id_check(ORDER, over_age=False),
    "deliver": lambda case: Deliver(ORDER),
    "refuse": lambda case: Refuse(ORDER, RefuseReason.NOBODY_HOME),
    "confirm return": lambda case: ConfirmReturn(case.task_id),
    "cancel": lambda case: Cancel(ORDER, CancelReason.CHANGED_MIND),
    "ready": lambda case: GoodsReady(ORDER),
    "assign": lambda case: Assign(case.task_id, "bob", DispatchReason.NO_DRIVER),
    "reassign": lambda case: Reassign(case.task_id, "bob", DispatchReason.BETTER_FIT),
    "release": lambda case: Release(case.task_id, DispatchReason.DRIVER_DELAYED),
    "resolve returned": lambda case: Resolve(case.task_id, Resolution.RETURNED_BY_OTHER, "incident:1"),
    "resolve lost": lambda case: Resolve(case.task_id, Resolution.LOST, "incident:1"),
    "expire offers": lambda case: ExpireOffers(10),
    "dispatch tick": lambda case: DispatchTick(),
}

ROWS: dict[str, OrderAction] = {
    "create": CreateOrder(
        store_id="store-1",
        items=(OrderItem("bread", 1),),
        dropoff_lat=build.DOOR_AT[0],
        dropoff_lng=build.DOOR_AT[1],
        dropoff_address="",
    ),
    "begin age check": BeginAgeCheck("try-5"),
    "age passed": RecordAgeCheck("try-2", CheckOutcome.PASS, "age-2"),
    "age failed": RecordAgeCheck("try-3", CheckOutcome.FAIL, "age-2"),
    "age unclear": RecordAgeCheck("try-4", CheckOutcome.REVIEW, "age-2"),
    "authorized": RecordPayment(True, "pay-2"),
    "declined": RecordPayment(False, "pay-2"),
    "accept": MERCHANT_ACCEPTS,
    "reject": MerchantReject(RejectReason.OUT_OF_STOCK),
    "cancel": CancelOrder(CancelReason.CHANGED_MIND),
    "close": CloseOrder("pay-1"),
}

# -- who is granted what ----------------------------------------------------------------------------------------------

_CANCELLERS = ("customer", "dispatcher", "admin")
_OPERATORS = ("dispatcher", "admin")
_IN_THE_CAR = among(["picked up", "at the door", "checked", "returning", "back at the store"])
_IN_THE_STORE = among(["open", "offered", "assigned", "at the store", "released"])
_ANYWHERE = frozenset(SITUATIONS)

# Person by person, situation by situation: who is not named is refused, the right role with the wrong person too.
REGION_GRANTS: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "accept": (("driver",), among(["offered"])),
    "accept by task": (("driver",), among(["offered"])),
    "reject": (("driver",), among(["offered"])),
    "reject by task": (("driver",), among(["offered"])),
    "arrive": (("driver",), among(["assigned", "picked up", "returning"])),
    "pick up": (("driver",), among(["at the store"])),
    "pass": (("driver",), among(["at the door"])),
    "fail": (("driver",), among(["at the door"])),
    "unclear": (("driver",), among(["at the door"])),
    "deliver": (("driver",), among(["checked"])),
    "refuse": (("driver",), among(["at the door", "checked"])),
    "confirm return": (("driver",), among(["back at the store"])),
    "cancel": (_CANCELLERS, _IN_THE_STORE),
    "ready": (("merchant",), _IN_THE_STORE),
    "assign": (_OPERATORS, among(["open", "offered", "released"])),
    "reassign": (_OPERATORS, among(["assigned", "at the store"])),
    "release": (_OPERATORS, among(["assigned", "at the store"])),
    "resolve returned": (_OPERATORS, _IN_THE_CAR),
    "resolve lost": (_OPERATORS, _IN_THE_CAR),
    "expire offers": (("system",), _ANYWHERE),
    "dispatch tick": (("system",), _ANYWHERE),
}
ROW_GRANTS: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "create": ((), among([])),  # the order is there already: an id is used once
    "begin age check": (("customer",), among(["draft"])),
    "age passed": (("customer",), among(["draft"])),
    "age failed": (("customer",), among(["draft"])),
    "age unclear": (("customer",), among(["draft"])),
    "authorized": (("customer",), among(["age verified"])),
    "declined": (("customer",), among(["age verified"])),
    "accept": (("merchant",), among(["authorized"])),
    "reject": (("merchant",), among(["authorized"])),
    "cancel": (_CANCELLERS, among(["draft", "age verified", "authorized"])),
    "close": (("system",), among(["delivered"])),
}
# Granted, and yet the client hears that it did not succeed: the failed attempt is on record.
ON_RECORD = {
    "age failed": "AGE_NOT_VERIFIED",
    "age unclear": "AGE_NOT_VERIFIED",
    "declined": "PAYMENT_DECLINED",
    "unclear": "ID_CHECK_INCONCLUSIVE",
}

# -- how the others are refused ---------------------------------------------------------------------------------------

_NO_TASK = among(
    [
        "draft",
        "age verified",
        "authorized",
        "rejected",
        "delivered",
        "closed",
        "cancelled",
        "returned",
        "written off",
    ]
)
_WITH_A_TASK = _ANYWHERE - _NO_TASK
_BY_ORDER = frozenset({"pass", "fail", "unclear", "deliver", "refuse"})
_BY_OPERATORS = frozenset({"assign", "reassign", "release", "resolve returned", "resolve lost"})
_OWNERS = {"cancel": "another customer", "ready": "another merchant"}


def region_refusal(request: str, name: str, situation: str) -> frozenset[str]:
    """The codes that may refuse a request which is not granted."""
    role, nothing_there = PEOPLE[name].role, situation in _NO_TASK
    if request in ("expire offers", "dispatch tick"):
        return _codes("FORBIDDEN")
    if request in _BY_OPERATORS:
        if role not in (Role.DISPATCHER, Role.ADMIN):
            return _codes("FORBIDDEN")
        return _codes("NOT_FOUND" if nothing_there else "WRONG_STATE")
    if request in ("cancel", "ready"):
        if nothing_there or name == _OWNERS[request]:
            return _codes("NOT_FOUND")  # somebody else's order is not there
        return _codes("FORBIDDEN" if situation in REGION_GRANTS[request][1] else "WRONG_STATE")
    if request in _BY_ORDER and nothing_there:
        return _codes("NOT_FOUND")
    if role is not Role.DRIVER:
        return _codes("FORBIDDEN")
    if request.startswith(("accept", "reject")):
        return _codes("OFFER_TAKEN", "OFFER_EXPIRED")
    if nothing_there:
        return _codes("NOT_FOUND")
    holder = name == "driver" and situation not in ("open", "offered", "released")
    return _codes("WRONG_STATE" if holder else "NOT_TASK_HOLDER")


def row_refusal(request: str, name: str, situation: str) -> frozenset[str]:
    """The same for an order's row. `DECIDER_MOVED` sends the gateway to the region, which refuses or grants."""
    if request == "create":
        return _codes("INTERNAL_CONFLICT")
    if name in ("another customer", "another merchant"):
        return _codes("NOT_FOUND")
    if request == "cancel" and situation in _WITH_A_TASK:
        return _codes("DECIDER_MOVED")
    return _codes("FORBIDDEN" if situation in ROW_GRANTS[request][1] else "WRONG_STATE")


def _codes(*codes: str) -> frozenset[str]:
    return frozenset(codes)
