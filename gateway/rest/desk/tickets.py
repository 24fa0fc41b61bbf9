"""Support tickets. Who opened one sees it; support sees all.

A change is answered with the ticket, which holds no text: answers are kept for repeats, and what people write can be
erased.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import Query
from msgspec import Struct
from pydantic import AfterValidator, Field, StringConstraints
from starlette.responses import Response

from domain.errors import InvalidRequest, NotFound
from domain.ground.times import instant
from domain.marketplace.tickets import (
    MESSAGE_LIMIT,
    AssignTicket,
    EraseMessage,
    Message,
    MoveTicket,
    OpenTicket,
    Ticket,
    TicketEvent,
    TicketStatus,
    TicketSubject,
    WriteMessage,
)
from domain.orders.lifecycle import Role
from domain.text import tidy
from gateway.http.auth import Me, Principal
from gateway.http.idempotency import Call, Mutation
from gateway.http.policy import DESK, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, carry_out, etag, json_response, shown
from gateway.rest.kit.deciding import order_for
from gateway.rest.kit.lists import Rows, listed
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Body, Code, Id
from gateway.services import Services

routes = Routes("tickets", tag="support")

_PEOPLE = (Role.CUSTOMER, Role.MERCHANT, Role.DRIVER)
_READ = Policy(roles=(*_PEOPLE, *DESK), owner="ticket_id")
Text = Annotated[str, StringConstraints(min_length=1, max_length=MESSAGE_LIMIT), AfterValidator(tidy)]


class NewTicket(Body):
    """What it is about, and about which order of yours, if about one."""

    subject: Code[TicketSubject]
    text: Text
    order_id: Id | None = None


class NewMessage(Body):
    """What you have to say."""

    text: Text


class TicketEnd(StrEnum):
    """How it ends."""

    SOLVE = "solve"
    CLOSE = "close"


_ENDS = {TicketEnd.SOLVE: TicketEvent.SOLVED, TicketEnd.CLOSE: TicketEvent.CLOSED}


class EndTicket(Body):
    """How it ends: support solves it, and either side closes it for good."""

    action: Annotated[Code[TicketEnd], Field(examples=["close"])]


class Assignee(Body):
    """Who of support sees to it; null for nobody."""

    assignee_id: Annotated[Id | None, Field(examples=["5f0c1d2e-3a4b-4c5d-8e9f-0a1b2c3d4e5f"])]


class TicketView(Struct, frozen=True):
    """A ticket. OPEN: it is support's turn; WAITING: whoever opened it has to answer."""

    id: str
    version: int
    status: TicketStatus
    subject: TicketSubject
    order_id: str | None
    opener_id: str
    opener_role: Role
    assignee_id: str | None
    created_at: datetime
    updated_at: datetime


class TicketPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    tickets: list[TicketView]
    next_cursor: str | None


class MessageView(Struct, frozen=True):
    """What somebody wrote. Support's people are told by their role alone."""

    id: str
    author_id: str | None
    author_role: Role
    at: datetime
    text: str


class WrittenView(Struct, frozen=True):
    """The message that was written, and how its ticket stands then. `version`: the ticket's."""

    id: str
    ticket_id: str
    version: int
    status: TicketStatus


class MessagePage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    messages: list[MessageView]
    next_cursor: str | None


class _Erased(Struct, frozen=True):
    """What is kept of an erasure for repeats."""

    id: str


@routes.post(
    "/v1/tickets",
    Policy(roles=_PEOPLE, key=Need.MUST),
    TicketView,
    status=201,
    refuses=("NOT_FOUND", "LIMIT_REACHED"),
)
async def open_one(body: NewTicket, principal: Me, call: Mutation, services: Parts) -> Response:
    """Write to support."""
    if body.order_id is not None:
        await order_for(services, principal, str(body.order_id))
    action = OpenTicket(
        ticket_id=services.new_id(),
        message_id=services.new_id(),
        subject=body.subject,
        order_id=None if body.order_id is None else str(body.order_id),
        text=_said(body.text),
    )
    return await _moved(services, call.covers(body), action, 201)


@routes.get("/v1/tickets", Policy(roles=(*_PEOPLE, *DESK)), TicketPage)
async def tickets(
    principal: Me,
    services: Parts,
    rows: Rows,
    status: Annotated[list[TicketStatus] | None, Query(description="Any of these.")] = None,
    subject: Annotated[list[TicketSubject] | None, Query(description="Any of these.")] = None,
    order_id: Annotated[UUID | None, Query(description="About this order.")] = None,
    assignee_id: Annotated[UUID | None, Query(description="That this account sees to.")] = None,
) -> Response:
    """Your tickets, newest first; support's people see all."""
    owner_id = None if principal.role in DESK else principal.id
    found, cursor = await listed(
        services,
        "ticket",
        owner_id,
        rows,
        _view,
        status=status or (),
        subject=subject or (),
        order_id=(str(order_id),) if order_id else (),
        assignee_id=(str(assignee_id),) if assignee_id else (),
    )
    return json_response(TicketPage(found, cursor))


@routes.get("/v1/tickets/{ticket_id}", _READ, TicketView)
async def read(ticket_id: Uid, principal: Me, services: Parts) -> Response:
    """One ticket. The ETag is its version, for If-Match."""
    view = _view(await _ticket(services, principal, str(ticket_id)))
    return json_response(view, headers=etag(view.version))


@routes.get("/v1/tickets/{ticket_id}/messages", _READ, MessagePage)
async def messages(ticket_id: Uid, principal: Me, services: Parts, rows: Rows) -> Response:
    """What was written, newest first."""
    await _ticket(services, principal, str(ticket_id))

    def view(message: Message) -> MessageView:
        is_named = principal.role in DESK or message.author_role not in DESK
        return MessageView(
            id=message.message_id,
            author_id=message.author_id if is_named else None,
            author_role=message.author_role if is_named else Role.SUPPORT,
            at=instant(message.created_ms),
            text=message.text,
        )

    found, cursor = await listed(services, "ticket_message", None, rows, view, ticket_id=(str(ticket_id),))
    return json_response(MessagePage(found, cursor))


@routes.post(
    "/v1/tickets/{ticket_id}/messages",
    Policy(roles=(*_PEOPLE, *DESK), owner="ticket_id", key=Need.MUST),
    WrittenView,
    status=201,
    refuses=("WRONG_STATE", "LIMIT_REACHED"),
)
async def write(ticket_id: Uid, body: NewMessage, _: Me, call: Mutation, services: Parts) -> Response:
    """Write more. A ticket that was solved is open again; one that is closed stays so."""
    message_id = services.new_id()
    action = WriteMessage(ticket_id=str(ticket_id), message_id=message_id, text=_said(body.text))

    def view(ticket: Ticket) -> WrittenView:
        return WrittenView(message_id, ticket.ticket_id, ticket.version, ticket.status)

    after = await carry_out(services, call.covers(body), action, view, WrittenView)
    return shown(after.view, after.replayed, 201, version=after.view.version)


@routes.delete(
    "/v1/tickets/{ticket_id}/messages/{message_id}",
    Policy(roles=(*_PEOPLE, *DESK), owner="message_id", key=Need.MAY),
    status=204,
)
async def erase(ticket_id: Uid, message_id: Uid, principal: Me, call: Mutation, services: Parts) -> Response:
    """Forget for good what you wrote, or, as support, what anybody did."""
    await _ticket(services, principal, str(ticket_id))
    action = EraseMessage(message_id=str(message_id))
    await carry_out(services, call, action, lambda message: _Erased(message.message_id), _Erased)
    return Response(status_code=204)


@routes.post(
    "/v1/tickets/{ticket_id}/status",
    Policy(roles=(*_PEOPLE, *DESK), owner="ticket_id", key=Need.MUST, version=Need.MUST),
    TicketView,
    refuses=("WRONG_STATE",),
)
async def end(ticket_id: Uid, body: EndTicket, _: Me, call: Mutation, services: Parts) -> Response:
    """Say that it is solved, or close it for good."""
    action = MoveTicket(ticket_id=str(ticket_id), event=_ENDS[body.action])
    return await _moved(services, call.covers(body), action)


@routes.put(
    "/v1/tickets/{ticket_id}/assignee",
    Policy(roles=DESK, owner="ticket_id", key=Need.MAY, version=Need.MUST),
    TicketView,
    refuses=("WRONG_STATE", "INVALID_REQUEST"),
)
async def assign(ticket_id: Uid, body: Assignee, _: Me, call: Mutation, services: Parts) -> Response:
    """Say who of support sees to it."""
    assignee_id = None if body.assignee_id is None else str(body.assignee_id)
    if assignee_id is not None:
        user = await services.reads.user(assignee_id)
        if user is None or user.role not in DESK or user.disabled_ms is not None:
            raise InvalidRequest("Only support's people see to tickets.")
    action = AssignTicket(ticket_id=str(ticket_id), assignee_id=assignee_id)
    return await _moved(services, call.covers(body), action)


async def _ticket(services: Services, principal: Principal, ticket_id: str) -> Ticket:
    owner_id = None if principal.role in DESK else principal.id
    found: Ticket | None = await services.marketplace.find("ticket", ticket_id, owner_id)
    if found is None:
        raise NotFound("There is no such ticket.")
    return found


async def _moved(
    services: Services,
    call: Call,
    action: OpenTicket | MoveTicket | AssignTicket,
    status: int = 200,
) -> Response:
    after = await carry_out(services, call, action, _view, TicketView)
    return shown(after.view, after.replayed, status, version=after.view.version)


def _said(text: str) -> str:
    if not text:
        raise InvalidRequest("Say something.")
    return text


def _view(ticket: Ticket) -> TicketView:
    return TicketView(
        id=ticket.ticket_id,
        version=ticket.version,
        status=ticket.status,
        subject=ticket.subject,
        order_id=ticket.order_id,
        opener_id=ticket.opener_id,
        opener_role=ticket.opener_role,
        assignee_id=ticket.assignee_id,
        created_at=instant(ticket.created_ms),
        updated_at=instant(ticket.updated_ms),
    )
