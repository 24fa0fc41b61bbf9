"""`MemoryStore`: the same store without a database, for unit and simulation tests.

It decides with the same planner and refuses by the same tables as `PostgresStore`; one contract suite runs over both.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from domain.errors import InternalConflict
from domain.marketplace.earnings import Drive, Earning
from domain.marketplace.money import Movement
from domain.marketplace.payments import Payment
from domain.orders.decide import PolicyOf, one_policy
from domain.orders.dossier import Entry
from domain.orders.lifecycle import TASK_ENDED, OfferStatus, OrderStatus
from domain.orders.records import (
    AgeAttempt,
    Done,
    DoorCheck,
    Fenced,
    NotTaken,
    OfferRow,
    OrderBrief,
    OutboxEvent,
    Outcome,
    RecordRefused,
    RegionImage,
    RegionRecords,
    StoredAnswer,
    TaskRow,
)
from domain.orders.settling import Step, drives
from domain.orders.state import OrderState, Product, Store, refused
from domain.ports import IN_ORDER, Channel, Command
from domain.solve import Explanation
from persistence.orders.guards import (
    guard_attempt,
    guard_check,
    guard_event,
    guard_offer,
    guard_order,
    guard_task,
)
from persistence.orders.image import ANSWERS_LIMIT, RECENT_LIMIT, RECENT_MS, counters
from persistence.orders.plan import (
    AuditRow,
    ConstraintBroken,
    Head,
    Key,
    Needs,
    Plan,
    Rows,
    Unit,
    is_fenced,
    needs,
    plan,
)

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")


class _Draft(Generic[K, V]):
    """A table with changes on top that may be dropped."""

    def __init__(self, table: dict[K, V]) -> None:
        self.table, self.changes = table, dict[K, V]()

    def get(self, key: K) -> V | None:
        return self.changes.get(key) or self.table.get(key)

    def __setitem__(self, key: K, value: V) -> None:
        self.changes[key] = value

    def commit(self) -> None:
        self.table.update(self.changes)


_Drafts: TypeAlias = tuple[
    _Draft[str, Head],
    _Draft[str, TaskRow],
    _Draft[str, OfferRow],
    _Draft[str, DoorCheck],
    _Draft[str, Explanation],
]


class _Tables(Struct):
    orders: dict[str, Head] = field(default_factory=dict)
    tasks: dict[str, TaskRow] = field(default_factory=dict)
    offers: dict[str, OfferRow] = field(default_factory=dict)
    checks: dict[str, DoorCheck] = field(default_factory=dict)
    explanations: dict[str, Explanation] = field(default_factory=dict)  # by offer
    attempts: dict[str, AgeAttempt] = field(default_factory=dict)


class _Tried(Struct, frozen=True):
    """Of an event that was not taken: how often, when it is due again (time of the loop; never, if dead), and why."""

    attempts: int
    next_s: float
    reason: str


class Transaction(Struct, frozen=True):
    """Commands decided on the rows as they were, not written yet. `planned`: None when a fact cannot be written."""

    commands: Sequence[Command]
    planned: Plan | None
    orders: dict[str, Head] = field(default_factory=dict)  # as they were read


class MemoryStore:
    """`domain.ports.Store` in memory. The `_now` methods are the same without `await`.

    `begin` and `commit` are the two halves of an append, for whoever wants others to come in between: where Postgres
    would have them wait for a row's lock, the one that commits later finds its dossier entries' places taken, and
    decides again.
    """

    def __init__(
        self, on_commit: Callable[[Plan], None] | None = None, policy_of: PolicyOf = one_policy
    ) -> None:
        """`on_commit` hears of everything that was written, at once."""
        self._on_commit, self._policy_of = on_commit, policy_of
        self.epochs: dict[str, int] = {}
        self.stores: dict[str, Store] = {}
        self.products: dict[str, Product] = {}
        self.answers: dict[Key, tuple[StoredAnswer, str | None]] = {}
        self.dossiers: dict[str, list[Entry]] = {}
        self.audit: list[AuditRow] = []
        self.outbox: dict[Channel, dict[int, OutboxEvent]] = {
            channel: {} for channel in Channel
        }  # not yet done
        self._tables = _Tables()
        self._tasks_of: dict[str, set[str]] = {}  # order -> its tasks
        self._checks_of: dict[str, set[str]] = {}
        self._live_tasks: dict[str, set[str]] = {}  # region -> tasks not ended
        self._live_offers: dict[str, set[str]] = {}
        self._not_taken: dict[int, _Tried] = {}  # of the events in the outbox
        self._leases: dict[str, str] = {}  # name -> holder
        self._event_id = 0
        self.ledger: dict[str, Movement] = {}  # by id
        self.paid: dict[str, Payment] = {}
        self.earned: dict[str, Earning] = {}  # by task

    # -- what tests put in and look at --------------------------------------------------------------------------------

    def add_store(self, store: Store, products: Iterable[Product] = ()) -> None:
        """Register a store and products of it."""
        self.stores[store.store_id] = store
        self.products.update((product.product_id, product) for product in products)

    def order(self, order_id: str) -> OrderState | None:
        """An order's row."""
        head = self._tables.orders.get(order_id)
        return head.order if head else None

    @property
    def orders(self) -> dict[str, OrderState]:
        return {order_id: head.order for order_id, head in self._tables.orders.items()}

    @property
    def tasks(self) -> dict[str, TaskRow]:
        return self._tables.tasks

    @property
    def offers(self) -> dict[str, OfferRow]:
        return self._tables.offers

    @property
    def checks(self) -> dict[str, DoorCheck]:
        return self._tables.checks

    @property
    def attempts(self) -> dict[str, AgeAttempt]:
        return self._tables.attempts

    @property
    def explanations(self) -> dict[str, Explanation]:
        return self._tables.explanations

    def put_offer(self, offer: OfferRow) -> None:
        """Write an offer's row past all rules, as an operator can."""
        self._tables.offers[offer.offer_id] = offer
        _keep(self._live_offers, offer.region_id, offer.offer_id, offer.status is OfferStatus.OFFERED)

    def dossier(self, order_id: str) -> list[Entry]:
        """An order's dossier, oldest first."""
        return list(self.dossiers.get(order_id, ()))

    # -- the port -----------------------------------------------------------------------------------------------------

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        """See `domain.ports.Store.append`."""
        return self.append_now(commands)

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        """See `domain.ports.Store.open_region`."""
        return self.open_region_now(region_id, now_ms)

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        """See `domain.ports.RegionStore.look_at_region`."""
        return self._image(region_id, now_ms, 0)

    async def outbox_batch(
        self,
        channel: Channel,
        limit: int,
        without: Collection[str] = (),
        under_way: Collection[int] = (),
    ) -> list[OutboxEvent]:
        """See `domain.ports.Store.outbox_batch`."""
        now_s = asyncio.get_running_loop().time()
        taken, batch = Counter[tuple[str, bool]](), list[OutboxEvent]()
        # Aggregates with an event that was not taken, and those with one that is not due.
        held, late = set[tuple[str, str]](), set[tuple[str, str]]()
        for event in self.outbox[channel].values():
            known = self._not_taken.get(event.event_id)
            waits = event.about in (held if known is None else late) and channel in IN_ORDER
            if known is not None:
                held.add(event.about)
                if known.next_s > now_s:
                    late.add(event.about)
            due = not waits and (known is None or known.next_s <= now_s)
            kind = event.region_id, known is None
            if (
                due
                and event.event_id not in under_way
                and event.region_id not in without
                and taken[kind] < limit
            ):
                taken[kind] += 1
                batch.append(event if known is None else replace(event, attempts=known.attempts))
        return batch

    async def outbox_done(self, event_ids: Sequence[int]) -> None:
        """See `domain.ports.Store.outbox_done`."""
        for waiting in self.outbox.values():
            for event_id in event_ids:
                waiting.pop(event_id, None)
                self._not_taken.pop(event_id, None)

    async def outbox_not_taken(self, events: Sequence[NotTaken]) -> None:
        """See `domain.ports.Store.outbox_not_taken`."""
        now_s = asyncio.get_running_loop().time()
        for event in events:
            known = self._not_taken.get(event.event_id)
            self._not_taken[event.event_id] = _Tried(
                attempts=1 if known is None else known.attempts + 1,
                next_s=math.inf if event.again_s is None else now_s + event.again_s,
                reason=event.reason,
            )

    @property
    def dead_letters(self) -> dict[int, str]:
        """Events that are tried no more: why each was not taken."""
        return {event_id: one.reason for event_id, one in self._not_taken.items() if one.next_s == math.inf}

    async def open_payments(self, before_ms: int, limit: int) -> list[tuple[str, int]]:
        """See `domain.ports.Store.open_payments`."""
        opened = [
            (order.payment_open_ms, order.order_id, order.payments[-1].number)
            for order in self.orders.values()
            if order.payment_open_ms is not None and order.payment_open_ms < before_ms
        ]
        return [(order_id, number) for _, order_id, number in sorted(opened)[:limit]]

    async def sweep(self, before_ms: int, explained_before_ms: int, limit: int) -> int:
        """See `domain.ports.Store.sweep`. Events are forgotten when they are done with."""
        old = sorted(
            (stored.at_ms, key) for key, (stored, _) in self.answers.items() if stored.at_ms < before_ms
        )
        for _, key in old[:limit]:
            del self.answers[key]
        made = sorted((self.offers[offer_id].made_ms, offer_id) for offer_id in self.explanations)
        told = [offer_id for made_ms, offer_id in made if made_ms < explained_before_ms][:limit]
        for offer_id in told:
            del self.explanations[offer_id]
        return len(old[:limit]) + len(told)

    async def retire(self, over_before_ms: int, offers_before_ms: int | None, limit: int) -> int:
        """See `domain.ports.Store.retire`. Nothing is counted ahead here, and no offer forgotten."""
        return 0

    async def lease(self, name: str, holder: str, for_s: float) -> bool:
        """See `domain.ports.Store.lease`. Without a clock: until it is released."""
        return self._leases.setdefault(name, holder) == holder

    async def release(self, holder: str) -> None:
        """See `domain.ports.Store.release`."""
        self._leases = {
            name: one
            for name, one in self._leases.items()
            if one != holder and not one.startswith(f"{holder}/")
        }

    def begin(self, commands: Sequence[Command]) -> Transaction:
        """Decide the commands on the rows of now."""
        rows = self._rows(commands)
        seen = dict(rows.orders)
        try:
            return Transaction(commands, plan(commands, rows, self._policy_of), seen)
        except ConstraintBroken:
            return Transaction(commands, None)

    def commit(self, transaction: Transaction) -> list[Outcome]:
        """Write what was decided; where others came in between or a lock bites, each command anew and for itself."""
        if transaction.planned is not None and self._is_current(transaction):
            try:
                self._write(transaction.planned)
            except ConstraintBroken:
                pass
            else:
                return transaction.planned.outcomes
        return self.append_now(transaction.commands)

    def _is_current(self, transaction: Transaction) -> bool:
        """Whether no region has begun a new life, nobody has taken a key and no order has changed since the transaction
        began."""
        planned = transaction.planned
        assert planned is not None
        orders = self._tables.orders
        if any(orders.get(order_id) is not head for order_id, head in transaction.orders.items()):
            return False
        if needs(transaction.commands).customers:
            return False  # others of the same person may have come in between
        return not any(key in self.answers for key in planned.own_keys) and all(
            isinstance(outcome, Fenced) or not is_fenced(command, self.epochs)
            for command, outcome in zip(transaction.commands, planned.outcomes, strict=True)
            if isinstance(command, RegionRecords)
        )

    def append_now(self, commands: Sequence[Command]) -> list[Outcome]:
        """Carry out each command for itself; one outcome each, in order."""
        return [self._one(command) for command in commands]

    def _one(self, command: Command) -> Outcome:
        try:
            planned = plan([command], self._rows([command]), self._policy_of)
            self._write(planned)
        except ConstraintBroken as error:
            if not isinstance(command, RegionRecords):
                log.error("a command on order %s broke %s", command.order_id, error.constraint)
                return Done(refused(InternalConflict()))
            record_id = self._offender(command)
            log.error("record %s of %s broke %s", record_id, command.region_id, error.constraint)
            return RecordRefused(record_id, error.constraint)
        return planned.outcomes[0]

    def _offender(self, command: RegionRecords) -> str:
        """The first record that is refused: the shortest refused prefix of the command ends with it."""
        for n, record in enumerate(command.records):
            shorter = RegionRecords(command.region_id, command.epoch, command.records[: n + 1])
            try:
                self._try(plan([shorter], self._rows([shorter])))
            except ConstraintBroken:
                return record.record_id
        return command.records[-1].record_id

    def _rows(self, commands: Sequence[Command]) -> Rows:
        need = needs(commands)
        orders = _pick(self._tables.orders, need.orders)
        return Rows(
            epochs=_pick(self.epochs, need.regions),
            orders=orders,
            stores=_pick(self.stores, need.all_stores(orders)),
            products=_pick(self.products, need.products),
            attempts=self._attempts(need),
            drives=self._driven(need.settled),
            answers={key: self.answers[key][0] for key in need.keys if key in self.answers},
        )

    def _driven(self, order_ids: Iterable[str]) -> dict[str, list[Drive]]:
        found: dict[str, list[Drive]] = {}
        for order_id in order_ids:
            tasks = [self.tasks[task_id] for task_id in self._tasks_of.get(order_id, ())]
            steps = [Step(order_id, one.type, one.actor, one.at_ms) for one in self.dossier(order_id)]
            named = [self.offers[task.offer_id] for task in tasks if task.offer_id in self.offers]
            bumps = {offer.offer_id: int(offer.features.get("bump_cents", 0)) for offer in named}
            found[order_id] = drives(tasks, steps, bumps)
        return found

    def _attempts(self, need: Needs) -> dict[str, dict[str, AgeAttempt]]:
        found: dict[str, dict[str, AgeAttempt]] = {}
        for attempt in self._tables.attempts.values() if need.customers else ():
            if attempt.customer_id in need.customers:
                found.setdefault(attempt.customer_id, {})[attempt.attempt_id] = attempt
        return found

    # -- writing ------------------------------------------------------------------------------------------------------

    def _write(self, planned: Plan) -> None:
        drafts = self._try(planned)
        for draft in drafts:
            draft.commit()
        _, tasks, offers, checks, _ = drafts
        for unit in planned.units:
            if unit.attempt is not None:
                self._tables.attempts[unit.attempt.attempt_id] = unit.attempt
        for task in tasks.changes.values():
            self._tasks_of.setdefault(task.order_id, set()).add(task.task_id)
            _keep(self._live_tasks, task.region_id, task.task_id, task.status not in TASK_ENDED)
        for offer in offers.changes.values():
            _keep(self._live_offers, offer.region_id, offer.offer_id, offer.status is OfferStatus.OFFERED)
        for check in checks.changes.values():
            self._checks_of.setdefault(check.order_id, set()).add(check.check_id)
        for entry in planned.entries:
            self.dossiers.setdefault(entry.order_id, []).append(entry)
        self.audit.extend(planned.audit)
        for row in planned.outbox:
            self._event_id += 1
            self.outbox[row.channel][self._event_id] = OutboxEvent(
                event_id=self._event_id,
                topic=row.topic,
                aggregate=row.aggregate,
                aggregate_id=row.aggregate_id,
                region_id=row.region_id,
                at_ms=row.at_ms,
                payload=row.payload,
            )
        for books in planned.books:
            self.ledger.update((one.movement_id, one) for one in books.movements)
            self.earned.update((one.task_id, one) for one in books.earnings)
            if books.payment is not None:
                self.paid[books.payment.payment_id] = books.payment
        for stored, region_id in planned.answers:
            self.answers.setdefault((stored.scope, stored.key), (stored, region_id))
        if self._on_commit is not None:
            self._on_commit(planned)

    def _try(self, planned: Plan) -> _Drafts:
        """All that is planned, checked and not written; `ConstraintBroken` when a part of it may not be."""
        drafts = self._draft(planned.units)
        booked = [one.movement_id for books in planned.books for one in books.movements]
        if len(set(booked)) < len(booked) or any(one in self.ledger for one in booked):
            raise ConstraintBroken("uq_ledger_movements_reason")
        last: dict[str, Entry] = {}
        for entry in planned.entries:
            dossier = self.dossiers.get(entry.order_id, ())
            if self._is_taken(entry):
                raise ConstraintBroken("pk_dossier_events")
            guard_event(last.get(entry.order_id) or (dossier[-1] if dossier else None), entry)
            last[entry.order_id] = entry
        return drafts

    def _is_taken(self, entry: Entry) -> bool:
        """Whether the dossier has an event of this number already."""
        return entry.seq <= len(self.dossiers.get(entry.order_id, ()))

    def _draft(self, units: Iterable[Unit]) -> _Drafts:
        """All changes of the units, each checked against the rows before it; `ConstraintBroken` when one may not be."""
        tables = self._tables
        orders, tasks = _Draft(tables.orders), _Draft(tables.tasks)
        offers, checks = _Draft(tables.offers), _Draft(tables.checks)
        explanations = _Draft(tables.explanations)

        def tasks_of(order_id: str) -> dict[str, TaskRow]:
            found = {task_id: tables.tasks[task_id] for task_id in self._tasks_of.get(order_id, ())}
            return found | {t.task_id: t for t in tasks.changes.values() if t.order_id == order_id}

        def exists(order_id: str) -> bool:
            return orders.get(order_id) is not None

        for unit in units:
            if unit.attempt is not None:
                guard_attempt(tables.attempts.get(unit.attempt.attempt_id), unit.attempt)
            for check in unit.checks:
                there = tasks.get(check.task_id) is not None
                order = orders.get(check.order_id)
                at = order.order.status if order else None
                guard_check(check, checks.get(check.check_id) is not None, at, there)
                checks[check.check_id] = check
            for offer in unit.offers:
                known = offers.get(offer.offer_id)
                guard_offer(known, offer)
                if offer.explanation is not None and known is None:
                    explanations[offer.offer_id] = offer.explanation
                offers[offer.offer_id] = replace(offer, explanation=None)
            for task in unit.tasks:
                others = [row for row in tasks_of(task.order_id).values() if row.task_id != task.task_id]
                named = offers.get(task.offer_id) if task.offer_id else None
                guard_task(tasks.get(task.task_id), task, others, named, exists(task.order_id))
                tasks[task.task_id] = task
            for write in unit.orders:
                after = write.head.order
                before = orders.get(after.order_id)
                passed = [tables.checks[check_id] for check_id in self._checks_of.get(after.order_id, ())]
                passed += [c for c in checks.changes.values() if c.order_id == after.order_id]
                status = before.order.status if before else None
                guard_order(status, after.status, after.order_id, passed, tasks_of(after.order_id))
                orders[after.order_id] = write.head
        return orders, tasks, offers, checks, explanations

    # -- regions ------------------------------------------------------------------------------------------------------

    def open_region_now(self, region_id: str, now_ms: int) -> RegionImage:
        """Take the region's next epoch (fencing every earlier one) and load its hard state."""
        epoch = self.epochs[region_id] = self.epochs.get(region_id, 0) + 1
        return self._image(region_id, now_ms, epoch)

    def _image(self, region_id: str, now_ms: int, epoch: int) -> RegionImage:
        all_tasks = [task for task in self.tasks.values() if task.region_id == region_id]
        all_offers = [offer for offer in self.offers.values() if offer.region_id == region_id]
        live = sorted(
            (self.tasks[task_id] for task_id in self._live_tasks.get(region_id, ())),
            key=lambda task: (task.opened_ms, task.task_id),
        )
        offers = sorted(
            (self.offers[offer_id] for offer_id in self._live_offers.get(region_id, ())),
            key=lambda offer: (offer.made_ms, offer.offer_id),
        )
        since_ms = now_ms - RECENT_MS
        closed = [
            offer for offer in all_offers if offer.closed_ms is not None and offer.closed_ms >= since_ms
        ]
        told_again = {event.payload["task"]["task_id"] for event in self.outbox[Channel.TASKS].values()}
        ended = [
            task
            for task in all_tasks
            if task.ended_ms is not None and (task.ended_ms >= since_ms or task.task_id in told_again)
        ]
        answers = [stored for stored, of_region in self.answers.values() if of_region == region_id]
        return RegionImage(
            region_id=region_id,
            epoch=epoch,
            tasks=tuple(live),
            orders=tuple(_brief(self._tables.orders[task.order_id].order) for task in live),
            offers=tuple(offers),
            recent_offers=tuple(sorted(closed, key=lambda o: (o.closed_ms or 0, o.offer_id))[-RECENT_LIMIT:]),
            recent_tasks=tuple(sorted(ended, key=lambda t: (t.ended_ms or 0, t.task_id))[-RECENT_LIMIT:]),
            answers=tuple(sorted(answers, key=lambda a: (a.at_ms, a.scope, a.key))[-ANSWERS_LIMIT:]),
            all_answers=len(answers) < ANSWERS_LIMIT,
            counters=counters(
                Counter((str(task.kind), str(task.status)) for task in all_tasks),
                Counter(str(offer.status) for offer in all_offers),
            ),
        )

    def counts(self) -> dict[OrderStatus, int]:
        """The number of orders by status."""
        return dict(Counter(head.order.status for head in self._tables.orders.values()))


def _brief(order: OrderState) -> OrderBrief:
    return OrderBrief(
        order_id=order.order_id,
        status=order.status,
        customer_id=order.customer_id,
        merchant_id=order.merchant_id,
    )


def _pick(table: dict[str, V], keys: Iterable[str]) -> dict[str, V]:
    return {key: table[key] for key in keys if key in table}


def _keep(index: dict[str, set[str]], region_id: str, row_id: str, live: bool) -> None:
    rows = index.setdefault(region_id, set())
    if live:
        rows.add(row_id)
    else:
        rows.discard(row_id)
