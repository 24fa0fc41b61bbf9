"""What people ask of a state, each decided by the lifecycle tables and the market's rulebook.

A handler either returns a `Draft` (the facts and the answer) or raises a `Refusal`, and then it has changed nothing:
every look-up that can fail comes before the first change.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from domain.compliance import RULEBOOKS
from domain.errors import (
    Forbidden,
    IdCheckInconclusive,
    InvalidRequest,
    NotFound,
    NotTaskHolder,
    OfferExpired,
    OfferTaken,
    Refusal,
    VendorUnavailable,
    WrongState,
)
from domain.ground.geo import distance_m
from domain.ground.markets import MARKETS
from domain.orders.decide import refused
from domain.orders.lifecycle import (
    OfferStatus,
    OrderEvent,
    Role,
    TaskEvent,
    TaskKind,
    TaskStatus,
    advance_order,
    advance_task,
)
from domain.orders.reasons import CancelReason, DeclineReason, RefuseReason, known
from domain.orders.records import (
    Answer,
    CheckOutcome,
    DoorCheck,
    Json,
    OfferRow,
    OrderFact,
    Record,
    StoredAnswer,
    TaskRow,
)
from domain.protocol import OfferAccepted, OfferRejected, TaskCancelled, TaskUpdated
from domain.region import device, offers
from domain.region.jobs import Job, return_task, short, task_view
from domain.region.messages import (
    Accept,
    Action,
    Arrive,
    Ask,
    Cancel,
    ConfirmReturn,
    Deliver,
    DispatchTick,
    ExpireOffers,
    GoodsReady,
    NoteIdCheck,
    Pickup,
    Refuse,
    Reject,
    SubmitIdCheck,
)
from domain.region.silence import RETURN_FIRST, release
from domain.region.state import State


class Draft(Struct):
    """The facts of one request and its answer."""

    answer: Answer
    tasks: tuple[TaskRow, ...] = ()
    offers: tuple[OfferRow, ...] = ()
    orders: tuple[OrderFact, ...] = ()
    checks: tuple[DoorCheck, ...] = ()

    @property
    def has_facts(self) -> bool:
        return bool(self.tasks or self.offers or self.orders or self.checks)

    def record(self, record_id: str, stored: StoredAnswer) -> Record:
        return Record(
            record_id=record_id,
            tasks=self.tasks,
            offers=self.offers,
            orders=self.orders,
            checks=self.checks,
            answers=(stored,),
        )


def decide(state: State, now_ms: int, ask: Ask) -> Draft:
    """What the request leads to; with the device's word on it, where there is one, in the facts of the order."""
    if not _can_be_kept(ask):
        raise InvalidRequest("Text must be Unicode without NUL.")
    handler, says = HANDLERS[type(ask.action)], ask.device
    if says is None:
        return handler(state, now_ms, ask)
    jobs = device.concerned(state, ask)
    device.require_turn(jobs, ask.principal_id, says)
    last_ms = {job.order.order_id: job.taken_ms for job in jobs}
    draft = handler(state, now_ms, ask)
    draft.orders = tuple(
        device.stamped(fact, says, last_ms[fact.order_id]) if fact.actor_id == ask.principal_id else fact
        for fact in draft.orders
    )
    if says.n is not None:
        row = state.fleet.row(ask.principal_id)
        state.fleet.last_n[row] = max(int(state.fleet.last_n[row]), says.n)
    for job in jobs:
        # A refusal at the door ends the task and begins the return: the device's word goes on with the order.
        current = state.jobs.get(state.by_order.get(job.order.order_id, ""), job)
        current.device = (ask.principal_id, job.device[1] if says.n is None else says.n)
        if says.at_ms is not None:
            current.taken_ms = device.taken_ms(says.at_ms, last_ms[job.order.order_id], now_ms)
    return draft


# -- offers -----------------------------------------------------------------------------------------------------------


def _accept(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Accept)
    _only(ask, Role.DRIVER)
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
    if not _by_socket(ask):
        state.push(driver_id, OfferAccepted(offer_id=offer.offer_id, tasks=views))
    state.say(
        now_ms,
        f"Driver {short(driver_id)} took task {short(offer.task_ids[0])} after {_seconds(now_ms, offer)} s",
    )
    body = {"offer_id": offer.offer_id, "tasks": [msgspec.to_builtins(view) for view in views]}
    return Draft(Answer(body=body), tuple(job.task for job in jobs), (closed, *others), tuple(facts))


def _reject(state: State, now_ms: int, ask: Ask) -> Draft:
    action = ask.action
    assert isinstance(action, Reject)
    _only(ask, Role.DRIVER)
    reason = None if action.reason is None else str(known(DeclineReason, action.reason))
    offer = _live_offer(state, now_ms, ask, action.offer_id, action.task_id)
    closed = offers.end(state, now_ms, offer, OfferStatus.REJECTED, reason)
    tasks = offers.reopen(state, now_ms, offer)
    state.set_state(offer.driver_id)
    state.foresee(offer.driver_id, now_ms)
    if not _by_socket(ask):
        state.push(offer.driver_id, OfferRejected(offer_id=offer.offer_id))
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


# -- driving ----------------------------------------------------------------------------------------------------------

_ARRIVALS = {
    (TaskKind.DELIVERY, TaskStatus.ASSIGNED): OrderEvent.ARRIVED_AT_STORE,
    (TaskKind.DELIVERY, TaskStatus.PICKED_UP): OrderEvent.ARRIVED_AT_DOOR,
    (TaskKind.RETURN, TaskStatus.PICKED_UP): OrderEvent.ARRIVED_FOR_RETURN,
}


def _arrive(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Arrive)
    job = _held(state, ask, ask.action.task_id)
    event = _ARRIVALS.get((job.task.kind, job.task.status))
    if event is None:
        raise WrongState(f"There is nowhere to arrive while the task is {job.task.status}.")
    draft = _move(state, now_ms, ask, job, TaskEvent.ARRIVE, event)
    state.foresee(ask.principal_id, now_ms)
    return draft


def _pickup(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Pickup)
    job = _held(state, ask, ask.action.task_id)
    draft = _move(state, now_ms, ask, job, TaskEvent.PICKUP, OrderEvent.PICKED_UP)
    state.set_state(ask.principal_id)
    state.foresee(ask.principal_id, now_ms, state.policy.services.pickup_after_s)
    return draft


def _move(
    state: State, now_ms: int, ask: Ask, job: Job, task_event: TaskEvent, order_event: OrderEvent
) -> Draft:
    advance_task(job.task.status, task_event)
    payload = {"task_id": job.task.task_id} | _whereabouts(state, now_ms, ask, job, order_event)
    fact = job.move_order(order_event, ask.role, ask.principal_id, now_ms, payload)
    task = job.move_task(task_event)
    if not _by_socket(ask):
        state.push(ask.principal_id, TaskUpdated(task=task_view(task)))
    return Draft(_task_answer(job), (task,), (), (fact,))


# -- the door ---------------------------------------------------------------------------------------------------------


def _submit_id_check(state: State, now_ms: int, ask: Ask) -> Draft:
    action = ask.action
    assert isinstance(action, SubmitIdCheck)
    job = _held_by_order(state, ask, action.order_id)
    rulebook = RULEBOOKS[MARKETS[state.id].jurisdiction]
    reason = rulebook.door_failure(
        over_age=action.over_age,
        not_expired=action.not_expired,
        name_matches=action.name_matches,
        sober=action.sober,
    )
    event = OrderEvent.ID_PASSED if reason is None else OrderEvent.ID_FAILED
    advance_order(job.order_status, event, ask.role)
    check = DoorCheck(
        check_id=state.new_id(),  # never of the client's making: it has to be new whatever was said before
        order_id=action.order_id,
        task_id=job.task.task_id,
        driver_id=ask.principal_id,
        passed=reason is None,
        over_age=action.over_age,
        not_expired=action.not_expired,
        name_matches=action.name_matches,
        sober=action.sober,
        method=action.method,
        vendor_ref=action.vendor_ref,
        at_ms=now_ms,
        outcome=CheckOutcome.PASS if reason is None else CheckOutcome.FAIL,
    )
    payload = _whereabouts(state, now_ms, ask, job, event) | {
        "check_id": check.check_id,
        "method": action.method,
        "vendor_ref": action.vendor_ref,
        "over_age": action.over_age,
        "not_expired": action.not_expired,
        "name_matches": action.name_matches,
        "sober": action.sober,
    }
    if reason is not None:
        draft = _send_back(state, now_ms, ask, job, event, payload | {"reason": reason})
        draft.checks = (check,)
        return draft
    fact = job.move_order(event, ask.role, ask.principal_id, now_ms, payload)
    body = _task_answer(job).body | {"passed": True}
    return Draft(Answer(body=body), orders=(fact,), checks=(check,))


def _note_id_check(state: State, now_ms: int, ask: Ask) -> Draft:
    action = ask.action
    assert isinstance(action, NoteIdCheck)
    job = _held_by_order(state, ask, action.order_id)
    advance_order(job.order_status, OrderEvent.ID_UNCLEAR, ask.role)
    if action.outcome not in _UNCLEAR:
        raise InvalidRequest("A clear outcome is more than a note.")
    check = DoorCheck(
        check_id=state.new_id(),
        order_id=action.order_id,
        task_id=job.task.task_id,
        driver_id=ask.principal_id,
        passed=False,
        over_age=False,
        not_expired=False,
        name_matches=False,
        sober=action.sober,
        method=action.method,
        vendor_ref=action.vendor_ref,
        at_ms=now_ms,
        outcome=action.outcome,
    )
    payload = _whereabouts(state, now_ms, ask, job, OrderEvent.ID_UNCLEAR) | {
        "check_id": check.check_id,
        "outcome": str(action.outcome),
        "method": action.method,
        "vendor_ref": action.vendor_ref,
        "sober": action.sober,
    }
    fact = job.move_order(OrderEvent.ID_UNCLEAR, ask.role, ask.principal_id, now_ms, payload)
    return Draft(refused(_UNCLEAR[action.outcome]()), orders=(fact,), checks=(check,))


# What an ID check without a clear outcome is answered with.
_UNCLEAR: dict[CheckOutcome, type[Refusal]] = {
    CheckOutcome.REVIEW: IdCheckInconclusive,
    CheckOutcome.UNAVAILABLE: VendorUnavailable,
}


def _deliver(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Deliver)
    job = _held_by_order(state, ask, ask.action.order_id)
    payload = {"task_id": job.task.task_id} | _whereabouts(state, now_ms, ask, job, OrderEvent.DELIVERED)
    advance_task(job.task.status, TaskEvent.COMPLETE)
    fact = job.move_order(OrderEvent.DELIVERED, ask.role, ask.principal_id, now_ms, payload)
    task = job.move_task(TaskEvent.COMPLETE, ended_ms=now_ms)
    state.end_job(now_ms, job)
    state.foresee(ask.principal_id, now_ms, state.policy.services.door_after_s)
    state.fleet.done[state.fleet.row(ask.principal_id)] += 1
    state.counters["delivered"] += 1
    minutes = (now_ms - task.opened_ms) / 60_000
    state.say(
        now_ms,
        f"Driver {short(ask.principal_id)} delivered task {short(task.task_id)}, {minutes:.0f} min after it opened",
    )
    if not _by_socket(ask):
        state.push(ask.principal_id, TaskUpdated(task=task_view(task)))
    return Draft(_task_answer(job), (task,), (), (fact,))


def _refuse(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Refuse)
    job = _held_by_order(state, ask, ask.action.order_id)
    payload = {"reason": str(known(RefuseReason, ask.action.reason))}
    payload |= _whereabouts(state, now_ms, ask, job, OrderEvent.REFUSED)
    return _send_back(state, now_ms, ask, job, OrderEvent.REFUSED, payload)


def _send_back(
    state: State, now_ms: int, ask: Ask, job: Job, event: OrderEvent, payload: dict[str, Json]
) -> Draft:
    """The goods are not handed over: the delivery has failed and a return begins, held by the same driver."""
    driver_id, order_id = ask.principal_id, job.task.order_id
    advance_task(job.task.status, TaskEvent.FAIL)
    refusal = job.move_order(event, ask.role, driver_id, now_ms, payload)
    failed = job.move_task(TaskEvent.FAIL, ended_ms=now_ms)
    back = return_task(job, state.new_id(), driver_id, now_ms)
    initiated = job.move_order(
        OrderEvent.RETURN_INITIATED,
        Role.SYSTEM,
        state.id,
        now_ms,
        {"task_id": back.task_id, "driver_id": driver_id},
    )
    state.end_job(now_ms, job)
    returning = Job(back, job.order)
    state.add_job(returning, now_ms)
    # No offer and no further trip until the goods are back.
    if (offer := state.offers.of_driver(driver_id)) is not None:
        offers.close(state, now_ms, offer, OfferStatus.REVOKED, RETURN_FIRST)
    if state.releasable(driver_id):
        release(state, now_ms, driver_id, RETURN_FIRST)
    state.foresee(driver_id, now_ms)
    state.counters["refused"] += 1
    state.push(driver_id, TaskUpdated(task=task_view(back)))
    state.say(now_ms, f"Order {short(order_id)} refused at the door ({payload['reason']}): the goods go back")
    body = _task_answer(returning).body | {"passed": False, "reason": payload["reason"]}
    return Draft(Answer(body=body), (failed, back), (), (refusal, initiated))


def _confirm_return(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, ConfirmReturn)
    job = _held(state, ask, ask.action.task_id)
    if job.task.kind is not TaskKind.RETURN:
        raise WrongState("The task is not a return.")
    advance_task(job.task.status, TaskEvent.COMPLETE)
    event = OrderEvent.RETURN_CONFIRMED
    payload = {"task_id": job.task.task_id} | _whereabouts(state, now_ms, ask, job, event)
    fact = job.move_order(event, ask.role, ask.principal_id, now_ms, payload)
    task = job.move_task(TaskEvent.COMPLETE, ended_ms=now_ms)
    state.end_job(now_ms, job)
    state.foresee(ask.principal_id, now_ms)
    state.counters["returned"] += 1
    state.say(now_ms, f"Order {short(task.order_id)} is back in the store")
    if not _by_socket(ask):
        state.push(ask.principal_id, TaskUpdated(task=task_view(task)))
    return Draft(_task_answer(job), (task,), (), (fact,))


# -- customer, merchant, operators ------------------------------------------------------------------------------------


def _cancel(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Cancel)
    job = state.job_of_order(ask.action.order_id)
    if ask.role is Role.CUSTOMER and job.order.customer_id != ask.principal_id:
        raise NotFound("There is no such order.")
    payload = {"reason": str(known(CancelReason, ask.action.reason))}
    advance_task(job.task.status, TaskEvent.CANCEL)
    fact = job.move_order(OrderEvent.CANCELLED, ask.role, ask.principal_id, now_ms, payload)
    offer = state.offers.get(job.task.offer_id)
    revoked = () if offer is None else offers.revoke(state, now_ms, offer.task_ids, "ORDER_CANCELLED")
    # The others of a bundle are open again.
    reopened = () if offer is None else offers.reopen(state, now_ms, offer)
    others = tuple(row for row in reopened if row.task_id != job.task.task_id)
    holder = job.held_by
    task = job.move_task(TaskEvent.CANCEL, ended_ms=now_ms)
    state.end_job(now_ms, job)
    if holder is not None:
        state.foresee(holder, now_ms)
        state.push(holder, TaskCancelled(task_id=task.task_id, reason="ORDER_CANCELLED"))
    state.counters["cancelled"] += 1
    state.say(now_ms, f"Order {short(task.order_id)} was called off")
    return Draft(_task_answer(job), (task, *others), tuple(revoked), (fact,))


def _goods_ready(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, GoodsReady)
    job = state.job_of_order(ask.action.order_id)
    if ask.role is Role.MERCHANT and job.order.merchant_id != ask.principal_id:
        raise NotFound("There is no such order.")
    ready_ms = min(job.task.ready_ms, now_ms)  # goods that are ready stay so, however often it is said
    payload = {"task_id": job.task.task_id, "ready_ms": ready_ms}
    fact = job.move_order(
        OrderEvent.GOODS_READY, ask.role, ask.principal_id, now_ms, payload, ready_ms=ready_ms
    )
    job.goods_ready(ready_ms)
    if job.held_by is not None:
        state.push(job.held_by, TaskUpdated(task=task_view(job.task)))
    state.cadence.wake(now_ms)
    return Draft(_task_answer(job), (job.task,), (), (fact,))


def _expire_offers(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, ExpireOffers)
    _only(ask, Role.SYSTEM)
    return Draft(Answer(body={"expired": offers.expire(state, now_ms, ask.action.limit)}))


def _dispatch_tick(state: State, now_ms: int, ask: Ask) -> Draft:
    _only(ask, Role.SYSTEM)
    expired = offers.expire(state, now_ms)
    state.cadence.hurry(now_ms)
    return Draft(Answer(body={"region_id": state.id, "open_tasks": len(state.open), "expired": expired}))


Handler: TypeAlias = "Callable[[State, int, Ask], Draft]"
HANDLERS: dict[type[Action], Handler] = {
    Accept: _accept,
    Reject: _reject,
    Arrive: _arrive,
    Pickup: _pickup,
    SubmitIdCheck: _submit_id_check,
    NoteIdCheck: _note_id_check,
    Deliver: _deliver,
    Refuse: _refuse,
    ConfirmReturn: _confirm_return,
    Cancel: _cancel,
    GoodsReady: _goods_ready,
    ExpireOffers: _expire_offers,
    DispatchTick: _dispatch_tick,
}


# -- what may be said ------------------------------------------------------------------------------------------------

_UNFIT = re.compile("[\x00\ud800-\udfff]")  # what no database keeps


def _can_be_kept(ask: Ask) -> bool:
    """Whether a record of the request can be written. Gateways look as well; here it would cost the region its life."""
    said = (getattr(ask.action, name) for name in ask.action.__struct_fields__)
    return not any(type(text) is str and _UNFIT.search(text) for text in (ask.scope, ask.key, *said))


# -- who may ----------------------------------------------------------------------------------------------------------


def _only(ask: Ask, role: Role) -> None:
    if ask.role is not role:
        raise Forbidden(f"This step belongs to: {role}.")


def _held(state: State, ask: Ask, task_id: str) -> Job:
    _only(ask, Role.DRIVER)
    job = state.jobs.get(task_id)
    if job is None:
        raise NotFound("There is no such task under way.")
    if job.held_by != ask.principal_id:
        raise NotTaskHolder()
    return job


def _held_by_order(state: State, ask: Ask, order_id: str) -> Job:
    return _held(state, ask, state.job_of_order(order_id).task.task_id)


# The steps that belong to the place where goods are fetched; all others of a driver belong to where they are brought.
_AT_PICKUP = frozenset({OrderEvent.ARRIVED_AT_STORE, OrderEvent.PICKED_UP})


def _whereabouts(state: State, now_ms: int, ask: Ask, job: Job, event: OrderEvent) -> dict[str, Json]:
    """How far from the place of this step the driver was when last seen, and how long ago that was; None: not known."""
    fleet, task = state.fleet, job.task
    row = fleet.index.get(ask.principal_id)
    if row is None or not fleet.seen_ms[row]:
        return {"distance_m": None, "position_age_ms": None}
    at_pickup = event in _AT_PICKUP
    lat, lng = (task.pickup_lat, task.pickup_lng) if at_pickup else (task.dropoff_lat, task.dropoff_lng)
    away_m = distance_m(fleet.lat[row], fleet.lng[row], lat, lng)
    age_ms = max(0, now_ms - int(fleet.seen_ms[row]))
    return {"distance_m": round(float(away_m)), "position_age_ms": age_ms}


def _by_socket(ask: Ask) -> bool:
    """Whether the driver's socket gets the answer itself, so that a push would say it twice."""
    return ask.scope.endswith("|ws")


def _task_answer(job: Job) -> Answer:
    body: dict[str, Any] = {
        "order_id": job.order.order_id,
        "status": str(job.order_status),
        "task": msgspec.to_builtins(task_view(job.task)),
    }
    return Answer(body=body)


def _seconds(now_ms: int, offer: OfferRow) -> str:
    return f"{(now_ms - offer.made_ms) / 1000:.0f}"
