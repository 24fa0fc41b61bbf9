"""Opening a region: its next epoch and its hard state as of that moment."""

from __future__ import annotations

from domain.lifecycle import OrderStatus, TaskKind, TaskStatus
from domain.ops import COUNTERS
from domain.records import OrderBrief, RegionImage
from persistence.load import Connection, offer_of, stored_answer_of, task_of

RECENT_MS = 600_000
RECENT_LIMIT = 5_000
ANSWERS_LIMIT = 50_000

# The counters of `domain.ops.COUNTERS` that tasks give, as a region counts them itself.
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
WHERE t.region_id = $1 AND t.status NOT IN ('CANCELLED', 'DONE', 'FAILED')
ORDER BY t.opened_ms, t.task_id
"""
_OFFERS = "SELECT * FROM offers WHERE region_id = $1 AND status = 'OFFERED' ORDER BY made_ms, offer_id"
_RECENT_OFFERS = """
SELECT * FROM offers WHERE region_id = $1 AND closed_ms >= $2 ORDER BY closed_ms DESC, offer_id DESC LIMIT $3
"""
_RECENT_TASKS = """
SELECT * FROM tasks WHERE region_id = $1 AND ended_ms IS NOT NULL AND (ended_ms >= $2 OR task_id IN (
    SELECT (payload #>> '{task,task_id}')::uuid FROM outbox WHERE channel = 'tasks' AND done_at IS NULL))
ORDER BY ended_ms DESC, task_id DESC LIMIT $3
"""
_ANSWERS = """
SELECT scope, key, fingerprint, code, detail, body::text AS body, at_ms FROM idempotency
WHERE region_id = $1 ORDER BY at_ms DESC, scope DESC, key DESC LIMIT $2
"""
_TASK_COUNTS = "SELECT kind, status, count(*) AS n FROM tasks WHERE region_id = $1 GROUP BY kind, status"
_OFFER_COUNTS = "SELECT status, count(*) AS n FROM offers WHERE region_id = $1 GROUP BY status"


async def load_image(connection: Connection, region_id: str, now_ms: int) -> RegionImage:
    """Take the next epoch and load the image, in the caller's transaction.

    Taking the epoch waits for the region's appends under way and shuts out later ones, so the image is complete.
    """
    epoch = await connection.fetchval(_NEXT_EPOCH, region_id)
    tasks = await connection.fetch(_TASKS, region_id)
    offers = await connection.fetch(_OFFERS, region_id)
    recent_offers = await connection.fetch(_RECENT_OFFERS, region_id, now_ms - RECENT_MS, RECENT_LIMIT)
    recent_tasks = await connection.fetch(_RECENT_TASKS, region_id, now_ms - RECENT_MS, RECENT_LIMIT)
    answers = await connection.fetch(_ANSWERS, region_id, ANSWERS_LIMIT)
    by_task = {
        (row["kind"], row["status"]): row["n"] for row in await connection.fetch(_TASK_COUNTS, region_id)
    }
    by_offer = {row["status"]: row["n"] for row in await connection.fetch(_OFFER_COUNTS, region_id)}
    return RegionImage(
        region_id=region_id,
        epoch=epoch,
        tasks=tuple(map(task_of, tasks)),
        orders=tuple(
            OrderBrief(
                order_id=str(row["order_id"]),
                status=OrderStatus(row["order_status"]),
                customer_id=str(row["customer_id"]),
                merchant_id=str(row["merchant_id"]),
            )
            for row in tasks
        ),
        offers=tuple(map(offer_of, offers)),
        recent_offers=tuple(map(offer_of, reversed(recent_offers))),
        recent_tasks=tuple(map(task_of, reversed(recent_tasks))),
        answers=tuple(map(stored_answer_of, reversed(answers))),
        counters=counters(by_task, by_offer),
    )


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
