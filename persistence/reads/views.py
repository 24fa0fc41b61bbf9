"""What the read queries give back."""

from __future__ import annotations

from msgspec import Struct

from domain.orders.lifecycle import Role
from domain.orders.records import OfferRow, TaskRow
from domain.orders.state import OrderState


class Holder(Struct, frozen=True):
    """Whose token it is, by the token's own word."""

    user_id: str
    role: Role
    version: int


class OrderNote(Struct, frozen=True, kw_only=True):
    """What somebody typed beside a step of an order; `about`: the kind of step. One of an author for each kind."""

    note_id: str
    order_id: str
    author_id: str
    author_role: str
    about: str
    at_ms: int
    text: str


class OrderRow(OrderState, frozen=True, kw_only=True):
    """An order with its items, when it last changed, and the head of its dossier."""

    updated_ms: int
    dossier_seq: int
    dossier_hash: bytes


class Cursor(Struct, frozen=True):
    """The last order of a page: the next page starts after it."""

    created_ms: int
    order_id: str


class OrderPage(Struct, frozen=True):
    """Orders newest first; `next` is None on the last page."""

    orders: list[OrderRow]
    next: Cursor | None


class OfferCursor(Struct, frozen=True):
    """The last offer of a page: the next page starts after it."""

    made_ms: int
    offer_id: str


class OfferPage(Struct, frozen=True):
    """Offers newest first; `next` is None on the last page."""

    offers: list[OfferRow]
    next: OfferCursor | None


class TaskCursor(Struct, frozen=True):
    """The last task of a page: the next page starts after it."""

    opened_ms: int
    task_id: str


class TaskPage(Struct, frozen=True):
    """Tasks newest first; `next` is None on the last page."""

    tasks: list[TaskRow]
    next: TaskCursor | None


class AssignmentPage(Struct, frozen=True):
    """Offers that were taken, newest first, with their tasks as far as they are there; `next` is None on the last
    page."""

    offers: list[OfferRow]
    tasks: dict[str, TaskRow]
    next: OfferCursor | None


class DriverWork(Struct, frozen=True):
    """A driver's open offers with the tasks that they offer, and the tasks that the driver holds. `last_n`: the
    greatest number that the driver's devices gave a step of their orders, 0 for none."""

    offers: list[OfferRow]
    offered_tasks: list[TaskRow]
    tasks: list[TaskRow]
    last_n: int = 0


class Waiting(Struct, frozen=True):
    """Committed events of one outbox channel that were not handed on: how many, up to `backlog.COUNT_LIMIT`, and the
    oldest's time on the server's clock."""

    rows: int = 0
    oldest_ms: int | None = None
    dead: int = 0  # that are tried no more, not among them


class Backlog(Struct, frozen=True):
    """What waits by channel, and the bytes that the database takes on disk."""

    channels: dict[str, Waiting]
    database_bytes: int
