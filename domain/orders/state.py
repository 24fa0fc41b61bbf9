"""An order's rows as what decides on them sees them, and what a decision leaves."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import Refusal
from domain.ground.zones import Zone
from domain.marketplace.earnings import Earning
from domain.marketplace.money import Movement
from domain.marketplace.payments import Payment
from domain.marketplace.pricing import TaxClass
from domain.orders.commands import OrderCommand, OrderItem
from domain.orders.hours import Holiday, Hours
from domain.orders.lifecycle import OrderEvent, OrderStatus, advance_order
from domain.orders.payment import Attempt, Undo, open_attempt
from domain.orders.records import AgeAttempt, Answer, OrderBrief, OrderFact, TaskRow


class Store(Struct, frozen=True, kw_only=True):
    """A merchant's store, as far as orders are concerned. `sells`: whether its merchant is approved."""

    store_id: str
    merchant_id: str
    region_id: str
    lat: float
    lng: float
    hours: Hours = None
    holidays: tuple[Holiday, ...] = ()
    prep_min: int | None = None
    zone: Zone | None = None
    paused_until_ms: int | None = None
    closed_ms: int | None = None
    sells: bool = True


class Product(Struct, frozen=True, kw_only=True):
    product_id: str
    store_id: str
    category: str
    price_cents: int
    tax_class: TaxClass = TaxClass.STANDARD


class OrderLine(OrderItem, frozen=True):
    """A line as it was ordered: cents apiece, and the tax on all of it."""

    price_cents: int
    tax_cents: int


class OrderState(Struct, frozen=True, kw_only=True):
    """An order's row under lock."""

    order_id: str
    region_id: str
    customer_id: str
    merchant_id: str
    store_id: str
    status: OrderStatus
    version: int
    min_age: int
    goods_cents: int
    fee_cents: int
    tax_cents: int
    tip_cents: int
    total_cents: int  # the sum of these four
    items: tuple[OrderLine, ...]
    pickup_lat: float
    pickup_lng: float
    dropoff_lat: float
    dropoff_lng: float
    dropoff_address: str
    created_ms: int
    age_attempts: int = 0
    payment_ref: str | None = None
    ready_ms: int | None = None
    due_ms: int | None = None
    payments: tuple[Attempt, ...] = ()

    @property
    def payment_open_ms(self) -> int | None:
        """Since when nobody knows what became of an authorization; None where there is no such."""
        attempt = open_attempt(self.payments)
        return None if attempt is None else attempt.begun_ms


# What an order comes to, part by part and in all.
AMOUNTS = ("goods_cents", "fee_cents", "tax_cents", "tip_cents", "total_cents")


class Books(Struct, frozen=True, kw_only=True):
    """What is booked of money: movements of the ledger, the payment that was taken, and what drivers have earned."""

    movements: tuple[Movement, ...] = ()
    payment: Payment | None = None
    earnings: tuple[Earning, ...] = ()


class Decision(Struct, frozen=True, kw_only=True):
    """What to write: the row as it will be (None: nothing), the facts, a task to open, what a vendor is to let go, a
    try at an age check, what is booked of money, and the answer. Without facts the row keeps its version: only
    what is nobody's but ours has changed."""

    answer: Answer
    order: OrderState | None = None
    facts: tuple[OrderFact, ...] = ()
    opened: tuple[TaskRow, OrderBrief] | None = None
    undo: tuple[Undo, ...] = ()
    attempt: AgeAttempt | None = None
    books: Books = Books()


# The order has a task: its region decides now. Never leaves the server; the gateway asks the region instead.
DECIDER_MOVED = Answer(code="DECIDER_MOVED")

_Facts: TypeAlias = dict[str, Any]


def advance(
    command: OrderCommand, order: OrderState, event: OrderEvent, payload: _Facts, **changes: Any
) -> Decision:
    """The order's next step by its table, on record; `WrongState` where there is none."""
    status = advance_order(order.status, event, command.role)
    after = replace(order, status=status, version=order.version + 1, **changes)
    return Decision(
        answer=answer_of(after),
        order=after,
        facts=(fact_of(command, event, status, payload, after.ready_ms),),
    )


def with_refusal(decision: Decision, error: Refusal) -> Decision:
    """The facts stand (a failed attempt is on record), the client is refused."""
    return Decision(answer=refused(error), order=decision.order, facts=decision.facts)


def fact_of(
    command: OrderCommand,
    event: OrderEvent,
    status: OrderStatus,
    payload: _Facts,
    ready_ms: int | None = None,
) -> OrderFact:
    """What goes into the dossier."""
    return OrderFact(
        order_id=command.order_id,
        event=event,
        status=status,
        at_ms=command.at_ms,
        role=command.role,
        actor_id=command.principal_id,
        payload=payload,
        ready_ms=ready_ms,
    )


def answer_of(order: OrderState) -> Answer:
    """What a client is told of an order after its step."""
    return Answer(body={"id": order.order_id, "status": str(order.status), "version": order.version})


def refused(error: Refusal) -> Answer:
    """The answer that stands for a refusal."""
    return Answer(code=error.code, detail=error.detail)
