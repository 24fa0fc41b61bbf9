"""Read queries for the gateway, and the notes that people type."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    delete,
    exists,
    func,
    literal,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import RowMapping

from domain.marketplace.accounts import User
from domain.marketplace.drivers import Standing
from domain.marketplace.party import Job, Membership
from domain.marketplace.products import Product
from domain.marketplace.review import ReviewStatus
from domain.marketplace.stores import Store
from domain.orders.dossier import Entry
from domain.orders.lifecycle import TASK_HELD, OrderStatus, Role
from domain.orders.records import StoredAnswer, TaskRow
from persistence import tables
from persistence.engine import create_engine, create_plain_engine
from persistence.marketplace.drivers import DriverRow
from persistence.marketplace.merchants import MERCHANTS as MERCHANT
from persistence.marketplace.staff import MemberRow
from persistence.marketplace.stores import STORES as STORE
from persistence.orders.load import Row, head_of, is_id, offer_of, stored_answer_of, task_of
from persistence.pool import CONNECT_TIMEOUT_S, IDLE_TIMEOUT_S, LOCK_TIMEOUT_S, POOL_SIZE, STATEMENT_TIMEOUT_S
from persistence.reads.dispatch import TASKS, DispatchReads
from persistence.reads.offers import OFFERS
from persistence.reads.queries import Fixed, table_of
from persistence.reads.reports import Reports
from persistence.reads.views import (
    Cursor,
    DriverWork,
    Holder,
    OrderNote,
    OrderPage,
    OrderRow,
)

USERS, STORES, PRODUCTS = table_of(tables.User), STORE.table, table_of(tables.Product)
MERCHANTS = MERCHANT.table
DRIVERS = table_of(DriverRow)
ORDERS, ITEMS, EVENTS = table_of(tables.Order), table_of(tables.OrderItem), table_of(tables.DossierEvent)
REGIONS = table_of(tables.Region)
MEMBERS = table_of(MemberRow)
ANSWERS, NOTES = table_of(tables.Idempotency), table_of(tables.OrderNote)

LIVE = TASKS.c.live
HELD = LIVE & TASKS.c.status.in_([str(status) for status in sorted(TASK_HELD)])
OPEN = OFFERS.c.closed_ms.is_(None)  # status OFFERED, by a check of the table; the indexes name this


def _orders() -> Select[Any]:
    line = func.concat_ws(
        " ", ITEMS.c.product_id, ITEMS.c.quantity, ITEMS.c.price_cents, ITEMS.c.tax_cents, type_=Text
    )
    lines = select(func.array_agg(aggregate_order_by(line, ITEMS.c.line))).where(
        ITEMS.c.order_id == ORDERS.c.order_id
    )
    return select(ORDERS, lines.correlate(ORDERS).scalar_subquery().label("lines"))


# What the steps of an order and a driver's hello ask, thousands of times a minute.
_ORDER = Fixed(_orders().where(ORDERS.c.order_id == bindparam("order_id")))
_TASK = Fixed(select(TASKS).where(TASKS.c.task_id == bindparam("task_id")))
_TASKS_OF = Fixed(
    select(TASKS)
    .where(TASKS.c.order_id == bindparam("order_id"))
    .order_by(TASKS.c.opened_ms, TASKS.c.task_id)
)
_ANSWER = Fixed(
    select(ANSWERS).where(ANSWERS.c.scope == bindparam("scope"), ANSWERS.c.key == bindparam("key"))
)
_HOLDERS = (
    func.unnest(
        bindparam("user_ids", type_=ARRAY(tables.Uid)),
        bindparam("roles", type_=ARRAY(Text)),
        bindparam("versions", type_=ARRAY(Integer)),
    )
    .table_valued("user_id", "role", "version", name="holders")
    .render_derived()
)
_REVOKED = Fixed(
    select(_HOLDERS.c.user_id, _HOLDERS.c.role, _HOLDERS.c.version).where(
        ~exists().where(
            USERS.c.user_id == _HOLDERS.c.user_id,
            USERS.c.role == _HOLDERS.c.role,
            USERS.c.token_version == _HOLDERS.c.version,
            USERS.c.disabled_ms.is_(None),
        )
    )
)
_MEMBERS = Fixed(
    select(MEMBERS.c.user_id, MEMBERS.c.merchant_id, MEMBERS.c.job).where(
        MEMBERS.c.user_id == func.any(bindparam("user_ids", type_=ARRAY(tables.Uid)))
    )
)
_STANDINGS = Fixed(
    select(DRIVERS.c.driver_id, DRIVERS.c.status, DRIVERS.c.papers_until_ms).where(
        DRIVERS.c.driver_id == func.any(bindparam("driver_ids", type_=ARRAY(tables.Uid)))
    )
)
_DRIVER_REGION = Fixed(
    union_all(
        select(TASKS.c.region_id).where(TASKS.c.driver_id == bindparam("driver_id"), LIVE),
        select(OFFERS.c.region_id).where(OFFERS.c.driver_id == bindparam("driver_id"), OPEN),
    ).limit(1)
)


class Reads(DispatchReads):
    """Each method is one short query on its own connection. An id that is none is not found, it raises nothing."""

    @classmethod
    def connect(
        cls,
        database_url: str,
        *,
        pool_size: int = POOL_SIZE,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        name: str = "doorstep",
    ) -> Reads:
        """Reads with an engine of their own; connections are made when first needed."""
        return cls(
            create_engine(
                database_url,
                pool_size=pool_size,
                statement_timeout_s=statement_timeout_s,
                connect_timeout_s=connect_timeout_s,
                lock_timeout_s=lock_timeout_s,
                idle_timeout_s=idle_timeout_s,
                name=name,
            )
        )

    @property
    def reports(self) -> Reports:
        """Lists and sums over many rows, by the same connections."""
        return Reports(self.engine)

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()

    # -- accounts -----------------------------------------------------------------------------------------------------

    async def user(self, user_id: str) -> User | None:
        """An account by its id."""
        row = await self._one(select(USERS).where(USERS.c.user_id == user_id)) if is_id(user_id) else None
        return _user(row) if row else None

    async def user_by_email(self, email: str) -> User | None:
        """An account by its address, in any case of letters."""
        row = await self._one(select(USERS).where(func.lower(USERS.c.email) == email.lower()))
        return _user(row) if row else None

    async def revoked(self, holders: Collection[Holder]) -> set[Holder]:
        """Those whose account is gone or disabled, or has another role or another version of tokens by now."""
        known = [holder for holder in holders if is_id(holder.user_id)]
        rows = await self._rows(
            _REVOKED,
            user_ids=[holder.user_id for holder in known],
            roles=[str(holder.role) for holder in known],
            versions=[holder.version for holder in known],
        )
        wrong = {Holder(str(row["user_id"]), Role(row["role"]), row["version"]) for row in rows}
        return set(holders) - set(known) | wrong

    async def members(self, user_ids: Collection[str]) -> dict[str, Membership]:
        """Whom these accounts work for; those who work for no merchant are missing."""
        rows = await self._rows(_MEMBERS, user_ids=[user_id for user_id in user_ids if is_id(user_id)])
        return {str(row["user_id"]): Membership(str(row["merchant_id"]), Job(row["job"])) for row in rows}

    async def standings(self, driver_ids: Collection[str]) -> dict[str, Standing]:
        """How the applications of these drivers stand; who never applied is missing."""
        rows = await self._rows(_STANDINGS, driver_ids=[one for one in driver_ids if is_id(one)])
        return {
            str(row["driver_id"]): Standing(ReviewStatus(row["status"]), row["papers_until_ms"])
            for row in rows
        }

    # -- stores and products ------------------------------------------------------------------------------------------

    async def store(self, store_id: str) -> Store | None:
        """A store by its id."""
        row = (
            await self._one(select(STORES).where(STORES.c.store_id == store_id)) if is_id(store_id) else None
        )
        return _store(row) if row else None

    async def sells(self, merchant_id: str) -> bool:
        """Whether the merchant is approved."""
        query = select(MERCHANTS.c.status).where(MERCHANTS.c.merchant_id == merchant_id)
        row = await self._one(query) if is_id(merchant_id) else None
        return row is not None and row["status"] == ReviewStatus.APPROVED

    async def stores(self, *, merchant_id: str | None = None, region_id: str | None = None) -> list[Store]:
        """Stores by name: all of a merchant; in a region those that sell, or will again."""
        query = select(STORES).order_by(STORES.c.name, STORES.c.store_id)
        if merchant_id is not None:
            if not is_id(merchant_id):
                return []
            query = query.where(STORES.c.merchant_id == merchant_id)
        if region_id is not None:
            approved = MERCHANTS.c.status == ReviewStatus.APPROVED
            query = query.join(MERCHANTS, MERCHANTS.c.merchant_id == STORES.c.merchant_id).where(
                STORES.c.region_id == region_id, STORES.c.closed_ms.is_(None), approved
            )
        return [_store(row) for row in await self._all(query)]

    async def product(self, product_id: str) -> Product | None:
        """A product by its id."""
        query = select(PRODUCTS).where(PRODUCTS.c.product_id == product_id)
        row = await self._one(query) if is_id(product_id) else None
        return Product(**row) if row else None

    async def products(self, store_id: str) -> list[Product]:
        """A store's products by name."""
        if not is_id(store_id):
            return []
        query = select(PRODUCTS).where(PRODUCTS.c.store_id == store_id)
        return [
            Product(**row) for row in await self._all(query.order_by(PRODUCTS.c.name, PRODUCTS.c.product_id))
        ]

    # -- orders -------------------------------------------------------------------------------------------------------

    async def order(self, order_id: str) -> OrderRow | None:
        """An order with its items."""
        rows = await self._rows(_ORDER, order_id=order_id) if is_id(order_id) else None
        return _order(rows[0]) if rows else None

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
        """Orders newest first, by owner, status and time of creation (`from_ms` <= created < `before_ms`).

        `driver_id`: orders of which the driver holds a task. `cursor`: the `next` of the page before.
        """
        if not all(is_id(owner) for owner in (customer_id, merchant_id, driver_id) if owner is not None):
            return OrderPage([], None)
        where = []
        if customer_id is not None:
            where.append(ORDERS.c.customer_id == customer_id)
        if merchant_id is not None:
            where.append(ORDERS.c.merchant_id == merchant_id)
        if driver_id is not None:
            mine = select(TASKS.c.order_id).where((TASKS.c.driver_id == driver_id) & HELD)
            where.append(ORDERS.c.order_id.in_(mine))
        if region_id is not None:
            where.append(ORDERS.c.region_id == region_id)
        if status:
            where.append(ORDERS.c.status.in_([str(one) for one in status]))
        if from_ms is not None:
            where.append(ORDERS.c.created_ms >= from_ms)
        if before_ms is not None:
            where.append(ORDERS.c.created_ms < before_ms)
        place = tuple_(ORDERS.c.created_ms, ORDERS.c.order_id)
        if cursor is not None:
            if not is_id(cursor.order_id):
                return OrderPage([], None)
            where.append(place < tuple_(literal(cursor.created_ms), literal(cursor.order_id, tables.Uid)))
        newest = _orders().where(*where).order_by(ORDERS.c.created_ms.desc(), ORDERS.c.order_id.desc())
        found = [_order(row) for row in await self._all(newest.limit(limit + 1))]
        page = found[:limit]
        more = len(found) > limit and page
        return OrderPage(page, Cursor(page[-1].created_ms, page[-1].order_id) if more else None)

    async def dossier(self, order_id: str) -> list[Entry]:
        """An order's dossier, oldest first; empty when there is no such order."""
        if not is_id(order_id):
            return []
        query = select(EVENTS).where(EVENTS.c.order_id == order_id).order_by(EVENTS.c.seq)
        return [Entry(**row) for row in await self._all(query)]

    async def add_note(self, note: OrderNote) -> None:
        """Keep a note, unless its author has left one beside this kind of step."""
        async with self._change() as connection:
            row = msgspec.to_builtins(note)
            await connection.execute(upsert(NOTES).values(row).on_conflict_do_nothing())

    async def notes(self, order_id: str) -> list[OrderNote]:
        """An order's notes, oldest first."""
        if not is_id(order_id):
            return []
        query = select(NOTES).where(NOTES.c.order_id == order_id).order_by(NOTES.c.at_ms, NOTES.c.note_id)
        return [OrderNote(**row) for row in await self._all(query)]

    async def erase_note(self, note_id: str) -> None:
        """Forget a note for good."""
        async with self._change() as connection:
            await connection.execute(delete(NOTES).where(NOTES.c.note_id == note_id))

    async def counts(self, region_id: str | None = None) -> dict[OrderStatus, int]:
        """The number of orders by status; statuses without an order are missing."""
        query = select(ORDERS.c.status, func.count().label("n")).group_by(ORDERS.c.status)
        if region_id is not None:
            query = query.where(ORDERS.c.region_id == region_id)
        return {OrderStatus(row["status"]): row["n"] for row in await self._all(query)}

    # -- tasks, offers, drivers ---------------------------------------------------------------------------------------

    async def task(self, task_id: str) -> TaskRow | None:
        """A task by its id."""
        rows = await self._rows(_TASK, task_id=task_id) if is_id(task_id) else None
        return task_of(rows[0]) if rows else None

    async def tasks_of(self, order_id: str) -> list[TaskRow]:
        """An order's tasks, oldest first."""
        rows = await self._rows(_TASKS_OF, order_id=order_id) if is_id(order_id) else []
        return [task_of(row) for row in rows]

    async def holder_of(self, order_id: str) -> str | None:
        """The driver who holds the order's delivery, or its return, now."""
        held = [task for task in await self.tasks_of(order_id) if task.status in TASK_HELD]
        return held[0].driver_id if held else None

    async def driver_snapshot(self, driver_id: str) -> DriverWork:
        """What a driver has to do now, as committed."""
        if not is_id(driver_id):
            return DriverWork([], [], [])
        theirs = select(OFFERS).where(OFFERS.c.driver_id == driver_id, OPEN)
        offers = [offer_of(row) for row in await self._all(theirs)]
        offered = [task_id for offer in offers for task_id in offer.task_ids]
        query = select(TASKS).where((TASKS.c.driver_id == driver_id) & HELD | TASKS.c.task_id.in_(offered))
        tasks = [task_of(row) for row in await self._all(query.order_by(TASKS.c.opened_ms, TASKS.c.task_id))]
        held = [task for task in tasks if task.driver_id == driver_id]
        offered_tasks = [task for task in tasks if task.task_id in offered]
        return DriverWork(offers, offered_tasks, held, await self._last_n(driver_id, tasks) if tasks else 0)

    async def _last_n(self, driver_id: str, tasks: list[TaskRow]) -> int:
        number = cast(EVENTS.c.payload["device_n"].astext, BigInteger)
        theirs = EVENTS.c.order_id.in_({task.order_id for task in tasks})
        own = EVENTS.c.actor == f"{Role.DRIVER}:{driver_id}"
        [row] = await self._all(select(func.max(number).label("n")).where(theirs, own))
        return row["n"] or 0

    async def driver_region(self, driver_id: str) -> str | None:
        """The region in which the driver holds a task or has an open offer."""
        rows = await self._rows(_DRIVER_REGION, driver_id=driver_id) if is_id(driver_id) else None
        return rows[0]["region_id"] if rows else None

    # -- the rest -----------------------------------------------------------------------------------------------------

    async def stored_answer(self, scope: str, key: str) -> StoredAnswer | None:
        """The first answer to this request, if it was stored."""
        rows = await self._rows(_ANSWER, scope=scope, key=key)
        return stored_answer_of(rows[0]) if rows else None

    async def regions(self) -> dict[str, int]:
        """The regions that were ever opened, with their epochs."""
        return {row["region_id"]: row["epoch"] for row in await self._all(select(REGIONS))}

    async def last_event_ms(self) -> int | None:
        """The newest time in the data on the server's clock, None without data. Each part is the end of an index: every
        change of an order is an event of its dossier, and every change of a task that is no offer is one of its order.
        """
        closed = select(func.max(OFFERS.c.closed_ms)).where(OFFERS.c.region_id == REGIONS.c.region_id)
        newest = func.greatest(
            select(func.max(EVENTS.c.at_ms)).scalar_subquery(),
            select(func.max(OFFERS.c.made_ms)).scalar_subquery(),
            select(func.max(closed.scalar_subquery())).select_from(REGIONS).scalar_subquery(),
            select(func.max(ANSWERS.c.at_ms)).scalar_subquery(),
        )
        row = await self._one(select(newest.label("at_ms")))
        return row["at_ms"] if row else None


async def last_event_ms(database_url: str) -> int | None:
    """`Reads.last_event_ms` on a connection of its own."""
    reads = Reads(create_plain_engine(database_url))
    try:
        return await reads.last_event_ms()
    finally:
        await reads.close()


# -- rows to structs --------------------------------------------------------------------------------------------------


def _order(row: Row) -> OrderRow:
    order = head_of(row).order
    return OrderRow(
        **{name: getattr(order, name) for name in order.__struct_fields__},
        updated_ms=row["updated_ms"],
        dossier_seq=row["dossier_seq"],
        dossier_hash=row["dossier_hash"],
    )


def _user(row: RowMapping) -> User:
    return User(**{**row, "role": Role(row["role"])})


def _store(row: RowMapping) -> Store:
    store: Store = STORE.of(row)
    return store
