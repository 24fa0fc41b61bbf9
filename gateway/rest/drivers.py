"""Drivers without a socket: what concerns me, where I am, and every step of a task."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace
from starlette.responses import Response

from domain.errors import InvalidRequest
from domain.orders.lifecycle import Role
from domain.region.jobs import offer_view, task_view
from domain.region.messages import Accept, Action, Arrive, ConfirmReturn, Pickup, Reject
from gateway.deciders.nearest_market import nearest_region
from gateway.http.admission import Kind
from gateway.http.auth import Me
from gateway.http.idempotency import Call, DriverStep, Mutation
from gateway.http.policy import Door, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, answered, first_answer, json_response, keep, once, shown
from gateway.rest.kit.deciding import ask_about_task
from gateway.rest.kit.fast_route import FastRoute
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Decline, Duty, StepPlace
from gateway.rest.views import DutyView, OfferDeclinedView, OfferTakenView, OrderRef, WorkView
from gateway.services import Services
from gateway.sockets.connection import Sighting
from gateway.sockets.positions import State, shift_ms
from gateway.sockets.presence import fit_until_ms, placed, require_reach, track_of

routes = Routes("drivers", route_class=FastRoute)


@routes.get("/v1/drivers/{driver_id}/task", Policy(roles=Door.SIGNED_IN, owner="driver_id"), WorkView)
async def current(driver_id: Uid, _: Me, services: Parts) -> Response:
    """The driver's open offers and tasks under way, for clients that poll. The next step's `Device-N` is above
    `last_n`."""
    work = await services.reads.driver_snapshot(str(driver_id))
    now_ms = services.config.clock.now_ms()
    offered = {task.task_id: task for task in work.offered_tasks}
    # An offer past its time may be on the rows for a moment longer; nobody can take it.
    offers = tuple(
        offer_view(offer, [offered[task_id] for task_id in offer.task_ids if task_id in offered], now_ms)
        for offer in work.offers
        if offer.expires_ms > now_ms
    )
    tasks = tuple(task_view(task) for task in work.tasks)
    return json_response(WorkView(offers, tasks, work.last_n))


@routes.post(
    "/v1/drivers/{driver_id}/duty",
    Policy(roles=(Role.DRIVER,), owner="driver_id", key=Need.MAY, limit="driver", admission=Kind.UNDER_WAY),
    DutyView,
    refuses=("DRIVER_NOT_APPROVED", "DOCUMENTS_EXPIRED"),
)
async def duty(driver_id: Uid, body: Duty, driver: Me, call: Mutation, services: Parts) -> Response:
    """Go on or off duty, or say where you are. Repeat it at least every minute: who is silent gets no offers."""
    call.covers(body)
    first = await first_answer(services, call)
    if first is not None:
        return answered(first, DutyView, replayed=True)
    return shown(*await _go(services, call, driver.id, body))


async def _go(services: Services, call: Call, driver_id: str, body: Duty) -> tuple[DutyView, bool]:
    from_ms, until_ms = shift_ms(body.begins, body.until, services.config.clock.now_ms())
    last = services.pings.last(driver_id)
    if body.lat is None and last is None:
        raise InvalidRequest("Say where you are: lat and lng.")
    if body.on:
        standing = await services.standings.of(driver_id)
        until_ms = fit_until_ms(standing, until_ms, services.config.clock.now_ms())
        if (open_socket := services.hub.get(driver_id)) is not None:
            open_socket.judge(standing)  # which may have been approved since its hello
    event = Sighting(body.lat, body.lng, body.on, body.until, body.begins)
    require_reach(services, event)
    socket = services.hub.get(driver_id)
    if socket is not None:
        region_id = socket.region_id
    else:
        track, home = track_of(services, last), last.region_id if last else services.config.regions[0]
        lat, lng, place_ms = placed(services, track, last, event, home)
        region_id = await services.region_of_driver(
            driver_id, nearest_region(services.config.regions, lat, lng)
        )
    # First, so that of two at the same moment one speaks: what follows is in no database and cannot fail.
    said, replayed = await keep(services, call, DutyView(driver_id, body.on, region_id))
    if replayed:
        return said, True
    if socket is not None:
        socket.sighted(body.lat, body.lng, body.on, body.until, body.begins)
        return said, False
    # No socket, no session: the time numbers these, and any socket's word counts for more.
    seq, at_s = services.now_us() // 1000, asyncio.get_running_loop().time()
    state = State(driver_id, region_id, 0, seq, lat, lng, body.on, at_s, until_ms, from_ms, place_ms, track)
    services.pings.put(state)
    if last is not None and last.region_id != region_id:
        await services.pings.left(replace(last, session=0, seq=seq))
    return said, False


@routes.post(
    "/v1/tasks/{task_id}/accept",
    Policy(roles=(Role.DRIVER,), owner="task_id", key=Need.MAY, limit="driver", admission=Kind.UNDER_WAY),
    OfferTakenView,
    refuses=(
        "OFFER_TAKEN",
        "OFFER_EXPIRED",
        "OUT_OF_ORDER",
    ),
)
async def accept(task_id: Uid, _: Me, call: DriverStep, services: Parts) -> Response:
    """Take the offer that this task is in."""
    return await _step(services, call, str(task_id), Accept(task_id=str(task_id)), OfferTakenView)


@routes.post(
    "/v1/tasks/{task_id}/reject",
    Policy(roles=(Role.DRIVER,), owner="task_id", key=Need.MAY, limit="driver", admission=Kind.UNDER_WAY),
    OfferDeclinedView,
    refuses=(
        "OFFER_TAKEN",
        "OFFER_EXPIRED",
        "OUT_OF_ORDER",
    ),
)
async def reject(
    task_id: Uid, _: Me, call: DriverStep, services: Parts, body: Decline | None = None
) -> Response:
    """Decline the offer that this task is in."""
    call.covers(body)
    action = Reject(task_id=str(task_id), reason=body.reason if body else None)
    return await _step(services, call, str(task_id), action, OfferDeclinedView)


@routes.post(
    "/v1/tasks/{task_id}/arrive",
    Policy(roles=(Role.DRIVER,), owner="task_id", key=Need.MAY, limit="driver", admission=Kind.UNDER_WAY),
    OrderRef,
    refuses=(
        "WRONG_STATE",
        "TOO_FAR",
        "OUT_OF_ORDER",
    ),
)
async def arrive(
    task_id: Uid, _: Me, call: DriverStep, services: Parts, body: StepPlace | None = None
) -> Response:
    """You are at the store, at the door, or back at the store with a return."""
    return await _step(services, call.placed(body), str(task_id), Arrive(str(task_id)))


@routes.post(
    "/v1/tasks/{task_id}/pickup",
    Policy(roles=(Role.DRIVER,), owner="task_id", key=Need.MAY, limit="driver", admission=Kind.UNDER_WAY),
    OrderRef,
    refuses=(
        "WRONG_STATE",
        "TOO_FAR",
        "OUT_OF_ORDER",
    ),
)
async def pickup(
    task_id: Uid, _: Me, call: DriverStep, services: Parts, body: StepPlace | None = None
) -> Response:
    """The goods are in your vehicle."""
    return await _step(services, call.placed(body), str(task_id), Pickup(str(task_id)))


@routes.post(
    "/v1/tasks/{task_id}/return/confirm",
    Policy(roles=(Role.DRIVER,), owner="task_id", key=Need.MAY, limit="driver", admission=Kind.UNDER_WAY),
    OrderRef,
    refuses=(
        "WRONG_STATE",
        "TOO_FAR",
        "OUT_OF_ORDER",
    ),
)
async def confirm_return(
    task_id: Uid, _: Me, call: DriverStep, services: Parts, body: StepPlace | None = None
) -> Response:
    """The refused goods are back in the store."""
    return await _step(services, call.placed(body), str(task_id), ConfirmReturn(str(task_id)))


async def _step(
    services: Services, call: Call, task_id: str, action: Action, view: type[Any] = OrderRef
) -> Response:
    return await once(services, call, lambda: ask_about_task(services, call, task_id, action), view)
