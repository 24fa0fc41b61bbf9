"""What the core asks of the outside, as Protocols, implemented in `integrations/`, `persistence/` and `actors/`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Protocol, TypeAlias

from msgspec import Struct

from domain.arrays import F64
from domain.order import OrderCommand
from domain.records import OutboxEvent, Outcome, RegionImage, RegionRecords

Command: TypeAlias = OrderCommand | RegionRecords


class Channel(StrEnum):
    """Who an outbox event is for. Apart, so that a bus or a vendor that is down holds up nothing else."""

    BUS = "bus"  # one event per dossier event, for the outside
    TASKS = "tasks"  # `task.opened`, for the region
    PAYMENTS = "payments"  # `payment.settle`, when an order has come to its end


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


class Store(RegionStore, Protocol):
    """Hard state, and the events that were committed with it."""

    async def outbox_batch(
        self, channel: Channel, limit: int, without: Collection[str] = ()
    ) -> list[OutboxEvent]:
        """Committed events of a channel that were not marked as done, oldest first; none of the regions `without`."""
        ...

    async def outbox_done(self, event_ids: Sequence[int]) -> None:
        """Mark events as published or worked off."""
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
        """Give all leases of the holder back."""
        ...


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    REVIEW = "review"  # a person must look: not a pass


class AgeResult(Struct, frozen=True):
    """The outcome of an age check at checkout; `vendor_ref` is the vendor's token for its evidence."""

    verdict: Verdict
    vendor_ref: str


class IdResult(Struct, frozen=True):
    """The outcome of an ID check at the door. Flags only; `verdict` is REVIEW when the vendor is not sure."""

    verdict: Verdict
    over_age: bool
    not_expired: bool
    name_matches: bool
    vendor_ref: str


class VendorError(Exception):
    """The vendor failed or did not answer in time."""


class IdentityVendor(Protocol):
    async def verify_age(self, *, request_id: str, vendor_token: str, min_age: int) -> AgeResult:
        """`VendorError` on failure. `request_id` makes a repeat harmless."""
        ...

    async def check_id(self, *, request_id: str, vendor_token: str, min_age: int) -> IdResult:
        """`VendorError` on failure."""
        ...


class PaymentResult(Struct, frozen=True):
    """`ok` False means declined; `vendor_ref` names the payment at the vendor."""

    ok: bool
    vendor_ref: str


class PaymentVendor(Protocol):
    async def authorize(self, *, request_id: str, amount_cents: int, vendor_token: str) -> PaymentResult: ...

    async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult: ...

    async def void(self, *, request_id: str, vendor_ref: str) -> PaymentResult: ...


class EventBus(Protocol):
    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        """At least once; raises when it is not known that all are out."""
        ...


class RoadMatrix(Struct, frozen=True):
    """Driving times and road distances from n sources to m targets, both n x m; NaN where no road leads."""

    seconds: F64
    metres: F64


class RoadRoute(Struct, frozen=True):
    """A drive along `line`, a list of latitude and longitude in degrees; `engine` names who worked it out."""

    engine: str
    duration_s: float
    distance_m: float
    line: tuple[tuple[float, float], ...]


class RoadRouter(Protocol):
    """A road engine. Its methods block, and may be called from any thread."""

    def matrix(self, sources: F64, targets: F64) -> RoadMatrix:
        """From each of n sources (n x 2: latitude, longitude) to each of m targets. `VendorError` on failure."""
        ...

    def route(self, points: Sequence[tuple[float, float]]) -> RoadRoute | None:
        """The drive through at least two points in their order; None when no road leads. `VendorError` on failure."""
        ...
