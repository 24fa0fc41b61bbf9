"""Opening a region: its next epoch and its hard state as of that moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from domain.orders.lifecycle import OrderStatus, TaskKind, TaskStatus
from domain.orders.records import Aside, OrderBrief, RegionImage
from domain.region.ops.frames import COUNTERS
from persistence.engine import Connection
from persistence.orders.load import Row, json_of, offer_of, stored_answer_of, task_of

T = TypeVar("T")

RECENT_MS = 600_000
RECENT_LIMIT = 5_000
ANSWERS_LIMIT = 50_000

# The counters of `domain.region.ops.frames.COUNTERS` that tasks give, as a region counts them itself.
TASK_COUNTERS = {
    (TaskKind.DELIVERY, TaskStatus.DONE): "delivered",
    (TaskKind.DELIVERY, TaskStatus.FAILED): "refused",
    (TaskKind.DELIVERY, TaskStatus.CANCELLED): "cancelled",
    (TaskKind.RETURN, TaskStatus.DONE): "returned",
}

_NEXT_EPOCH = """
INSERT INTO regions AS r (region_id, epoch) VALUES ($1, 1)
ON CONFLICT (region_id) DO UPDATE SET epoch = r.epoch + 1 RETURNING epoch
"""
_TASKS = """
SELECT t.*, o.status AS order_status, o.customer_id, o.merchant_id
FROM tasks t JOIN orders o USING (order_id)
WHERE t.region_id = $1 AND t.live
ORDER BY t.opened_ms, t.task_id
"""
_OFFERS = "SELECT * FROM offers WHERE region_id = $1 AND closed_ms IS NULL ORDER BY made_ms, offer_id"
_RECENT_OFFERS = """
SELECT * FROM offers WHERE region_id = $1 AND closed_ms >= $2 ORDER BY closed_ms DESC, offer_id DESC LIMIT $3
"""
# Two halves, so that each comes by its index: those of late, and those that the outbox still has to tell of.
_RECENT_TASKS = """
SELECT * FROM (
    SELECT * FROM tasks WHERE region_id = $1 AND NOT live AND ended_ms >= $2
    UNION ALL
    SELECT t.* FROM outbox e JOIN tasks t ON t.task_id = (e.payload #>> '{task,task_id}')::uuid
    WHERE e.channel = 'tasks' AND e.done_at IS NULL AND e.region_id = $1
      AND t.region_id = $1 AND NOT t.live AND t.ended_ms < $2
) recent ORDER BY ended_ms DESC, task_id DESC LIMIT $3
"""
_ANSWERS = """
SELECT scope, key, fingerprint, code, detail, body::text AS body, at_ms FROM idempotency
WHERE region_id = $1 ORDER BY at_ms DESC, scope DESC, key DESC LIMIT $2
"""
_TOTALS = "SELECT before_ms, tasks::text, offers::text FROM region_totals WHERE region_id = $1"
# What was over between $2 and $3, by status; `_OPEN_*` what is not over. Together with the totals: all there ever was.
_ENDED_TASKS = """
SELECT kind || ' ' || status AS name, count(*) AS n FROM tasks
WHERE region_id = $1 AND NOT live AND ended_ms >= $2 AND ended_ms < $3 GROUP BY 1
"""
_CLOSED_OFFERS = """
SELECT status AS name, count(*) AS n FROM offers
WHERE region_id = $1 AND closed_ms >= $2 AND closed_ms < $3 GROUP BY 1
"""
_OPEN_TASKS = """
SELECT kind || ' ' || status AS name, count(*) AS n FROM tasks WHERE region_id = $1 AND live GROUP BY 1
"""
_OPEN_OFFERS = """
SELECT status AS name, count(*) AS n FROM offers WHERE region_id = $1 AND closed_ms IS NULL GROUP BY 1
"""
_LATER_MS = 2**62

_NEW_TOTALS = "INSERT INTO region_totals VALUES ($1, 0, '{}', '{}') ON CONFLICT DO NOTHING"
_LOCK_TOTALS = f"{_TOTALS} FOR UPDATE"
_SET_TOTALS = "UPDATE region_totals SET before_ms = $2, tasks = $3, offers = $4 WHERE region_id = $1"


async def take_epoch(connection: Connection, region_id: str) -> int:
    """Take the next epoch, in the caller's transaction: this waits for the region's appends under way and shuts out
    later ones, so the image that is loaded then is complete."""
    epoch: int = await connection.fetchval(_NEXT_EPOCH, region_id)
    return epoch


async def load_image(connection: Connection, region_id: str, now_ms: int, epoch: int) -> RegionImage:
    """Load the image, in the caller's transaction. Rows that cannot be read are in its `aside`."""
    tasks = await connection.fetch(_TASKS, region_id)
    offers = await connection.fetch(_OFFERS, region_id)
    recent_offers = await connection.fetch(_RECENT_OFFERS, region_id, now_ms - RECENT_MS, RECENT_LIMIT)
    recent_tasks = await connection.fetch(_RECENT_TASKS, region_id, now_ms - RECENT_MS, RECENT_LIMIT)
    answers = await connection.fetch(_ANSWERS, region_id, ANSWERS_LIMIT)
    by_task, by_offer = await _counts(connection, region_id)
    aside: list[Aside] = []
    live = _read(tasks, lambda row: (task_of(row), _brief_of(row)), "tasks", "task_id", aside)
    return RegionImage(
        region_id=region_id,
        epoch=epoch,
        tasks=tuple(task for task, _ in live),
        orders=tuple(brief for _, brief in live),
        offers=_read(offers, offer_of, "offers", "offer_id", aside),
        recent_offers=_read(reversed(recent_offers), offer_of, "recent_offers", "offer_id", aside),
        recent_tasks=_read(reversed(recent_tasks), task_of, "recent_tasks", "task_id", aside),
        answers=_read(reversed(answers), stored_answer_of, "answers", "key", aside),
        all_answers=len(answers) < ANSWERS_LIMIT,
        counters=counters(by_task, by_offer),
        aside=tuple(aside),
    )


def _brief_of(row: Row) -> OrderBrief:
    return OrderBrief(
        order_id=str(row["order_id"]),
        status=OrderStatus(row["order_status"]),
        customer_id=str(row["customer_id"]),
        merchant_id=str(row["merchant_id"]),
    )


def _read(
    rows: Iterable[Row], read: Callable[[Row], T], table: str, key: str, aside: list[Aside]
) -> tuple[T, ...]:
    """What the rows say; those that cannot be read are added to `aside`."""
    found = []
    for row in rows:
        try:
            found.append(read(row))
        except Exception as error:  # whatever stands there: it is one row's matter
            order_id, driver_id = (_maybe(row.get(name)) for name in ("order_id", "driver_id"))
            aside.append(
                Aside(
                    table=table,
                    row_id=str(row[key]),
                    order_id=order_id,
                    driver_id=driver_id,
                    reason=type(error).__name__,
                )
            )
    return tuple(found)


def _maybe(value: object) -> str | None:
    return None if value is None else str(value)


async def _counts(
    connection: Connection, region_id: str
) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
    """The region's tasks by (kind, status) and its offers by status, all that there ever were."""
    row = await connection.fetchrow(_TOTALS, region_id)
    since_ms, tasks, offers = _totals(row)
    for statement, arguments in ((_ENDED_TASKS, (since_ms, _LATER_MS)), (_OPEN_TASKS, ())):
        _add(tasks, await connection.fetch(statement, region_id, *arguments))
    for statement, arguments in ((_CLOSED_OFFERS, (since_ms, _LATER_MS)), (_OPEN_OFFERS, ())):
        _add(offers, await connection.fetch(statement, region_id, *arguments))
    by_task = {}
    for name, n in tasks.items():
        kind, status = name.split()
        by_task[kind, status] = n
    return by_task, offers


async def settle(connection: Connection, region_id: str, before_ms: int) -> None:
    """Count what was over before `before_ms` into the region's totals, in the caller's transaction. Nothing may be
    written later that was over before then: leave the longest append its time."""
    await connection.execute(_NEW_TOTALS, region_id)
    since_ms, tasks, offers = _totals(await connection.fetchrow(_LOCK_TOTALS, region_id))
    if before_ms <= since_ms:
        return
    _add(tasks, await connection.fetch(_ENDED_TASKS, region_id, since_ms, before_ms))
    _add(offers, await connection.fetch(_CLOSED_OFFERS, region_id, since_ms, before_ms))
    counted = (msgspec.json.encode(counts).decode() for counts in (tasks, offers))
    await connection.execute(_SET_TOTALS, region_id, before_ms, *counted)


def _totals(row: Row | None) -> tuple[int, dict[str, int], dict[str, int]]:
    if row is None:
        return 0, {}, {}
    return row["before_ms"], json_of(row["tasks"]), json_of(row["offers"])


def _add(counts: dict[str, int], rows: Iterable[Row]) -> None:
    for row in rows:
        counts[row["name"]] = counts.get(row["name"], 0) + row["n"]


def counters(by_task: dict[tuple[str, str], int], by_offer: dict[str, int]) -> dict[str, int]:
    """A region's counters from the numbers of its tasks by (kind, status) and of its offers by status."""
    result = dict.fromkeys(COUNTERS, 0)
    result["orders"] = sum(n for (kind, _), n in by_task.items() if kind == TaskKind.DELIVERY)
    for key, name in TASK_COUNTERS.items():
        result[name] = by_task.get(key, 0)
    result["offers_made"] = sum(by_offer.values())
    for status, n in by_offer.items():
        if f"offers_{status.lower()}" in result:
            result[f"offers_{status.lower()}"] = n
    return result
