"""What an append will write, worked out from loaded rows without I/O. Both stores plan here and differ in the writing.

Commands are taken in order on a working copy of the rows, so several commands for one order see each other's effect.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from domain.compliance import RULEBOOKS
from domain.errors import IdempotencyKeyReused, InternalConflict, InternalError
from domain.ground.times import in_ms
from domain.marketplace.earnings import Drive
from domain.orders.commands import (
    BeginAgeCheck,
    CreateOrder,
    MerchantAccept,
    OrderCommand,
    PaymentAction,
    RecordAgeCheck,
    SettlePayment,
)
from domain.orders.decide import PolicyOf, decide, decide_create, one_policy
from domain.orders.dossier import GENESIS, Entry, extend
from domain.orders.lifecycle import OPERATORS, REGION_DECIDES
from domain.orders.records import (
    ORDER,
    AgeAttempt,
    Answer,
    Done,
    DoorCheck,
    Fenced,
    Json,
    OfferRow,
    OrderFact,
    Outcome,
    Record,
    RegionRecords,
    StoredAnswer,
    TaskRow,
)
from domain.orders.settling import SETTLED
from domain.orders.state import DECIDER_MOVED, Books, Decision, OrderState, Product, Store, refused
from domain.ports import Channel, Command

log = logging.getLogger(__name__)

# Tries at age checks that are older count nowhere.
_ATTEMPTS_MS = in_ms(max(rulebook.age_attempts_s for rulebook in RULEBOOKS.values()))

Key: TypeAlias = tuple[str, str]  # (scope, key) of an answer


class ConstraintBroken(Exception):
    """A lock behind the lifecycle bit: nothing of the command may be written."""

    def __init__(self, constraint: str, message: str = "") -> None:
        self.constraint = constraint
        super().__init__(message or constraint)


class Head(Struct, frozen=True):
    """An order's row with the head of its dossier."""

    order: OrderState
    seq: int
    hash: bytes


class Rows(Struct):
    """What the commands need to be decided, as loaded under lock. `plan` works on it in place."""

    epochs: dict[str, int] = field(default_factory=dict)
    orders: dict[str, Head] = field(default_factory=dict)
    stores: dict[str, Store] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    attempts: dict[str, dict[str, AgeAttempt]] = field(default_factory=dict)  # of a customer, by their id
    answers: dict[Key, StoredAnswer] = field(default_factory=dict)
    drives: dict[str, list[Drive]] = field(default_factory=dict)  # for an order


class OrderWrite(Struct, frozen=True):
    """An order's row after one fact; `new` when it is to be inserted."""

    head: Head
    at_ms: int
    new: bool


class Unit(Struct):
    """The row changes of one record or command, which belong together."""

    checks: tuple[DoorCheck, ...] = ()
    offers: tuple[OfferRow, ...] = ()
    tasks: tuple[TaskRow, ...] = ()
    orders: list[OrderWrite] = field(default_factory=list)
    attempt: AgeAttempt | None = None


class OutboxRow(Struct, frozen=True):
    channel: Channel
    topic: str
    aggregate: str
    aggregate_id: str
    region_id: str  # empty where no market is concerned
    at_ms: int
    payload: dict[str, Json]


class AuditRow(Struct, frozen=True):
    """What an operator did, for the audit log: `action` as others are told, such as `order.cancelled`."""

    at_ms: int
    actor_id: str
    actor_role: str
    action: str
    aggregate_id: str


class Plan(Struct):
    """The outcome of each command and all that is to be written for them."""

    outcomes: list[Outcome] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    audit: list[AuditRow] = field(default_factory=list)
    books: list[Books] = field(default_factory=list)
    answers: list[tuple[StoredAnswer, str | None]] = field(
        default_factory=list
    )  # with the region that gave it
    own_keys: set[Key] = field(default_factory=set)  # keys that this append must be the first to store


class Needs(Struct):
    """The ids of the rows that `commands` need."""

    regions: set[str] = field(default_factory=set)
    orders: set[str] = field(default_factory=set)
    decided: set[str] = field(default_factory=set)  # orders that are decided here, with their items
    stores: set[str] = field(default_factory=set)
    accepted: set[str] = field(default_factory=set)  # orders whose stores are needed
    products: set[str] = field(default_factory=set)
    customers: set[str] = field(default_factory=set)  # whose tries at age checks are needed
    attempts: set[str] = field(default_factory=set)  # of those, even if they are old
    attempts_since_ms: int = 2**62
    keys: set[Key] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)  # orders of which it is needed what was driven for them

    def all_stores(self, orders: Mapping[str, Head]) -> set[str]:
        """The ids of the stores, once the orders are loaded."""
        of_orders = {orders[order_id].order.store_id for order_id in self.accepted if order_id in orders}
        return self.stores | of_orders


def needs(commands: Iterable[Command]) -> Needs:
    """What to load for these commands."""
    need = Needs()
    for command in commands:
        if isinstance(command, RegionRecords):
            need.regions.add(command.region_id)
            need.orders.update(fact.order_id for record in command.records for fact in record.orders)
            continue
        need.keys.add((command.scope, command.key))
        need.orders.add(command.order_id)
        if isinstance(command.action, CreateOrder):
            need.stores.add(command.action.store_id)
            need.products.update(item.product_id for item in command.action.items)
        else:
            need.decided.add(command.order_id)
            if isinstance(command.action, MerchantAccept):
                need.accepted.add(command.order_id)
            if isinstance(command.action, SettlePayment):
                need.settled.add(command.order_id)
            if isinstance(command.action, BeginAgeCheck | RecordAgeCheck):
                need.customers.add(command.principal_id)
                need.attempts.add(command.action.attempt_id)
                need.attempts_since_ms = min(need.attempts_since_ms, command.at_ms - _ATTEMPTS_MS)
    return need


def plan(commands: Sequence[Command], rows: Rows, policy_of: PolicyOf = one_policy) -> Plan:
    """Decide each command on `rows` and collect the writes; `ConstraintBroken` when a fact cannot be written."""
    result = Plan()
    for command in commands:
        if isinstance(command, RegionRecords):
            result.outcomes.append(_region(command, rows, result))
        else:
            result.outcomes.append(_order(command, rows, result, policy_of))
    return result


# -- a region's facts -------------------------------------------------------------------------------------------------


def is_fenced(command: RegionRecords, epochs: Mapping[str, int]) -> bool:
    """Whether the records come from another life of the region than the present one."""
    return command.epoch != epochs.get(command.region_id, 0)


def _region(command: RegionRecords, rows: Rows, result: Plan) -> Outcome:
    if is_fenced(command, rows.epochs):
        return Fenced(rows.epochs.get(command.region_id, 0))
    for record in command.records:
        _record(command.region_id, record, rows, result)
    return Done(Answer())


def _record(region_id: str, record: Record, rows: Rows, result: Plan) -> None:
    unit = Unit(checks=record.checks, offers=record.offers, tasks=record.tasks)
    regions = {task.region_id for task in record.tasks} | {offer.region_id for offer in record.offers}
    if regions - {region_id}:
        raise ConstraintBroken("other_region", "the row belongs to another region")
    for fact in record.orders:
        head = rows.orders.get(fact.order_id)
        if head is None:
            raise ConstraintBroken("orders_exist", "there is no such order")
        order = head.order
        if order.region_id != region_id:
            raise ConstraintBroken("other_region", "the order belongs to another region")
        if order.status not in REGION_DECIDES:
            raise ConstraintBroken("orders_decider", f"no region decides while the order is {order.status}")
        after = replace(
            order,
            status=fact.status,
            version=order.version + 1,
            ready_ms=order.ready_ms if fact.ready_ms is None else fact.ready_ms,
        )
        unit.orders.append(_put(head, after, fact, rows, result))
    result.units.append(unit)
    for stored in record.answers:
        if (stored.scope, stored.key) not in rows.answers:
            rows.answers[(stored.scope, stored.key)] = stored
            result.answers.append((stored, region_id))


# -- a command on the rows --------------------------------------------------------------------------------------------


def _order(command: OrderCommand, rows: Rows, result: Plan, policy_of: PolicyOf) -> Outcome:
    key = (command.scope, command.key)
    known = rows.answers.get(key)
    if known is not None:
        same = known.fingerprint == command.fingerprint
        return Done(known.answer if same else refused(IdempotencyKeyReused()))
    head = rows.orders.get(command.order_id)
    try:
        if not isinstance(command.action, CreateOrder):
            order = head.order if head else None
            decision = decide(
                command,
                order,
                rows.stores.get(order.store_id) if order else None,
                policy_of,
                tuple(rows.attempts.get(command.principal_id, {}).values()),
                rows.drives.get(command.order_id, ()),
            )
        elif head is None:
            decision = decide_create(
                command, rows.stores.get(command.action.store_id), rows.products, policy_of
            )
        else:
            log.error("an order was created twice under one id", extra={"order_id": command.order_id})
            return Done(refused(InternalConflict()))
    except Exception:  # one command's fault must not take the batch down
        log.exception("a command could not be decided", extra={"order_id": command.order_id})
        return Done(refused(InternalError()))
    if decision.answer == DECIDER_MOVED:
        return Done(decision.answer)
    _write_decision(command, decision, head, rows, result)
    if isinstance(command.action, PaymentAction):
        return Done(decision.answer)
    stored = StoredAnswer(
        scope=command.scope,
        key=command.key,
        fingerprint=command.fingerprint,
        answer=decision.answer,
        at_ms=command.at_ms,
    )
    rows.answers[key] = stored
    result.answers.append((stored, None))
    result.own_keys.add(key)
    return Done(decision.answer, decision.opened)


def _write_decision(
    command: OrderCommand, decision: Decision, head: Head | None, rows: Rows, result: Plan
) -> None:
    for undo in decision.undo:
        assert head is not None
        order, payload = head.order, msgspec.to_builtins(undo)
        result.outbox.append(_told(Channel.PAYMENTS, "payment.undo", order, command.at_ms, payload))
    if decision.books != Books():
        result.books.append(decision.books)
    unit = Unit(attempt=decision.attempt)
    if (attempt := decision.attempt) is not None:
        rows.attempts.setdefault(attempt.customer_id, {})[attempt.attempt_id] = attempt
    if decision.order is None:
        if attempt is not None:
            result.units.append(unit)
        return
    if not decision.facts:
        assert head is not None
        head = rows.orders[command.order_id] = Head(decision.order, head.seq, head.hash)
        unit.orders.append(OrderWrite(head, command.at_ms, new=False))
    for fact in decision.facts:
        # Each fact is a row change of its own, so that each edge meets the database's look-up.
        after = replace(decision.order, status=fact.status)
        head_before = head or Head(after, 0, GENESIS)
        unit.orders.append(_put(head_before, after, fact, rows, result))
        head = rows.orders[command.order_id]
    if decision.opened is not None:
        task, brief = decision.opened
        unit.tasks = (task,)
        payload = {"task": msgspec.to_builtins(task), "order": msgspec.to_builtins(brief)}
        result.outbox.append(
            OutboxRow(
                Channel.TASKS, "task.opened", ORDER, task.order_id, task.region_id, command.at_ms, payload
            )
        )
    result.units.append(unit)


def _put(before: Head, after: OrderState, fact: OrderFact, rows: Rows, result: Plan) -> OrderWrite:
    """Move the order's row to `after`, its dossier by one event, and put the fact into the outbox."""
    try:
        entry = extend(before.hash, before.seq + 1, fact)
    except (TypeError, ValueError) as error:  # a float, or text that is not Unicode
        raise ConstraintBroken("dossier_events_payload", str(error)) from error
    head = Head(after, entry.seq, entry.hash)
    rows.orders[after.order_id] = head
    result.entries.append(entry)
    if fact.role in OPERATORS:
        action = f"{ORDER}.{str(fact.event).lower()}"
        result.audit.append(AuditRow(fact.at_ms, fact.actor_id, str(fact.role), action, after.order_id))
    result.outbox.append(
        _told(
            Channel.BUS,
            f"{ORDER}.{str(fact.event).lower()}",
            after,
            fact.at_ms,
            {
                "order_id": after.order_id,
                "event": str(fact.event),
                "status": str(fact.status),
                "version": after.version,
                "seq": entry.seq,
                "hash": entry.hash.hex(),
                "role": str(fact.role),
                "actor_id": fact.actor_id,
                "customer_id": after.customer_id,
                "merchant_id": after.merchant_id,
                "store_id": after.store_id,
                "at_ms": fact.at_ms,
                "payload": fact.payload,
            },
        )
    )
    if fact.status in SETTLED:
        payload = {
            "status": str(fact.status),
            "payment_ref": after.payment_ref,
            "total_cents": after.total_cents,
        }
        result.outbox.append(_told(Channel.PAYMENTS, "payment.settle", after, fact.at_ms, payload))
    return OrderWrite(head, fact.at_ms, new=before.seq == 0)


def _told(channel: Channel, topic: str, order: OrderState, at_ms: int, payload: dict[str, Json]) -> OutboxRow:
    return OutboxRow(channel, topic, ORDER, order.order_id, order.region_id, at_ms, payload)
