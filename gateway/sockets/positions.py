"""Positions on their way to the regions: the newest of each driver, collected and sent as columns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import numpy as np
import structlog
from msgspec import Struct
from msgspec.structs import replace

from domain.errors import InvalidRequest, Refusal
from domain.ground.fixes import Track
from domain.ground.times import in_ms, instant, millis
from domain.region.messages import DriversSeen

_log = structlog.stdlib.get_logger(__name__)

SHIFT_LIMIT_S = 24 * 3600.0  # server time that a shift may end ahead
BATCH_LIMIT = 20_000  # drivers in one message
KNOCK_S = 0.5  # a region that nobody has pinged for so long is asked for its epoch all the same
# Where a region's message goes; returns the region's epoch.
Send = Callable[[str, DriversSeen], Awaitable[int]]


class State(Struct):
    """The newest that is known of a driver. `session` 0: no socket, the driver reports over REST. Of a socket's session
    there is one, which each ping changes: no object is made for a ping."""

    driver_id: str
    region_id: str
    session: int
    seq: int
    lat: float
    lng: float
    on_duty: bool
    at_s: float  # seconds of the gateway's event loop
    until_ms: int = 0  # end of the shift, 0 where it is not known
    from_ms: int = 0  # beginning of the shift where it lies ahead
    place_ms: int = 0  # when the position was taken, 0: not known
    track: Track | None = None  # by which positions are judged


def shift_ms(begins: datetime | None, until: datetime | None, now_ms: int) -> tuple[int, int]:
    """Beginning and end of a shift as a driver said them, 0 for None. `InvalidRequest` for what does not lie ahead, or
    too far, and for an end before the beginning."""
    # Compared as datetimes: milliseconds are far within the range of int64 then.
    for name, moment in (("begins", begins), ("until", until)):
        if moment is not None and not instant(now_ms) < moment <= instant(now_ms + in_ms(SHIFT_LIMIT_S)):
            raise InvalidRequest(f"{name} must lie ahead, by at most {SHIFT_LIMIT_S / 3600:g} h.")
    if begins is not None and until is not None and begins >= until:
        raise InvalidRequest("begins must come before until.")
    return 0 if begins is None else millis(begins), 0 if until is None else millis(until)


def columns(gateway_id: str, states: list[State]) -> DriversSeen:
    """The states as one message."""
    return DriversSeen(
        gateway_id=gateway_id,
        driver_ids=[state.driver_id for state in states],
        session=np.array([state.session for state in states], np.int64),
        seq=np.array([state.seq for state in states], np.int64),
        lat=np.array([state.lat for state in states], np.float64),
        lng=np.array([state.lng for state in states], np.float64),
        on_duty=np.array([state.on_duty for state in states], np.bool_),
        until_ms=np.array([state.until_ms for state in states], np.int64),
        from_ms=np.array([state.from_ms for state in states], np.int64),
        place_ms=np.array([state.place_ms for state in states], np.int64),
    )


class Pings:
    """Collects states and flushes them every `flush_s`, one call under way for each region.

    A state that could not be sent stays until a newer one replaces it. When a region turns out to be in a new life
    (another epoch), everything known of its drivers is sent again and `on_new_epoch(region_id)` is called. Drivers
    without a socket are remembered for `keep_s` seconds of wall time.
    """

    def __init__(
        self,
        gateway_id: str,
        send: Send,
        *,
        flush_s: float,
        keep_s: float,
        on_new_epoch: Callable[[str], None] = lambda region_id: None,
        clock_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._gateway_id = gateway_id
        self._send = send
        self._flush_s = flush_s
        self._keep_s = keep_s
        self._on_new_epoch, self._clock_ms = on_new_epoch, clock_ms
        self._known: dict[str, State] = {}
        self._parked: dict[str, State] = {}  # of sockets that have closed
        self._pending: dict[str, dict[str, State]] = {}
        self._epochs: dict[str, int] = {}
        self._called_s: dict[str, float] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self.sent = 0
        self.now_ms = (
            0  # of the server's clock at the last flush, which is new enough to judge positions by; 0: none
        )

    def put(self, state: State) -> None:
        """Note the newest state of a driver."""
        before = self._known.get(state.driver_id)
        if before is not None and before.region_id != state.region_id:
            self._pending.get(before.region_id, {}).pop(state.driver_id, None)
        self._known[state.driver_id] = state
        self._parked.pop(state.driver_id, None)
        self._pending.setdefault(state.region_id, {})[state.driver_id] = state

    def move(self, state: State, lat: float, lng: float, place_ms: int = 0) -> None:
        """A ping of the socket whose state this is; that of a socket which another one has replaced is not news."""
        if self._known.get(state.driver_id) is state:
            state.lat, state.lng, state.place_ms = lat, lng, place_ms
            state.seq += 1
            self._pending[state.region_id][state.driver_id] = state

    def last(self, driver_id: str) -> State | None:
        """The newest state that this gateway knows."""
        return self._known.get(driver_id) or self._parked.get(driver_id)

    async def closed(self, driver_id: str, session: int) -> None:
        """The socket has closed: send what waits of it, which may be the end of a duty, and nothing of it again.

        The last state stays known for a while, so that the driver's next socket starts with it.
        """
        state = self._known.get(driver_id)
        if state is None or state.session != session:
            return
        self._parked[driver_id] = self._known.pop(driver_id)
        if self._pending.get(state.region_id, {}).pop(driver_id, None) is not None:
            await self._send_batch(state.region_id, [state])

    async def left(self, state: State) -> None:
        """The driver has another region now: the one of this state hears that there is no more to come."""
        await self._send_batch(state.region_id, [replace(state, seq=state.seq + 1, on_duty=False)])

    def is_current(self, driver_id: str) -> bool:
        """Whether a region that starts anew would hear of this driver from here."""
        return driver_id in self._known

    def flush(self) -> None:
        """Start sending to every region that has something waiting and no call under way."""
        for region_id, states in self._pending.items():
            if states and region_id not in self._under_way:
                batch = list(states.values())[:BATCH_LIMIT]
                for state in batch:
                    del states[state.driver_id]
                self._start(region_id, batch)

    def knock(self, now_s: float) -> None:
        """Notice a region's new life although its drivers are silent: they wait for what it may have to say."""
        for region_id in self._epochs:
            if region_id not in self._under_way and now_s - self._called_s[region_id] >= KNOCK_S:
                self._start(region_id, [])

    def _start(self, region_id: str, batch: list[State]) -> None:
        self._called_s[region_id] = asyncio.get_running_loop().time()
        self._under_way[region_id] = asyncio.create_task(self._send_alone(region_id, batch))

    async def _send_alone(self, region_id: str, batch: list[State]) -> None:
        try:
            await self._send_batch(region_id, batch)
        finally:
            del self._under_way[region_id]

    async def _send_batch(self, region_id: str, batch: list[State]) -> None:
        try:
            epoch = await self._send(region_id, columns(self._gateway_id, batch))
        except Refusal as error:
            _log.debug("pings wait", region_id=region_id, code=error.code)
            waiting = self._pending[region_id]
            for state in batch:
                if self._known.get(state.driver_id) is state:
                    waiting.setdefault(state.driver_id, state)
            return
        except Exception:
            _log.exception("pings lost", region_id=region_id)
            return
        self.sent += len(batch)
        before = self._epochs.get(region_id)
        self._epochs[region_id] = epoch
        self._called_s.setdefault(region_id, 0.0)
        if before is not None and before != epoch:
            self.refill(region_id)

    def refill(self, region_id: str) -> None:
        """Send the region everything that is known of its drivers again."""
        waiting = self._pending.setdefault(region_id, {})
        states = [state for state in self._known.values() if state.region_id == region_id]
        for state in states:
            waiting.setdefault(state.driver_id, state)
        _log.info("region refilled", region_id=region_id, drivers=len(states))
        self._on_new_epoch(region_id)

    def forget(self, now_s: float) -> None:
        """Drop drivers without a socket who were not heard of for `keep_s`."""
        for states in (self._known, self._parked):
            for state in list(states.values()):
                if (states is self._parked or state.session == 0) and now_s - state.at_s > self._keep_s:
                    del states[state.driver_id]

    async def run(self) -> None:
        """Flush for ever."""
        loop, forget_at_s = asyncio.get_running_loop(), 0.0
        while True:
            self.now_ms = self._clock_ms()
            await asyncio.sleep(self._flush_s)
            self.flush()
            self.knock(loop.time())
            if (now_s := loop.time()) >= forget_at_s:
                self.forget(now_s)
                forget_at_s = now_s + self._keep_s / 4
