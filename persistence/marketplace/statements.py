"""What merchants and drivers read of the ledger: their lines, what they are owed, what each task earned."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.marketplace.earnings import Earning
from domain.marketplace.money import PAYABLES, Party, Reason
from persistence.engine import reached
from persistence.marketplace.payouts import earning_of

LATEST = (2**62, "ffffffff-ffff-ffff-ffff-ffffffffffff")


class Line(Struct, frozen=True, kw_only=True):
    """What one movement changed in what a party is owed: above zero, more."""

    movement_id: str
    at_ms: int
    reason: Reason
    order_id: str | None
    cents: int


class Earned(Struct, frozen=True):
    """What a task earned, and the tip of its order."""

    earning: Earning
    tip_cents: int


_LINES = """
SELECT m.movement_id::text, m.at_ms, m.reason, m.order_id::text, -sum(e.amount_cents)::bigint AS cents
FROM ledger_entries e JOIN ledger_movements m USING (movement_id)
WHERE e.party_id = :party_id AND e.account = ANY(:accounts) AND m.at_ms >= :from_ms AND m.at_ms < :to_ms
  AND (m.at_ms, m.movement_id) < (:after_ms, CAST(:after_id AS uuid))
GROUP BY m.movement_id HAVING sum(e.amount_cents) <> 0
ORDER BY m.at_ms DESC, m.movement_id DESC LIMIT :limit
"""
_OWED = """
SELECT coalesce(-sum(amount_cents), 0)::bigint AS cents FROM ledger_entries
WHERE party_id = :party_id AND account = ANY(:accounts)
"""
_PARTIES = """
SELECT e.party_id FROM ledger_entries e JOIN ledger_movements m USING (movement_id)
WHERE e.account = ANY(:accounts) AND e.party_id <> ''
  AND (m.at_ms < :to_ms OR m.reason IN ('PAID_OUT', 'GUARANTEE_EARNED'))
GROUP BY e.party_id HAVING sum(e.amount_cents) < 0 ORDER BY e.party_id LIMIT :limit
"""
_EARNED = """
SELECT w.*, CASE WHEN w.is_return THEN 0 ELSE coalesce((
    SELECT -sum(e.amount_cents) FROM ledger_movements m JOIN ledger_entries e USING (movement_id)
    WHERE m.order_id = w.order_id AND e.account = 'TIPS_PAYABLE' AND e.party_id = w.driver_id::text
), 0)::bigint END AS tip_cents
FROM earnings w
WHERE w.driver_id = :driver_id AND (w.ended_ms, w.task_id) < (:after_ms, CAST(:after_id AS uuid))
ORDER BY w.ended_ms DESC, w.task_id DESC LIMIT :limit
"""


class Statements:
    """Each method is one query."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def lines(
        self,
        party: Party,
        party_id: str,
        from_ms: int,
        to_ms: int,
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[Line]:
        """A party's lines newest first, one more than the `limit` if there is one."""
        rows = await self._rows(
            _LINES, **_of(party, party_id), **_after(after), from_ms=from_ms, to_ms=to_ms, limit=limit + 1
        )
        return [Line(**{**row, "reason": Reason(row["reason"])}) for row in rows]

    async def owed_cents(self, party: Party, party_id: str) -> int:
        """What a party is owed now; below zero: what it owes."""
        [row] = await self._rows(_OWED, **_of(party, party_id))
        return int(row["cents"])

    async def owed_parties(self, party: Party, to_ms: int, limit: int) -> list[str]:
        """Parties of a kind that are owed something of before then."""
        accounts = [str(account) for account in PAYABLES[party]]
        rows = await self._rows(_PARTIES, accounts=accounts, to_ms=to_ms, limit=limit)
        return [row["party_id"] for row in rows]

    async def earned(self, driver_id: str, after: tuple[int, str] | None, limit: int) -> list[Earned]:
        """A driver's tasks newest first, one more than the `limit` if there is one."""
        rows = await self._rows(_EARNED, driver_id=driver_id, **_after(after), limit=limit + 1)
        return [Earned(earning_of(row), row["tip_cents"]) for row in rows]

    async def _rows(self, query: str, **values: Any) -> list[RowMapping]:
        with reached():
            async with self._engine.connect() as connection:
                return list((await connection.execute(text(query), values)).mappings())


def _of(party: Party, party_id: str) -> dict[str, Any]:
    return {"party_id": party_id, "accounts": [str(account) for account in PAYABLES[party]]}


def _after(after: tuple[int, str] | None) -> dict[str, Any]:
    at_ms, row_id = after or LATEST
    return {"after_ms": at_ms, "after_id": row_id}
