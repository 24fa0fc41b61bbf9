"""`MemoryReads`: what gateways read, over a `MemoryStore`: for unit and simulation tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import asdict

from domain.errors import AlreadyEmployed, EmailTaken, IdempotencyKeyReused, NotFound, StoreUnavailable
from domain.marketplace.accounts import User
from domain.marketplace.change import Carried, Command, settled
from domain.marketplace.drivers import Standing
from domain.marketplace.merchants import Merchant
from domain.marketplace.party import Membership
from domain.marketplace.products import Product
from domain.marketplace.review import ReviewStatus
from domain.marketplace.staff import Member
from domain.marketplace.stores import Store
from domain.orders.dossier import Entry
from domain.orders.lifecycle import TASK_ENDED, TASK_HELD, OfferStatus, OrderStatus, Role, TaskStatus
from domain.orders.records import Answer, OfferRow, StoredAnswer, TaskRow
from domain.orders.state import Product as OrderProduct
from domain.orders.state import Store as OrderStore
from domain.solve import Explanation
from persistence.marketplace.registry import KINDS, STEPS, kind_of
from persistence.marketplace.statements import Statements
from persistence.orders.load import is_id
from persistence.orders.memory import MemoryStore
from persistence.reads.reports import Reports
from persistence.reads.views import (
    AssignmentPage,
    Cursor,
    DriverWork,
    Holder,
    OfferCursor,
    OfferPage,
    OrderNote,
    OrderPage,
    OrderRow,
    TaskCursor,
    TaskPage,
)

V = TypeVar("V")


class MemoryReads:
    """`gateway.deciders.ports.ReadSide` over a `MemoryStore`."""

    def __init__(self, store: MemoryStore, users: dict[str, User] | None = None) -> None:
        """`users`: the accounts that there are, where several gateways share them."""
        self.memory = store
        self.users: dict[str, User] = {} if users is None else users
        self.merchants: dict[str, Merchant] = {}
        self.staff: dict[str, Member] = {}
        self.shops: dict[str, Store] = {}
        self.goods: dict[str, Product] = {}
        self.typed: dict[str, OrderNote] = {}

    @property
    def reports(self) -> Reports:
        raise StoreUnavailable("Reports are read on Postgres.")

    async def user(self, user_id: str) -> User | None:
        return self.users.get(user_id)

    async def user_by_email(self, email: str) -> User | None:
        return next((user for user in self.users.values() if user.email.lower() == email.lower()), None)

    async def revoked(self, holders: Collection[Holder]) -> set[Holder]:
        good = {
            Holder(user.user_id, user.role, user.token_version)
            for user in self.users.values()
            if user.disabled_ms is None
        }
        return set(holders) - good

    async def members(self, user_ids: Collection[str]) -> dict[str, Membership]:
        found = [self.staff[user_id] for user_id in user_ids if user_id in self.staff]
        return {member.user_id: Membership(member.merchant_id, member.job) for member in found}

    async def standings(self, driver_ids: Collection[str]) -> dict[str, Standing]:
        """All drivers of simulated worlds are approved."""
        return dict.fromkeys(driver_ids, Standing(ReviewStatus.APPROVED))

    async def store(self, store_id: str) -> Store | None:
        return self.shops.get(store_id)

    async def sells(self, merchant_id: str) -> bool:
        return self.merchants[merchant_id].status is ReviewStatus.APPROVED

    async def stores(self, *, merchant_id: str | None = None, region_id: str | None = None) -> list[Store]:
        found = [
            store
            for store in self.shops.values()
            if merchant_id in (None, store.merchant_id)
            and region_id in (None, store.region_id)
            and (region_id is None or (store.closed_ms is None and await self.sells(store.merchant_id)))
        ]
        return sorted(found, key=lambda store: (store.name, store.store_id))

    def put(self, record: Any) -> None:
        """A store or a product is there for whoever decides on orders as well, and whether its merchant sells."""
        if isinstance(record, Merchant):
            for store in self.shops.values():
                if store.merchant_id == record.merchant_id:
                    self.put(store)
        elif isinstance(record, Store):
            fields = {name: getattr(record, name) for name in OrderStore.__struct_fields__ if name != "sells"}
            status = self.merchants[record.merchant_id].status
            self.memory.add_store(OrderStore(**fields, sells=status is ReviewStatus.APPROVED))
        elif isinstance(record, Product):
            known = set(OrderProduct.__struct_fields__) & set(record.__struct_fields__)
            fields = {name: getattr(record, name) for name in known}
            self.memory.products[record.product_id] = OrderProduct(**fields)

    async def products(self, store_id: str) -> list[Product]:
        found = [product for product in self.goods.values() if product.store_id == store_id]
        return sorted(found, key=lambda product: (product.name, product.product_id))

    async def order(self, order_id: str) -> OrderRow | None:
        order = self.memory.order(order_id)
        if order is None:
            return None
        last = self.memory.dossier(order_id)[-1]
        return OrderRow(**asdict(order), updated_ms=last.at_ms, dossier_seq=last.seq, dossier_hash=last.hash)

    async def orders(
        self,
        *,
        customer_id: str | None = None,
        merchant_id: str | None = None,
        driver_id: str | None = None,
        region_id: str | None = None,
        status: Collection[OrderStatus] = (),
        from_ms: int | None = None,
        before_ms: int | None = None,
        cursor: Cursor | None = None,
        limit: int = 50,
    ) -> OrderPage:
        if cursor is not None and not is_id(cursor.order_id):
            return OrderPage([], None)
        found = []
        for order_id in self.memory.orders:
            order = await self.order(order_id)
            assert order is not None
            if (
                customer_id in (None, order.customer_id)
                and merchant_id in (None, order.merchant_id)
                and driver_id in (None, await self.holder_of(order_id))
                and region_id in (None, order.region_id)
                and (not status or order.status in status)
                and (from_ms is None or order.created_ms >= from_ms)
                and (before_ms is None or order.created_ms < before_ms)
                and (
                    cursor is None
                    or (order.created_ms, order.order_id) < (cursor.created_ms, cursor.order_id)
                )
            ):
                found.append(order)
        found.sort(key=lambda order: (order.created_ms, order.order_id), reverse=True)
        page = found[:limit]
        last = Cursor(page[-1].created_ms, page[-1].order_id) if len(found) > limit else None
        return OrderPage(page, last)

    async def dossier(self, order_id: str) -> list[Entry]:
        return self.memory.dossier(order_id)

    async def add_note(self, note: OrderNote) -> None:
        step = note.order_id, note.author_id, note.about
        if not any((one.order_id, one.author_id, one.about) == step for one in self.typed.values()):
            self.typed[note.note_id] = note

    async def notes(self, order_id: str) -> list[OrderNote]:
        return [note for note in self.typed.values() if note.order_id == order_id]

    async def erase_note(self, note_id: str) -> None:
        self.typed.pop(note_id, None)

    async def task(self, task_id: str) -> TaskRow | None:
        return self.memory.tasks.get(task_id)

    async def _tasks_of(self, order_id: str) -> list[TaskRow]:
        return [task for task in self.memory.tasks.values() if task.order_id == order_id]

    async def holder_of(self, order_id: str) -> str | None:
        held = [task for task in _by_age(await self._tasks_of(order_id)) if task.status in TASK_HELD]
        return held[0].driver_id if held else None

    async def offer(self, offer_id: str) -> OfferRow | None:
        return self.memory.offers.get(offer_id)

    async def offers(
        self,
        *,
        region_id: str | None = None,
        status: Collection[OfferStatus] = (),
        from_ms: int | None = None,
        before_ms: int | None = None,
        cursor: OfferCursor | None = None,
        limit: int = 50,
    ) -> OfferPage:
        if cursor is not None and not is_id(cursor.offer_id):
            return OfferPage([], None)
        found = [
            offer
            for offer in self.memory.offers.values()
            if region_id in (None, offer.region_id)
            and (not status or offer.status in status)
            and (from_ms is None or offer.made_ms >= from_ms)
            and (before_ms is None or offer.made_ms < before_ms)
            and (cursor is None or (offer.made_ms, offer.offer_id) < (cursor.made_ms, cursor.offer_id))
        ]
        found.sort(key=lambda offer: (offer.made_ms, offer.offer_id), reverse=True)
        page = found[:limit]
        last = OfferCursor(page[-1].made_ms, page[-1].offer_id) if len(found) > limit else None
        return OfferPage(page, last)

    async def tasks(
        self,
        *,
        region_id: str | None = None,
        driver_id: str | None = None,
        order_id: str | None = None,
        status: Collection[TaskStatus] = (),
        cursor: TaskCursor | None = None,
        limit: int = 50,
    ) -> TaskPage:
        found = [
            task
            for task in self.memory.tasks.values()
            if region_id in (None, task.region_id)
            and driver_id in (None, task.driver_id)
            and order_id in (None, task.order_id)
            and (not status or task.status in status)
            and (cursor is None or (task.opened_ms, task.task_id) < (cursor.opened_ms, cursor.task_id))
        ]
        found.sort(key=lambda task: (task.opened_ms, task.task_id), reverse=True)
        page = found[:limit]
        more = len(found) > limit
        return TaskPage(page, TaskCursor(page[-1].opened_ms, page[-1].task_id) if more else None)

    async def assignments(
        self,
        *,
        region_id: str | None = None,
        driver_id: str | None = None,
        active: bool | None = None,
        cursor: OfferCursor | None = None,
        limit: int = 50,
    ) -> AssignmentPage:
        tasks = self.memory.tasks
        taken = [
            offer
            for offer in self.memory.offers.values()
            if offer.status is OfferStatus.ACCEPTED
            and region_id in (None, offer.region_id)
            and driver_id in (None, offer.driver_id)
            and (cursor is None or (offer.made_ms, offer.offer_id) < (cursor.made_ms, cursor.offer_id))
        ]
        found = [
            offer
            for offer in taken
            if active
            in (
                None,
                any(
                    tasks[task_id].offer_id == offer.offer_id and tasks[task_id].ended_ms is None
                    for task_id in offer.task_ids
                ),
            )
        ]
        found.sort(key=lambda offer: (offer.made_ms, offer.offer_id), reverse=True)
        page = found[:limit]
        of_page = {task_id: tasks[task_id] for offer in page for task_id in offer.task_ids}
        last = OfferCursor(page[-1].made_ms, page[-1].offer_id) if len(found) > limit else None
        return AssignmentPage(page, of_page, last)

    async def explanation(self, offer_id: str) -> Explanation | None:
        return self.memory.explanations.get(offer_id)

    async def driver_snapshot(self, driver_id: str) -> DriverWork:
        offers = [
            offer
            for offer in self.memory.offers.values()
            if offer.driver_id == driver_id and offer.status is OfferStatus.OFFERED
        ]
        offered = [self.memory.tasks[task_id] for offer in offers for task_id in offer.task_ids]
        held = [t for t in self.memory.tasks.values() if t.driver_id == driver_id and t.status in TASK_HELD]
        name = f"{Role.DRIVER}:{driver_id}"
        steps = [step for task in offered + held for step in self.memory.dossier(task.order_id)]
        numbers = [step.payload.get("device_n", 0) for step in steps if step.actor == name]
        last_n = max((n for n in numbers if isinstance(n, int)), default=0)
        return DriverWork(offers, _by_age(offered), _by_age(held), last_n)

    async def driver_region(self, driver_id: str) -> str | None:
        work = await self.driver_snapshot(driver_id)
        tasks = [*work.tasks, *work.offered_tasks]
        return next((task.region_id for task in tasks if task.status not in TASK_ENDED), None)

    async def stored_answer(self, scope: str, key: str) -> StoredAnswer | None:
        found = self.memory.answers.get((scope, key))
        return found[0] if found else None

    async def regions(self) -> dict[str, int]:
        return dict(self.memory.epochs)


def _by_age(tasks: list[TaskRow]) -> list[TaskRow]:
    return sorted(tasks, key=lambda task: (task.opened_ms, task.task_id))


class MemoryMarketplace:
    """`gateway.deciders.ports.Marketplace` over `MemoryReads`, by the same decisions: for the gateway's unit tests and
    for simulated worlds. What the database itself refuses it knows of accounts and parents alone."""

    def __init__(self, reads: MemoryReads) -> None:
        self._reads = reads

    async def carry_out(self, command: Command, show: Callable[[Any], V], view: type[V]) -> Carried[V]:
        claim, reads = command.claim, self._reads
        if claim is not None and (found := reads.memory.answers.get((claim.scope, claim.key))) is not None:
            if found[0].fingerprint != claim.fingerprint:
                raise IdempotencyKeyReused()
            first: Carried[V] = Carried(msgspec.convert(found[0].answer.body, view), replayed=True)
            return first
        step = STEPS[type(command.action)]
        before = None
        if step.on is not None:
            before = self._table(step.on.aggregate).get(getattr(command.action, step.on.key.name))
            owner = before and step.on.owner and getattr(before, step.on.owner)
            if before is None or (owner and step.on.whose(command) not in (None, owner)):
                raise NotFound(step.on.missing)
        decision = settled(step.decide, before, command)
        changed = () if decision.changed is None else (decision.changed,)
        for record in decision.new:
            self._require_fit(record)
        for record in (*decision.new, *changed):
            kind = kind_of(record)
            self._table(kind.aggregate)[kind.id_of(record)] = record
            reads.put(record)
        if decision.removed is not None:
            kind = kind_of(decision.removed)
            del self._table(kind.aggregate)[kind.id_of(decision.removed)]
        shown = show(decision.shown)
        if claim is not None:
            body: Any = msgspec.to_builtins(shown)
            answer = Answer(body=body)
            stored = StoredAnswer(
                scope=claim.scope,
                key=claim.key,
                fingerprint=claim.fingerprint,
                answer=answer,
                at_ms=command.at_ms,
            )
            reads.memory.answers[(claim.scope, claim.key)] = (stored, None)
        return Carried(shown)

    @property
    def statements(self) -> Statements:
        raise StoreUnavailable("The ledger is read on Postgres.")

    async def find(self, aggregate: str, record_id: str, owner_id: str | None = None) -> Any:
        record, owner = self._table(aggregate).get(record_id), KINDS[aggregate].owner
        return record if record is None or not owner or owner_id in (None, getattr(record, owner)) else None

    async def page(
        self,
        aggregate: str,
        owner_id: str | None,
        after: tuple[int, str] | None,
        limit: int,
        where: Mapping[str, Collection[Any]] | None = None,
    ) -> list[Any]:
        kind = KINDS[aggregate]

        def place(record: Any) -> tuple[int, str]:
            return record.created_ms, kind.id_of(record)

        found = [
            record
            for record in self._table(aggregate).values()
            if (owner_id is None or not kind.owner or getattr(record, kind.owner) == owner_id)
            and all(getattr(record, name) in values for name, values in (where or {}).items())
            and (after is None or place(record) < after)
        ]
        return sorted(found, key=place, reverse=True)[: limit + 1]

    def _table(self, aggregate: str) -> dict[str, Any]:
        tables: dict[str, dict[str, Any]] = {
            "account": self._reads.users,
            "merchant": self._reads.merchants,
            "staff": self._reads.staff,
            "store": self._reads.shops,
            "product": self._reads.goods,
        }
        return tables.get(aggregate, {})

    def _require_fit(self, record: Any) -> None:
        users = self._reads.users
        if isinstance(record, User) and (
            record.user_id in users or record.email in {user.email for user in users.values()}
        ):
            raise EmailTaken()
        if isinstance(record, Member) and record.user_id in self._reads.staff:
            raise AlreadyEmployed()
        if isinstance(record, Store) and record.merchant_id not in self._reads.merchants:
            raise NotFound("There is no such merchant.")
