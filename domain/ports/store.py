"""Hard state."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Protocol, TypeAlias

from domain.orders.commands import OrderCommand
from domain.orders.records import NotTaken, OutboxEvent, Outcome, RegionImage, RegionRecords

Command: TypeAlias = OrderCommand | RegionRecords


class Channel(StrEnum):
    """Who an outbox event is for. Apart, so that a bus or a vendor that is down holds up nothing else."""

    BUS = "bus"  # one event per dossier event, for the outside
    TASKS = "tasks"  # `task.opened`, for the region
    PAYMENTS = "payments"  # `payment.settle`, when an order has come to its end


IN_ORDER = frozenset(
    {Channel.BUS}
)  # an aggregate's events go out one after the other, whatever becomes of each


class RegionStore(Protocol):
    """Hard state as a region needs it."""

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        """Carry out each command for itself; one outcome each, in order. Raises when nothing is known to be durable.

        One transaction: state, dossier, offer log, outbox and idempotency rows together.
        """
        ...

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        """Take the region's next epoch (fencing every earlier one) and load its hard state."""
        ...

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        """Its hard state as it stands, for a look: no epoch is taken, and the image's is 0."""
        ...


class Store(RegionStore, Protocol):
    """Hard state, and the events that were committed with it."""

    async def outbox_batch(
        self,
        channel: Channel,
        limit: int,
        without: Collection[str] = (),
        under_way: Collection[int] = (),
    ) -> list[OutboxEvent]:
        """Committed events of a channel that are neither done nor dead letters, oldest first: of each region at most
        `limit` that were not tried yet and as many whose time for another try has come, so that no region's pile, and
        no pile of failures, holds up the rest. None of the regions `without`, none of the events `under_way`. Where the
        channel keeps order (`IN_ORDER`), nothing of an aggregate that has an earlier event which was not taken."""
        ...

    async def outbox_done(self, event_ids: Sequence[int]) -> None:
        """Mark events as published or worked off."""
        ...

    async def outbox_not_taken(self, events: Sequence[NotTaken]) -> None:
        """Count a try of each, and note when the next one is due or that there is none."""
        ...

    async def open_payments(self, before_ms: int, limit: int) -> list[tuple[str, int]]:
        """Order and number of authorizations that are open since before `before_ms`, at most `limit`, oldest first."""
        ...

    async def sweep(self, before_ms: int, explained_before_ms: int, limit: int) -> int:
        """Forget at most `limit` answers older than `before_ms`, as many explanations of offers made before
        `explained_before_ms`, and as many events done long ago; returns how many."""
        ...

    async def retire(self, over_before_ms: int, offers_before_ms: int | None, limit: int) -> int:
        """Add what was over before `over_before_ms` to the regions' totals, then forget at most `limit` offers that are
        in the totals and were made before `offers_before_ms` (None: none at all); returns how many.

        Nothing may be committed later that was over before `over_before_ms`.
        """
        ...

    async def lease(self, name: str, holder: str, for_s: float) -> bool:
        """Take or renew the lease of a work that one should do at a time, for so much wall time; False when somebody
        else has it."""
        ...

    async def release(self, holder: str) -> None:
        """Give all leases of the holder back, and of those whose names begin with its name and a slash."""
        ...
