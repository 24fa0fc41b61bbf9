"""Whether the ledger balances and agrees with orders, payments, refunds and pay: questions of the database, each of
which finds nothing when all is well."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

FOUND_LIMIT = 100  # of each kind: with so many it is known that something is wrong


class Problem(Struct, frozen=True):
    """What does not agree: which rule, of what id, and the two sums in cents."""

    rule: str
    about: str
    found_cents: int | None
    due_cents: int | None


# name -> (about, found, due). What is found is wrong.
QUESTIONS: dict[str, str] = {
    "every movement sums to zero": """
        SELECT movement_id::text AS about, sum(amount_cents)::bigint AS found, 0::bigint AS due
        FROM ledger_entries GROUP BY movement_id HAVING sum(amount_cents) <> 0
    """,
    "what was taken of an order is what it came to": """
        SELECT o.order_id::text AS about, taken.cents AS found, o.total_cents AS due
        FROM orders o LEFT JOIN LATERAL (
            SELECT sum(e.amount_cents)::bigint AS cents
            FROM ledger_movements m JOIN ledger_entries e USING (movement_id)
            WHERE m.order_id = o.order_id AND m.reason = 'ORDER_CAPTURED' AND e.account = 'CLEARING'
        ) taken ON true
        WHERE o.status = 'CLOSED' AND o.payment_ref IS NOT NULL AND coalesce(taken.cents, 0) <> o.total_cents
    """,
    "nothing is taken of an order that was not delivered": """
        SELECT o.order_id::text AS about, o.total_cents AS found, 0::bigint AS due
        FROM ledger_movements m JOIN orders o USING (order_id)
        WHERE m.reason = 'ORDER_CAPTURED' AND o.status NOT IN ('DELIVERED', 'CLOSED')
    """,
    "no hold without an order that needs it": """
        SELECT o.order_id::text AS about, sum(e.amount_cents)::bigint AS found, 0::bigint AS due
        FROM ledger_entries e JOIN ledger_movements m USING (movement_id) JOIN orders o USING (order_id)
        WHERE e.account = 'HOLDS' AND o.status IN ('CLOSED', 'CANCELLED', 'REJECTED', 'RETURNED', 'WRITTEN_OFF')
          AND NOT EXISTS (SELECT FROM outbox w WHERE w.channel = 'payments' AND w.aggregate_id = o.order_id
                          AND w.topic <> 'payment.refund' AND w.done_at IS NULL AND w.stage <> 'DEAD')
        GROUP BY o.order_id HAVING sum(e.amount_cents) <> 0
    """,
    "every order that was paid for has its hold": """
        SELECT o.order_id::text AS about, coalesce(held.cents, 0) AS found, o.total_cents AS due
        FROM orders o LEFT JOIN LATERAL (
            SELECT sum(e.amount_cents)::bigint AS cents
            FROM ledger_movements m JOIN ledger_entries e USING (movement_id)
            WHERE m.order_id = o.order_id AND e.account = 'HOLDS'
        ) held ON true
        WHERE o.payment_ref IS NOT NULL AND o.total_cents > 0 AND coalesce(held.cents, 0) <= 0
          AND o.status NOT IN ('DELIVERED', 'CLOSED', 'CANCELLED', 'REJECTED', 'RETURNED', 'WRITTEN_OFF')
    """,
    "a payment is what the ledger has of it": """
        SELECT p.payment_id::text AS about, p.goods_cents + p.fee_cents + p.tax_cents + p.tip_cents AS found,
            coalesce(taken.cents, 0) AS due
        FROM payments p LEFT JOIN LATERAL (
            SELECT sum(e.amount_cents)::bigint AS cents
            FROM ledger_movements m JOIN ledger_entries e USING (movement_id)
            WHERE m.order_id = p.order_id AND m.reason = 'ORDER_CAPTURED' AND e.account = 'CLEARING'
        ) taken ON true
        WHERE p.goods_cents + p.fee_cents + p.tax_cents + p.tip_cents <> coalesce(taken.cents, 0)
    """,
    "a payment counts its refunds": """
        SELECT p.payment_id::text AS about, p.refunded_goods_cents + p.refunded_fee_cents + p.refunded_tax_cents
            + p.refunded_tip_cents AS found, given.cents AS due
        FROM payments p LEFT JOIN LATERAL (
            SELECT coalesce(sum(goods_cents + fee_cents + tax_cents + tip_cents), 0)::bigint AS cents FROM refunds r
            WHERE r.payment_id = p.payment_id AND r.status <> 'FAILED'
        ) given ON true
        WHERE p.refunded_goods_cents + p.refunded_fee_cents + p.refunded_tax_cents + p.refunded_tip_cents
            <> given.cents
    """,
    "what is owed to customers is what refunds still have to bring": """
        SELECT m.order_id::text AS about, -sum(e.amount_cents)::bigint AS found, pending.cents AS due
        FROM ledger_entries e JOIN ledger_movements m USING (movement_id) CROSS JOIN LATERAL (
            SELECT coalesce(sum(goods_cents + fee_cents + tax_cents + tip_cents), 0)::bigint AS cents FROM refunds r
            WHERE r.order_id = m.order_id AND r.status = 'PENDING'
        ) pending
        WHERE e.account = 'REFUNDS_PAYABLE' GROUP BY m.order_id, pending.cents
        HAVING -sum(e.amount_cents) <> pending.cents
    """,
    "pay is what the ledger has of it": """
        SELECT w.task_id::text AS about, w.order_cents + w.distance_cents + w.wait_cents + w.bump_cents AS found,
            coalesce(owed.cents, 0) AS due
        FROM earnings w LEFT JOIN LATERAL (
            SELECT -sum(e.amount_cents)::bigint AS cents
            FROM ledger_movements m JOIN ledger_entries e USING (movement_id)
            WHERE m.reason = 'DRIVER_EARNED' AND m.reference = w.task_id::text AND e.account = 'DRIVER_PAYABLE'
        ) owed ON true
        WHERE w.order_cents + w.distance_cents + w.wait_cents + w.bump_cents <> coalesce(owed.cents, 0)
    """,
    "a payout is what the ledger has of it": """
        SELECT p.payout_id::text AS about, p.work_cents + p.tips_cents AS found, coalesce(paid.cents, 0) AS due
        FROM payouts p LEFT JOIN LATERAL (
            SELECT -sum(e.amount_cents)::bigint AS cents
            FROM ledger_movements m JOIN ledger_entries e USING (movement_id)
            WHERE m.reason = 'PAID_OUT' AND m.reference = p.payout_id::text AND e.account = 'BANK'
        ) paid ON true
        WHERE p.work_cents + p.tips_cents <> coalesce(paid.cents, 0)
    """,
}


async def problems(engine: AsyncEngine) -> list[Problem]:
    """What does not agree, at most `FOUND_LIMIT` of each kind, all as of one moment; none when all is well."""
    found: list[Problem] = []
    async with engine.connect() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        for rule, question in QUESTIONS.items():
            rows: Any = (await connection.execute(text(f"{question} LIMIT {FOUND_LIMIT}"))).mappings()
            found += [Problem(rule, row["about"], row["found"], row["due"]) for row in rows]
    return found


async def balances(engine: AsyncEngine) -> dict[str, int]:
    """What is on each account, in cents."""
    query = "SELECT account, sum(amount_cents)::bigint AS cents FROM ledger_entries GROUP BY account ORDER BY account"
    async with engine.connect() as connection:
        rows: Any = (await connection.execute(text(query))).mappings()
        return {row["account"]: row["cents"] for row in rows}
