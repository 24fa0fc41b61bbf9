"""Payouts to merchants and drivers: one of a party and period, by a constraint; append-only."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import CheckConstraint, Index, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from domain.errors import PeriodOverlaps
from domain.marketplace.earnings import Earning
from domain.marketplace.money import PAYABLES, Account, Party
from domain.marketplace.payouts import ClosePayout, Owed, Payout, close_payout
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of
from persistence.tables.base import Base, Uid, one_of


class PayoutRow(Base):
    """`domain.marketplace.payouts.Payout`."""

    __tablename__ = "payouts"
    payout_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    party: Mapped[str]
    party_id: Mapped[str] = mapped_column(Uid)
    from_ms: Mapped[int]
    to_ms: Mapped[int]
    work_cents: Mapped[int]
    guarantee_cents: Mapped[int]
    tips_cents: Mapped[int]
    created_ms: Mapped[int]
    __table_args__ = (
        one_of("party", PAYABLES),
        CheckConstraint("from_ms < to_ms AND to_ms <= created_ms", name="period"),
        CheckConstraint("work_cents + tips_cents > 0 AND guarantee_cents >= 0", name="amounts"),
        Index("uq_payouts_period", "party", "party_id", "from_ms", "to_ms", unique=True),
        Index("ix_payouts_party", "party_id", "created_ms", "payout_id"),
    )


# Of all until the period's end; what was paid out, and raised with it, counts whenever that was.
OWED = """
SELECT e.account, -sum(e.amount_cents)::bigint AS cents
FROM ledger_entries e JOIN ledger_movements m USING (movement_id)
WHERE e.party_id = :party_id AND e.account = ANY(:accounts)
  AND (m.at_ms < :to_ms OR m.reason IN ('PAID_OUT', 'GUARANTEE_EARNED'))
GROUP BY e.account
"""
_EARNED = """
SELECT o.region_id, w.* FROM earnings w JOIN orders o USING (order_id)
WHERE w.driver_id = :driver_id AND w.ended_ms >= :from_ms AND w.ended_ms < :to_ms
"""


async def look(connection: AsyncConnection, action: ClosePayout) -> Owed:
    """What the party is owed, for this transaction alone: who pays them at the same time waits here."""
    name = func.hashtextextended(f"payout\n{action.party}\n{action.party_id}", 4)
    await connection.execute(select(func.pg_advisory_xact_lock(name)))
    accounts = [str(account) for account in PAYABLES[action.party]]
    period = {"from_ms": action.from_ms, "to_ms": action.to_ms}
    given: dict[str, Any] = {"party_id": action.party_id, "accounts": accounts, "to_ms": action.to_ms}
    sums = (await connection.execute(text(OWED), given)).mappings().all()
    table = table_of(PayoutRow)
    touching = select(table).where(
        table.c.party == action.party,
        table.c.party_id == action.party_id,
        table.c.from_ms < action.to_ms,
        table.c.to_ms > action.from_ms,
    )
    found = (await connection.execute(touching)).mappings().all()
    earned: dict[str, list[Earning]] = {}
    if action.party is Party.DRIVER:
        rows = await connection.execute(text(_EARNED), {"driver_id": action.party_id} | period)
        for row in rows.mappings():
            earned.setdefault(row["region_id"], []).append(earning_of(row))
    return Owed(
        by_account={Account(row["account"]): row["cents"] for row in sums},
        earned=earned,
        touching=[PAYOUTS.of(row) for row in found],
    )


def earning_of(row: Any) -> Earning:
    """A row of `earnings` as its record."""
    given = {name: row[name] for name in Earning.__struct_fields__}
    ids = {name: str(given[name]) for name in ("task_id", "order_id", "driver_id")}
    return msgspec.convert(given | ids, Earning)


PAYOUTS = Kind(
    aggregate="payout",
    table=table_of(PayoutRow),
    record=Payout,
    owner="party_id",
    missing="There is no such payout.",
    refusals={"uq_payouts_period": PeriodOverlaps},
)
STEPS = {ClosePayout: Step(decide=close_payout, kind=PAYOUTS, look=look)}
