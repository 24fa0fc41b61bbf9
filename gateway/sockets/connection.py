"""One driver socket as a state machine without I/O: frames in, events and frames out (the model is h11).

The shell (`gateway/sockets/session.py`) feeds `receive`, carries the returned event out and writes what `take` gives.
Nothing a client can send raises: a bad frame is an `error` to the client, and too many of them close the socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from enum import Enum, auto
from typing import TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain.errors import BadFrame, InvalidRequest, Refusal, Unauthenticated
from domain.orders.records import Answer
from domain.protocol import (
    CLOSE_SLOW_READER,
    Ack,
    Auth,
    AuthExpired,
    AuthOk,
    ClientFrame,
    Duty,
    Error,
    Hello,
    Location,
    Offer,
    OfferAccept,
    OfferAccepted,
    OfferReject,
    OfferRejected,
    OfferSeen,
    ServerFrame,
    TaskArrive,
    TaskPickup,
    TaskUpdated,
    Welcome,
    decode_client,
    encode,
    known,
    spared,
)
from domain.region.device import device_of, here_of
from domain.region.mailbox import SEQ_ROOM
from domain.region.messages import Accept, Action, Arrive, Attached, Device, Here, Pickup, Reject
from gateway.deciders.redaction import redacted
from gateway.http.strict_json import repeats_a_key

CLOSE_BAD = 1008
CLOSE_TOO_LARGE = 1009
DETAIL_LIMIT = 200  # characters of an error's detail
AHEAD_LIMIT = 64  # pushes held back while one before them is missing


class Phase(Enum):
    HELLO = auto()  # nothing but a hello is taken
    ATTACHING = auto()  # the hello is being answered; pushes wait
    OPEN = auto()
    CLOSED = auto()


class Close(Struct, frozen=True):
    """Close the socket with this code."""

    code: int
    reason: str


class Greeting(Struct, frozen=True):
    """A hello: check the token, attach, then call `welcome`."""

    token: str
    resume_from: int | None


class Question(Struct, frozen=True):
    """A client message that must get exactly one answer: call `answer` or `refuse` with its id."""

    id: str
    frame_type: type[ClientFrame]
    action: Action
    device: Device | None = None
    here: Here | None = None


class Sighting(Struct, frozen=True):
    """Whether the driver is on duty, and where. None: the client did not say."""

    lat: float | None
    lng: float | None
    on_duty: bool
    until: datetime | None = None  # end of the shift; None: not known
    begins: datetime | None = None  # beginning of the shift; None: it has begun


class Shown(Struct, frozen=True):
    """An offer is on the driver's screen."""

    offer_id: str


class Handled(Struct, frozen=True):
    """The client has handled all pushes up to `seq`."""

    seq: int


class Renewal(Struct, frozen=True):
    """A fresh token: check it, then call `renewed` or `refuse` with its id."""

    id: str
    token: str


# A ping is its own event: nothing more is made of the most frequent message.
Event: TypeAlias = Greeting | Question | Location | Sighting | Shown | Handled | Renewal


class _WithId(Struct):
    id: str


_decode_id = msgspec.json.Decoder(_WithId).decode


class Connection:
    """The protocol state of one socket. `max_frame_bytes`, `bad_frames_limit` and `outbox_limit` (frames) bound it."""

    def __init__(self, *, max_frame_bytes: int, bad_frames_limit: int, outbox_limit: int) -> None:
        self.phase = Phase.HELLO
        self.closing: Close | None = None
        self.last_seq = 0  # the last push that was put out
        self._max_frame_bytes = max_frame_bytes
        self._bad_frames_limit = bad_frames_limit
        self._outbox_limit = outbox_limit
        self._out: deque[ServerFrame] = deque()
        self._bad_frames = 0
        self._location_seq = -1
        self._early: list[ServerFrame] = []  # pushes that came before the welcome
        self._ahead: dict[int, ServerFrame] = {}  # pushes whose predecessor is missing

    # -- from the client ----------------------------------------------------------------------------------------------

    def receive(self, data: str | bytes) -> Event | None:
        """Take one frame in. A `bytes` argument is a binary frame, which the protocol does not have."""
        if self.phase is Phase.CLOSED:
            return None
        if len(data) * 4 > self._max_frame_bytes and _size(data) > self._max_frame_bytes:
            self.close(CLOSE_TOO_LARGE, f"a frame has at most {self._max_frame_bytes} bytes")
            return None
        if isinstance(data, bytes):
            self._bad("Frames are JSON text, not binary.", data)
            return None
        # No field has a use for NUL, and the database cannot store it.
        if "\\u0000" in data:
            self._bad("A NUL character is not allowed.", data)
            return None
        try:
            try:
                frame = decode_client(data)
            except msgspec.ValidationError as error:
                frame = spared(data, error)
            twice = not (isinstance(frame, Location) and _is_plain(frame, data)) and repeats_a_key(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._bad(str(error)[:DETAIL_LIMIT], data)  # it may hold what the client sent
            return None
        if twice:
            self._bad("An object has a key twice.", data)
            return None
        if self.phase is not Phase.OPEN:
            return self._hello(frame)
        if isinstance(frame, Hello):
            self._bad("The hello was said already.", data)
            return None
        self._bad_frames = 0
        return self._take_frame(frame)

    def _hello(self, frame: ClientFrame) -> Event | None:
        if not isinstance(frame, Hello) or self.phase is Phase.ATTACHING:
            self.refuse(None, Unauthenticated("The first message must be one hello."))
            self.close(CLOSE_BAD, "hello first")
            return None
        self.phase = Phase.ATTACHING
        self._bad_frames = 0
        return Greeting(frame.token, frame.resume_from)

    def _take_frame(self, frame: ClientFrame) -> Event | None:
        if isinstance(frame, Location):
            if frame.seq is not None:
                if frame.seq <= self._location_seq:
                    return None
                self._location_seq = frame.seq
            if frame.speed_mps is None and frame.heading_deg is None and frame.accuracy_m is None:
                return frame
            return known(frame)
        if isinstance(frame, Duty):
            if (frame.lat is None) != (frame.lng is None):
                self.refuse(None, InvalidRequest("Give lat and lng together."))
                return None
            return Sighting(frame.lat, frame.lng, frame.on, frame.until, frame.begins)
        if isinstance(frame, OfferSeen):
            return Shown(frame.offer_id)
        if isinstance(frame, Ack):
            return Handled(frame.seq)
        if isinstance(frame, Auth):
            return Renewal(frame.id, frame.token)
        if isinstance(frame, OfferAccept):
            return _question(frame, Accept(offer_id=frame.offer_id))
        if isinstance(frame, OfferReject):
            return _question(frame, Reject(offer_id=frame.offer_id, reason=frame.reason))
        if isinstance(frame, TaskArrive):
            return _step(frame, Arrive(frame.task_id))
        assert isinstance(frame, TaskPickup)
        return _step(frame, Pickup(frame.task_id))

    def _bad(self, detail: str, data: str | bytes) -> None:
        self._bad_frames += 1
        self.refuse(_id_in(data), BadFrame(detail))
        if self._bad_frames >= self._bad_frames_limit:
            self.close(CLOSE_BAD, f"{self._bad_frames} bad frames in a row")

    # -- to the client ------------------------------------------------------------------------------------------------

    def welcome(
        self, attached: Attached, *, driver_id: str, heartbeat_s: float, server_time: datetime, speed: float
    ) -> None:
        """Answer the hello, or say anew where things stand; then what the client missed, then what came meanwhile."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.OPEN
        self._ahead.clear()
        if len(attached.missed) >= self._outbox_limit:
            # More than may wait for a client: the snapshot says all of it in one frame.
            attached = Attached(False, attached.snapshot, ())
        first_missed = attached.missed[0].seq if attached.missed else attached.snapshot.last_seq + 1
        self.last_seq = first_missed - 1 if attached.resumed else attached.snapshot.last_seq
        self._put(
            Welcome(
                driver_id=driver_id,
                heartbeat_s=heartbeat_s,
                resumed=attached.resumed,
                snapshot=attached.snapshot,
                server_time=server_time,
                speed=speed,
            )
        )
        early, self._early = self._early, []
        for frame in (*attached.missed, *early):
            self.push(frame)

    def fill(self, attached: Attached) -> bool:
        """Close a gap with what the region kept. False: it has no longer all of it, or it is more than may wait, so say
        `welcome` again."""
        if not attached.resumed or len(self._out) + len(attached.missed) > self._outbox_limit:
            return False
        for frame in attached.missed:
            self.push(frame)
        return True

    def push(self, frame: ServerFrame) -> None:
        """A frame with a `seq`: put out in order, once. One that comes too early is held until the gap is filled."""
        if self.phase is Phase.CLOSED:
            return
        if self.phase is not Phase.OPEN:
            self._early.append(frame)
            if len(self._early) > self._outbox_limit:
                self.close(CLOSE_SLOW_READER, "too many messages before the welcome")
            return
        if frame.seq <= self.last_seq:
            return
        # A later life of the region numbers from its own base: nothing of the former can follow any more.
        if frame.seq == self.last_seq + 1 or frame.seq // SEQ_ROOM > self.last_seq // SEQ_ROOM:
            self._put_push(frame)
            while (following := self._ahead.pop(self.last_seq + 1, None)) is not None:
                self._put_push(following)
        elif len(self._ahead) < AHEAD_LIMIT:
            self._ahead[frame.seq] = frame

    @property
    def has_gap(self) -> bool:
        """Whether a push is missing between what was put out and what is held."""
        return self.phase is Phase.OPEN and bool(self._ahead)

    def _put_push(self, frame: ServerFrame) -> None:
        self.last_seq = frame.seq
        self._put(frame)

    def answer(self, question: Question, answer: Answer) -> None:
        """The region's answer to a question, as the frame that the client waits for."""
        answer = redacted(answer)
        if answer.code is not None:
            self._put(Error(code=answer.code, detail=answer.detail, in_reply_to=question.id))
            return
        body = {**answer.body, "type": ANSWERS[question.frame_type], "in_reply_to": question.id}
        self._put(msgspec.convert(body, _AnswerFrame))

    def refuse(self, in_reply_to: str | None, error: Refusal) -> None:
        """An `error` frame; `in_reply_to` None when the message had no id."""
        self._put(
            Error(
                code=error.code,
                detail=error.detail,
                retry_after_s=error.retry_after_s,
                in_reply_to=in_reply_to,
            )
        )

    def expired(self, grace_s: float) -> None:
        """Ask for a fresh token; the socket is open for `grace_s` more seconds of wall time."""
        self._put(AuthExpired(grace_s=grace_s))

    def renewed(self, renewal: Renewal, valid_s: float) -> None:
        """Answer a fresh token, which is valid for `valid_s` more seconds of wall time."""
        self._put(AuthOk(in_reply_to=renewal.id, valid_s=valid_s))

    def close(self, code: int, reason: str) -> None:
        """Close after what is already in the outbox. The first close wins."""
        if self.closing is None:
            self.closing = Close(code, reason)
        self.phase = Phase.CLOSED
        self._early.clear()
        self._ahead.clear()

    def _put(self, frame: ServerFrame) -> None:
        if self.phase is Phase.CLOSED:
            return
        self._out.append(frame)
        if len(self._out) > self._outbox_limit:
            self._out = newest(self._out)
        if len(self._out) > self._outbox_limit:
            # Whatever is left would only make a slow reader slower; it gets all of it when it resumes.
            self._out.clear()
            self.close(CLOSE_SLOW_READER, "messages were not read in time")

    @property
    def has_output(self) -> bool:
        return bool(self._out)

    def take(self) -> list[bytes]:
        """All frames to write now, oldest first; empty when there are none."""
        out = [encode(frame) for frame in self._out]
        self._out.clear()
        return out

    def take_one(self) -> bytes | None:
        """The oldest frame to write; what is not taken yet can still be left out for a newer one."""
        return encode(self._out.popleft()) if self._out else None


def newest(frames: Iterable[ServerFrame]) -> deque[ServerFrame]:
    """The frames without those pushes that a later one about the same offer or task replaces altogether. The push that
    follows a gap says how many were `skipped`. A `welcome` starts anew, so nothing before it is left out for what comes
    after it."""
    kept: list[ServerFrame | None] = []
    told: set[tuple[type, str]] = set()
    for frame in reversed(list(frames)):
        if isinstance(frame, Welcome):
            told.clear()
        subject = _subject(frame)
        kept.append(frame if subject is None or subject not in told else None)
        if subject is not None:
            told.add(subject)
    out: deque[ServerFrame] = deque()
    skipped = 0
    for frame, keep in zip(frames, reversed(kept), strict=True):
        if keep is None:
            skipped += 1 + frame.skipped
        elif skipped and frame.seq:
            out.append(replace(frame, skipped=frame.skipped + skipped))
            skipped = 0
        else:
            out.append(frame)
    return out


def _subject(frame: ServerFrame) -> tuple[type, str] | None:
    """What a push gives the whole present state of; None: it tells of something that happened."""
    if not frame.seq:
        return None
    if isinstance(frame, TaskUpdated):
        return TaskUpdated, frame.task.task_id
    return (Offer, frame.offer_id) if isinstance(frame, Offer) else None


def _question(frame: OfferAccept | OfferReject, action: Action) -> Question:
    return Question(frame.id, type(frame), action, device_of(frame.at, frame.n))


def _step(frame: TaskArrive | TaskPickup, action: Action) -> Question:
    here = here_of(frame.lat, frame.lng, frame.override)
    return Question(frame.id, type(frame), action, device_of(frame.at, frame.n), here)


_AnswerFrame: TypeAlias = OfferAccepted | OfferRejected | TaskUpdated
# What the answer to each question is called; the region's answer body has the fields of that frame.
ANSWERS: dict[type[ClientFrame], str] = {
    OfferAccept: "offer.accepted",
    OfferReject: "offer.rejected",
    TaskArrive: "task.updated",
    TaskPickup: "task.updated",
}


def _is_plain(ping: Location, data: str) -> bool:
    """Whether the text has quotation marks for the ping's members and no more, so that none comes twice: most pings,
    told in a tenth of the time that a look at the keys takes. Any other has to be looked at."""
    quotes = (
        8 + 4 * (ping.at is not None) + 2 * (ping.seq is not None)
    )  # of three keys, of the type and the time
    quotes += 2 * ((ping.speed_mps is not None) + (ping.heading_deg is not None))
    quotes += 2 * (ping.accuracy_m is not None)
    return data.count('"') == quotes


def _size(data: str | bytes) -> int:
    """Bytes on the wire."""
    return len(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))


def _id_in(data: str | bytes) -> str | None:
    """The id of a frame that is otherwise bad, so that its sender need not wait for an answer."""
    try:
        found = _decode_id(data).id
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return found if 0 < len(found) <= 64 else None
