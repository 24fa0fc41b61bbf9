"""Support tickets and their messages."""

from __future__ import annotations

from functools import partial

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from domain.errors import NotFound
from domain.marketplace.tickets import (
    MESSAGE_LIMIT,
    MESSAGES_LIMIT,
    TICKETS_LIMIT,
    AssignTicket,
    EraseMessage,
    Message,
    MoveTicket,
    OpenTicket,
    Ticket,
    TicketStatus,
    TicketSubject,
    WriteMessage,
    assign_ticket,
    erase_message,
    move_ticket,
    open_ticket,
    write_message,
)
from persistence.marketplace.kind import Kind, Step
from persistence.reads.queries import table_of
from persistence.tables.base import Base, Uid, one_of


class TicketRow(Base):
    """`domain.marketplace.tickets.Ticket`."""

    __tablename__ = "tickets"
    ticket_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    opener_id: Mapped[str] = mapped_column(Uid, ForeignKey("users.user_id"))
    opener_role: Mapped[str]
    subject: Mapped[str]
    created_ms: Mapped[int]
    updated_ms: Mapped[int]
    order_id: Mapped[str | None] = mapped_column(Uid, ForeignKey("orders.order_id"))
    status: Mapped[str]
    assignee_id: Mapped[str | None] = mapped_column(Uid, ForeignKey("users.user_id"))
    messages: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        one_of("subject", TicketSubject),
        one_of("status", TicketStatus),
        CheckConstraint(f"messages BETWEEN 1 AND {MESSAGES_LIMIT}", name="messages"),
        CheckConstraint("version > 0", name="version"),
        Index("ix_tickets_opener", "opener_id", "created_ms", "ticket_id"),
        Index("ix_tickets_status", "status", "created_ms", "ticket_id"),
        Index("ix_tickets_created", "created_ms", "ticket_id"),
        Index("ix_tickets_order", "order_id"),
    )


class TicketMessageRow(Base):
    """`domain.marketplace.tickets.Message`. May be erased."""

    __tablename__ = "ticket_messages"
    message_id: Mapped[str] = mapped_column(Uid, primary_key=True)
    ticket_id: Mapped[str] = mapped_column(Uid, ForeignKey("tickets.ticket_id"))
    author_id: Mapped[str] = mapped_column(Uid)
    author_role: Mapped[str]
    created_ms: Mapped[int]
    text: Mapped[str]
    __table_args__ = (
        CheckConstraint(f"length(text) BETWEEN 1 AND {MESSAGE_LIMIT}", name="text"),
        Index("ix_ticket_messages_ticket", "ticket_id", "created_ms", "message_id"),
    )


TICKETS = Kind(
    aggregate="ticket",
    table=table_of(TicketRow),
    record=Ticket,
    owner="opener_id",
    changes=("status", "assignee_id", "updated_ms", "messages"),
    quota=TICKETS_LIMIT,
    missing="There is no such ticket.",
    refusals={
        "fk_tickets_order_id": partial(NotFound, "There is no such order."),
        "fk_tickets_assignee_id": partial(NotFound, "There is no such account."),
    },
)
MESSAGES = Kind(
    aggregate="ticket_message",
    table=table_of(TicketMessageRow),
    record=Message,
    owner="author_id",
    changes=("text",),  # never: a row that is erased is locked first, which wants the right to some column
    erasable=True,
    missing="There is no such message.",
)
STEPS = {
    OpenTicket: Step(decide=open_ticket, kind=TICKETS),
    WriteMessage: Step(decide=write_message, kind=TICKETS, on=TICKETS),
    MoveTicket: Step(decide=move_ticket, kind=TICKETS, on=TICKETS),
    AssignTicket: Step(decide=assign_ticket, kind=TICKETS, on=TICKETS),
    EraseMessage: Step(decide=erase_message, kind=MESSAGES, on=MESSAGES),
}
