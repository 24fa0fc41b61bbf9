"""What the gateway asks of the actors and of the database, as Protocols: routes and sockets know nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

from domain.marketplace.accounts import User
from domain.marketplace.change import Carried, Command
from domain.marketplace.drivers import Standing
from domain.marketplace.party import Membership
from domain.marketplace.products import Product
from domain.marketplace.stores import Store
from domain.orders.commands import OrderCommand
from domain.orders.dossier import Entry
from domain.orders.lifecycle import OfferStatus, OrderStatus, TaskStatus
from domain.orders.records import Answer, Json, OfferRow, StoredAnswer, TaskRow
from domain.region.messages import Acked, Ask, Attach, Attached, Detach, DriversSeen, OfferSeenBy
from domain.region.ops.frames import DriverLine, DriversAsked, OpsFrame
from domain.solve import Explanation
from persistence.marketplace.statements import Statements
from persistence.reads.reports import Reports
from persistence.reads.views import (
    AssignmentPage,
    Cursor,
    DriverWork,
    Holder,
    OfferCursor,
    OfferPage,
    OrderNote,
    OrderPage,
    OrderRow,
    TaskCursor,
    TaskPage,
)

V = TypeVar("V")

Notice: TypeAlias = Detach | Acked | OfferSeenBy


class Backend(Protocol):
    """The deciders. Every call may raise `RegionUnavailable` or `Overloaded`; a repeat with the same id is harmless."""

    async def decide(self, command: OrderCommand) -> Answer:
        """The rows' decision; its code is `DECIDER_MOVED` when the order's region has to be asked."""
        ...

    async def ask(self, region_id: str, ask: Ask) -> Answer:
        """The region's decision."""
        ...

    def submit(self, region_id: str, ask: Ask, done: Callable[[Answer | Exception], None]) -> None:
        """The same for a caller who does not wait: `done` gets what `ask` would return or raise, as soon as it is
        known. `Overloaded` is raised here."""
        ...

    async def attach(self, region_id: str, attach: Attach) -> Attached:
        """Tell the region where the driver's socket is."""
        ...

    def notify(self, region_id: str, notice: Notice) -> None:
        """Tell the region, in order with the rest, without an answer. Dropped when the region is overloaded."""
        ...

    async def seen(self, region_id: str, batch: DriversSeen) -> int:
        """Hand in positions; returns the region's epoch. One attempt."""
        ...

    async def frame(self, region_id: str) -> OpsFrame:
        """The region as mission control shows it. One attempt."""
        ...

    async def stats(self, region_id: str) -> dict[str, Json]:
        """The region's numbers. One attempt."""
        ...

    async def drivers(self, region_id: str, asked: DriversAsked) -> list[DriverLine]:
        """Drivers as the region knows them. One attempt."""
        ...

    async def answers(self, part: str) -> None:
        """Ask the part of this name whether it serves; raises when it does not say so. One attempt."""
        ...


class Marketplace(Protocol):
    """Every change of the marketplace's records."""

    @property
    def statements(self) -> Statements:
        """What merchants and drivers read of the ledger."""
        ...

    async def carry_out(self, command: Command, show: Callable[[Any], V], view: type[V]) -> Carried[V]:
        """Carry the command out, or give the first answer to its claim. `show` makes what is answered of what was
        decided. Raises the refusal of it; then nothing was written."""
        ...

    async def find(self, aggregate: str, record_id: str, owner_id: str | None = None) -> Any:
        """A record of this name, if it is there and this owner's (None: anybody's); None otherwise."""
        ...

    async def page(
        self,
        aggregate: str,
        owner_id: str | None,
        after: tuple[int, str] | None,
        limit: int,
        where: Mapping[str, Collection[Any]] | None = None,
    ) -> list[Any]:
        """Records newest first, of this owner (None: of all), `after` the time and id of the last one before; one more
        than the `limit`, if there is one. `where`: columns and the values of which each has one."""
        ...


class ReadSide(Protocol):
    """What the gateway reads of the database."""

    @property
    def reports(self) -> Reports:
        """Lists and sums over many rows."""
        ...

    async def user(self, user_id: str) -> User | None: ...

    async def user_by_email(self, email: str) -> User | None: ...

    async def revoked(self, holders: Collection[Holder]) -> set[Holder]:
        """Those whose account is gone or disabled, or has another role or another version of tokens by now."""
        ...

    async def members(self, user_ids: Collection[str]) -> dict[str, Membership]:
        """Whom these accounts work for; those who work for no merchant are missing."""

    async def standings(self, driver_ids: Collection[str]) -> dict[str, Standing]:
        """How the applications of these drivers stand; who never applied is missing."""
        ...

    async def store(self, store_id: str) -> Store | None: ...

    async def sells(self, merchant_id: str) -> bool:
        """Whether the merchant is approved."""
        ...

    async def stores(
        self, *, merchant_id: str | None = None, region_id: str | None = None
    ) -> list[Store]: ...

    async def products(self, store_id: str) -> list[Product]: ...

    async def order(self, order_id: str) -> OrderRow | None: ...

    async def orders(
        self,
        *,
        customer_id: str | None = None,
        merchant_id: str | None = None,
        driver_id: str | None = None,
        region_id: str | None = None,
        status: Collection[OrderStatus] = (),
        from_ms: int | None = None,
        before_ms: int | None = None,
        cursor: Cursor | None = None,
        limit: int = 50,
    ) -> OrderPage:
        """Newest first; `from_ms` <= created < `before_ms`."""
        ...

    async def dossier(self, order_id: str) -> list[Entry]:
        """Oldest first; empty when there is no such order."""
        ...

    async def add_note(self, note: OrderNote) -> None:
        """Keep it, unless its author has left one beside this kind of step."""
        ...

    async def notes(self, order_id: str) -> list[OrderNote]:
        """Oldest first."""
        ...

    async def erase_note(self, note_id: str) -> None: ...

    async def task(self, task_id: str) -> TaskRow | None: ...

    async def tasks(
        self,
        *,
        region_id: str | None = None,
        driver_id: str | None = None,
        order_id: str | None = None,
        status: Collection[TaskStatus] = (),
        cursor: TaskCursor | None = None,
        limit: int = 50,
    ) -> TaskPage:
        """Newest first."""
        ...

    async def assignments(
        self,
        *,
        region_id: str | None = None,
        driver_id: str | None = None,
        active: bool | None = None,
        cursor: OfferCursor | None = None,
        limit: int = 50,
    ) -> AssignmentPage:
        """Offers that were taken, newest first; `active`: those of which a task is still under way, or the others."""
        ...

    async def holder_of(self, order_id: str) -> str | None:
        """Who holds the order's delivery, or its return, now."""
        ...

    async def offer(self, offer_id: str) -> OfferRow | None: ...

    async def offers(
        self,
        *,
        region_id: str | None = None,
        status: Collection[OfferStatus] = (),
        from_ms: int | None = None,
        before_ms: int | None = None,
        cursor: OfferCursor | None = None,
        limit: int = 50,
    ) -> OfferPage:
        """Newest first; `from_ms` <= made < `before_ms`."""
        ...

    async def explanation(self, offer_id: str) -> Explanation | None:
        """Why the offer was made as it was, while that is kept."""
        ...

    async def driver_snapshot(self, driver_id: str) -> DriverWork: ...

    async def driver_region(self, driver_id: str) -> str | None:
        """Where the driver holds a task or has an open offer."""
        ...

    async def stored_answer(self, scope: str, key: str) -> StoredAnswer | None: ...

    async def regions(self) -> dict[str, int]:
        """The regions that were ever opened, with their epochs."""
        ...
