"""Writing a plan: a few multi-row statements per layer, then dossier, outbox and answers in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from domain.orders.dossier import Entry
from domain.orders.lifecycle import OfferStatus
from domain.orders.records import OfferRow, StoredAnswer, TaskRow
from domain.orders.state import AMOUNTS
from persistence.engine import Connection
from persistence.orders.booking import book
from persistence.orders.layers import Layer, layers
from persistence.orders.plan import ConstraintBroken, Key, OrderWrite, OutboxRow, Plan


class KeyTaken(Exception):
    """Another append has stored an answer under one of our keys meanwhile: begin again and find it."""


async def write(connection: Connection, plan: Plan) -> None:
    """Write all of it inside the caller's transaction; database errors come through as asyncpg raises them."""
    for layer in layers(plan.units):
        await _layer(connection, layer)
    tries = {unit.attempt.attempt_id: unit.attempt for unit in plan.units if unit.attempt is not None}
    if tries:
        await connection.execute(_TRIES, *_columns(list(tries.values()), _TRY_FIELDS))
    items = [write for unit in plan.units for write in unit.orders if write.new]
    if items:
        await _items(connection, items)
    if plan.audit:
        await connection.execute(_AUDIT, *_columns(plan.audit, _AUDIT_FIELDS))
    if plan.books:
        await book(connection, plan.books)
    if plan.entries or plan.outbox or plan.answers:
        stored = await _log(connection, plan.entries, plan.outbox, plan.answers)
        if plan.own_keys - stored:
            raise KeyTaken


async def _layer(connection: Connection, layer: Layer) -> None:
    if layer.checks:
        await connection.execute(_CHECKS, *_columns(layer.checks, _CHECK_FIELDS))
    if layer.offers:
        await _offers(connection, layer.offers)
    if layer.tasks:
        await _tasks(connection, layer.tasks)
    if new := [write for write in layer.orders if write.new]:
        await connection.execute(_NEW_ORDERS, *_order_columns(new, _ORDER_FIELDS))
    if moved := [write for write in layer.orders if not write.new]:
        *changes, seqs, hashes, at_ms = _order_columns(moved, _ORDER_CHANGES)
        payments = [_json(write.head.order.payments) for write in moved]
        await connection.execute(_MOVE_ORDERS, *changes, payments, seqs, hashes, at_ms)


# -- offers -----------------------------------------------------------------------------------------------------------

_OFFER_FIELDS = (
    "offer_id", "region_id", "driver_id", "status", "made_ms", "expires_ms", "seen_ms", "closed_ms", "reason",
)  # fmt: skip

# An open offer is new as a rule. What identifies an offer is set as well, so that a trigger refuses to change it.
# An explanation is of the moment in which the offer was made: xmax is 0 on a row that was inserted, not updated.
_NEW_OFFERS = """
WITH made AS (
    INSERT INTO offers AS o (offer_id, region_id, driver_id, status, made_ms, expires_ms, seen_ms, closed_ms, reason,
                             task_ids, features)
    SELECT r.offer_id, r.region_id, r.driver_id, r.status, r.made_ms, r.expires_ms, r.seen_ms, r.closed_ms, r.reason,
           string_to_array(r.task_ids, ',')::uuid[], r.features::jsonb
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                $9::text[], $10::text[], $11::text[])
         AS r(offer_id, region_id, driver_id, status, made_ms, expires_ms, seen_ms, closed_ms, reason, task_ids,
              features)
    ON CONFLICT (offer_id) DO UPDATE SET region_id = EXCLUDED.region_id, driver_id = EXCLUDED.driver_id,
                                         task_ids = EXCLUDED.task_ids, status = EXCLUDED.status,
                                         expires_ms = EXCLUDED.expires_ms, seen_ms = EXCLUDED.seen_ms
    RETURNING o.offer_id, o.region_id, o.made_ms, o.xmax = 0 AS is_new
)
INSERT INTO offer_explanations (offer_id, region_id, made_ms, explanation)
SELECT m.offer_id, m.region_id, m.made_ms, e.explanation::jsonb
FROM made m JOIN unnest($1::uuid[], $12::text[]) AS e(offer_id, explanation) USING (offer_id)
WHERE m.is_new AND e.explanation IS NOT NULL
"""

_CLOSE_OFFERS = """
UPDATE offers o SET region_id = r.region_id, driver_id = r.driver_id, status = r.status, seen_ms = r.seen_ms,
                    closed_ms = r.closed_ms, reason = r.reason
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::text[])
     AS r(offer_id, region_id, driver_id, status, seen_ms, closed_ms, reason)
WHERE o.offer_id = r.offer_id
"""
_CLOSE_FIELDS = ("offer_id", "region_id", "driver_id", "status", "seen_ms", "closed_ms", "reason")


async def _offers(connection: Connection, offers: list[OfferRow]) -> None:
    offers.sort(key=lambda offer: offer.offer_id)
    if made := [offer for offer in offers if offer.status is OfferStatus.OFFERED]:
        task_ids = [",".join(offer.task_ids) for offer in made]
        features = [_json(offer.features) for offer in made]
        explained = [_json(offer.explanation) if offer.explanation else None for offer in made]
        await connection.execute(_NEW_OFFERS, *_columns(made, _OFFER_FIELDS), task_ids, features, explained)
    if closed := [offer for offer in offers if offer.status is not OfferStatus.OFFERED]:
        done = await connection.execute(_CLOSE_OFFERS, *_columns(closed, _CLOSE_FIELDS))
        if _count(done) != len(closed):
            raise ConstraintBroken("offers_start", "an offer was closed that was never made")


# -- tasks ------------------------------------------------------------------------------------------------------------

_TASK_FIELDS = (
    "task_id", "order_id", "region_id", "kind", "status", "store_id", "pickup_lat", "pickup_lng", "dropoff_lat",
    "dropoff_lng", "dropoff_address", "min_age", "opened_ms", "ready_ms", "due_ms", "driver_id", "offer_id", "ended_ms",
    "closes_ms", "arrived_ms",
)  # fmt: skip

# What identifies a task is compared in a form that no index serves: the planner must come by the primary key.
_MOVE_TASKS = """
UPDATE tasks t SET status = r.status, driver_id = r.driver_id, offer_id = r.offer_id, ready_ms = r.ready_ms,
                   due_ms = r.due_ms, ended_ms = r.ended_ms, arrived_ms = r.arrived_ms
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::uuid[], $8::bigint[],
            $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
     AS r(task_id, order_id, region_id, kind, status, driver_id, offer_id, ready_ms, due_ms, ended_ms, closes_ms,
          arrived_ms)
WHERE t.task_id = r.task_id
  AND (t.order_id, t.region_id, t.kind, t.closes_ms)
      IS NOT DISTINCT FROM (r.order_id, r.region_id, r.kind, r.closes_ms)
RETURNING t.task_id::text
"""
_MOVE_FIELDS = (
    "task_id", "order_id", "region_id", "kind", "status", "driver_id", "offer_id", "ready_ms", "due_ms", "ended_ms",
    "closes_ms", "arrived_ms",
)  # fmt: skip

_NEW_TASKS = """
INSERT INTO tasks (task_id, order_id, region_id, kind, status, store_id, pickup_lat, pickup_lng, dropoff_lat,
                   dropoff_lng, dropoff_address, min_age, opened_ms, ready_ms, due_ms, driver_id, offer_id, ended_ms,
                   closes_ms, arrived_ms)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::float8[], $8::float8[],
                     $9::float8[], $10::float8[], $11::text[], $12::int[], $13::bigint[], $14::bigint[], $15::bigint[],
                     $16::uuid[], $17::uuid[], $18::bigint[], $19::bigint[], $20::bigint[])
"""


async def _tasks(connection: Connection, tasks: list[TaskRow]) -> None:
    tasks.sort(key=lambda task: task.task_id)
    found = await connection.fetch(_MOVE_TASKS, *_columns(tasks, _MOVE_FIELDS))
    if len(found) == len(tasks):
        return
    there = {row["task_id"] for row in found}
    await connection.execute(
        _NEW_TASKS, *_columns([task for task in tasks if task.task_id not in there], _TASK_FIELDS)
    )


# -- orders -----------------------------------------------------------------------------------------------------------

_ORDER_FIELDS = (
    "order_id", "region_id", "customer_id", "merchant_id", "store_id", "status", "version", "min_age", *AMOUNTS,
    "pickup_lat", "pickup_lng", "dropoff_lat", "dropoff_lng", "dropoff_address", "created_ms", "age_attempts",
    "payment_ref", "ready_ms", "due_ms",
)  # fmt: skip

_NEW_ORDERS = """
INSERT INTO orders (order_id, region_id, customer_id, merchant_id, store_id, status, version, min_age, goods_cents,
                    fee_cents, tax_cents, tip_cents, total_cents, pickup_lat, pickup_lng, dropoff_lat, dropoff_lng,
                    dropoff_address, created_ms, age_attempts, payment_ref, ready_ms, due_ms, dossier_seq, dossier_hash,
                    updated_ms)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::int[], $8::int[],
                     $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::float8[],
                     $15::float8[], $16::float8[], $17::float8[], $18::text[], $19::bigint[], $20::int[], $21::text[],
                     $22::bigint[], $23::bigint[], $24::int[], $25::bytea[], $26::bigint[])
"""

_MOVE_ORDERS = """
UPDATE orders o SET status = r.status, version = r.version, age_attempts = r.age_attempts, payment_ref = r.payment_ref,
                    ready_ms = r.ready_ms, due_ms = r.due_ms, payment_open_ms = r.payment_open_ms,
                    payments = r.payments::jsonb, dossier_seq = r.dossier_seq, dossier_hash = r.dossier_hash,
                    updated_ms = r.updated_ms
FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::text[], $10::int[], $11::bytea[], $12::bigint[])
     AS r(order_id, status, version, age_attempts, payment_ref, ready_ms, due_ms, payment_open_ms, payments,
          dossier_seq, dossier_hash, updated_ms)
WHERE o.order_id = r.order_id
"""
_ORDER_CHANGES = (
    "order_id", "status", "version", "age_attempts", "payment_ref", "ready_ms", "due_ms", "payment_open_ms",
)  # fmt: skip


def _order_columns(writes: list[OrderWrite], fields: tuple[str, ...]) -> list[list[Any]]:
    columns = _columns([write.head.order for write in writes], fields)
    columns.append([write.head.seq for write in writes])
    columns.append([write.head.hash for write in writes])
    columns.append([write.at_ms for write in writes])
    return columns


_ITEMS = """
INSERT INTO order_items (order_id, line, product_id, quantity, price_cents, tax_cents)
SELECT * FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::int[], $5::bigint[], $6::bigint[])
"""


async def _items(connection: Connection, writes: list[OrderWrite]) -> None:
    lines = [
        (write.head.order.order_id, line, item.product_id, item.quantity, item.price_cents, item.tax_cents)
        for write in writes
        for line, item in enumerate(write.head.order.items)
    ]
    await connection.execute(_ITEMS, *map(list, zip(*lines, strict=True)))


# -- what is only ever added ------------------------------------------------------------------------------------------

_CHECK_FIELDS = (
    "check_id", "order_id", "task_id", "driver_id", "passed", "over_age", "not_expired", "name_matches", "sober",
    "method", "vendor_ref", "at_ms", "unclear",
)  # fmt: skip

_CHECKS = """
INSERT INTO doorstep_checks (check_id, order_id, task_id, driver_id, passed, over_age, not_expired, name_matches, sober,
                             method, vendor_ref, at_ms, unclear)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bool[], $6::bool[], $7::bool[], $8::bool[],
                     $9::bool[], $10::text[], $11::text[], $12::bigint[], $13::text[])
"""

_TRY_FIELDS = ("attempt_id", "customer_id", "order_id", "min_age", "at_ms", "outcome", "vendor_ref")

_TRIES = """
INSERT INTO age_attempts AS a (attempt_id, customer_id, order_id, min_age, at_ms, outcome, vendor_ref)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::bigint[], $6::text[], $7::text[])
ON CONFLICT (attempt_id) DO UPDATE SET customer_id = EXCLUDED.customer_id, order_id = EXCLUDED.order_id,
    outcome = EXCLUDED.outcome, vendor_ref = EXCLUDED.vendor_ref
"""

# One statement for three tables: none looks at another's rows. The answers come sorted, so that two appends with the
# same keys meet at the first of them and cannot wait for each other in a ring.
_LOG = """
WITH dossier AS (
    INSERT INTO dossier_events (order_id, seq, type, status, at_ms, actor, payload, prev_hash, hash)
    SELECT e.order_id, e.seq, e.type, e.status, e.at_ms, e.actor, e.payload::jsonb, e.prev_hash, e.hash
    FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::bytea[],
                $9::bytea[]) AS e(order_id, seq, type, status, at_ms, actor, payload, prev_hash, hash)
), out AS (
    INSERT INTO outbox (channel, topic, aggregate, aggregate_id, region_id, at_ms, payload)
    SELECT b.channel, b.topic, b.aggregate, b.aggregate_id, b.region_id, b.at_ms, b.payload::json
    FROM unnest($10::text[], $11::text[], $12::text[], $13::uuid[], $14::text[], $15::bigint[], $16::text[])
         AS b(channel, topic, aggregate, aggregate_id, region_id, at_ms, payload)
)
INSERT INTO idempotency (scope, key, fingerprint, code, detail, body, at_ms, region_id)
SELECT a.scope, a.key, a.fingerprint, a.code, a.detail, a.body::json, a.at_ms, a.region_id
FROM unnest($17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::bigint[], $24::text[])
     AS a(scope, key, fingerprint, code, detail, body, at_ms, region_id)
ON CONFLICT (scope, key) DO NOTHING
RETURNING scope, key
"""

_AUDIT_FIELDS = ("at_ms", "actor_id", "actor_role", "action", "aggregate_id")

_AUDIT = """
INSERT INTO audit_entries (at_ms, actor_id, actor_role, action, aggregate_id)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::uuid[])
"""

_ENTRY_FIELDS = ("order_id", "seq", "type", "status", "at_ms", "actor")
_OUTBOX_FIELDS = ("channel", "topic", "aggregate", "aggregate_id", "region_id", "at_ms")


async def _log(
    connection: Connection,
    entries: list[Entry],
    outbox: list[OutboxRow],
    answers: list[tuple[StoredAnswer, str | None]],
) -> set[Key]:
    answers = sorted(answers, key=lambda pair: (pair[0].scope, pair[0].key))
    stored = [pair[0] for pair in answers]
    rows = await connection.fetch(
        _LOG,
        *_columns(entries, _ENTRY_FIELDS),
        [_json(entry.payload) for entry in entries],
        [entry.prev_hash for entry in entries],
        [entry.hash for entry in entries],
        *_columns(outbox, _OUTBOX_FIELDS),
        [_json(row.payload) for row in outbox],
        *_columns(stored, ("scope", "key", "fingerprint")),
        [row.answer.code for row in stored],
        [row.answer.detail for row in stored],
        [_json(row.answer.body) for row in stored],
        [row.at_ms for row in stored],
        [region_id for _, region_id in answers],
    )
    return {(row["scope"], row["key"]) for row in rows}


# -- small things -----------------------------------------------------------------------------------------------------


def _columns(rows: Sequence[Any], fields: tuple[str, ...]) -> list[list[Any]]:
    return [[getattr(row, name) for row in rows] for name in fields]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _count(status: str) -> int:
    """The number of rows in a command tag such as `UPDATE 3`."""
    return int(status.rsplit(" ", 1)[1])
