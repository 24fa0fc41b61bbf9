"""The driver socket's shell: reads frames, carries events out, writes what the protocol state machine puts out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import structlog
from fastapi import APIRouter
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from actors.telemetry.tracing import Root, ids, on_behalf_of
from domain.errors import (
    DocumentsExpired,
    DriverNotApproved,
    Forbidden,
    IdempotencyKeyReused,
    InternalError,
    InvalidRequest,
    Overloaded,
    Refusal,
    Unauthenticated,
)
from domain.ground.times import instant
from domain.marketplace.drivers import Standing
from domain.orders.lifecycle import Role
from domain.orders.records import Answer
from domain.protocol import (
    CLOSE_OVERLOADED,
    CLOSE_RESTARTING,
    CLOSE_SLOW_READER,
    CLOSE_TOKEN_EXPIRED,
    SUBPROTOCOL,
    Location,
    ServerFrame,
)
from domain.region.answers import LOOK_FIRST
from domain.region.messages import Acked, Ask, Attach, Detach, OfferSeenBy, Reported
from gateway.http.account_status import holder
from gateway.http.admission import Kind
from gateway.http.idempotency import fingerprint
from gateway.http.ratelimit import address_of
from gateway.services import Services
from gateway.sockets.connection import (
    CLOSE_BAD,
    Connection,
    Event,
    Greeting,
    Handled,
    Phase,
    Question,
    Renewal,
    Shown,
    Sighting,
)
from gateway.sockets.presence import Presence
from gateway.sockets.read_rate import ReadRate
from gateway.sockets.token import SocketToken
from gateway.sockets.wire import AsgiWire, Outlet, Wire
from persistence.reads.views import Holder

_log = structlog.stdlib.get_logger(__name__)

router = APIRouter()

QUESTIONS_LIMIT = 16  # of one socket, waiting for their answers
BAD_FRAME_COST = 5  # what a frame that comes to nothing counts for, since it costs the most
GAP_WAIT_S = 0.25  # a push that overtook another one waits so long before the region is asked
CLOSE_TIMEOUT_S = 5.0  # a client that reads nothing does not read the close frame either


class DriversEndpoint:
    """The driver protocol as an ASGI application; see docs/protocol.md."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wire = AsgiWire(scope, receive, send)
        services: Services = scope["app"].state.services
        admission, handshakes = services.admission, services.handshakes
        address = address_of(scope, services.config.limits.trusted_proxies)
        if (refused := handshakes.refusal(address, admission.retry_after_s())) is not None:
            # At the handshake: one that is closed in good order stays open for as long as its client likes to wait.
            admission.refused[(Kind.SOCKET, refused[0])] += 1
            await wire.refuse(refused[1], admission.retry_reason())
            return
        # Accepted first: a client sees the code and the reason of a close, but not those of a refused handshake.
        await wire.accept(SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", []) else None)
        if (turned_away := admission.socket()) is not None:
            with suppress(OSError):
                await wire.close(*turned_away)
            return
        with handshakes.place(address) as give_back:
            await DriverSocket(wire, services, give_back).run()


router.add_websocket_route("/v1/drivers/ws", DriversEndpoint())  # type: ignore[arg-type]


class DriverSocket:
    """One open socket. `driver_id` is empty until the hello was taken."""

    def __init__(self, ws: Wire, services: Services, on_hello: Callable[[], None] = lambda: None) -> None:
        limits = services.config.limits
        self._on_hello = on_hello
        self.driver_id = ""
        self.holder: Holder | None = None
        self.region_id = services.config.regions[0]
        self.session = 0
        self._ws = ws
        self._services = services
        self._traffic = services.metrics.traffic
        self._presence = Presence(services, self, self._enter)
        self._token = SocketToken(services, self._token_ended, self._grace_over)
        self._connection = Connection(
            max_frame_bytes=limits.ws_max_frame_bytes,
            bad_frames_limit=limits.ws_bad_frames_limit,
            outbox_limit=limits.ws_outbox_limit,
        )
        self._writer: asyncio.Task[None] | None = None  # while the socket takes no more at once
        self._outlet: Outlet | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._questions = 0
        self._retiring: str | None = None  # why the socket closes once its questions are answered
        clock_s = asyncio.get_running_loop().time
        self._rate = ReadRate(limits.ws_frames_per_s, limits.ws_frames_burst, clock_s)
        self._is_stranger = False  # to the region, which has begun a new life
        self._catching_up = False
        self._moving = False  # to another market
        self._moved = False  # to a market that has not given its former answers
        self._turn = asyncio.Lock()  # of questions whose first answer is looked for
        self._reading = True
        self._closed = asyncio.Event()

    # -- the socket's life --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the socket until it is closed by either side."""
        services = self._services
        reader = asyncio.current_task()
        assert reader is not None
        services.open_sockets.add(self)
        closer = asyncio.create_task(self._close_when_asked(reader))
        try:
            await self._read()
        except (OSError, RuntimeError):
            pass  # the client has gone; the server says so by either
        except asyncio.CancelledError:
            if not self._closed.is_set():
                raise
            reader.uncancel()
        finally:
            self._reading = False
            self._connection.close(CLOSE_RESTARTING, "closed")
            services.open_sockets.discard(self)
            self._token.stop()
            for task in list(self._tasks):
                task.cancel()
            if not self._closed.is_set():
                closer.cancel()
                if self._writer is not None:
                    self._writer.cancel()
            if self.session:
                services.hub.remove(self)
                await asyncio.shield(self._leave())
            await asyncio.gather(closer, return_exceptions=True)

    async def _leave(self) -> None:
        await self._services.pings.closed(self.driver_id, self.session)
        self._services.backend.notify(self.region_id, Detach(driver_id=self.driver_id, session=self.session))

    async def _close_when_asked(self, reader: asyncio.Task[Any]) -> None:
        """Write the rest and the close frame once the protocol wants to close, then end the reading."""
        await self._closed.wait()
        closing = self._connection.closing
        assert closing is not None
        self._services.metrics.closes.labels(str(closing.code)).inc()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if self._writer is not None and not self._writer.done():
                    if closing.code == CLOSE_SLOW_READER:
                        self._writer.cancel()
                    await asyncio.wait([self._writer])
                for data in self._connection.take():
                    await self._ws.send_text(data.decode())
                await self._ws.close(closing.code, closing.reason)
        except (OSError, RuntimeError):  # a time-out is one of the former
            pass
        if self._reading:
            reader.cancel()

    async def _read(self) -> None:
        limits = self._services.config.limits
        try:
            async with asyncio.timeout(limits.ws_hello_timeout_s):
                greeting = None
                while greeting is None:
                    greeting = self._event(await self._data())
                    self._rate.spend()
                    self._flush()
        except TimeoutError:
            self._connection.refuse(None, Unauthenticated("No hello came in time."))
            self.close(CLOSE_BAD, "no hello in time")
        else:
            assert isinstance(greeting, Greeting)
            self._on_hello()
            await self._greet(greeting)
        self._outlet = self._ws.hand_over(self.take, self.spend)
        while True:
            pause_s = self.take(await self._data())
            if pause_s:
                await asyncio.sleep(pause_s)

    async def _data(self) -> str | bytes:
        """The next frame; `ConnectionResetError` when there will be none."""
        message = await self._ws.receive()
        if message["type"] == "websocket.disconnect":
            raise ConnectionResetError
        data: str | None = message.get("text")
        return message.get("bytes") or b"" if data is None else data

    def take(self, data: str | bytes) -> float:
        """Carry a message out; seconds until this socket may be read on. What is not read waits at its sender."""
        event = self._event(data)
        if type(event) is Location:
            self._presence.pinged(event)
        elif event is None:  # there may be an error to write, or the socket to close
            self._flush()
            return self._rate.spend(BAD_FRAME_COST)
        else:
            self._carry_out(event)
            self._flush()
        return self._rate.spend()

    def spend(self, frames: float) -> float:
        """Frames came that are no messages; seconds until this socket may be read on."""
        self._traffic.frames_in += int(frames)
        return self._rate.spend(frames)

    def _event(self, data: str | bytes) -> Event | None:
        self._traffic.frames_in += 1
        return self._connection.receive(data)

    def _flush(self) -> None:
        """Start writing if there is something to write and nobody at it; begin to close if it is time."""
        connection = self._connection
        if connection.closing is not None:
            self._closed.set()
        elif self._writer is None or self._writer.done():
            outlet = self._outlet
            while outlet is not None and outlet.is_free and (data := connection.take_one()) is not None:
                outlet.put(data)
                self._traffic.frames_out += 1
            if connection.has_output:
                self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        connection = self._connection
        try:
            while connection.closing is None and (data := connection.take_one()) is not None:
                await self._ws.send_text(data.decode())
                self._traffic.frames_out += 1
        except (OSError, RuntimeError):
            pass  # the reader hears of it too

    # -- hello --------------------------------------------------------------------------------------------------------

    async def _greet(self, greeting: Greeting) -> None:
        admission = self._services.admission
        if admission.refusal(Kind.HELLO) is not None:
            self.close(CLOSE_OVERLOADED, admission.retry_reason())
            return
        admission.hellos += 1
        try:
            await self._admit(greeting)
        finally:
            admission.hellos -= 1

    async def _admit(self, greeting: Greeting) -> None:
        services = self._services
        try:
            principal, _ = self._token.show(greeting.token)
            await services.accounts.require(principal)
            self.driver_id, self.holder = principal.id, holder(principal)
            self._presence.standing = await services.standings.of(self.driver_id)
            last = services.pings.last(self.driver_id)
            self.region_id = await services.region_of_driver(
                self.driver_id, last.region_id if last else self.region_id
            )
            self.session = services.hub.next_session()
            services.hub.add(self)
            await self._attach(greeting.resume_from)
        except Refusal as error:
            self._connection.refuse(None, error)
            auth = isinstance(error, Unauthenticated | Forbidden)
            self.close(CLOSE_BAD if auth else CLOSE_RESTARTING, error.code)
        except Exception:
            _log.exception("hello failed", driver_id=self.driver_id)
            self._connection.refuse(None, InternalError())
            self.close(CLOSE_RESTARTING, InternalError.code)

    def _renew(self, renewal: Renewal) -> None:
        try:
            principal, valid_s = self._token.show(renewal.token, self.driver_id)
        except Refusal as error:
            self._connection.refuse(renewal.id, error)
        else:
            self.holder = holder(principal)
            self._connection.renewed(renewal, round(valid_s, 3))

    def _token_ended(self) -> None:
        self._connection.expired(self._services.config.limits.ws_auth_grace_s)
        self._flush()

    def _grace_over(self) -> None:
        self.close(CLOSE_TOKEN_EXPIRED, "the access token has expired")

    def expel(self) -> None:
        """See `gateway.sockets.recheck.Rechecked`."""
        self._connection.refuse(None, Forbidden("This account is no driver's any more."))
        self.close(CLOSE_BAD, Forbidden.code)

    async def _attach(self, resume_from: int | None) -> None:
        """Tell the region where the socket is, and the client where things stand."""
        services, config = self._services, self._services.config
        attached = await services.backend.attach(
            self.region_id,
            Attach(
                gateway_id=services.gateway_id,
                driver_id=self.driver_id,
                session=self.session,
                resume_from=resume_from,
            ),
        )
        if self._connection.phase is Phase.OPEN and self._connection.fill(attached):
            self._flush()
            return
        self._connection.welcome(
            attached,
            driver_id=self.driver_id,
            heartbeat_s=config.limits.ws_heartbeat_s,
            server_time=instant(config.clock.now_ms()),
            speed=config.clock.speed,
        )
        self._flush()

    # -- events -------------------------------------------------------------------------------------------------------

    def _carry_out(self, event: Event) -> None:
        backend = self._services.backend
        if isinstance(event, Question):
            if self._questions >= QUESTIONS_LIMIT:
                error = Overloaded(
                    f"At most {QUESTIONS_LIMIT} messages may wait for answers.", retry_after_s=1
                )
                self._connection.refuse(event.id, error)
                return
            self._questions += 1
            self._ask(event)
        elif isinstance(event, Sighting):
            self._sighted(event)
        elif isinstance(event, Renewal):
            self._renew(event)
        elif isinstance(event, Shown):
            backend.notify(self.region_id, OfferSeenBy(self.driver_id, event.offer_id))
        elif isinstance(event, Handled):
            # Only what was sent can have been handled: a client cannot acknowledge the future away.
            backend.notify(self.region_id, Acked(self.driver_id, min(event.seq, self._connection.last_seq)))

    def _ask(self, question: Question) -> None:
        """Put it to the region. No task waits for the answer: each of its turns would be one of the event loop, and
        those are what an accept consists of."""
        root = Root(question.id, f"ws {question.frame_type.__name__}")
        ask = Ask(
            scope=f"{self.driver_id}|ws",
            key=question.id,
            fingerprint=fingerprint("WS", question.frame_type.__name__, msgspec.to_builtins(question.action)),
            role=Role.DRIVER,
            principal_id=self.driver_id,
            action=question.action,
            session=self.session,
            device=question.device,
            here=question.here,
        )
        if self._moved or self.region_id in self._services.forgetful or self._turn.locked():
            self._spawn(self._look_first(question, root, ask))
        else:
            self._submit(question, root, ask)

    def _submit(self, question: Question, root: Root, ask: Ask) -> None:
        answered = partial(self._answered, question, root, ask)
        known = ids((root.origin,))
        with (
            structlog.contextvars.bound_contextvars(driver_id=self.driver_id, **known),
            on_behalf_of((root.origin,)),
        ):
            try:
                self._services.backend.submit(self.region_id, ask, answered)
            except Overloaded as error:
                answered(error)

    async def _look_first(self, question: Question, root: Root, ask: Ask) -> None:
        """The first answer from the database, or the question to the region; one after the other, so that a driver's
        questions keep their order."""
        async with self._turn:
            try:
                first = await self._services.reads.stored_answer(ask.scope, ask.key)
            except Exception as error:
                self._answered(question, root, ask, error)
                return
            if first is None:
                self._submit(question, root, replace(ask, looked=True))
                return
        same = first.fingerprint == ask.fingerprint
        self._answered(question, root, ask, first.answer if same else IdempotencyKeyReused())

    def _answered(self, question: Question, root: Root, ask: Ask, answer: Answer | Exception) -> None:
        if answer == LOOK_FIRST:
            self._services.forgetful.add(self.region_id)
            self._spawn(self._look_first(question, root, ask))
            return
        try:
            if isinstance(answer, Exception):
                raise answer
            self._connection.answer(question, answer)
        except Refusal as error:
            self._connection.refuse(question.id, error)
        except Exception:
            _log.exception("question failed")
            self._connection.refuse(question.id, InternalError())
        self._questions -= 1
        if self._retiring is not None:
            self.retire(self._retiring)
        self._flush()
        root.end()

    def _sighted(self, event: Sighting) -> None:
        try:
            self._presence.sighted(event)
        except (InvalidRequest, DriverNotApproved, DocumentsExpired) as error:
            self._connection.refuse(None, error)

    def judge(self, standing: Standing | None) -> None:
        """See `gateway.sockets.recheck.Rechecked`."""
        try:
            self._presence.judge(standing)
        except Refusal as error:
            self._connection.refuse(None, error)
            self._flush()

    def _enter(self, region_id: str) -> None:
        if not self._moving:
            self._moving = True
            self._spawn(self._move_to(region_id))

    async def _move_to(self, region_id: str) -> None:
        """The driver has driven into another market. A task keeps its region."""
        try:
            region_id = await self._services.region_of_driver(self.driver_id, region_id)
            if region_id == self.region_id:
                return
            before, self.region_id = self.region_id, region_id
            self._moved = True
            await self._presence.moved()
            self._services.backend.notify(before, Detach(driver_id=self.driver_id, session=self.session))
            await self._attach(None)
        except Refusal as error:
            self._connection.refuse(None, error)
            self.close(CLOSE_RESTARTING, error.code)
        finally:
            self._moving = False

    # -- from the region ----------------------------------------------------------------------------------------------

    def push(self, frame: ServerFrame) -> None:
        """A frame from the region."""
        self._connection.push(frame)
        if self._connection.has_gap:
            self._catch_up(wait_s=GAP_WAIT_S)
        self._flush()

    def sighted(
        self,
        lat: float | None,
        lng: float | None,
        on_duty: bool,
        until: datetime | None,
        begins: datetime | None,
    ) -> None:
        """See `gateway.sockets.hub.Socket`."""
        self._presence.sighted(Sighting(lat, lng, on_duty, until, begins))
        self._flush()

    def reported(self, report: Reported) -> None:
        """See `gateway.sockets.hub.Socket`."""
        self._presence.reported(report)

    def reattach(self) -> None:
        """See `gateway.sockets.hub.Socket`."""
        if self._connection.phase is Phase.OPEN:
            self._is_stranger = True
            self._catch_up(wait_s=0)

    def _catch_up(self, *, wait_s: float) -> None:
        if not self._catching_up:
            self._catching_up = True
            self._spawn(self._attach_again(wait_s))

    async def _attach_again(self, wait_s: float) -> None:
        """Ask the region for what is missing, if it has not come by itself, and as often as it says anew that it does
        not know this socket."""
        try:
            if wait_s:
                await asyncio.sleep(wait_s)
            self._is_stranger |= self._connection.has_gap
            while self._is_stranger:
                self._is_stranger = False
                await self._attach(self._connection.last_seq)
        except Refusal as error:
            self.close(CLOSE_RESTARTING, error.code)
        finally:
            self._catching_up = False

    def retire(self, reason: str) -> None:
        """Close with 1012 as soon as every question that was asked is answered."""
        self._retiring = reason
        if not self._questions:
            self.close(CLOSE_RESTARTING, reason)

    def close(self, code: int, reason: str) -> None:
        """Close the socket from this side."""
        self._connection.close(code, reason)
        self._flush()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
