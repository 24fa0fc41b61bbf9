"""Writing what was booked of money: movements with their entries, payments, and what drivers have earned."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from domain.marketplace.earnings import Earning
from domain.marketplace.payments import Payment
from domain.orders.state import Books
from persistence.engine import Connection

# One statement, so that a movement and its entries are there together.
_MOVEMENTS = """
WITH made AS (
    INSERT INTO ledger_movements (movement_id, reason, reference, order_id, at_ms, lines)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::bigint[], $6::int[])
    RETURNING movement_id
)
INSERT INTO ledger_entries (movement_id, line, account, party_id, amount_cents)
SELECT * FROM unnest($7::uuid[], $8::int[], $9::text[], $10::text[], $11::bigint[])
"""
_PAYMENTS = (
    "INSERT INTO payments SELECT (jsonb_populate_record(NULL::payments, p)).* FROM unnest($1::jsonb[]) p"
)
_EARNINGS = (
    "INSERT INTO earnings SELECT (jsonb_populate_record(NULL::earnings, e)).* FROM unnest($1::jsonb[]) e"
)


async def book(connection: Connection, books: Sequence[Books]) -> None:
    """Write it inside the caller's transaction."""
    movements = sorted((one for each in books for one in each.movements), key=lambda one: one.movement_id)
    if movements:
        lines = [
            (one.movement_id, number, str(entry.account), entry.party_id, entry.amount_cents)
            for one in movements
            for number, entry in enumerate(one.entries)
        ]
        await connection.execute(
            _MOVEMENTS,
            [one.movement_id for one in movements],
            [str(one.reason) for one in movements],
            [one.reference for one in movements],
            [one.order_id for one in movements],
            [one.at_ms for one in movements],
            [len(one.entries) for one in movements],
            *map(list, zip(*lines, strict=True)),
        )
    if payments := [each.payment for each in books if each.payment is not None]:
        await connection.execute(_PAYMENTS, _rows(payments))
    if earnings := [one for each in books for one in each.earnings]:
        await connection.execute(_EARNINGS, _rows(earnings))


def _rows(records: Sequence[Payment] | Sequence[Earning]) -> list[str]:
    return [msgspec.json.encode(one).decode() for one in records]
