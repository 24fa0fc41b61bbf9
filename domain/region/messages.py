"""What goes into a region and what comes out of it. Plain frozen messages; `machine.py` has a handler for each."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

from domain.orders.lifecycle import Role
from domain.orders.reasons import (
    CancelReason,
    DeclineReason,
    DispatchReason,
    OverrideReason,
    RefuseReason,
    Resolution,
)
from domain.orders.records import Answer, CheckOutcome, OrderBrief, Record, TaskRow
from domain.protocol import ServerFrame, Snapshot
from domain.solve import Plan, SolveRequest

# -- actions: what a person asks of the region; each gets exactly one Answer ------------------------------------------


class Accept(Struct, frozen=True, tag=True):
    """A driver takes an offer, named itself or by one of its tasks (REST knows the task only)."""

    offer_id: str | None = None
    task_id: str | None = None


class Reject(Struct, frozen=True, tag=True):
    """A driver declines an offer."""

    offer_id: str | None = None
    task_id: str | None = None
    reason: DeclineReason | None = None


class Arrive(Struct, frozen=True, tag=True):
    """The holder is at the task's next stop."""

    task_id: str


class Pickup(Struct, frozen=True, tag=True):
    """The holder has the goods."""

    task_id: str


class SubmitIdCheck(Struct, frozen=True, tag=True):
    """A conclusive ID check at the door. `sober` is the driver's own observation."""

    order_id: str
    over_age: bool
    not_expired: bool
    name_matches: bool
    sober: bool
    method: str
    vendor_ref: str


class NoteIdCheck(Struct, frozen=True, tag=True):
    """An ID check at the door that came to nothing: it goes on record and opens nothing."""

    order_id: str
    outcome: CheckOutcome
    sober: bool
    method: str
    vendor_ref: str = ""


class Deliver(Struct, frozen=True, tag=True):
    """The holder handed the goods over after a passed check."""

    order_id: str


class Refuse(Struct, frozen=True, tag=True):
    """The holder does not hand the goods over; they go back."""

    order_id: str
    reason: RefuseReason


class ConfirmReturn(Struct, frozen=True, tag=True):
    """The goods are back in the store."""

    task_id: str


class Cancel(Struct, frozen=True, tag=True):
    """Customer or dispatcher calls the order off before pick-up."""

    order_id: str
    reason: CancelReason = CancelReason.UNSPECIFIED


class GoodsReady(Struct, frozen=True, tag=True):
    """The merchant has packed the goods."""

    order_id: str


class Assign(Struct, frozen=True, tag=True):
    """An operator gives a task that nobody holds to a driver, who is not asked."""

    task_id: str
    driver_id: str
    reason: DispatchReason


class Reassign(Struct, frozen=True, tag=True):
    """An operator takes a task whose goods are still in the store from its holder and gives it to another driver."""

    task_id: str
    driver_id: str
    reason: DispatchReason


class Release(Struct, frozen=True, tag=True):
    """An operator takes a task whose goods are still in the store from its holder: it is offered to others."""

    task_id: str
    reason: DispatchReason


class Resolve(Struct, frozen=True, tag=True):
    """An operator says what became of goods that their holder neither hands over nor brings back. `evidence_ref`: a
    token of whoever keeps the evidence, no text."""

    task_id: str
    outcome: Resolution
    evidence_ref: str


class ExpireOffers(Struct, frozen=True, tag=True):
    """Expire at most `limit` offers that are past their time. The region does so by itself; this is for recovery."""

    limit: int


class DispatchTick(Struct, frozen=True, tag=True):
    """Look for drivers now instead of at the end of the window."""


Action: TypeAlias = (
    Accept
    | Reject
    | Arrive
    | Pickup
    | SubmitIdCheck
    | NoteIdCheck
    | Deliver
    | Refuse
    | ConfirmReturn
    | Cancel
    | GoodsReady
    | Assign
    | Reassign
    | Release
    | Resolve
    | ExpireOffers
    | DispatchTick
)

# -- messages into the region -----------------------------------------------------------------------------------------


class Device(Struct, frozen=True, omit_defaults=True):
    """What a driver's device says of an action: when it was taken, by the server's clock as the device knows it, and
    its number, which rises."""

    at_ms: int | None = None
    n: int | None = None


class Here(Struct, frozen=True, omit_defaults=True):
    """What a driver's device says with a step of where it was taken (WGS84 degrees), and why the step holds though that
    is not near, or not known."""

    lat: float | None = None
    lng: float | None = None
    override: OverrideReason | None = None


class Ask(Struct, frozen=True, kw_only=True, tag=True):
    """Somebody asks for an action. (scope, key) is the request's id: a repeat gets the first answer. `acts_for`: the
    merchant that the principal works for, None for themselves."""

    scope: str
    key: str
    fingerprint: str
    role: Role
    principal_id: str
    action: Action
    session: int = 0  # of the driver's socket that the answer goes to; 0: it goes to no socket
    device: Device | None = None
    here: Here | None = None
    looked: bool = False  # there is no first answer in the database
    acts_for: str | None = None

    @property
    def party_id(self) -> str:
        """Whose orders they are."""
        return self.principal_id if self.acts_for is None else self.acts_for


class Settled(Struct, frozen=True, tag=True):
    """The region's shell has answered this request: a repeat gets the same answer in this life of the region. Said of
    one whose record the database refused or whose step failed, so that it is not granted to somebody who was just told
    that nothing was done, and of one whose record was not durable for so long that it was forgotten. No reply."""

    ask: Ask
    answer: Answer


class DriversSeen(Struct, frozen=True, kw_only=True, tag=True):
    """Newest ping of each driver since the last batch, as columns of one length n. No reply. An empty batch says that
    the gateway is there.

    `session` is the connection's number (a later connection has a greater one), `seq` rises within a session.
    """

    gateway_id: str
    driver_ids: list[str]
    session: npt.NDArray[np.int64]
    seq: npt.NDArray[np.int64]
    lat: npt.NDArray[np.float64]
    lng: npt.NDArray[np.float64]
    on_duty: npt.NDArray[np.bool_]
    until_ms: npt.NDArray[np.int64] | None = None  # end of the shift, 0 where it is not known
    from_ms: npt.NDArray[np.int64] | None = None  # beginning of the shift where it lies ahead, else 0
    place_ms: npt.NDArray[np.int64] | None = None  # when the position was taken, 0: now


class OfferSeenBy(Struct, frozen=True, tag=True):
    """The driver's client has shown the offer. No reply."""

    driver_id: str
    offer_id: str


class Attach(Struct, frozen=True, kw_only=True, tag=True):
    """A driver's socket opened on a gateway. Replied to with `Attached`."""

    gateway_id: str
    driver_id: str
    session: int
    resume_from: int | None


class Detach(Struct, frozen=True, kw_only=True, tag=True):
    """A driver's socket closed. No reply."""

    driver_id: str
    session: int


class GatewayLost(Struct, frozen=True, tag=True):
    """Pushes to this gateway may have been lost: its drivers get them again once they are heard of. No reply."""

    gateway_id: str


class Acked(Struct, frozen=True, tag=True):
    """The driver's client has handled all pushes up to `seq`. No reply."""

    driver_id: str
    seq: int


class TaskOpened(Struct, frozen=True, tag=True):
    """A commit opened this task; from here on the region decides on its order. Replied to with an empty Answer."""

    task: TaskRow
    order: OrderBrief


class PlanReady(Struct, frozen=True, tag=True):
    """The solver's advice."""

    plan: Plan


class SolveFailed(Struct, frozen=True, tag=True):
    """The solve did not end; the region will ask again."""

    request_id: int


class Tick(Struct, frozen=True, tag=True):
    """Time has passed."""


Message: TypeAlias = (
    Ask
    | Settled
    | DriversSeen
    | OfferSeenBy
    | Attach
    | Detach
    | GatewayLost
    | Acked
    | TaskOpened
    | PlanReady
    | SolveFailed
    | Tick
)

# -- out of the region ------------------------------------------------------------------------------------------------


class Reported(Struct, frozen=True):
    """What the driver said over REST at a gateway without the socket; `said_ms` is wall time. For the gateway that has
    it, not for the client: the socket's next ping must not say otherwise."""

    said_ms: int
    lat: float
    lng: float
    on_duty: bool
    until_ms: int  # 0: not known
    from_ms: int


class Push(Struct, frozen=True):
    """A frame for a driver's socket on this gateway."""

    gateway_id: str
    driver_id: str
    session: int
    frame: ServerFrame | Reported


class Kick(Struct, frozen=True):
    """Another socket of the driver took over: close this session (4001)."""

    gateway_id: str
    driver_id: str
    session: int


class Attached(Struct, frozen=True):
    """The answer to `Attach`: state of the driver and the frames that a resuming client missed."""

    resumed: bool
    snapshot: Snapshot
    missed: tuple[ServerFrame, ...]


class Ready(Struct):
    """The outcome of one step. `solve` may start at once."""

    records: list[Record] = field(default_factory=list)
    # records MUST be durable before anything of the next two leaves
    pushes: list[Push | Kick] = field(default_factory=list)
    reply: Answer | Attached | None = None
    solve: SolveRequest | None = None
