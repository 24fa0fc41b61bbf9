"""What a request leads to, and what its handlers share: who may, and what they are told."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from domain.errors import Forbidden, NotFound, NotTaskHolder
from domain.orders.lifecycle import OPERATORS, Role
from domain.orders.records import Answer, DoorCheck, OfferRow, OrderFact, Record, StoredAnswer, TaskRow
from domain.protocol import ServerFrame
from domain.region.jobs import Job, task_view
from domain.region.messages import Ask
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


def only(ask: Ask, role: Role) -> None:
    """`Forbidden` unless it is this role that asks."""
    if ask.role is not role:
        raise Forbidden(f"This step belongs to: {role}.")


def operator(ask: Ask) -> None:
    """`Forbidden` unless an operator asks."""
    if ask.role not in OPERATORS:
        raise Forbidden(f"This step belongs to: {', '.join(sorted(OPERATORS))}.")


def held(state: State, ask: Ask, task_id: str) -> Job:
    """The task, which the asking driver holds."""
    only(ask, Role.DRIVER)
    job = state.jobs.get(task_id)
    if job is None:
        raise NotFound("There is no such task under way.")
    if job.held_by != ask.principal_id:
        raise NotTaskHolder()
    return job


def held_by_order(state: State, ask: Ask, order_id: str) -> Job:
    """The same, by the task's order."""
    return held(state, ask, state.job_of_order(order_id).task.task_id)


def tell(state: State, ask: Ask, frame: ServerFrame) -> None:
    """Tell the asking driver's socket what was decided, unless it is the one that gets the answer. A driver may have
    come back on another phone while a request of the first one was under way: the second would never hear of it."""
    fleet, row = state.fleet, state.fleet.row(ask.principal_id)
    if not ask.session or fleet.gateway[row] < 0 or fleet.session[row] != ask.session:
        state.push(ask.principal_id, frame)


def task_answer(job: Job) -> Answer:
    """Where the task and its order stand."""
    body: dict[str, Any] = {
        "order_id": job.order.order_id,
        "status": str(job.order_status),
        "task": msgspec.to_builtins(task_view(job.task)),
    }
    return Answer(body=body)
