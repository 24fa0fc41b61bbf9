"""What operators and owners read over many rows: lists and sums that no record stands for."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from sqlalchemy import Table, case, func, literal, select, tuple_

from domain.ground.times import in_ms
from domain.orders.lifecycle import OrderStatus
from domain.orders.records import CheckOutcome
from persistence import tables
from persistence.marketplace.drivers import DriverRow
from persistence.marketplace.merchants import MERCHANTS
from persistence.marketplace.tickets import TicketRow
from persistence.orders.load import is_id
from persistence.reads.audit import AuditReads
from persistence.reads.queries import table_of

ATTEMPTS, ORDERS = table_of(tables.AgeAttempt), table_of(tables.Order)

_S = OrderStatus
OVER = frozenset({_S.DELIVERED, _S.CLOSED, _S.CANCELLED, _S.REJECTED, _S.RETURNED})


# What a merchant's dashboard looks at: so many days, and so many orders of them at most.
DASHBOARD_DAYS = 3
DASHBOARD_ORDERS_LIMIT = 20_000


class StatusCount(Struct, frozen=True):
    """A merchant's orders of one state: how many, those of them that are late, those of today and what the goods of
    these come to."""

    status: OrderStatus
    orders: int
    late: int
    today: int
    today_cents: int


class MerchantDays(Struct, frozen=True):
    """A merchant's last days. `complete`: whether all of them were counted."""

    by_status: list[StatusCount]
    complete: bool


class AgeCheck(Struct, frozen=True):
    """A try at an age check. `is_over`: its order has ended."""

    attempt_id: str
    order_id: str
    min_age: int
    at_ms: int
    outcome: CheckOutcome
    is_over: bool


class Overview(Struct, frozen=True, kw_only=True):
    """Orders of some time, merchants, drivers and tickets, by status; cents of the orders that were delivered."""

    orders: dict[str, int]
    delivered_cents: int
    merchants: dict[str, int]
    drivers: dict[str, int]
    tickets: dict[str, int]


class Reports(AuditReads):
    """Each method is one query on its own connection."""

    async def merchant_days(
        self, merchant_id: str, now_ms: int, midnights: Mapping[str, int]
    ) -> MerchantDays:
        """A merchant's orders of the last days by state; `midnights`: when today began, by market. One range of the
        index by merchant and time, and never more of it than `DASHBOARD_ORDERS_LIMIT`."""
        if not is_id(merchant_id):
            return MerchantDays([], True)
        recent = (
            select(
                ORDERS.c.status,
                (ORDERS.c.due_ms < now_ms).label("late"),
                (ORDERS.c.created_ms >= case(dict(midnights), value=ORDERS.c.region_id, else_=now_ms)).label(
                    "today"
                ),
                ORDERS.c.goods_cents,
            )
            .where(
                ORDERS.c.merchant_id == merchant_id,
                ORDERS.c.created_ms >= now_ms - in_ms(DASHBOARD_DAYS * 86_400.0),
            )
            .order_by(ORDERS.c.created_ms.desc(), ORDERS.c.order_id.desc())
            .limit(DASHBOARD_ORDERS_LIMIT)
            .subquery()
        )
        query = select(
            recent.c.status,
            func.count().label("orders"),
            func.count().filter(recent.c.late).label("late"),
            func.count().filter(recent.c.today).label("today"),
            func.coalesce(func.sum(recent.c.goods_cents).filter(recent.c.today), 0).label("today_cents"),
        ).group_by(recent.c.status)
        rows = [
            StatusCount(
                OrderStatus(row["status"]), row["orders"], row["late"], row["today"], int(row["today_cents"])
            )
            for row in await self._all(query)
        ]
        return MerchantDays(rows, sum(row.orders for row in rows) < DASHBOARD_ORDERS_LIMIT)

    async def age_checks(self, customer_id: str, after: tuple[int, str] | None, limit: int) -> list[AgeCheck]:
        """A person's age checks, newest first; one more than the `limit`, if there is one."""
        if not is_id(customer_id):
            return []
        query = (
            select(ATTEMPTS, ORDERS.c.status)
            .join(ORDERS, ORDERS.c.order_id == ATTEMPTS.c.order_id)
            .where(ATTEMPTS.c.customer_id == customer_id)
            .order_by(ATTEMPTS.c.at_ms.desc(), ATTEMPTS.c.attempt_id.desc())
            .limit(limit + 1)
        )
        if after is not None:
            place = tuple_(ATTEMPTS.c.at_ms, ATTEMPTS.c.attempt_id)
            query = query.where(place < tuple_(literal(after[0]), literal(after[1], tables.Uid)))
        return [
            AgeCheck(
                attempt_id=row["attempt_id"],
                order_id=row["order_id"],
                min_age=row["min_age"],
                at_ms=row["at_ms"],
                outcome=CheckOutcome(row["outcome"]),
                is_over=OrderStatus(row["status"]) in OVER,
            )
            for row in await self._all(query)
        ]

    async def overview(self, from_ms: int, before_ms: int) -> Overview:
        """The platform at a glance; orders that were placed in this time, which an index of theirs finds."""
        placed = (ORDERS.c.created_ms >= from_ms) & (ORDERS.c.created_ms <= before_ms)
        query = select(
            ORDERS.c.status, func.count().label("n"), func.sum(ORDERS.c.total_cents).label("cents")
        ).where(placed)
        orders = await self._all(query.group_by(ORDERS.c.status))
        done = {OrderStatus.DELIVERED, OrderStatus.CLOSED}
        return Overview(
            orders={row["status"]: row["n"] for row in orders},
            delivered_cents=sum(int(row["cents"]) for row in orders if row["status"] in done),
            merchants=await self._by_status(MERCHANTS.table),
            drivers=await self._by_status(table_of(DriverRow)),
            tickets=await self._by_status(table_of(TicketRow)),
        )

    async def _by_status(self, table: Table) -> dict[str, int]:
        query = select(table.c.status, func.count().label("n")).group_by(table.c.status)
        return {row["status"]: row["n"] for row in await self._all(query)}
