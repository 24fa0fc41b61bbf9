"""The life of an offer: made from a plan, seen, and ended in one of four ways. The region's table of live offers, the
drivers' states and the open tasks are kept in step here."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain.jobs import offer_view, short
from domain.lifecycle import OfferStatus, TaskEvent
from domain.messages import OfferSeenBy
from domain.protocol import Offer, OfferExpired, OfferRevoked
from domain.records import OfferRow, Record, TaskRow
from domain.solve import Assignment
from domain.times import in_ms

if TYPE_CHECKING:
    from domain.region import Region

_CLOSED_COUNTER = {
    OfferStatus.ACCEPTED: "offers_accepted",
    OfferStatus.REJECTED: "offers_rejected",
    OfferStatus.EXPIRED: "offers_expired",
    OfferStatus.REVOKED: "offers_revoked",
}


def make(region: Region, now_ms: int, assignment: Assignment) -> None:
    """Offer open tasks to a free driver, as a plan proposes."""
    offer = OfferRow(
        offer_id=region.new_id(),
        region_id=region.id,
        driver_id=assignment.driver_id,
        task_ids=assignment.task_ids,
        status=OfferStatus.OFFERED,
        made_ms=now_ms,
        expires_ms=now_ms + in_ms(region.policy.offer_ttl_s),
        features=assignment.features,
    )
    jobs = [region.jobs[task_id] for task_id in assignment.task_ids]
    for job in jobs:
        job.move_task(TaskEvent.OFFER, offer_id=offer.offer_id)
        del region.open[job.task.task_id]
    add(region, offer)
    region.fleet.offers[region.fleet.index[offer.driver_id]] += 1
    region.counters["offers_made"] += 1
    region.record(Record(record_id=region.new_id(), tasks=tuple(job.task for job in jobs), offers=(offer,)))
    push_made(region, now_ms, offer)
    features = assignment.features
    region.say(
        now_ms,
        f"Offered task {short(offer.task_ids[0])} to driver {short(offer.driver_id)}: "
        f"{features.get('pickup_km', 0):.1f} km away, {features.get('p_accept', 0):.0%} likely to accept",
    )


def add(region: Region, offer: OfferRow) -> None:
    """Put a live offer on the table."""
    region.offers[offer.offer_id] = offer
    heapq.heappush(region.expiries, (offer.expires_ms, offer.offer_id))
    region.offered[offer.driver_id] = offer.offer_id
    region.set_state(offer.driver_id)


def end(region: Region, now_ms: int, offer: OfferRow, status: OfferStatus, reason: str | None) -> OfferRow:
    """Take a live offer off the table and return the row to write. The tasks are the caller's to move."""
    del region.offers[offer.offer_id]
    del region.offered[offer.driver_id]
    row = replace(offer, status=status, closed_ms=now_ms, reason=reason)
    region.closed[offer.offer_id] = status
    region.counters[_CLOSED_COUNTER[status]] += 1
    note_decline(region, row)
    region.fleet.taken[region.fleet.index[offer.driver_id]] += status is OfferStatus.ACCEPTED
    return row


def close(region: Region, now_ms: int, offer: OfferRow, status: OfferStatus, reason: str) -> None:
    """End an offer without a taker: its tasks are open again, the driver is told."""
    row = end(region, now_ms, offer, status, reason)
    region.record(Record(record_id=region.new_id(), tasks=reopen(region, now_ms, offer), offers=(row,)))
    region.set_state(offer.driver_id)
    push_closed(region, row)


def reopen(region: Region, now_ms: int, offer: OfferRow) -> tuple[TaskRow, ...]:
    """Put an ended offer's tasks back among the open ones and return the rows to write."""
    jobs = [region.jobs[task_id] for task_id in offer.task_ids]
    for job in jobs:
        job.move_task(TaskEvent.WITHDRAW, offer_id=None)
        region.put_open(job.task.task_id, now_ms)
    return tuple(job.task for job in jobs)


def expire(region: Region, now_ms: int, limit: int | None = None) -> int:
    """Expire live offers that are past their time, oldest first; returns how many.

    One whose end came before this life of the region is revoked instead: nobody could have accepted it towards the
    end, so it tells nothing about its driver.
    """
    expired = 0
    while region.expiries and region.expiries[0][0] <= now_ms and (limit is None or expired < limit):
        _, offer_id = heapq.heappop(region.expiries)
        offer = region.offers.get(offer_id)
        if offer is not None:
            if offer.expires_ms <= region.began_ms:
                close(region, now_ms, offer, OfferStatus.REVOKED, "SERVER_RESTARTED")
            else:
                close(region, now_ms, offer, OfferStatus.EXPIRED, "TTL")
            expired += 1
    return expired


def seen(region: Region, now_ms: int, message: OfferSeenBy) -> None:
    """The driver's client shows the offer."""
    offer = region.offers.get(message.offer_id)
    if offer is not None and offer.driver_id == message.driver_id and offer.seen_ms is None:
        # Written with the outcome: a region that dies in between loses a display time and nothing else.
        region.offers[offer.offer_id] = replace(offer, seen_ms=now_ms)


def note_decline(region: Region, offer: OfferRow) -> None:
    """Remember of an ended offer who did not want which tasks."""
    if offer.status not in (OfferStatus.REJECTED, OfferStatus.EXPIRED):
        return
    assert offer.closed_ms is not None
    for task_id in offer.task_ids:
        if (job := region.jobs.get(task_id)) is not None:
            job.note_decline(offer.driver_id, offer.closed_ms)
    if offer.status is OfferStatus.EXPIRED:
        # Nobody is looking at that phone: leave it alone for a while.
        row = region.fleet.row(offer.driver_id)  # may make room, so it comes before the column is named
        region.fleet.rest_until_ms[row] = offer.closed_ms + in_ms(region.policy.decline_cooldown_s)


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
