"""What the core asks of the outside, as Protocols, implemented in `integrations/`, `persistence/` and `actors/`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Protocol, TypeAlias

from msgspec import Struct

from domain.ground.arrays import F64
from domain.orders.decide import OrderCommand
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
    """Every request is named by what it is for: the same name with the same content has the same outcome and moves
    money once; with other content it is a `VendorError`."""

    async def authorize(self, *, request_id: str, amount_cents: int, vendor_token: str) -> PaymentResult:
        """Put a hold on the money."""
        ...

    async def capture(self, *, request_id: str, vendor_ref: str, amount_cents: int) -> PaymentResult:
        """Take what is held, or less."""
        ...

    async def void(self, *, request_id: str, vendor_ref: str) -> PaymentResult:
        """Let a hold go."""
        ...

    async def release(self, *, request_id: str) -> PaymentResult:
        """Let go whatever was granted to the authorization of this name. One that comes later is a `VendorError`."""
        ...


class EventsRefused(Exception):
    """These events cannot go out as they are: `reasons` by event. All others of the batch are out, but for what comes
    after one of these of the same aggregate."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__(f"{len(reasons)} events")
        self.reasons = reasons


class EventBus(Protocol):
    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        """Events of one region, in this order, at least once. `EventsRefused` for some of them; anything else that is
        raised: it is not known which are out."""
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
