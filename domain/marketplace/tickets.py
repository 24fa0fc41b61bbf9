"""Support tickets: what somebody has to say about an order, an account or anything else, and what comes of it.

What may come after what is a table (`TICKET`). What people write stands in messages, which can be erased; a ticket
itself holds codes and ids.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import Forbidden, LimitReached, WrongState
from domain.marketplace.change import Command, Decision
from domain.orders.lifecycle import Role

MESSAGE_LIMIT = 4_000  # characters
TICKETS_LIMIT, MESSAGES_LIMIT = 500, 200  # of a person, of a ticket; erased ones among them


class TicketSubject(StrEnum):
    """What it is about."""

    ORDER_LATE = "ORDER_LATE"
    ORDER_WRONG = "ORDER_WRONG"
    GOODS_DAMAGED = "GOODS_DAMAGED"
    REFUND = "REFUND"
    PAYMENT = "PAYMENT"
    PAYOUT = "PAYOUT"
    AGE_CHECK = "AGE_CHECK"
    ACCOUNT = "ACCOUNT"
    STORE = "STORE"
    SAFETY = "SAFETY"
    OTHER = "OTHER"


class TicketStatus(StrEnum):
    """Whose turn it is."""

    OPEN = "OPEN"  # support's
    WAITING = "WAITING"  # whoever opened it
    SOLVED = "SOLVED"  # nobody's, unless whoever opened it sees it otherwise
    CLOSED = "CLOSED"


class TicketEvent(StrEnum):
    """What becomes of a ticket; others are told by these words, in lower case."""

    ANSWERED = "ANSWERED"  # by whoever opened it
    REPLIED = "REPLIED"  # by support
    SOLVED = "SOLVED"
    CLOSED = "CLOSED"


class Edge(NamedTuple):
    """One step of a ticket's life: where it leads, and whose step it is."""

    to: TicketStatus
    roles: frozenset[Role]


_S, _E = TicketStatus, TicketEvent
_PEOPLE = frozenset({Role.CUSTOMER, Role.MERCHANT, Role.DRIVER})
_DESK = frozenset({Role.SUPPORT, Role.DISPATCHER, Role.ADMIN})

# fmt: off
TICKET: dict[tuple[TicketStatus, TicketEvent], Edge] = {
    (_S.OPEN,    _E.ANSWERED): Edge(_S.OPEN, _PEOPLE),
    (_S.OPEN,    _E.REPLIED):  Edge(_S.WAITING, _DESK),
    (_S.OPEN,    _E.SOLVED):   Edge(_S.SOLVED, _DESK),
    (_S.OPEN,    _E.CLOSED):   Edge(_S.CLOSED, _PEOPLE | _DESK),
    (_S.WAITING, _E.ANSWERED): Edge(_S.OPEN, _PEOPLE),
    (_S.WAITING, _E.REPLIED):  Edge(_S.WAITING, _DESK),
    (_S.WAITING, _E.SOLVED):   Edge(_S.SOLVED, _DESK),
    (_S.WAITING, _E.CLOSED):   Edge(_S.CLOSED, _PEOPLE | _DESK),
    (_S.SOLVED,  _E.ANSWERED): Edge(_S.OPEN, _PEOPLE),
    (_S.SOLVED,  _E.REPLIED):  Edge(_S.WAITING, _DESK),
    (_S.SOLVED,  _E.CLOSED):   Edge(_S.CLOSED, _PEOPLE | _DESK),
}
# fmt: on


class Ticket(Struct, frozen=True, kw_only=True):
    """A ticket. `order_id`: the order it is about, if it is about one; `assignee_id`: who of support sees to it;
    `messages`: how many were written."""

    ticket_id: str
    opener_id: str
    opener_role: Role
    subject: TicketSubject
    created_ms: int
    updated_ms: int
    order_id: str | None = None
    status: TicketStatus = TicketStatus.OPEN
    assignee_id: str | None = None
    messages: int = 1
    version: int = 1


class Message(Struct, frozen=True, kw_only=True):
    """What somebody wrote."""

    message_id: str
    ticket_id: str
    author_id: str
    author_role: Role
    created_ms: int
    text: str


class OpenTicket(Struct, frozen=True, kw_only=True):
    """A new ticket of the actor, with its first message."""

    ticket_id: str
    message_id: str
    subject: TicketSubject
    order_id: str | None
    text: str


class WriteMessage(Struct, frozen=True, kw_only=True):
    """One more message, of whoever opened it or of support."""

    ticket_id: str
    message_id: str
    text: str


class EraseMessage(Struct, frozen=True, kw_only=True):
    """Forget what somebody wrote, for good."""

    message_id: str


class MoveTicket(Struct, frozen=True, kw_only=True):
    """It is solved, or closed."""

    ticket_id: str
    event: TicketEvent


class AssignTicket(Struct, frozen=True, kw_only=True):
    """Who sees to it; None for nobody."""

    ticket_id: str
    assignee_id: str | None


def open_ticket(action: OpenTicket, before: None, command: Command) -> Decision:
    """Whoever opens it writes why."""
    ticket = Ticket(
        ticket_id=action.ticket_id,
        opener_id=command.actor_id,
        opener_role=command.role,
        subject=action.subject,
        created_ms=command.at_ms,
        updated_ms=command.at_ms,
        order_id=action.order_id,
    )
    message = _message(action.message_id, action.ticket_id, action.text, command)
    return Decision(shown=ticket, new=(ticket, message), event="opened")


def write_message(action: WriteMessage, before: Ticket, command: Command) -> Decision:
    """It is the other side's turn then."""
    event = TicketEvent.ANSWERED if command.role in _PEOPLE else TicketEvent.REPLIED
    if before.messages >= MESSAGES_LIMIT:
        raise LimitReached()
    after = _moved(before, event, command)
    after = replace(after, messages=before.messages + 1)
    message = _message(action.message_id, action.ticket_id, action.text, command)
    return Decision(shown=after, new=(message,), changed=after, event=event.lower())


def erase_message(action: EraseMessage, before: Message, command: Command) -> Decision:
    """The row goes: nothing of it is kept."""
    return Decision(shown=before, removed=before, event="erased")


def move_ticket(action: MoveTicket, before: Ticket, command: Command) -> Decision:
    """The step by the table."""
    after = _moved(before, action.event, command)
    return Decision(shown=after, changed=after, event=action.event.lower())


def assign_ticket(action: AssignTicket, before: Ticket, command: Command) -> Decision:
    """`WrongState` for one that is closed."""
    if before.status is TicketStatus.CLOSED:
        raise WrongState("The ticket is CLOSED.")
    after = replace(before, assignee_id=action.assignee_id)
    return Decision(shown=after, changed=after, event="assigned")


def _moved(before: Ticket, event: TicketEvent, command: Command) -> Ticket:
    edge = TICKET.get((before.status, event))
    if edge is None:
        raise WrongState(f"'{event}' is not possible while the ticket is {before.status}.")
    if command.role not in edge.roles:
        raise Forbidden(f"'{event}' belongs to: {', '.join(sorted(edge.roles))}.")
    return replace(before, status=edge.to, updated_ms=command.at_ms)


def _message(message_id: str, ticket_id: str, text: str, command: Command) -> Message:
    return Message(
        message_id=message_id,
        ticket_id=ticket_id,
        author_id=command.actor_id,
        author_role=command.role,
        created_ms=command.at_ms,
        text=text,
    )
