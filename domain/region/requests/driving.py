"""On the road: arriving, and picking up."""

from __future__ import annotations

from domain.errors import WrongState
from domain.orders.lifecycle import OrderEvent, TaskEvent, TaskKind, TaskStatus, advance_task
from domain.protocol import TaskUpdated
from domain.region.geofence import near
from domain.region.jobs import Job, task_view
from domain.region.messages import Arrive, Ask, Pickup
from domain.region.requests.draft import Draft, held, task_answer, tell
from domain.region.state import State

_ARRIVALS = {
    (TaskKind.DELIVERY, TaskStatus.ASSIGNED): OrderEvent.ARRIVED_AT_STORE,
    (TaskKind.DELIVERY, TaskStatus.PICKED_UP): OrderEvent.ARRIVED_AT_DOOR,
    (TaskKind.RETURN, TaskStatus.PICKED_UP): OrderEvent.ARRIVED_FOR_RETURN,
}


def arrive(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Arrive)
    job = held(state, ask, ask.action.task_id)
    event = _ARRIVALS.get((job.task.kind, job.task.status))
    if event is None:
        raise WrongState(f"There is nowhere to arrive while the task is {job.task.status}.")
    draft = _move(state, now_ms, ask, job, TaskEvent.ARRIVE, event)
    state.foresee(ask.principal_id, now_ms)
    return draft


def pickup(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Pickup)
    job = held(state, ask, ask.action.task_id)
    draft = _move(state, now_ms, ask, job, TaskEvent.PICKUP, OrderEvent.PICKED_UP)
    state.set_state(ask.principal_id)
    state.foresee(ask.principal_id, now_ms, state.policy.services.pickup_after_s)
    return draft


def _move(
    state: State, now_ms: int, ask: Ask, job: Job, task_event: TaskEvent, order_event: OrderEvent
) -> Draft:
    advance_task(job.task.status, task_event)
    payload = {"task_id": job.task.task_id} | near(state, now_ms, ask, job, order_event)
    if task_event is TaskEvent.PICKUP:
        payload |= job.stayed(now_ms)
    fact = job.move_order(order_event, ask.role, ask.principal_id, now_ms, payload)
    task = job.move_task(task_event, arrived_ms=now_ms if task_event is TaskEvent.ARRIVE else None)
    tell(state, ask, TaskUpdated(task=task_view(task)))
    return Draft(task_answer(job), (task,), (), (fact,))
