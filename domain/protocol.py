"""The driver socket's messages, subprotocol `doorstep.v1`: JSON text frames, one object each, told apart by `type`.

`docs/protocol.md` and the AsyncAPI document are generated from these types. Times are RFC 3339 strings, coordinates
WGS84 degrees, durations in seconds. A server frame with `seq` > 0 is kept until acknowledged and replayed to a client
that says `resume_from`; one without it answers a client message and carries `in_reply_to`.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from domain.orders.reasons import DeclineReason, OverrideReason

SUBPROTOCOL = "doorstep.v1"
# Close codes beside 1008 (too many bad frames or no valid hello) and 1009 (frame too large).
CLOSE_RESTARTING = 1012
CLOSE_OVERLOADED = 1013
CLOSE_TAKEN_OVER = 4001
CLOSE_TOKEN_EXPIRED = 4003
CLOSE_SLOW_READER = 4008

Lat: TypeAlias = Annotated[float, Meta(ge=-90, le=90)]
Lng: TypeAlias = Annotated[float, Meta(ge=-180, le=180)]
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Instant: TypeAlias = Annotated[datetime, Meta(tz=True)]
Seq: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]


_RETRY_HINT = re.compile(r"\bretry_after_ms=(\d{1,9})\b")


def retry_reason(words: str, after_ms: int) -> str:
    """The reason of a close that says when to connect again, as in `overloaded; retry_after_ms=1234`."""
    return f"{words}; retry_after_ms={after_ms}"


def retry_after_ms(reason: str) -> int | None:
    """When to connect again, in milliseconds of wall time, if the close's reason says so."""
    hint = _RETRY_HINT.search(reason)
    return int(hint[1]) if hint else None


class Client(Struct, frozen=True, tag_field="type", forbid_unknown_fields=False):
    """A message from a driver."""


class Server(Struct, frozen=True, tag_field="type", omit_defaults=True, kw_only=True):
    """A message to a driver."""

    seq: int = 0
    in_reply_to: str | None = None
    skipped: int = 0  # pushes before this one that were left out, because a later one says all that they said


# -- client -> server -------------------------------------------------------------------------------------------------


class Hello(Client, frozen=True, tag="hello"):
    """Must come first. `resume_from` is the last `seq` that the client has handled."""

    token: Annotated[str, Meta(max_length=4096)]
    resume_from: Seq | None = None


class Duty(Client, frozen=True, tag="duty"):
    """Go on duty at a place, or off duty. Off duty no offer is made; a task that is held stays held.

    `until` is when the shift ends, at most 24 h ahead: nothing is offered that is to be picked up after it. `begins` is
    when it begins, where that lies ahead: nothing is offered before, but plans count on the driver. Both hold until the
    next `duty`; without them the shift has begun, and its end is not known.
    """

    on: bool
    lat: Lat | None = None
    lng: Lng | None = None
    until: Instant | None = None
    begins: Instant | None = None


class Location(Client, frozen=True, tag="location"):
    """A position, and when the device was there (`at`, by its clock; without it, now). `seq` rises with each ping of a
    socket; an older one is ignored. Of the last three, a negative number and whatever else cannot be is not known."""

    lat: Lat
    lng: Lng
    at: Instant | None = None
    seq: Seq | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    accuracy_m: float | None = None


class OfferSeen(Client, frozen=True, tag="offer.seen"):
    """The offer is on the driver's screen: the time to answer begins, and the offer is sent again with its new end. An
    offer that was never shown does not count against its driver."""

    offer_id: Id


class Taken(Client, frozen=True, kw_only=True):
    """An action that may come in long after it was taken. `at`: when the driver took it, by `server_time` of the last
    welcome as far as the device knows; `n`: a number that rises with every action of the driver."""

    at: Instant | None = None
    n: Seq | None = None


class TakenHere(Taken, frozen=True, kw_only=True):
    """An action of a place. `lat`, `lng`: where the device was when it was taken; without them the last position
    counts. `override`: why the step holds though that is not near (`TOO_FAR` otherwise); operators see it."""

    lat: Lat | None = None
    lng: Lng | None = None
    override: OverrideReason | None = None


class OfferAccept(Taken, frozen=True, tag="offer.accept"):
    """Take the offer. Answered by `offer.accepted` or `error`."""

    id: Id
    offer_id: Id


class OfferReject(Taken, frozen=True, tag="offer.reject"):
    """Decline the offer. Answered by `offer.rejected` or `error`."""

    id: Id
    offer_id: Id
    reason: DeclineReason | None = None


class TaskArrive(TakenHere, frozen=True, tag="task.arrive"):
    """At the store, at the door, or back at the store with a return. Answered by `task.updated` or `error`."""

    id: Id
    task_id: Id


class TaskPickup(TakenHere, frozen=True, tag="task.pickup"):
    """The goods are in the vehicle. Answered by `task.updated` or `error`."""

    id: Id
    task_id: Id


class Ack(Client, frozen=True, tag="ack"):
    """Everything up to this `seq` was handled and need not be replayed."""

    seq: Seq


class Auth(Client, frozen=True, tag="auth"):
    """A fresh access token of the same driver, so that the socket may stay open. Answered by `auth.ok` or `error`."""

    id: Id
    token: Annotated[str, Meta(max_length=4096)]


ClientFrame: TypeAlias = (
    Hello | Duty | Location | OfferSeen | OfferAccept | OfferReject | TaskArrive | TaskPickup | Ack | Auth
)


# -- server -> client -------------------------------------------------------------------------------------------------


class Place(Struct, frozen=True):
    """A point, with the address where the driver needs it. The door of a task that the driver does not hold, not yet or
    no longer, is rounded to hundredths of a degree and has no address."""

    lat: float
    lng: float
    address: str = ""


class TaskView(Struct, frozen=True, kw_only=True):
    """A task as its driver sees it. `ready_at`: when the goods are packed; `due_at`: when they were promised."""

    task_id: str
    order_id: str
    kind: str
    status: str
    store_id: str
    pickup: Place
    dropoff: Place
    min_age: int
    ready_at: datetime
    due_at: datetime


class Stop(Struct, frozen=True):
    """One stop of a route: `action` is `pickup`, `dropoff` or `return`."""

    action: str
    task_id: str
    lat: float
    lng: float


class OfferView(Struct, frozen=True, kw_only=True):
    """An offer that is open to the driver."""

    offer_id: str
    tasks: tuple[TaskView, ...]
    stops: tuple[Stop, ...]
    expires_at: datetime
    ttl_s: float


class Snapshot(Struct, frozen=True, kw_only=True):
    """All that concerns the driver now; it replaces whatever the client believed. `last_n`: the greatest `n` of the
    driver's actions that were carried out, on whichever device; the next one's is above it."""

    offers: tuple[OfferView, ...] = ()
    tasks: tuple[TaskView, ...] = ()
    last_seq: int = 0
    last_n: int = 0


class Welcome(Server, frozen=True, tag="welcome"):
    """The socket is the driver's. `resumed`: every message after `resume_from` follows; else trust the snapshot.

    `speed` is how many server seconds pass in a second of wall time (1 but in demonstrations).
    """

    driver_id: str
    heartbeat_s: float
    resumed: bool
    snapshot: Snapshot
    server_time: datetime
    speed: float = 1.0


class Offer(Server, frozen=True, tag="offer"):
    """A task to take or leave until `expires_at`. May be sent again; the `offer_id` tells. A customer's door is told to
    a hundredth of a degree, about a kilometre, and without its address: who accepts is told exactly."""

    offer_id: str
    tasks: tuple[TaskView, ...]
    stops: tuple[Stop, ...]
    expires_at: datetime
    ttl_s: float


class OfferAccepted(Server, frozen=True, tag="offer.accepted"):
    """The task is yours, durably. Also pushed when the accept came in by another way (REST)."""

    offer_id: str
    tasks: tuple[TaskView, ...]


class OfferRejected(Server, frozen=True, tag="offer.rejected"):
    """Your rejection is noted."""

    offer_id: str


class OfferExpired(Server, frozen=True, tag="offer.expired"):
    """Nobody answered the offer in time."""

    offer_id: str


class OfferRevoked(Server, frozen=True, tag="offer.revoked"):
    """The offer was withdrawn. `reason`: `ORDER_CANCELLED`, `DRIVER_OFF_DUTY`, `TAKEN` by another who was asked too,
    `RETURN_FIRST`: there are goods to bring back, `ASSIGNED`: a dispatcher gave the task to somebody or you another
    one, or `SERVER_RESTARTED` when its time ran out while nobody could have answered."""

    offer_id: str
    reason: str


class TaskAssigned(Server, frozen=True, tag="task.assigned"):
    """A dispatcher gave you this task: it is yours, durably, as if you had accepted an offer of it."""

    task: TaskView


class TaskUpdated(Server, frozen=True, tag="task.updated"):
    """The task as it is now; also how a return task is given to the driver who was refused."""

    task: TaskView


class TaskCancelled(Server, frozen=True, tag="task.cancelled"):
    """The task is no longer yours: drop it. `reason`: `ORDER_CANCELLED` (or `CANCELLED`, when told again after a
    restart), `DRIVER_LOST`: you were not heard of for so long that it is offered to others, `RETURN_FIRST`: you have
    goods to bring back first, `RELEASED` or `REASSIGNED` by a dispatcher, or `RESOLVED`: a dispatcher has settled what
    became of the goods.
    """

    task_id: str
    reason: str


class AuthExpired(Server, frozen=True, tag="auth.expired"):
    """Your access token has expired. Send a fresh one by `auth` within `grace_s` seconds of wall time."""

    grace_s: float


class AuthOk(Server, frozen=True, tag="auth.ok"):
    """The fresh token is taken; it is valid for `valid_s` more seconds of wall time."""

    valid_s: float


class Error(Server, frozen=True, tag="error"):
    """A message was refused; `code` is of the error catalogue."""

    code: str
    detail: str
    retry_after_s: int | None = None


ServerFrame: TypeAlias = (
    Welcome
    | Offer
    | OfferAccepted
    | OfferRejected
    | OfferExpired
    | OfferRevoked
    | TaskAssigned
    | TaskUpdated
    | TaskCancelled
    | AuthExpired
    | AuthOk
    | Error
)


class _Spared(Struct, tag_field="type", tag="location"):
    """A `location` without what may be unknown."""

    lat: Lat
    lng: Lng
    at: Instant | None = None
    seq: Seq | None = None


_UNKNOWABLE = ("$.speed_mps`", "$.heading_deg`", "$.accuracy_m`")  # as msgspec's messages end

decode_client = msgspec.json.Decoder(ClientFrame).decode
_decode_spared = msgspec.json.Decoder(_Spared).decode
decode_server = msgspec.json.Decoder(ServerFrame).decode
encode = msgspec.json.Encoder().encode


def known(ping: Location) -> Location:
    """The position without what says that it is not known: iOS says -1, which no speed, heading or accuracy is."""
    speed_mps, heading_deg, accuracy_m = ping.speed_mps, ping.heading_deg, ping.accuracy_m
    if speed_mps is not None and speed_mps < 0:
        ping = replace(ping, speed_mps=None)
    if heading_deg is not None and not 0 <= heading_deg <= 360:
        ping = replace(ping, heading_deg=None)
    if accuracy_m is not None and accuracy_m < 0:
        ping = replace(ping, accuracy_m=None)
    return ping


def spared(data: str, error: msgspec.ValidationError) -> Location:
    """The `location` that was not decoded for this error, where that lay in something that may as well be unknown: a
    position is worth more than its speed. Raises the error again where it did not."""
    if not str(error).endswith(_UNKNOWABLE):
        raise error
    kept = _decode_spared(data)
    return Location(kept.lat, kept.lng, kept.at, kept.seq)
