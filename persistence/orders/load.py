"""Loading what an append needs, under lock, and turning rows into the domain's structs.

These run on the asyncpg connection below SQLAlchemy's pool: the append is the hot path, and arrays into `unnest` and
`ANY` keep each of its statements one prepared round trip whatever the size of the batch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from domain.ground.zones import Zone
from domain.marketplace.earnings import Drive
from domain.orders.hours import Holiday, Hours
from domain.orders.lifecycle import OfferStatus, OrderStatus, TaskKind, TaskStatus
from domain.orders.payment import Attempt
from domain.orders.records import AgeAttempt, Answer, CheckOutcome, Json, OfferRow, StoredAnswer, TaskRow
from domain.orders.settling import Step, drives
from domain.orders.state import AMOUNTS, OrderLine, OrderState, Product, Store
from domain.solve import Explanation
from persistence.engine import Connection
from persistence.orders.plan import Head, Needs, Rows

Row: TypeAlias = Any  # a mapping with the named columns, from asyncpg or SQLAlchemy

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def is_id(value: str) -> bool:
    """Whether this can be an id at all; what cannot is simply not found."""
    return _UUID.fullmatch(value) is not None


def ids(values: Iterable[str]) -> list[str]:
    """The well-formed ids among the values, sorted (the order in which rows are locked)."""
    return sorted(value for value in values if is_id(value))


# FOR SHARE: appends of a region go side by side, and taking its next epoch waits for those under way.
_EPOCHS = (
    "SELECT region_id, epoch FROM regions WHERE region_id = ANY($1::text[]) ORDER BY region_id FOR SHARE"
)

_LOCK_ORDERS = """
SELECT o.*, CASE WHEN o.order_id = ANY($2::uuid[]) THEN ARRAY(
    SELECT concat_ws(' ', i.product_id, i.quantity, i.price_cents, i.tax_cents)
    FROM order_items i WHERE i.order_id = o.order_id ORDER BY i.line)
END AS lines
FROM orders o WHERE o.order_id = ANY($1::uuid[]) ORDER BY o.order_id FOR NO KEY UPDATE OF o
"""

_LOCK_FREE = (
    "SELECT order_id FROM orders WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR NO KEY UPDATE"
)

_ANSWERS = """
SELECT i.scope, i.key, i.fingerprint, i.code, i.detail, i.body::text AS body, i.at_ms
FROM idempotency i JOIN unnest($1::text[], $2::text[]) AS k(scope, key) USING (scope, key)
"""

# FOR SHARE: who changes a store's hours, or suspends its merchant, waits for the decisions that were made before.
_STORES = """
SELECT s.store_id, s.merchant_id, s.region_id, s.lat, s.lng, s.hours::text AS hours, s.holidays::text AS holidays,
       s.prep_min, s.zone::text AS zone, s.paused_until_ms, s.closed_ms, m.status = 'APPROVED' AS sells
FROM stores s JOIN merchants m USING (merchant_id)
WHERE s.store_id = ANY($1::uuid[]) ORDER BY s.store_id FOR SHARE
"""

_PRODUCTS = """
SELECT product_id, store_id, category, price_cents FROM products WHERE product_id = ANY($1::uuid[])
"""


# Who decides on a person's tries has them alone, whichever order they are about. After the orders, in order of id.
_ALONE = """
SELECT pg_advisory_xact_lock(hashtextextended(c.id, 1)) FROM (SELECT unnest($1::text[]) AS id ORDER BY 1) c
"""
_ATTEMPTS = """
SELECT attempt_id, customer_id, order_id, min_age, at_ms, outcome, vendor_ref FROM age_attempts
WHERE customer_id = ANY($1::uuid[])
  AND (at_ms > $2 AND outcome NOT IN ('PASS', 'UNAVAILABLE') OR attempt_id = ANY($3::uuid[]))
"""


# What was driven for orders: their tasks with the more that was paid, and the steps that pay goes by.
_TASKS = """
SELECT t.*, (o.features ->> 'bump_cents')::float8::int AS bump_cents
FROM tasks t LEFT JOIN offers o ON o.offer_id = t.offer_id WHERE t.order_id = ANY($1::uuid[])
"""
_STEPS = """
SELECT order_id, type, actor, at_ms FROM dossier_events
WHERE order_id = ANY($1::uuid[]) AND type IN ('TASK_ASSIGNED', 'ARRIVED_AT_STORE', 'PICKED_UP', 'RETURN_INITIATED')
ORDER BY order_id, seq
"""


async def lock_free_orders(connection: Connection, order_ids: Iterable[str]) -> set[str]:
    """Lock those of the orders that nobody else has locked; returns the others, without waiting for them."""
    known = ids(order_ids)
    if not known:
        return set()
    locked = await connection.fetch(f"{_LOCK_FREE} SKIP LOCKED", known)
    rest = sorted(set(known) - {str(row["order_id"]) for row in locked})
    there = await connection.fetch("SELECT order_id FROM orders WHERE order_id = ANY($1::uuid[])", rest)
    return {str(row["order_id"]) for row in there}


async def load(connection: Connection, need: Needs) -> Rows:
    """The rows that the commands need. Epochs and orders stay locked until the transaction ends, in order of id."""
    rows = Rows()
    if need.regions:
        found = await connection.fetch(_EPOCHS, sorted(need.regions))
        rows.epochs = {row["region_id"]: row["epoch"] for row in found}
    if orders := ids(need.orders):
        found = await connection.fetch(_LOCK_ORDERS, orders, ids(need.decided))
        rows.orders = {head.order.order_id: head for head in map(head_of, found)}
    if customers := ids(need.customers):
        await connection.execute(_ALONE, customers)
        since_ms, named = need.attempts_since_ms, ids(need.attempts)
        for row in await connection.fetch(_ATTEMPTS, customers, since_ms, named):
            attempt = attempt_of(row)
            rows.attempts.setdefault(attempt.customer_id, {})[attempt.attempt_id] = attempt
    # After the locks, so that whoever held them before has left its answers.
    if need.keys:
        scopes, keys = zip(*sorted(need.keys), strict=True)
        for row in await connection.fetch(_ANSWERS, scopes, keys):
            rows.answers[(row["scope"], row["key"])] = stored_answer_of(row)
    if stores := ids(need.all_stores(rows.orders)):
        for row in await connection.fetch(_STORES, stores):
            rows.stores[str(row["store_id"])] = Store(
                store_id=str(row["store_id"]),
                merchant_id=str(row["merchant_id"]),
                region_id=row["region_id"],
                lat=row["lat"],
                lng=row["lng"],
                hours=hours_of(row["hours"]),
                holidays=holidays_of(row["holidays"]),
                prep_min=row["prep_min"],
                zone=zone_of(row["zone"]),
                paused_until_ms=row["paused_until_ms"],
                closed_ms=row["closed_ms"],
                sells=row["sells"],
            )
    if products := ids(need.products):
        for row in await connection.fetch(_PRODUCTS, products):
            rows.products[str(row["product_id"])] = Product(
                product_id=str(row["product_id"]),
                store_id=str(row["store_id"]),
                category=row["category"],
                price_cents=row["price_cents"],
            )
    if settled := ids(need.settled):
        rows.drives = await _driven(connection, settled)
    return rows


async def _driven(connection: Connection, order_ids: list[str]) -> dict[str, list[Drive]]:
    steps = [
        Step(str(row["order_id"]), row["type"], row["actor"], row["at_ms"])
        for row in await connection.fetch(_STEPS, order_ids)
    ]
    found: dict[str, list[Drive]] = {}
    tasks = await connection.fetch(_TASKS, order_ids)
    bumps = {str(row["offer_id"]): row["bump_cents"] or 0 for row in tasks}
    for drive in drives(map(task_of, tasks), steps, bumps):
        found.setdefault(drive.order_id, []).append(drive)
    return found


def head_of(row: Row) -> Head:
    items = []
    for line in row["lines"] or ():
        product_id, *numbers = line.split()
        items.append(OrderLine(product_id, *map(int, numbers)))
    order = OrderState(
        order_id=str(row["order_id"]),
        region_id=row["region_id"],
        customer_id=str(row["customer_id"]),
        merchant_id=str(row["merchant_id"]),
        store_id=str(row["store_id"]),
        status=OrderStatus(row["status"]),
        version=row["version"],
        min_age=row["min_age"],
        **{name: row[name] for name in AMOUNTS},
        items=tuple(items),
        pickup_lat=row["pickup_lat"],
        pickup_lng=row["pickup_lng"],
        dropoff_lat=row["dropoff_lat"],
        dropoff_lng=row["dropoff_lng"],
        dropoff_address=row["dropoff_address"],
        created_ms=row["created_ms"],
        age_attempts=row["age_attempts"],
        payment_ref=row["payment_ref"],
        ready_ms=row["ready_ms"],
        due_ms=row["due_ms"],
        payments=payments_of(row["payments"]),
    )
    return Head(order, row["dossier_seq"], row["dossier_hash"])


def attempt_of(row: Row) -> AgeAttempt:
    return AgeAttempt(
        attempt_id=str(row["attempt_id"]),
        customer_id=str(row["customer_id"]),
        order_id=str(row["order_id"]),
        min_age=row["min_age"],
        at_ms=row["at_ms"],
        outcome=CheckOutcome(row["outcome"]),
        vendor_ref=row["vendor_ref"],
    )


def task_of(row: Row) -> TaskRow:
    return TaskRow(
        task_id=str(row["task_id"]),
        order_id=str(row["order_id"]),
        region_id=row["region_id"],
        kind=TaskKind(row["kind"]),
        status=TaskStatus(row["status"]),
        store_id=str(row["store_id"]),
        pickup_lat=row["pickup_lat"],
        pickup_lng=row["pickup_lng"],
        dropoff_lat=row["dropoff_lat"],
        dropoff_lng=row["dropoff_lng"],
        dropoff_address=row["dropoff_address"],
        min_age=row["min_age"],
        opened_ms=row["opened_ms"],
        ready_ms=row["ready_ms"],
        due_ms=row["due_ms"],
        driver_id=_maybe(row["driver_id"]),
        offer_id=_maybe(row["offer_id"]),
        ended_ms=row["ended_ms"],
        closes_ms=row["closes_ms"],
        arrived_ms=row["arrived_ms"],
    )


def offer_of(row: Row) -> OfferRow:
    features = json_of(row["features"])
    return OfferRow(
        offer_id=str(row["offer_id"]),
        region_id=row["region_id"],
        driver_id=str(row["driver_id"]),
        task_ids=tuple(map(str, row["task_ids"])),
        status=OfferStatus(row["status"]),
        made_ms=row["made_ms"],
        expires_ms=row["expires_ms"],
        # A feature that was not a number has no place in JSON and was written as null.
        features={name: float(value) for name, value in features.items() if value is not None},
        seen_ms=row["seen_ms"],
        closed_ms=row["closed_ms"],
        reason=row["reason"],
    )


def explanation_of(value: Json) -> Explanation:
    """An offer's explanation from its column. What was not finite has no place in JSON and was written as null."""
    explanation = json_of(value)
    for one in explanation["candidates"]:
        one["cost"] = math.inf if one["cost"] is None else one["cost"]
        one["terms"] = {name: math.inf if term is None else term for name, term in one["terms"].items()}
    return msgspec.convert(explanation, Explanation)


def stored_answer_of(row: Row) -> StoredAnswer:
    return StoredAnswer(
        scope=row["scope"],
        key=row["key"],
        fingerprint=row["fingerprint"],
        answer=Answer(row["code"], row["detail"], json_of(row["body"])),
        at_ms=row["at_ms"],
    )


def payments_of(value: Json) -> tuple[Attempt, ...]:
    """An order's authorizations from their column."""
    return msgspec.convert(json_of(value), tuple[Attempt, ...]) if value not in ("[]", []) else ()


def hours_of(value: Json) -> Hours:
    """A store's hours from their column."""
    hours: Hours = msgspec.convert(json_of(value), Hours)
    return hours


def holidays_of(value: Json) -> tuple[Holiday, ...]:
    """A store's holidays from their column."""
    return msgspec.convert(json_of(value), tuple[Holiday, ...]) if value not in ("[]", []) else ()


def zone_of(value: Json) -> Zone | None:
    """A store's zone from its column."""
    return None if value is None else msgspec.convert(json_of(value), Zone)


def json_of(value: Json) -> Json:
    """A JSON column's value: text from asyncpg, already decoded from SQLAlchemy."""
    return msgspec.json.decode(value) if isinstance(value, str) else value


def _maybe(value: object) -> str | None:
    return None if value is None else str(value)
