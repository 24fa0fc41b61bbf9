"""At the door, and back at the store."""

from __future__ import annotations

from domain.compliance import RULEBOOKS
from domain.errors import IdCheckInconclusive, InvalidRequest, Refusal, VendorUnavailable, WrongState
from domain.ground.markets import MARKETS
from domain.orders.lifecycle import (
    OfferStatus,
    OrderEvent,
    Role,
    TaskEvent,
    TaskKind,
    advance_order,
    advance_task,
)
from domain.orders.reasons import RefuseReason, known
from domain.orders.records import Answer, CheckOutcome, DoorCheck, Json
from domain.orders.state import refused
from domain.protocol import TaskUpdated
from domain.region import offers
from domain.region.geofence import near, whereabouts
from domain.region.jobs import Job, return_task, short, task_view
from domain.region.messages import Ask, ConfirmReturn, Deliver, NoteIdCheck, Refuse, SubmitIdCheck
from domain.region.requests.draft import Draft, held, held_by_order, task_answer, tell
from domain.region.silence import RETURN_FIRST, release
from domain.region.state import State


def submit_id_check(state: State, now_ms: int, ask: Ask) -> Draft:
    action = ask.action
    assert isinstance(action, SubmitIdCheck)
    job = held_by_order(state, ask, action.order_id)
    rulebook = RULEBOOKS[MARKETS[state.id].jurisdiction]
    reason = rulebook.door_failure(
        over_age=action.over_age,
        not_expired=action.not_expired,
        name_matches=action.name_matches,
        sober=action.sober,
    )
    event = OrderEvent.ID_PASSED if reason is None else OrderEvent.ID_FAILED
    advance_order(job.order_status, event, ask.role)
    place = near(state, now_ms, ask, job, event)
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
    payload = place | {
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
    body = task_answer(job).body | {"passed": True}
    return Draft(Answer(body=body), orders=(fact,), checks=(check,))


def note_id_check(state: State, now_ms: int, ask: Ask) -> Draft:
    action = ask.action
    assert isinstance(action, NoteIdCheck)
    job = held_by_order(state, ask, action.order_id)
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
    payload = whereabouts(state, now_ms, ask, job, OrderEvent.ID_UNCLEAR) | {
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


def deliver(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Deliver)
    job = held_by_order(state, ask, ask.action.order_id)
    advance_task(job.task.status, TaskEvent.COMPLETE)
    advance_order(job.order_status, OrderEvent.DELIVERED, ask.role)
    payload = {"task_id": job.task.task_id} | near(state, now_ms, ask, job, OrderEvent.DELIVERED)
    payload |= job.stayed(now_ms)
    fact = job.move_order(OrderEvent.DELIVERED, ask.role, ask.principal_id, now_ms, payload)
    task = job.move_task(TaskEvent.COMPLETE, ended_ms=now_ms)
    state.end_job(now_ms, job)
    state.foresee(ask.principal_id, now_ms, state.policy.services.door_after_s)
    state.fleet.count_done(ask.principal_id)
    state.counters["delivered"] += 1
    minutes = (now_ms - task.opened_ms) / 60_000
    state.say(
        now_ms,
        f"Driver {short(ask.principal_id)} delivered task {short(task.task_id)}, {minutes:.0f} min after it opened",
    )
    tell(state, ask, TaskUpdated(task=task_view(task)))
    return Draft(task_answer(job), (task,), (), (fact,))


def refuse(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Refuse)
    job = held_by_order(state, ask, ask.action.order_id)
    payload = {"reason": str(known(RefuseReason, ask.action.reason))}
    payload |= whereabouts(state, now_ms, ask, job, OrderEvent.REFUSED)
    return _send_back(state, now_ms, ask, job, OrderEvent.REFUSED, payload)


def _send_back(
    state: State, now_ms: int, ask: Ask, job: Job, event: OrderEvent, payload: dict[str, Json]
) -> Draft:
    """The goods are not handed over: the delivery has failed and a return begins, held by the same driver."""
    driver_id, order_id = ask.principal_id, job.task.order_id
    advance_task(job.task.status, TaskEvent.FAIL)
    refusal = job.move_order(event, ask.role, driver_id, now_ms, payload | job.stayed(now_ms))
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
    body = task_answer(returning).body | {"passed": False, "reason": payload["reason"]}
    return Draft(Answer(body=body), (failed, back), (), (refusal, initiated))


def confirm_return(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, ConfirmReturn)
    job = held(state, ask, ask.action.task_id)
    if job.task.kind is not TaskKind.RETURN:
        raise WrongState("The task is not a return.")
    advance_task(job.task.status, TaskEvent.COMPLETE)
    event = OrderEvent.RETURN_CONFIRMED
    advance_order(job.order_status, event, ask.role)
    payload = {"task_id": job.task.task_id} | near(state, now_ms, ask, job, event) | job.stayed(now_ms)
    fact = job.move_order(event, ask.role, ask.principal_id, now_ms, payload)
    task = job.move_task(TaskEvent.COMPLETE, ended_ms=now_ms)
    state.end_job(now_ms, job)
    state.foresee(ask.principal_id, now_ms)
    state.counters["returned"] += 1
    state.say(now_ms, f"Order {short(task.order_id)} is back in the store")
    tell(state, ask, TaskUpdated(task=task_view(task)))
    return Draft(task_answer(job), (task,), (), (fact,))
