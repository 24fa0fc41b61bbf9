"""The facts that are made durable, and what a store gives back.

Times are integer milliseconds since the Unix epoch on the server's clock (`*_ms`), coordinates WGS84 degrees, ids UUID
strings (a region's id is a short name such as `tx-dfw`), money integer cents.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeAlias

from msgspec import Struct, field

from domain.orders.lifecycle import OfferStatus, OrderEvent, OrderStatus, Role, TaskKind, TaskStatus
from domain.solve import Explanation

Json: TypeAlias = Any  # a JSON value; dossier payloads hold no floats (see domain.orders.dossier)


class TaskRow(Struct, frozen=True, kw_only=True):
    """One delivery or return to be driven, as stored. For a return, pick-up is the customer's door."""

    task_id: str
    order_id: str
    region_id: str
    kind: TaskKind
    status: TaskStatus
    store_id: str
    pickup_lat: float
    pickup_lng: float
    dropoff_lat: float
    dropoff_lng: float
    dropoff_address: str
    min_age: int
    opened_ms: int
    ready_ms: int
    due_ms: int
    driver_id: str | None = None
    offer_id: str | None = None
    ended_ms: int | None = None
    arrived_ms: int | None = None  # at the stop where the driver is
    closes_ms: int | None = None  # the store takes refused goods back until then


class OfferRow(Struct, frozen=True, kw_only=True):
    """One offer with its outcome and the features it was made on: a row of the offer log."""

    offer_id: str
    region_id: str
    driver_id: str
    task_ids: tuple[str, ...]
    status: OfferStatus
    made_ms: int
    expires_ms: int
    features: dict[str, float]
    seen_ms: int | None = None
    closed_ms: int | None = None
    reason: str | None = None
    explanation: Explanation | None = (
        None  # written with the offer, kept for a while, never loaded into a region
    )


class OrderFact(Struct, frozen=True, kw_only=True):
    """One step of an order: the state after it and the dossier event it leaves."""

    order_id: str
    event: OrderEvent
    status: OrderStatus
    at_ms: int
    role: Role
    actor_id: str
    payload: dict[str, Json] = field(default_factory=dict)
    ready_ms: int | None = None  # set when the step moves the order's ready time


class CheckOutcome(StrEnum):
    """What a check of age or ID came to. ASKED: the vendor has not answered yet, or never did."""

    ASKED = "ASKED"
    PASS = "PASS"
    FAIL = "FAIL"
    REVIEW = "REVIEW"  # the vendor could not tell: not a pass
    UNAVAILABLE = "UNAVAILABLE"  # the vendor failed, or did not answer in time


class DoorCheck(Struct, frozen=True, kw_only=True):
    """An ID check at the door: flags and a vendor token, never anything read from the document. Without a clear outcome
    every flag of the vendor is False."""

    check_id: str
    order_id: str
    task_id: str
    driver_id: str
    passed: bool
    over_age: bool
    not_expired: bool
    name_matches: bool
    sober: bool
    method: str
    vendor_ref: str
    at_ms: int
    outcome: CheckOutcome

    @property
    def unclear(self) -> CheckOutcome | None:
        """Why it came to nothing."""
        return None if self.outcome in (CheckOutcome.PASS, CheckOutcome.FAIL) else self.outcome


class AgeAttempt(Struct, frozen=True, kw_only=True):
    """A customer's try at an age check at checkout. It is on record before the vendor is asked."""

    attempt_id: str
    customer_id: str
    order_id: str
    min_age: int
    at_ms: int
    outcome: CheckOutcome = CheckOutcome.ASKED
    vendor_ref: str = ""


class Answer(Struct, frozen=True):
    """What a request got: `code` is None when it was done, else a code of the error catalogue."""

    code: str | None = None
    detail: str = ""
    body: dict[str, Json] = field(default_factory=dict)


class StoredAnswer(Struct, frozen=True, kw_only=True):
    """An idempotency record: the first answer to (scope, key), kept so that a repeat gets the same."""

    scope: str  # principal and route
    key: str
    fingerprint: str  # SHA-256 of the request; another one under the same key is refused
    answer: Answer
    at_ms: int


class Record(Struct, frozen=True, kw_only=True):
    """What one step of a region decided. Applied whole or not at all."""

    record_id: str
    tasks: tuple[TaskRow, ...] = ()
    offers: tuple[OfferRow, ...] = ()
    orders: tuple[OrderFact, ...] = ()
    checks: tuple[DoorCheck, ...] = ()
    answers: tuple[StoredAnswer, ...] = ()


class OrderBrief(Struct, frozen=True, kw_only=True):
    """What a region must know of an order that has a task."""

    order_id: str
    status: OrderStatus
    customer_id: str
    merchant_id: str


class Aside(Struct, frozen=True, kw_only=True):
    """A row of a region that is left out of its memory because it cannot be read or lived with. `table`: the field of
    the image; `row`: as it was, where it could be read; `reason`: the name of an error, for what stands in the row is
    not told."""

    table: str
    row_id: str
    order_id: str | None
    driver_id: str | None
    reason: str
    row: Json = None


class RegionImage(Struct, frozen=True, kw_only=True):
    """A region's hard state as the store has it, together with the epoch that was just taken."""

    region_id: str
    epoch: int
    tasks: tuple[TaskRow, ...] = ()  # not ended
    orders: tuple[OrderBrief, ...] = ()  # of those tasks
    offers: tuple[OfferRow, ...] = ()  # status OFFERED
    recent_offers: tuple[OfferRow, ...] = ()  # closed lately, newest last, bounded
    recent_tasks: tuple[TaskRow, ...] = ()  # ended lately or still to be told of, newest last, bounded
    answers: tuple[StoredAnswer, ...] = ()  # given lately by this region, newest last, bounded
    all_answers: bool = True  # there are no others
    counters: dict[str, int] = field(default_factory=dict)  # see domain.region.ops.frames.COUNTERS
    aside: tuple[Aside, ...] = ()  # rows that could not be read


# -- commands to the store --------------------------------------------------------------------------------------------


class RegionRecords(Struct, frozen=True, tag=True):
    """Facts decided by a region. Refused only for its epoch; a constraint that bites is a bug and names the record."""

    region_id: str
    epoch: int
    records: tuple[Record, ...]


class Done(Struct, frozen=True, tag=True):
    """The command was carried out or answered; `opened` is the task (and its order) that the commit opened, if any."""

    answer: Answer
    opened: tuple[TaskRow, OrderBrief] | None = None


class Fenced(Struct, frozen=True, tag=True):
    """A newer epoch of the region exists: nothing was written."""

    current_epoch: int


class RecordRefused(Struct, frozen=True, tag=True):
    """The database refused this record: nothing of its command was written."""

    record_id: str
    constraint: str


class Held(Struct, frozen=True, tag=True):
    """Somebody holds rows locked that these records (or the command, if it is an order's) change. They are not written,
    nor is what rests on them; all other records of the command are. A repeat is safe."""

    record_ids: tuple[str, ...] = ()


Outcome: TypeAlias = Done | Fenced | RecordRefused | Held


ORDER = "order"  # the aggregate of an order's events, of its tasks' and payments' too


class OutboxEvent(Struct, frozen=True, kw_only=True):
    """A committed event on its way out: published at least once, `event_id` to dedupe on. It is about an aggregate,
    such as an order; `region_id` is empty where no market is concerned."""

    event_id: int
    topic: str  # on the bus "<aggregate>.<event>"
    aggregate: str
    aggregate_id: str
    region_id: str
    at_ms: int
    payload: dict[str, Json]
    attempts: int = 0  # that came to nothing
    fault: str | None = None  # why the payload cannot be read; it is empty then

    @property
    def about(self) -> tuple[str, str]:
        """The aggregate: what comes later of it waits on the bus for what comes first."""
        return self.aggregate, self.aggregate_id


class NotTaken(Struct, frozen=True, kw_only=True):
    """An outbox event that its receiver did not take. `reason` is a code or the name of an error, never what somebody
    wrote; `again_s`: wall time until the next try, None for none (a dead letter, kept until a person looks)."""

    event_id: int
    reason: str
    again_s: float | None
