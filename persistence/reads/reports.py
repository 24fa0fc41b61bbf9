"""What operators and owners read over many rows: lists and sums that no record stands for."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import literal, select, tuple_

from domain.orders.lifecycle import OrderStatus
from domain.orders.records import CheckOutcome
from persistence import tables
from persistence.orders.load import is_id
from persistence.reads.queries import Queries, table_of

ATTEMPTS, ORDERS = table_of(tables.AgeAttempt), table_of(tables.Order)

_S = OrderStatus
OVER = frozenset({_S.DELIVERED, _S.CLOSED, _S.CANCELLED, _S.REJECTED, _S.RETURNED})


class AgeCheck(Struct, frozen=True):
    """A try at an age check. `is_over`: its order has ended."""

    attempt_id: str
    order_id: str
    min_age: int
    at_ms: int
    outcome: CheckOutcome
    is_over: bool


class Reports(Queries):
    """Each method is one query on its own connection."""

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
