"""The tables, as SQLAlchemy models. Ids are native `uuid` (strings in Python), times `*_ms` are BIGINT milliseconds on
the server's clock, money is integer cents, coordinates are WGS84 degrees.

Triggers (the lifecycle's second lock) are not part of the models: see `migrations/versions/0002_locks.py`,
`0003_gates.py`, `0004_store_hours.py`, `0006_under_load.py` and `0022_ledger.py`.
"""

from __future__ import annotations

from persistence.tables.accounts import User
from persistence.tables.append import Idempotency, Lease, Outbox, Region, RegionTotals
from persistence.tables.audit import AuditEntry, AuditSalt
from persistence.tables.base import Base, Uid
from persistence.tables.catalogue import Product
from persistence.tables.ledger import EarningRow, LedgerEntry, LedgerMovement, PaymentRow
from persistence.tables.lifecycle import OfferEdge, OrderEdge, OrderStep, TaskEdge, TaskStart
from persistence.tables.offers import Offer, OfferExplanation
from persistence.tables.orders import (
    AgeAttempt,
    DoorstepCheck,
    DossierEvent,
    Order,
    OrderItem,
    OrderNote,
    Task,
)

__all__ = [
    "AgeAttempt",
    "AuditEntry",
    "AuditSalt",
    "Base",
    "DoorstepCheck",
    "DossierEvent",
    "EarningRow",
    "Idempotency",
    "Lease",
    "LedgerEntry",
    "LedgerMovement",
    "Offer",
    "OfferEdge",
    "OfferExplanation",
    "Order",
    "OrderEdge",
    "OrderItem",
    "OrderNote",
    "OrderStep",
    "Outbox",
    "PaymentRow",
    "Product",
    "Region",
    "RegionTotals",
    "Task",
    "TaskEdge",
    "TaskStart",
    "Uid",
    "User",
]
