"""The life of an offer: made from a plan, seen, and ended in one of four ways. The region's table of live offers, the
drivers' states and the open tasks are kept in step here."""

from __future__ import annotations

import heapq
from collections.abc import Collection
from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain.ground.geo import distance_m
from domain.ground.times import in_ms
from domain.orders.lifecycle import OfferStatus, TaskEvent, TaskStatus
from domain.orders.records import OfferRow, Record, TaskRow
from domain.protocol import Offer, OfferExpired, OfferRevoked
from domain.region.jobs import offer_view, short
from domain.region.messages import OfferSeenBy
from domain.region.policy import Escalation
from domain.solve import Assignment

if TYPE_CHECKING:
    from domain.region.machine import Region

_CLOSED_COUNTER = {
    OfferStatus.ACCEPTED: "offers_accepted",
    OfferStatus.REJECTED: "offers_rejected",
    OfferStatus.EXPIRED: "offers_expired",
    OfferStatus.REVOKED: "offers_revoked",
}
# Features that are the same whoever the offer goes to.
_SHARED = frozenset({"trip_km", "refusal", "orders", "open_tasks", "idle_drivers", "pressure"})


def make(region: Region, now_ms: int, assignment: Assignment, planned: Collection[str]) -> None:
    """Offer open tasks to a free driver, as a plan proposes, and to the next best ones where it came to that, but for
    those whom the plan has something else for (`planned`)."""
    jobs = [region.jobs[task_id] for task_id in assignment.task_ids]
    tries = max(job.tries for job in jobs)
    step = region.policy.escalated(tries)
    offer = _made(region, now_ms, assignment, assignment.driver_id, step)
    for job in jobs:
        job.move_task(TaskEvent.OFFER, offer_id=offer.offer_id)
        del region.open[job.task.task_id]
    others = _next_best(region, now_ms, assignment, planned, step.parallel - 1)
    made = [offer, *(_made(region, now_ms, assignment, driver_id, step) for driver_id in others)]
    tasks = tuple(job.task for job in jobs)
    region.record(Record(record_id=region.new_id(), tasks=tasks, offers=tuple(made)))
    for each in made:
        add(region, replace(each, explanation=None))
        region.fleet.offers[region.fleet.index[each.driver_id]] += 1
        region.counters["offers_made"] += 1
        region.foresee(each.driver_id, now_ms)
        push_made(region, now_ms, each)
    features = assignment.features
    region.say(
        now_ms,
        f"Offered task {short(offer.task_ids[0])} to {_whom(made)}: "
        f"{features.get('pickup_km', 0):.1f} km away, {features.get('p_accept', 0):.0%} likely to accept",
    )
    if step.alert:
        region.say(now_ms, f"Task {short(offer.task_ids[0])} needs somebody: {tries} offers came to nothing")


def _made(region: Region, now_ms: int, assignment: Assignment, driver_id: str, step: Escalation) -> OfferRow:
    return OfferRow(
        offer_id=region.new_id(),
        region_id=region.id,
        driver_id=driver_id,
        task_ids=assignment.task_ids,
        status=OfferStatus.OFFERED,
        made_ms=now_ms,
        expires_ms=now_ms + in_ms(region.policy.offer_ttl_s),
        features=_features(region, assignment, driver_id) | {"bump_cents": float(step.bump_cents)},
        explanation=assignment.explanation,
    )


def _features(region: Region, assignment: Assignment, driver_id: str) -> dict[str, float]:
    """What the offer was made on; of a driver who is asked beside the chosen one the cost terms instead of what the
    plan knows of the chosen."""
    if driver_id == assignment.driver_id or assignment.explanation is None:
        return assignment.features
    [own] = [one for one in assignment.explanation.candidates if one.driver_id == driver_id]
    row, task = region.fleet.index[driver_id], region.jobs[assignment.task_ids[0]].task
    away_m = distance_m(region.fleet.lat[row], region.fleet.lng[row], task.pickup_lat, task.pickup_lng)
    shared = {name: value for name, value in assignment.features.items() if name in _SHARED}
    return (
        shared | own.terms | {"pickup_km": round(float(away_m) / 1000, 3), "cost_s": own.cost, "beside": 1.0}
    )


def _next_best(
    region: Region, now_ms: int, assignment: Assignment, planned: Collection[str], count: int
) -> list[str]:
    """Up to so many other drivers who are free, the cheapest first."""
    if count < 1 or assignment.explanation is None:
        return []
    free = {region.fleet.ids[row] for row in region.rows_to_ask(now_ms).tolist()}.difference(planned)
    return [one.driver_id for one in assignment.explanation.candidates if one.driver_id in free][:count]


def _whom(made: list[OfferRow]) -> str:
    others = f" and {len(made) - 1} more" if len(made) > 1 else ""
    return f"driver {short(made[0].driver_id)}{others}"


def add(region: Region, offer: OfferRow) -> None:
    """Put a live offer on the table."""
    region.offers[offer.offer_id] = offer
    heapq.heappush(region.expiries, (offer.expires_ms, offer.offer_id))
    region.offered[offer.driver_id] = offer.offer_id
    region.asked.setdefault(offer.task_ids, []).append(offer.offer_id)
    region.set_state(offer.driver_id)


def stands(region: Region, offer: OfferRow) -> bool:
    """Put an offer of the region's image on the table, if it can stand: its tasks are offered, its driver has no other,
    and no other bundle has one of them."""
    jobs = [region.jobs.get(task_id) for task_id in offer.task_ids]
    if any(job is None or job.task.status is not TaskStatus.OFFERED for job in jobs):
        return False
    others = {task_id for task_ids in region.asked if task_ids != offer.task_ids for task_id in task_ids}
    if offer.driver_id in region.offered or not others.isdisjoint(offer.task_ids):
        return False
    add(region, offer)
    return True


def put_right(region: Region, now_ms: int) -> None:
    """Revoke the offers that stand for nothing, and open the tasks that are offered to nobody: nobody's answer would
    ever end either. Each is a record of its own. What has to do with a row that was set aside waits for it."""
    strays, stranded, region.strays, region.stranded = region.strays, region.stranded, (), ()
    aside = {bad.row_id for bad in region.aside}
    for offer in strays:
        if not aside.isdisjoint(offer.task_ids):
            continue
        row = replace(offer, status=OfferStatus.REVOKED, closed_ms=now_ms, reason="SERVER_RESTARTED")
        region.closed[row.offer_id] = row.status
        region.counters[_CLOSED_COUNTER[row.status]] += 1
        region.record(Record(record_id=region.new_id(), offers=(row,)))
        push_closed(region, row)
    for task_id in stranded:
        job = region.jobs.get(task_id)
        if job is None or job.task.status is not TaskStatus.OFFERED:
            continue
        job.move_task(TaskEvent.WITHDRAW, offer_id=None)
        region.put_open(task_id, now_ms)
        region.record(Record(record_id=region.new_id(), tasks=(job.task,)))
        region.say(now_ms, f"Task {short(task_id)} was offered to nobody: it is open again")


def end(region: Region, now_ms: int, offer: OfferRow, status: OfferStatus, reason: str | None) -> OfferRow:
    """Take a live offer off the table and return the row to write. The tasks are the caller's to move."""
    del region.offers[offer.offer_id]
    del region.offered[offer.driver_id]
    asked = region.asked[offer.task_ids]
    asked.remove(offer.offer_id)
    if not asked:
        del region.asked[offer.task_ids]
    row = replace(offer, status=status, closed_ms=now_ms, reason=reason)
    if _ignored(row):
        region.fleet.offers[region.fleet.index[offer.driver_id]] -= 1  # says nothing about its driver
    region.closed[offer.offer_id] = status
    region.counters[_CLOSED_COUNTER[status]] += 1
    note_decline(region, row)
    region.fleet.taken[region.fleet.index[offer.driver_id]] += status is OfferStatus.ACCEPTED
    return row


def close(region: Region, now_ms: int, offer: OfferRow, status: OfferStatus, reason: str) -> None:
    """End an offer without a taker: its tasks are open again unless others are asked too, the driver is told."""
    row = end(region, now_ms, offer, status, reason)
    region.record(Record(record_id=region.new_id(), tasks=reopen(region, now_ms, offer), offers=(row,)))
    _dismiss(region, now_ms, row)


def revoke(region: Region, now_ms: int, task_ids: tuple[str, ...], reason: str) -> list[OfferRow]:
    """End all live offers of these tasks, tell their drivers, and return the rows to write."""
    rows = [
        end(region, now_ms, region.offers[offer_id], OfferStatus.REVOKED, reason)
        for offer_id in list(region.asked.get(task_ids, ()))
    ]
    for row in rows:
        _dismiss(region, now_ms, row)
    return rows


def _dismiss(region: Region, now_ms: int, ended: OfferRow) -> None:
    region.set_state(ended.driver_id)
    region.foresee(ended.driver_id, now_ms)
    push_closed(region, ended)


def reopen(region: Region, now_ms: int, offer: OfferRow) -> tuple[TaskRow, ...]:
    """The rows to write of an ended offer's tasks: open again, or naming another offer of them that is still open."""
    jobs = [region.jobs[task_id] for task_id in offer.task_ids]
    if asked := region.asked.get(offer.task_ids):
        return point_to(region, region.offers[asked[0]])
    for job in jobs:
        job.move_task(TaskEvent.WITHDRAW, offer_id=None)
        region.put_open(job.task.task_id, now_ms)
    return tuple(job.task for job in jobs)


def point_to(region: Region, offer: OfferRow) -> tuple[TaskRow, ...]:
    """Let an offer's tasks name it instead of one that was made beside it; the rows to write."""
    moved = []
    for task_id in offer.task_ids:
        job = region.jobs[task_id]
        if job.task.offer_id != offer.offer_id:
            job.task = replace(job.task, offer_id=offer.offer_id)
            moved.append(job.task)
    return tuple(moved)


def expire(region: Region, now_ms: int, limit: int | None = None) -> int:
    """Expire live offers that are past their time, oldest first; returns how many.

    One whose end came before this life of the region is revoked instead: nobody could have accepted it towards the
    end, so it tells nothing about its driver.
    """
    expired = 0
    while region.expiries and region.expiries[0][0] <= now_ms and (limit is None or expired < limit):
        _, offer_id = heapq.heappop(region.expiries)
        offer = region.offers.get(offer_id)
        if offer is not None and offer.expires_ms <= now_ms:  # else it was shown, and has another entry
            if offer.expires_ms <= region.began_ms:
                close(region, now_ms, offer, OfferStatus.REVOKED, "SERVER_RESTARTED")
            else:
                close(region, now_ms, offer, OfferStatus.EXPIRED, "TTL")
            expired += 1
    return expired


def seen(region: Region, now_ms: int, message: OfferSeenBy) -> None:
    """The driver's client shows the offer: from now on it stands for its time."""
    offer = region.offers.get(message.offer_id)
    if offer is None or offer.driver_id != message.driver_id or offer.seen_ms is not None:
        return
    if now_ms >= offer.expires_ms:
        return
    # The time to answer begins with the display. Once, so that an offer stands twice its time at most.
    expires_ms = now_ms + in_ms(region.policy.offer_ttl_s)
    shown = replace(offer, seen_ms=now_ms, expires_ms=expires_ms, explanation=None)
    region.offers[offer.offer_id] = shown
    heapq.heappush(region.expiries, (expires_ms, offer.offer_id))
    region.record(Record(record_id=region.new_id(), offers=(shown,)))
    push_made(region, now_ms, shown)


def note_decline(region: Region, offer: OfferRow) -> None:
    """Remember of an ended offer who did not want which tasks. Who never saw it has declined nothing."""
    if offer.status not in (OfferStatus.REJECTED, OfferStatus.EXPIRED):
        return
    assert offer.closed_ms is not None
    for task_id in offer.task_ids:
        if (job := region.jobs.get(task_id)) is not None:
            job.tries += 1
            if not _ignored(offer):
                job.note_decline(offer.driver_id, offer.closed_ms)
    if offer.status is OfferStatus.EXPIRED:
        # Nobody is looking at that phone: leave it alone for a while.
        row = region.fleet.row(offer.driver_id)  # may make room, so it comes before the column is named
        region.fleet.rest_until_ms[row] = offer.closed_ms + in_ms(region.policy.decline_cooldown_s)


def _ignored(offer: OfferRow) -> bool:
    """Expired without having been on a screen."""
    return offer.status is OfferStatus.EXPIRED and offer.seen_ms is None


def push_made(region: Region, now_ms: int, offer: OfferRow) -> None:
    """Tell the driver of a live offer."""
    view = offer_view(offer, tasks_of(region, offer), now_ms)
    frame = Offer(
        offer_id=view.offer_id,
        tasks=view.tasks,
        stops=view.stops,
        expires_at=view.expires_at,
        ttl_s=view.ttl_s,
    )
    region.push(offer.driver_id, frame)


def push_closed(region: Region, offer: OfferRow) -> None:
    """Tell the driver that the offer ended without them."""
    if offer.status is OfferStatus.EXPIRED:
        region.push(offer.driver_id, OfferExpired(offer_id=offer.offer_id))
    else:
        region.push(offer.driver_id, OfferRevoked(offer_id=offer.offer_id, reason=offer.reason or ""))


def tasks_of(region: Region, offer: OfferRow) -> list[TaskRow]:
    """The tasks of a live offer."""
    return [region.jobs[task_id].task for task_id in offer.task_ids]
