"""What operators do by hand: give a task to a driver, take it away, and settle what became of goods on the road.

The region decides here as everywhere: an operator gives nothing to a driver who cannot take it, takes nothing that is
in a vehicle, and settles nothing as handed over. Each step is a fact of the order with who did it and why.
"""

from __future__ import annotations

import re

from domain.errors import DriverUnavailable, InvalidRequest, NotFound, WrongState
from domain.ground.times import in_ms
from domain.orders.lifecycle import (
    TASK_RELEASABLE,
    OfferStatus,
    OrderEvent,
    TaskEvent,
    TaskKind,
    TaskStatus,
    advance_order,
    advance_task,
)
from domain.orders.reasons import DispatchReason, Resolution, known
from domain.orders.records import OrderFact, Record, TaskRow
from domain.protocol import TaskAssigned, TaskCancelled
from domain.region import offers
from domain.region.fleet import DriverState
from domain.region.jobs import Job, short, task_view
from domain.region.messages import Ask, Assign, Reassign, Release, Resolve
from domain.region.requests.draft import Draft, operator, task_answer
from domain.region.silence import take_back
from domain.region.state import State

_EVIDENCE = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}"
)  # it stands in the dossier: a token, and no text
_OUTCOMES = {
    Resolution.RETURNED_BY_OTHER: OrderEvent.RETURN_RESOLVED,
    Resolution.LOST: OrderEvent.WRITTEN_OFF,
    Resolution.BROKEN: OrderEvent.WRITTEN_OFF,
}


def assign(state: State, now_ms: int, ask: Ask) -> Draft:
    action = ask.action
    assert isinstance(action, Assign)
    job, reason = _job(state, ask, action.task_id), known(DispatchReason, action.reason)
    if job.held_by is not None or job.task.status not in (TaskStatus.OPEN, TaskStatus.OFFERED):
        raise WrongState(f"A task that is {job.task.status} is not to be assigned.")
    _require_fit(state, now_ms, action.driver_id)
    return _give(state, now_ms, ask, job, action.driver_id, reason)


def reassign(state: State, now_ms: int, ask: Ask) -> Draft:
    action = ask.action
    assert isinstance(action, Reassign)
    job, reason = _job(state, ask, action.task_id), known(DispatchReason, action.reason)
    holder = _holder(job)
    if holder == action.driver_id:
        raise WrongState("The driver holds the task already.")
    _require_fit(state, now_ms, action.driver_id)
    task, fact = _take(state, now_ms, ask, job, reason, "REASSIGNED")
    state.record(Record(record_id=state.new_id(), tasks=(task,), orders=(fact,)))
    return _give(state, now_ms, ask, job, action.driver_id, reason)


def release(state: State, now_ms: int, ask: Ask) -> Draft:
    action = ask.action
    assert isinstance(action, Release)
    job, reason = _job(state, ask, action.task_id), known(DispatchReason, action.reason)
    _holder(job)
    task, fact = _take(state, now_ms, ask, job, reason, "RELEASED")
    return Draft(task_answer(job), (task,), (), (fact,))


def resolve(state: State, now_ms: int, ask: Ask) -> Draft:
    action = ask.action
    assert isinstance(action, Resolve)
    job, outcome = _job(state, ask, action.task_id), known(Resolution, action.outcome)
    if not _EVIDENCE.fullmatch(action.evidence_ref):
        raise InvalidRequest("The evidence is named by a token of 1 to 128 letters, digits and ._:/+=-.")
    event, holder = _OUTCOMES[outcome], job.held_by
    advance_order(job.order_status, event, ask.role)
    advance_task(job.task.status, TaskEvent.RESOLVE)
    assert holder is not None
    payload = {
        "task_id": job.task.task_id,
        "driver_id": holder,
        "outcome": str(outcome),
        "evidence_ref": action.evidence_ref,
    }
    fact = job.move_order(event, ask.role, ask.principal_id, now_ms, payload)
    task = job.move_task(TaskEvent.RESOLVE, ended_ms=now_ms)
    state.end_job(now_ms, job)
    state.foresee(holder, now_ms)
    if task.kind is TaskKind.DELIVERY:
        state.counters["refused"] += 1  # as it is counted by its row: the delivery has failed
    state.push(holder, TaskCancelled(task_id=task.task_id, reason="RESOLVED"))
    state.say(now_ms, f"Task {short(task.task_id)} was settled by hand: {outcome}")
    return Draft(task_answer(job), (task,), (), (fact,))


def _job(state: State, ask: Ask, task_id: str) -> Job:
    operator(ask)
    job = state.jobs.get(task_id)
    if job is None:
        raise NotFound("There is no such task under way.")
    return job


def _holder(job: Job) -> str:
    """Who holds the task, whose goods are still in the store."""
    if job.task.status not in TASK_RELEASABLE or job.held_by is None:
        raise WrongState(f"A task that is {job.task.status} is not to be taken from anybody.")
    return job.held_by


def _require_fit(state: State, now_ms: int, driver_id: str) -> None:
    """`DriverUnavailable` for whom a task cannot be given to now."""
    fleet, policy = state.fleet, state.policy
    row = fleet.index.get(driver_id)
    if row is None or not fleet.on_duty[row]:
        raise DriverUnavailable("The driver is not on duty in this market.")
    if now_ms - int(fleet.seen_ms[row]) >= in_ms(policy.driver_stale_s):
        raise DriverUnavailable("It is not known where the driver is.")
    if now_ms >= fleet.until_ms[row]:
        raise DriverUnavailable("The driver's shift is over.")
    if now_ms < fleet.from_ms[row]:
        raise DriverUnavailable("The driver's shift has not begun.")
    if fleet.state[row] == DriverState.RETURNING:
        raise DriverUnavailable("The driver has goods to bring back first.")
    if any(bad.table == "tasks" and bad.driver_id == driver_id for bad in state.aside):
        raise DriverUnavailable("The driver holds a task that is set aside until its row is mended.")
    if len(state.holdings.of(driver_id)) >= policy.hold_limit:
        raise DriverUnavailable(f"The driver holds {policy.hold_limit} tasks, and more must not be given.")


def _take(
    state: State, now_ms: int, ask: Ask, job: Job, reason: DispatchReason, told: str
) -> tuple[TaskRow, OrderFact]:
    holder = _holder(job)
    task, fact = take_back(state, now_ms, job, ask.role, ask.principal_id, str(reason))
    state.foresee(holder, now_ms)
    state.push(holder, TaskCancelled(task_id=task.task_id, reason=told))
    state.say(now_ms, f"Task {short(task.task_id)} was taken from driver {short(holder)} by hand: {reason}")
    return task, fact


def _give(state: State, now_ms: int, ask: Ask, job: Job, driver_id: str, reason: DispatchReason) -> Draft:
    """Who is asked about the task is asked no more, nor is its new holder about any other."""
    named = state.offers.get(job.task.offer_id)
    asked = [] if named is None else state.offers.of_tasks(named.task_ids)
    if (own := state.offers.of_driver(driver_id)) is not None and own not in asked:
        asked.append(own)
    for offer in asked:
        offers.close(state, now_ms, offer, OfferStatus.REVOKED, offers.BY_HAND)
    taken = offers.by_hand(state, now_ms, job, driver_id)
    task = job.move_task(TaskEvent.ACCEPT, driver_id=driver_id)
    payload = {
        "driver_id": driver_id,
        "offer_id": taken.offer_id,
        "task_id": task.task_id,
        "reason": str(reason),
    }
    fact = job.move_order(OrderEvent.ASSIGNED, ask.role, ask.principal_id, now_ms, payload)
    state.hold(job)
    state.holdings.took(driver_id, taken.task_ids)
    state.foresee(driver_id, now_ms)
    state.push(driver_id, TaskAssigned(task=task_view(task)))
    state.say(now_ms, f"Task {short(task.task_id)} was given to driver {short(driver_id)} by hand: {reason}")
    return Draft(task_answer(job), (task,), (taken,), (fact,))
