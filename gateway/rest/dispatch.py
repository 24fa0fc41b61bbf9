"""What dispatchers see and do by hand: tasks, drivers, assignments; give, take, settle."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from msgspec import Struct
from pydantic import Field, StringConstraints
from starlette.responses import Response

from domain.ground.times import instant
from domain.orders.lifecycle import OrderStatus, TaskKind, TaskStatus
from domain.orders.reasons import DispatchReason, Resolution
from domain.orders.records import OfferRow, TaskRow
from domain.region.messages import Action, Assign, Reassign, Release, Resolve
from domain.region.offers import BY_HAND
from domain.region.ops.frames import DriverLine, DriversAsked, DriverStateName
from gateway.http.auth import Me
from gateway.http.idempotency import Call, Mutation
from gateway.http.policy import OPERATORS, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, json_response, once
from gateway.rest.kit.deciding import ask_about_task
from gateway.rest.kit.lists import PAGE_LIMIT, CursorText, read_cursor, write_cursor
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Body, Code, Digits, Id
from gateway.services import Services
from persistence.reads.views import OfferCursor, TaskCursor

routes = Routes("dispatch", tag="operations")

Limit = Annotated[int, Query(ge=1, le=PAGE_LIMIT), Digits]
Region = Annotated[str | None, Query(max_length=64)]


class ToDriver(Body):
    """Who is to have the task, and why."""

    driver_id: Id
    reason: Code[DispatchReason]


class FromDriver(Body):
    """Why the task is taken away."""

    reason: Code[DispatchReason]


class Settled(Body):
    """What became of the goods. `evidence_ref`: the token under which the evidence is kept; no text, for it stands in
    the order's dossier for good."""

    outcome: Code[Resolution]
    evidence_ref: Annotated[
        str,
        StringConstraints(pattern="^[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}$"),
        Field(examples=["incident:2041"]),
    ]


class StepView(Struct, frozen=True):
    """An order and its task after an operator's step."""

    id: str
    status: OrderStatus
    task: StepTaskView


class StepTaskView(Struct, frozen=True):
    """The task that the step was about."""

    task_id: str
    order_id: str
    kind: TaskKind
    status: TaskStatus


class TaskLogRow(Struct, frozen=True, kw_only=True):
    """A task. `due_at`: when it was promised; `ended_at`: null while it is under way."""

    id: str
    order_id: str
    region_id: str
    store_id: str
    kind: TaskKind
    status: TaskStatus
    driver_id: str | None
    offer_id: str | None
    opened_at: datetime
    ready_at: datetime
    due_at: datetime
    ended_at: datetime | None


class TaskLogPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    tasks: list[TaskLogRow]
    next_cursor: str | None


class AssignmentView(Struct, frozen=True, kw_only=True):
    """An offer that was taken. `by_hand`: given by an operator, whom the order's dossier names; `active`: one of its
    tasks is still under way with this driver."""

    id: str
    region_id: str
    driver_id: str
    task_ids: tuple[str, ...]
    order_ids: tuple[str, ...]
    assigned_at: datetime
    by_hand: bool
    active: bool


class AssignmentPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    assignments: list[AssignmentView]
    next_cursor: str | None


class DriverLineView(Struct, frozen=True, kw_only=True):
    """A driver as the region knows them now. `seen_at`: when they were at this place; `until`: the end of the shift;
    `free_at`: when what is held is expected to be done; `connected`: a socket is open; `overrides`: steps of this
    duty that were taken far from where they belong, with a reason that the dossiers have."""

    id: str
    region_id: str
    state: DriverStateName
    on_duty: bool
    connected: bool
    lat: float | None
    lng: float | None
    seen_at: datetime | None
    until: datetime | None
    free_at: datetime | None
    task_ids: tuple[str, ...]
    offer_id: str | None
    overrides: int


class DriverLinePage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    drivers: list[DriverLineView]
    next_cursor: str | None


# -- steps ------------------------------------------------------------------------------------------------------------

_STEP = Policy(roles=OPERATORS, owner="task_id", key=Need.MUST)


@routes.post(
    "/v1/tasks/{task_id}/assign",
    _STEP,
    StepView,
    refuses=("WRONG_STATE", "DRIVER_UNAVAILABLE", "REGION_UNAVAILABLE"),
)
async def assign(task_id: Uid, body: ToDriver, _: Me, call: Mutation, services: Parts) -> Response:
    """Give a task that nobody holds to a driver, who is told and not asked."""
    action = Assign(str(task_id), str(body.driver_id), body.reason)
    return await _step(services, call.covers(body), str(task_id), action)


@routes.post(
    "/v1/tasks/{task_id}/reassign",
    _STEP,
    StepView,
    refuses=("WRONG_STATE", "DRIVER_UNAVAILABLE", "REGION_UNAVAILABLE"),
)
async def reassign(task_id: Uid, body: ToDriver, _: Me, call: Mutation, services: Parts) -> Response:
    """Take a task whose goods are still in the store from its driver and give it to another."""
    action = Reassign(str(task_id), str(body.driver_id), body.reason)
    return await _step(services, call.covers(body), str(task_id), action)


@routes.post("/v1/tasks/{task_id}/release", _STEP, StepView, refuses=("WRONG_STATE", "REGION_UNAVAILABLE"))
async def release(task_id: Uid, body: FromDriver, _: Me, call: Mutation, services: Parts) -> Response:
    """Take a task whose goods are still in the store from its driver: it is offered to others."""
    return await _step(services, call.covers(body), str(task_id), Release(str(task_id), body.reason))


@routes.post("/v1/tasks/{task_id}/resolve", _STEP, StepView, refuses=("WRONG_STATE", "REGION_UNAVAILABLE"))
async def resolve(task_id: Uid, body: Settled, _: Me, call: Mutation, services: Parts) -> Response:
    """Settle what became of goods that their driver neither hands over nor brings back. Never as delivered."""
    action = Resolve(str(task_id), body.outcome, body.evidence_ref)
    return await _step(services, call.covers(body), str(task_id), action)


async def _step(services: Services, call: Call, task_id: str, action: Action) -> Response:
    return await once(services, call, lambda: ask_about_task(services, call, task_id, action), StepView)


# -- lists ------------------------------------------------------------------------------------------------------------


@routes.get("/v1/tasks", Policy(roles=OPERATORS, limit="ops"), TaskLogPage)
async def tasks(
    _: Me,
    services: Parts,
    region_id: Region = None,
    driver_id: Annotated[Id | None, Query(description="Who holds it, or held it last.")] = None,
    order_id: Annotated[Id | None, Query()] = None,
    status: Annotated[list[TaskStatus] | None, Query(description="Any of these.")] = None,
    cursor: CursorText = None,
    limit: Limit = 50,
) -> Response:
    """Tasks, newest first."""
    page = await services.reads.tasks(
        region_id=region_id,
        driver_id=None if driver_id is None else str(driver_id),
        order_id=None if order_id is None else str(order_id),
        status=tuple(status or ()),
        cursor=TaskCursor(*read_cursor(cursor)) if cursor else None,
        limit=limit,
    )
    after = write_cursor(page.next.opened_ms, page.next.task_id) if page.next else None
    return json_response(TaskLogPage([_task_row(task) for task in page.tasks], after))


@routes.get("/v1/assignments", Policy(roles=OPERATORS, limit="ops"), AssignmentPage)
async def assignments(
    _: Me,
    services: Parts,
    region_id: Region = None,
    driver_id: Annotated[Id | None, Query()] = None,
    state: Annotated[Literal["active", "ended"] | None, Query()] = None,
    cursor: CursorText = None,
    limit: Limit = 50,
) -> Response:
    """Which driver was given which tasks, newest first."""
    page = await services.reads.assignments(
        region_id=region_id,
        driver_id=None if driver_id is None else str(driver_id),
        active=None if state is None else state == "active",
        cursor=OfferCursor(*read_cursor(cursor)) if cursor else None,
        limit=limit,
    )
    after = write_cursor(page.next.made_ms, page.next.offer_id) if page.next else None
    return json_response(AssignmentPage([_assignment(offer, page.tasks) for offer in page.offers], after))


@routes.get(
    "/v1/drivers",
    Policy(roles=OPERATORS, limit="ops"),
    DriverLinePage,
    refuses=("NOT_FOUND", "REGION_UNAVAILABLE"),
)
async def drivers(
    _: Me,
    services: Parts,
    region_id: Annotated[str, Query(max_length=64)],
    state: Annotated[list[DriverStateName] | None, Query(description="Any of these.")] = None,
    cursor: CursorText = None,
    limit: Limit = 50,
) -> Response:
    """The drivers whom a market has seen lately, as it knows them now, by id."""
    after = read_cursor(cursor)[1] if cursor else ""
    asked = DriversAsked(limit=limit + 1, states=tuple(state or ()), after=after)
    found = await services.backend.drivers(services.region(region_id), asked)
    page = found[:limit]
    return json_response(
        DriverLinePage(
            [_driver(line, region_id) for line in page],
            write_cursor(0, page[-1].driver_id) if len(found) > limit else None,
        )
    )


def _task_row(task: TaskRow) -> TaskLogRow:
    return TaskLogRow(
        id=task.task_id,
        order_id=task.order_id,
        region_id=task.region_id,
        store_id=task.store_id,
        kind=task.kind,
        status=task.status,
        driver_id=task.driver_id,
        offer_id=task.offer_id,
        opened_at=instant(task.opened_ms),
        ready_at=instant(task.ready_ms),
        due_at=instant(task.due_ms),
        ended_at=_at(task.ended_ms),
    )


def _assignment(offer: OfferRow, tasks: dict[str, TaskRow]) -> AssignmentView:
    own = [tasks[task_id] for task_id in offer.task_ids if task_id in tasks]
    return AssignmentView(
        id=offer.offer_id,
        region_id=offer.region_id,
        driver_id=offer.driver_id,
        task_ids=offer.task_ids,
        order_ids=tuple(task.order_id for task in own),
        assigned_at=instant(offer.closed_ms or offer.made_ms),
        by_hand=offer.reason == BY_HAND,
        active=any(task.offer_id == offer.offer_id and task.ended_ms is None for task in own),
    )


def _driver(line: DriverLine, region_id: str) -> DriverLineView:
    return DriverLineView(
        id=line.driver_id,
        region_id=region_id,
        state=line.state,
        on_duty=line.on_duty,
        connected=line.connected,
        lat=line.lat,
        lng=line.lng,
        seen_at=_at(line.seen_ms),
        until=_at(line.until_ms),
        free_at=_at(line.free_ms),
        task_ids=line.task_ids,
        offer_id=line.offer_id,
        overrides=line.overrides,
    )


def _at(ms: int | None) -> datetime | None:
    return None if ms is None else instant(ms)
