"""Drivers who hold a task and fall silent: when to look after them, and what they lose.

Until the goods are picked up a silent driver is replaced; afterwards they are in a vehicle that only people can find.
"""

from __future__ import annotations

from domain.orders.lifecycle import OrderEvent, Role, TaskEvent
from domain.orders.records import OrderFact, Record, TaskRow
from domain.protocol import TaskCancelled
from domain.region.jobs import Job, short
from domain.region.state import State

REASON = "DRIVER_LOST"
RETURN_FIRST = "RETURN_FIRST"
_BECAUSE = {
    REASON: "is lost, not heard of for {:.3g} min",
    RETURN_FIRST: "has goods to bring back first",
}


def release(state: State, now_ms: int, driver_id: str, reason: str = REASON) -> None:
    """Take from a driver who is lost, or has goods to bring back first, what is not picked up, so that it is offered to
    others. The reason is told to the driver and in the dossier."""
    tasks: list[TaskRow] = []
    facts: list[OrderFact] = []
    for task_id in state.releasable(driver_id):
        task, fact = take_back(state, now_ms, state.jobs[task_id], Role.SYSTEM, state.id, reason)
        tasks.append(task)
        facts.append(fact)
        state.say(
            now_ms,
            f"Driver {short(driver_id)} {_BECAUSE[reason].format(state.policy.driver_lost_s / 60)}: "
            f"looking for another for task {short(task_id)}",
        )
    state.foresee(driver_id, now_ms)
    state.record(Record(record_id=state.new_id(), tasks=tuple(tasks), orders=tuple(facts)))
    for task in tasks:
        state.push(driver_id, TaskCancelled(task_id=task.task_id, reason=reason))


def take_back(
    state: State, now_ms: int, job: Job, role: Role, actor_id: str, reason: str
) -> tuple[TaskRow, OrderFact]:
    """Take a task whose goods are still in the store from its holder: it is open again, and goes to others first. The
    holder is the caller's to tell, and to foresee."""
    task_id, driver_id = job.task.task_id, job.held_by
    assert driver_id is not None
    payload = {"driver_id": driver_id, "task_id": task_id, "reason": reason}
    fact = job.move_order(OrderEvent.RELEASED, role, actor_id, now_ms, payload)
    state.let_go(job)
    task = job.move_task(TaskEvent.RELEASE, driver_id=None, offer_id=None, arrived_ms=None)
    job.note_decline(driver_id, now_ms)
    state.put_open(task_id, now_ms)
    return task, fact
