"""What the read queries give back."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import VersionMismatch
from domain.orders.decide import OrderState
from domain.orders.hours import Hours
from domain.orders.lifecycle import Role
from domain.orders.records import OfferRow, StoredAnswer, TaskRow


class AnswerKept(Exception):
    """A change was asked for under a key that has its first answer already: nothing was changed."""

    def __init__(self, first: StoredAnswer) -> None:
        super().__init__("the key has its answer")
        self.first = first


class User(Struct, frozen=True, kw_only=True):
    """An account; `email` in lower case. A user of role merchant is the merchant."""

    user_id: str
    email: str
    password_hash: str
    role: Role
    name: str
    created_ms: int
    token_version: int = 1  # of the tokens that are good; a higher one takes back those of before
    disabled_ms: int | None = None


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


class Store(Struct, frozen=True, kw_only=True):
    """A merchant's store. `version` rises with each change of its hours."""

    store_id: str
    merchant_id: str
    region_id: str
    name: str
    lat: float
    lng: float
    address: str
    hours: Hours = None
    version: int = 1


def with_hours(store: Store, hours: Hours, if_match: tuple[int, ...] | None) -> Store:
    """The store with these hours at its next version, or as it is when it has them already (a repeat then finds it
    done). `VersionMismatch` when the client has seen another version than this one."""
    if store.hours == hours:
        return store
    if if_match is not None and store.version not in if_match:
        raise VersionMismatch(f"The store is at version {store.version}.")
    return replace(store, hours=hours, version=store.version + 1)


class Product(Struct, frozen=True, kw_only=True):
    """Something a store sells; the category decides the age it asks for."""

    product_id: str
    store_id: str
    name: str
    category: str
    price_cents: int


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
