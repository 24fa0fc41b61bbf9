"""Taking and declining offers."""

from __future__ import annotations

import msgspec

from domain.errors import OfferExpired, OfferTaken
from domain.orders.lifecycle import OfferStatus, OrderEvent, Role, TaskEvent, advance_order
from domain.orders.reasons import DeclineReason, known
from domain.orders.records import Answer, OfferRow, Record
from domain.protocol import OfferAccepted, OfferRejected
from domain.region import offers
from domain.region.jobs import short, task_view
from domain.region.messages import Accept, Ask, Reject
from domain.region.requests.draft import Draft, only, tell
from domain.region.state import State


def accept(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Accept)
    only(ask, Role.DRIVER)
    offer = _live_offer(state, now_ms, ask, ask.action.offer_id, ask.action.task_id)
    jobs = state.jobs_of(offer)
    driver_id = ask.principal_id
    for job in jobs:
        advance_order(job.order_status, OrderEvent.ASSIGNED, ask.role)
    closed = offers.end(state, now_ms, offer, OfferStatus.ACCEPTED, None)
    if renamed := offers.point_to(state, offer):
        state.record(Record(record_id=state.new_id(), tasks=renamed))
    others = offers.revoke(state, now_ms, offer.task_ids, "TAKEN")
    facts = []
    for job in jobs:
        job.move_task(TaskEvent.ACCEPT, driver_id=driver_id)
        payload = {"driver_id": driver_id, "offer_id": offer.offer_id, "task_id": job.task.task_id}
        facts.append(job.move_order(OrderEvent.ASSIGNED, ask.role, driver_id, now_ms, payload))
        state.hold(job)
    state.holdings.took(driver_id, offer.task_ids)
    state.foresee(driver_id, now_ms)
    views = tuple(task_view(job.task) for job in jobs)
    tell(state, ask, OfferAccepted(offer_id=offer.offer_id, tasks=views))
    state.say(
        now_ms,
        f"Driver {short(driver_id)} took task {short(offer.task_ids[0])} after {_seconds(now_ms, offer)} s",
    )
    body = {"offer_id": offer.offer_id, "tasks": [msgspec.to_builtins(view) for view in views]}
    return Draft(Answer(body=body), tuple(job.task for job in jobs), (closed, *others), tuple(facts))


def reject(state: State, now_ms: int, ask: Ask) -> Draft:
    action = ask.action
    assert isinstance(action, Reject)
    only(ask, Role.DRIVER)
    reason = None if action.reason is None else str(known(DeclineReason, action.reason))
    offer = _live_offer(state, now_ms, ask, action.offer_id, action.task_id)
    closed = offers.end(state, now_ms, offer, OfferStatus.REJECTED, reason)
    tasks = offers.reopen(state, now_ms, offer)
    state.set_state(offer.driver_id)
    state.foresee(offer.driver_id, now_ms)
    tell(state, ask, OfferRejected(offer_id=offer.offer_id))
    state.say(
        now_ms,
        f"Driver {short(offer.driver_id)} declined task {short(offer.task_ids[0])}: looking for another",
    )
    return Draft(Answer(body={"offer_id": offer.offer_id}), tasks, (closed,))


def _live_offer(state: State, now_ms: int, ask: Ask, offer_id: str | None, task_id: str | None) -> OfferRow:
    """The live offer to the asking driver, by its id or by one of its tasks."""
    if offer_id is None and task_id is not None:
        job, own = state.jobs.get(task_id), state.offers.of_driver(ask.principal_id)
        offer_id = job.task.offer_id if job else None
        if own is not None and task_id in own.task_ids:
            offer_id = own.offer_id
        if offer_id is None:
            raise OfferExpired("No offer of this task is open.")
    offer = state.offers.get(offer_id)
    if offer is None:
        status = state.offers.closed.get(offer_id or "")
        if status in (OfferStatus.EXPIRED, OfferStatus.REVOKED, OfferStatus.REJECTED):
            raise OfferExpired()
        if status is OfferStatus.ACCEPTED or (task_id is not None and task_id in state.jobs):
            raise OfferTaken()
        raise OfferExpired()
    if offer.driver_id != ask.principal_id:
        raise OfferTaken()
    if now_ms >= offer.expires_ms:
        raise OfferExpired()
    return offer


def _seconds(now_ms: int, offer: OfferRow) -> str:
    return f"{(now_ms - offer.made_ms) / 1000:.0f}"
