"""The life of an offer: made from a plan, seen, and ended in one of four ways."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from domain.ground.geo import distance_m
from domain.ground.times import in_ms
from domain.orders.lifecycle import OfferStatus, TaskEvent, TaskStatus
from domain.orders.records import OfferRow, Record, TaskRow
from domain.protocol import Offer, OfferExpired, OfferRevoked
from domain.region.jobs import Job, offer_view, short
from domain.region.messages import OfferSeenBy
from domain.region.policy import Escalation
from domain.region.state import State
from domain.solve import Assignment

_CLOSED_COUNTER = {
    OfferStatus.ACCEPTED: "offers_accepted",
    OfferStatus.REJECTED: "offers_rejected",
    OfferStatus.EXPIRED: "offers_expired",
    OfferStatus.REVOKED: "offers_revoked",
}
BY_HAND = "ASSIGNED"  # why offers end where an operator gives a task to a driver
# Features that are the same whoever the offer goes to.
_SHARED = frozenset({"trip_km", "refusal", "orders", "open_tasks", "idle_drivers", "pressure"})


def make(state: State, now_ms: int, assignment: Assignment, planned: Collection[str]) -> None:
    """Offer open tasks to a free driver, as a plan proposes, and to the next best ones where it came to that, but for
    those whom the plan has something else for (`planned`)."""
    jobs = [state.jobs[task_id] for task_id in assignment.task_ids]
    tries = max(job.tries for job in jobs)
    step = state.policy.escalated(tries)
    offer = _made(state, now_ms, assignment, assignment.driver_id, step)
    for job in jobs:
        job.move_task(TaskEvent.OFFER, offer_id=offer.offer_id)
        state.take_from_open(job.task.task_id)
    others = _next_best(state, now_ms, assignment, planned, step.parallel - 1)
    made = [offer, *(_made(state, now_ms, assignment, driver_id, step) for driver_id in others)]
    tasks = tuple(job.task for job in jobs)
    state.record(Record(record_id=state.new_id(), tasks=tasks, offers=tuple(made)))
    for each in made:
        state.put_offer(replace(each, explanation=None))
        state.fleet.count_offer(each.driver_id)
        state.counters["offers_made"] += 1
        state.foresee(each.driver_id, now_ms)
        push_made(state, now_ms, each)
    features = assignment.features
    state.say(
        now_ms,
        f"Offered task {short(offer.task_ids[0])} to {_whom(made)}: "
        f"{features.get('pickup_km', 0):.1f} km away, {features.get('p_accept', 0):.0%} likely to accept",
    )
    if step.alert:
        state.say(now_ms, f"Task {short(offer.task_ids[0])} needs somebody: {tries} offers came to nothing")


def _made(state: State, now_ms: int, assignment: Assignment, driver_id: str, step: Escalation) -> OfferRow:
    return OfferRow(
        offer_id=state.new_id(),
        region_id=state.id,
        driver_id=driver_id,
        task_ids=assignment.task_ids,
        status=OfferStatus.OFFERED,
        made_ms=now_ms,
        expires_ms=now_ms + in_ms(state.policy.offer_ttl_s),
        features=_features(state, assignment, driver_id) | {"bump_cents": float(step.bump_cents)},
        explanation=assignment.explanation,
    )


def by_hand(state: State, now_ms: int, job: Job, driver_id: str) -> OfferRow:
    """Give an open task to a driver as if an offer of it had been made and taken in the same moment: the offer log has
    every assignment, and the database's lock on who may hold a task is the same. Tells nothing about the driver.

    The offer as it is made is recorded here; returns it as it is taken, which is the caller's to write.
    """
    offer = OfferRow(
        offer_id=state.new_id(),
        region_id=state.id,
        driver_id=driver_id,
        task_ids=(job.task.task_id,),
        status=OfferStatus.OFFERED,
        made_ms=now_ms,
        expires_ms=now_ms + in_ms(state.policy.offer_ttl_s),
        features={"by_hand": 1.0},
    )
    job.move_task(TaskEvent.OFFER, offer_id=offer.offer_id)
    state.take_from_open(job.task.task_id)
    state.record(Record(record_id=state.new_id(), tasks=(job.task,), offers=(offer,)))
    taken = replace(offer, status=OfferStatus.ACCEPTED, closed_ms=now_ms, reason=BY_HAND)
    state.offers.note_closed(taken.offer_id, taken.status)
    for counter in ("offers_made", _CLOSED_COUNTER[taken.status]):
        state.counters[counter] += 1
    return taken


def _features(state: State, assignment: Assignment, driver_id: str) -> dict[str, float]:
    """What the offer was made on; of a driver who is asked beside the chosen one the cost terms instead of what the
    plan knows of the chosen."""
    if driver_id == assignment.driver_id or assignment.explanation is None:
        return assignment.features
    [own] = [one for one in assignment.explanation.candidates if one.driver_id == driver_id]
    row, task = state.fleet.index[driver_id], state.jobs[assignment.task_ids[0]].task
    away_m = distance_m(state.fleet.lat[row], state.fleet.lng[row], task.pickup_lat, task.pickup_lng)
    shared = {name: value for name, value in assignment.features.items() if name in _SHARED}
    return (
        shared | own.terms | {"pickup_km": round(float(away_m) / 1000, 3), "cost_s": own.cost, "beside": 1.0}
    )


def _next_best(
    state: State, now_ms: int, assignment: Assignment, planned: Collection[str], count: int
) -> list[str]:
    """Up to so many other drivers who are free, the cheapest first."""
    if count < 1 or assignment.explanation is None:
        return []
    free = {state.fleet.ids[row] for row in state.rows_to_ask(now_ms).tolist()}.difference(planned)
    return [one.driver_id for one in assignment.explanation.candidates if one.driver_id in free][:count]


def _whom(made: list[OfferRow]) -> str:
    others = f" and {len(made) - 1} more" if len(made) > 1 else ""
    return f"driver {short(made[0].driver_id)}{others}"


def stands(state: State, offer: OfferRow) -> bool:
    """Put an offer of the region's image on the table, if it can stand: its tasks are offered, its driver has no other,
    and no other bundle has one of them."""
    jobs = [state.jobs.get(task_id) for task_id in offer.task_ids]
    if any(job is None or job.task.status is not TaskStatus.OFFERED for job in jobs):
        return False
    if not state.offers.fits(offer):
        return False
    state.put_offer(offer)
    return True


def put_right(state: State, now_ms: int) -> None:
    """Revoke the offers that stand for nothing, and open the tasks that are offered to nobody: nobody's answer would
    ever end either. Each is a record of its own. An offer of a task that was set aside ends, too: the others in it must
    not wait for a row that is not theirs, and that task is open again when its row is mended."""
    strays, stranded, state.strays, state.stranded = state.strays, state.stranded, (), ()
    for offer in strays:
        row = replace(offer, status=OfferStatus.REVOKED, closed_ms=now_ms, reason="SERVER_RESTARTED")
        state.offers.note_closed(row.offer_id, row.status)
        state.counters[_CLOSED_COUNTER[row.status]] += 1
        state.record(Record(record_id=state.new_id(), offers=(row,)))
        push_closed(state, row)
    for task_id in stranded:
        job = state.jobs.get(task_id)
        if job is None or job.task.status is not TaskStatus.OFFERED:
            continue
        job.move_task(TaskEvent.WITHDRAW, offer_id=None)
        state.put_open(task_id, now_ms)
        state.record(Record(record_id=state.new_id(), tasks=(job.task,)))
        state.say(now_ms, f"Task {short(task_id)} was offered to nobody: it is open again")


def end(state: State, now_ms: int, offer: OfferRow, status: OfferStatus, reason: str | None) -> OfferRow:
    """Take a live offer off the table and return the row to write. The tasks are the caller's to move."""
    state.offers.take_off(offer, status)
    row = replace(offer, status=status, closed_ms=now_ms, reason=reason)
    if _ignored(row):
        state.fleet.count_offer(offer.driver_id, -1)
    state.counters[_CLOSED_COUNTER[status]] += 1
    note_decline(state, row)
    if status is OfferStatus.ACCEPTED:
        state.fleet.count_taken(offer.driver_id)
    return row


def close(state: State, now_ms: int, offer: OfferRow, status: OfferStatus, reason: str) -> None:
    """End an offer without a taker: its tasks are open again unless others are asked too, the driver is told."""
    row = end(state, now_ms, offer, status, reason)
    state.record(Record(record_id=state.new_id(), tasks=reopen(state, now_ms, offer), offers=(row,)))
    _dismiss(state, now_ms, row)


def revoke(state: State, now_ms: int, task_ids: tuple[str, ...], reason: str) -> list[OfferRow]:
    """End all live offers of these tasks, tell their drivers, and return the rows to write."""
    rows = [
        end(state, now_ms, offer, OfferStatus.REVOKED, reason) for offer in state.offers.of_tasks(task_ids)
    ]
    for row in rows:
        _dismiss(state, now_ms, row)
    return rows


def _dismiss(state: State, now_ms: int, ended: OfferRow) -> None:
    state.set_state(ended.driver_id)
    state.foresee(ended.driver_id, now_ms)
    push_closed(state, ended)


def reopen(state: State, now_ms: int, offer: OfferRow) -> tuple[TaskRow, ...]:
    """The rows to write of an ended offer's tasks: open again, or naming another offer of them that is still open."""
    if beside := state.offers.of_tasks(offer.task_ids):
        return point_to(state, beside[0])
    jobs = state.jobs_of(offer)
    for job in jobs:
        job.move_task(TaskEvent.WITHDRAW, offer_id=None)
        state.put_open(job.task.task_id, now_ms)
    return tuple(job.task for job in jobs)


def point_to(state: State, offer: OfferRow) -> tuple[TaskRow, ...]:
    """Let an offer's tasks name it instead of one that was made beside it; the rows to write."""
    elsewhere = [job for job in state.jobs_of(offer) if job.task.offer_id != offer.offer_id]
    return tuple(job.point_to(offer.offer_id) for job in elsewhere)


def expire(state: State, now_ms: int, limit: int | None = None) -> int:
    """Expire live offers that are past their time, oldest first; returns how many.

    One whose end came before this life of the region is revoked instead: nobody could have accepted it towards the
    end, so it tells nothing about its driver.
    """
    expired = 0
    while (limit is None or expired < limit) and (offer := state.offers.past(now_ms)) is not None:
        if offer.expires_ms <= state.began_ms:
            close(state, now_ms, offer, OfferStatus.REVOKED, "SERVER_RESTARTED")
        else:
            close(state, now_ms, offer, OfferStatus.EXPIRED, "TTL")
        expired += 1
    return expired


def seen(state: State, now_ms: int, message: OfferSeenBy) -> None:
    """The driver's client shows the offer: from now on it stands for its time."""
    offer = state.offers.get(message.offer_id)
    if offer is None or offer.driver_id != message.driver_id or offer.seen_ms is not None:
        return
    if now_ms >= offer.expires_ms:
        return
    # The time to answer begins with the display. Once, so that an offer stands twice its time at most.
    expires_ms = now_ms + in_ms(state.policy.offer_ttl_s)
    shown = replace(offer, seen_ms=now_ms, expires_ms=expires_ms, explanation=None)
    state.offers.prolong(shown)
    state.record(Record(record_id=state.new_id(), offers=(shown,)))
    push_made(state, now_ms, shown)


def note_decline(state: State, offer: OfferRow) -> None:
    """Remember of an ended offer who did not want which tasks. Who never saw it has declined nothing."""
    if offer.status not in (OfferStatus.REJECTED, OfferStatus.EXPIRED):
        return
    assert offer.closed_ms is not None
    for task_id in offer.task_ids:
        if (job := state.jobs.get(task_id)) is not None:
            job.tries += 1
            if not _ignored(offer):
                job.note_decline(offer.driver_id, offer.closed_ms)
    if offer.status is OfferStatus.EXPIRED:
        # Nobody is looking at that phone: leave it alone for a while.
        state.fleet.rest(offer.driver_id, offer.closed_ms + in_ms(state.policy.decline_cooldown_s))


def _ignored(offer: OfferRow) -> bool:
    """Expired without having been on a screen."""
    return offer.status is OfferStatus.EXPIRED and offer.seen_ms is None


def push_made(state: State, now_ms: int, offer: OfferRow) -> None:
    """Tell the driver of a live offer."""
    view = offer_view(offer, state.tasks_of(offer), now_ms)
    frame = Offer(
        offer_id=view.offer_id,
        tasks=view.tasks,
        stops=view.stops,
        expires_at=view.expires_at,
        ttl_s=view.ttl_s,
    )
    state.push(offer.driver_id, frame)


def push_closed(state: State, offer: OfferRow) -> None:
    """Tell the driver that the offer ended without them."""
    if offer.status is OfferStatus.EXPIRED:
        state.push(offer.driver_id, OfferExpired(offer_id=offer.offer_id))
    else:
        state.push(offer.driver_id, OfferRevoked(offer_id=offer.offer_id, reason=offer.reason or ""))
