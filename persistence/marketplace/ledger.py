"""What a change of the marketplace's records moves of money, and what it asks of the vendor, written with it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.marketplace.change import VendorAsk
from domain.marketplace.money import Movement
from domain.orders.records import ORDER
from domain.ports import Channel
from persistence import tables
from persistence.reads.queries import table_of

MOVEMENTS, ENTRIES = table_of(tables.LedgerMovement), table_of(tables.LedgerEntry)
OUTBOX = table_of(tables.Outbox)


async def book(connection: AsyncConnection, movements: Sequence[Movement]) -> None:
    """Add the movements to the ledger, each with its entries."""
    if not movements:
        return
    rows = [
        {
            "movement_id": one.movement_id,
            "reason": str(one.reason),
            "reference": one.reference,
            "order_id": one.order_id,
            "at_ms": one.at_ms,
            "lines": len(one.entries),
        }
        for one in movements
    ]
    lines = [
        {"movement_id": one.movement_id, "line": line, **msgspec.to_builtins(entry)}
        for one in movements
        for line, entry in enumerate(one.entries)
    ]
    await connection.execute(insert(MOVEMENTS), rows)
    await connection.execute(insert(ENTRIES), lines)


async def ask_vendor(connection: AsyncConnection, asks: Sequence[VendorAsk], at_ms: int) -> None:
    """Leave it to the outbox: the vendor is asked after the commit, until it has answered."""
    rows = [
        {
            "channel": Channel.PAYMENTS,
            "topic": ask.topic,
            "aggregate": ORDER,
            "aggregate_id": ask.order_id,
            "region_id": ask.region_id,
            "at_ms": at_ms,
            "payload": ask.payload,
        }
        for ask in asks
    ]
    if rows:
        await connection.execute(insert(OUTBOX), rows)
