"""Every state that an order can be in, reached for real: by a region's story and the store behind it.

The order under test is `order-2`; another driver, who has a task of another order in hand, is always about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from domain.orders.commands import (
    CloseOrder,
    CreateOrder,
    MerchantAccept,
    MerchantReject,
    OrderAction,
    OrderItem,
    RecordAgeCheck,
    RecordPayment,
)
from domain.orders.lifecycle import OrderEvent, OrderStatus, Role, TaskKind
from domain.orders.reasons import RefuseReason, RejectReason, Resolution
from domain.orders.records import Answer, CheckOutcome, Done, OrderFact, Record, RegionRecords
from domain.region.messages import Arrive, Cancel, ConfirmReturn, Deliver, Pickup, Refuse, Resolve
from tests.qa.law import BIRTH, Triple
from tests.support import build
from tests.support.story import Story, digest

ORDER, TASK = "order-2", "task-2"


class Person(NamedTuple):
    role: Role
    id: str


PEOPLE: dict[str, Person] = {
    "customer": Person(Role.CUSTOMER, "cara"),
    "another customer": Person(Role.CUSTOMER, "carl"),
    "merchant": Person(Role.MERCHANT, "max"),
    "another merchant": Person(Role.MERCHANT, "mia"),
    "driver": Person(Role.DRIVER, "ann"),
    "another driver": Person(Role.DRIVER, "bob"),
    "dispatcher": Person(Role.DISPATCHER, "dora"),
    "admin": Person(Role.ADMIN, "ada"),
    "support": Person(Role.SUPPORT, "sue"),
    "system": Person(Role.SYSTEM, "system"),
}

_CREATE = CreateOrder(
    store_id="store-1",
    items=(OrderItem("beer", 2),),
    dropoff_lat=build.DOOR_AT[0],
    dropoff_lng=build.DOOR_AT[1],
    dropoff_address="2 Elm Street",
)
_AGE, _PAY = RecordAgeCheck("try-1", CheckOutcome.PASS, "age-1"), RecordPayment(True, "pay-1")
MERCHANT_ACCEPTS = MerchantAccept(task_id=TASK, prep_s=300.0)


class Case:
    """The order in one state. A refused request must leave `state()` as it is, so one case serves many of them."""

    def __init__(self, situation: str) -> None:
        self.story = Story()
        self.story.assigned("bob")
        self._keys = 0
        SITUATIONS[situation].reach(self)

    @property
    def offer_id(self) -> str:
        """The offer that was made of the order's task, or one that there never was."""
        made = (offer for offer in self.story.store.offers.values() if TASK in offer.task_ids)
        return next((offer.offer_id for offer in made), "no-offer")

    @property
    def task_id(self) -> str:
        """The order's latest task."""
        tasks = [task for task in self.story.store.tasks.values() if task.order_id == ORDER]
        returns = (task.task_id for task in tasks if task.kind is TaskKind.RETURN)
        return next(returns, TASK)

    @property
    def status(self) -> OrderStatus:
        return self.story.store.orders[ORDER].status

    def command(self, person: Person, action: OrderAction) -> Answer:
        """Put a command to the order's row."""
        self._keys += 1
        command = build.command(
            action, person.role, person.id, order_id=ORDER, at_ms=self.story.now, key=f"row-{self._keys}"
        )
        [outcome] = self.story.store.append_now([command])
        assert isinstance(outcome, Done)
        return outcome.answer

    def commands(self, *actions: OrderAction, by: str = "customer") -> None:
        """Commands that must all be granted."""
        for action in actions:
            answer = self.command(PEOPLE[by], action)
            assert answer.code is None, answer

    def state(self) -> dict[str, Any]:
        """All that a request could change, in the region's memory and in the store, but the memory of answers."""
        store = self.story.store
        tables = (store.orders, store.tasks, store.offers, store.checks, store.dossiers, store.outbox)
        return digest(self.story.region) | {"store": msgspec.json.encode(tables)}

    def steps(self) -> dict[Triple, OrderStatus]:
        """The steps in the order's dossier after its birth, and where each led."""
        birth, *entries = self.story.store.dossier(ORDER)
        assert (birth.type, birth.actor.partition(":")[0], birth.status) == BIRTH
        found, at = {}, OrderStatus(birth.status)
        for entry in entries:
            triple = Triple(at, OrderEvent(entry.type), Role(entry.actor.partition(":")[0]))
            at = found[triple] = OrderStatus(entry.status)
        return found


# -- the ways there ---------------------------------------------------------------------------------------------------


def _draft(case: Case) -> None:
    case.commands(_CREATE)


def _age_verified(case: Case) -> None:
    case.commands(_CREATE, _AGE)


def _authorized(case: Case) -> None:
    case.commands(_CREATE, _AGE, _PAY)


def _rejected(case: Case) -> None:
    _authorized(case)
    case.commands(MerchantReject(RejectReason.OUT_OF_STOCK), by="merchant")


def _open(case: Case) -> None:
    case.story.order()


def _offered(case: Case) -> None:
    case.story.offered("ann")


def _assigned(case: Case) -> None:
    case.story.assigned("ann")


def _at_store(case: Case) -> None:
    _assigned(case)
    case.story.do("ann", Arrive(TASK))


def _released(case: Case) -> None:
    """The driver was not heard of for too long: the server itself has taken the task away."""
    _at_store(case)
    case.story.silence("ann")
    case.story.wait(case.story.policy.driver_lost_s + 60)


def _picked_up(case: Case) -> None:
    _at_store(case)
    case.story.do("ann", Pickup(TASK))


def _at_door(case: Case) -> None:
    _picked_up(case)
    case.story.do("ann", Arrive(TASK))


def _id_verified(case: Case) -> None:
    _at_door(case)
    case.story.do("ann", build.id_check(ORDER))


def _delivered(case: Case) -> None:
    _id_verified(case)
    case.story.do("ann", Deliver(ORDER))


def _closed(case: Case) -> None:
    _delivered(case)
    case.commands(CloseOrder("pay-1"), by="system")


def _cancelled(case: Case) -> None:
    _at_store(case)
    case.story.do("cara", Cancel(ORDER), role=Role.CUSTOMER)


def _refused(case: Case) -> None:
    """No region stops here: refusal and return are one record. So a record that is only half of it, and a new life."""
    _at_door(case)
    story = case.story
    fact = OrderFact(
        order_id=ORDER,
        event=OrderEvent.REFUSED,
        status=OrderStatus.REFUSED,
        at_ms=story.now,
        role=Role.DRIVER,
        actor_id="ann",
    )
    half = RegionRecords(build.REGION, story.region.epoch, (Record(record_id="half", orders=(fact,)),))
    assert story.store.append_now([half]) == [Done(Answer())]
    story.restart()


def _returning(case: Case) -> None:
    _at_door(case)
    case.story.do("ann", Refuse(ORDER, RefuseReason.NOBODY_HOME))


def _back_at_store(case: Case) -> None:
    _returning(case)
    case.story.do("ann", Arrive(case.task_id))


def _returned(case: Case) -> None:
    _back_at_store(case)
    case.story.do("ann", ConfirmReturn(case.task_id))


def _written_off(case: Case) -> None:
    _picked_up(case)
    case.story.do("dora", Resolve(TASK, Resolution.LOST, "incident:1"), role=Role.DISPATCHER)


class Situation(NamedTuple):
    status: OrderStatus
    reach: Callable[[Case], None]


SITUATIONS: dict[str, Situation] = {
    "draft": Situation(OrderStatus.DRAFT, _draft),
    "age verified": Situation(OrderStatus.AGE_VERIFIED, _age_verified),
    "authorized": Situation(OrderStatus.PAYMENT_AUTHORIZED, _authorized),
    "rejected": Situation(OrderStatus.REJECTED, _rejected),
    "open": Situation(OrderStatus.CONFIRMED, _open),
    "offered": Situation(OrderStatus.CONFIRMED, _offered),
    "assigned": Situation(OrderStatus.ASSIGNED, _assigned),
    "at the store": Situation(OrderStatus.ASSIGNED, _at_store),
    "released": Situation(OrderStatus.CONFIRMED, _released),
    "picked up": Situation(OrderStatus.PICKED_UP, _picked_up),
    "at the door": Situation(OrderStatus.AT_DOOR, _at_door),
    "checked": Situation(OrderStatus.ID_VERIFIED, _id_verified),
    "delivered": Situation(OrderStatus.DELIVERED, _delivered),
    "closed": Situation(OrderStatus.CLOSED, _closed),
    "cancelled": Situation(OrderStatus.CANCELLED, _cancelled),
    "refused": Situation(OrderStatus.REFUSED, _refused),
    "returning": Situation(OrderStatus.RETURNING, _returning),
    "back at the store": Situation(OrderStatus.RETURNING, _back_at_store),
    "written off": Situation(OrderStatus.WRITTEN_OFF, _written_off),
    "returned": Situation(OrderStatus.RETURNED, _returned),
}


def among(names: Iterable[str]) -> frozenset[str]:
    """Some situations, by names that there are."""
    assert set(names) <= SITUATIONS.keys()
    return frozenset(names)
