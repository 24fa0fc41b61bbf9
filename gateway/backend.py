"""What the gateway asks of the actors and of the database, as Protocols: routes and sockets know nothing else."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from domain.messages import Acked, Ask, Attach, Attached, Detach, DriversSeen, OfferSeenBy
from domain.ops import OpsFrame
from domain.order import OrderCommand
from domain.records import Answer, Json

Notice: TypeAlias = Detach | Acked | OfferSeenBy


class Backend(Protocol):
    """The deciders. Every call may raise `RegionUnavailable` or `Overloaded`; a repeat with the same id is harmless."""

    async def decide(self, command: OrderCommand) -> Answer:
        """The rows' decision; its code is `DECIDER_MOVED` when the order's region has to be asked."""
        ...

    async def ask(self, region_id: str, ask: Ask) -> Answer:
        """The region's decision."""
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
