"""Where a driver is and whether on duty, as one socket's session says it to the region."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from domain.errors import InvalidRequest, Refusal
from domain.ground.fixes import Doubt, Track
from domain.marketplace.drivers import Standing, require_fit
from domain.protocol import Location
from domain.region.messages import Reported
from gateway.deciders.nearest_market import nearest_region
from gateway.sockets.connection import Sighting
from gateway.sockets.positions import State, shift_ms

if TYPE_CHECKING:
    from gateway.services import Services


class Session(Protocol):
    """Whose whereabouts; known once the hello was taken."""

    @property
    def driver_id(self) -> str: ...

    @property
    def region_id(self) -> str: ...

    @property
    def session(self) -> int: ...


def require_reach(services: Services, event: Sighting) -> None:
    """`InvalidRequest` for duty at a place in reach of no market."""
    if not event.on_duty or event.lat is None or event.lng is None:
        return
    if not services.bounds.reach(event.lat, event.lng):
        services.metrics.traffic.doubts[Doubt.ELSEWHERE] += 1
        raise InvalidRequest("That place is in reach of no market of this server.")


def placed(
    services: Services, track: Track, last: State | None, event: Sighting, region_id: str
) -> tuple[float, float, int]:
    """Where a driver is who says a word on duty, and since when that is known (server ms). A place that is not believed
    leaves the driver where they were. `InvalidRequest` for duty at no known place, or one in reach of no market."""
    require_reach(services, event)
    now_ms = services.config.clock.now_ms()
    if event.lat is not None and event.lng is not None:
        doubt = track.doubt(event.lat, event.lng, None, None, now_ms)
        if doubt is None:
            return event.lat, event.lng, now_ms
        services.metrics.traffic.doubts[doubt] += 1
        if last is not None:
            return last.lat, last.lng, last.place_ms
    elif last is not None:
        return last.lat, last.lng, now_ms  # still there, says the driver
    elif event.on_duty:
        raise InvalidRequest("Say where you go on duty: lat and lng.")
    return (*services.centre_of(region_id), now_ms)


def track_of(services: Services, last: State | None) -> Track:
    """What positions of the driver are judged by: what is known of the last ones, whichever way they came."""
    return last.track if last is not None and last.track is not None else Track(services.bounds)


def fit_until_ms(standing: Standing | None, until_ms: int, now_ms: int) -> int:
    """The end of a shift (0: not known) of a driver whose application stands so: no later than the documents are good.
    The market ends the duty then by itself. The refusals of `require_fit`."""
    papers_ms = require_fit(standing, now_ms)
    if papers_ms is None:
        return until_ms
    return min(papers_ms, until_ms or papers_ms)


class Presence:
    """`on_market(region_id)` is called with each word from another market than the session's."""

    def __init__(self, services: Services, session: Session, on_market: Callable[[str], None]) -> None:
        self._services, self._session, self._on_market = services, session, on_market
        self._traffic, self._pings = services.metrics.traffic, services.pings
        self._now_ms = services.config.clock.now_ms
        self._roams = len(services.config.regions) > 1
        self._state: State | None = None  # of this session, once there is something to tell
        self._track: Track | None = None
        self.standing: Standing | None = None  # of the driver, as it was last looked at
        self._said_ms = 0  # wall time of the driver's last word on duty

    def pinged(self, ping: Location) -> None:
        """The hot path: nothing is made, written or looked up that the newest position does not need."""
        self._traffic.pings += 1
        state = self._state
        if state is None or self._roams:
            state = self._pings.last(self._session.driver_id)
        if state is None:
            return  # a position before any word on duty says nothing about it: wait for the word
        track, at = self._track or self._judge(), ping.at
        now_ms = self._pings.now_ms or self._now_ms()
        at_ms = None if at is None else at.timestamp() * 1000
        lat, lng, place_ms = ping.lat, ping.lng, now_ms
        doubt = track.doubt(lat, lng, at_ms, ping.accuracy_m, now_ms)
        if doubt is not None:
            # The driver is heard of, but not seen.
            self._traffic.doubts[doubt] += 1
            lat, lng, place_ms = state.lat, state.lng, state.place_ms
        if state is self._state and not self._roams:
            self._pings.move(state, lat, lng, place_ms)
        else:
            self._put(lat, lng, state.on_duty, state.until_ms, state.from_ms, place_ms)

    def sighted(self, event: Sighting) -> None:
        """The driver's word on duty. `InvalidRequest` for an impossible shift, and for duty at no known place; the
        refusals of `require_fit` for duty of who may not drive."""
        from_ms, until_ms = shift_ms(event.begins, event.until, self._now_ms())
        until_ms = self._fit_until_ms(event.on_duty, until_ms)
        before = self._pings.last(self._session.driver_id)
        track, region_id = self._track or self._judge(), self._session.region_id
        lat, lng, place_ms = placed(self._services, track, before, event, region_id)
        self._said_ms = self._services.now_us() // 1000
        self._put(lat, lng, event.on_duty, until_ms, from_ms, place_ms)

    def reported(self, report: Reported) -> None:
        """The same, said at another gateway; ignored when the driver has said something else since."""
        if report.said_ms > self._said_ms:
            self._said_ms = report.said_ms
            event = Sighting(report.lat, report.lng, report.on_duty)
            before = self._pings.last(self._session.driver_id)
            track, region_id = self._track or self._judge(), self._session.region_id
            with suppress(Refusal):  # which the other gateway has told the driver
                until_ms = self._fit_until_ms(report.on_duty, report.until_ms)
                lat, lng, place_ms = placed(self._services, track, before, event, region_id)
                self._put(lat, lng, report.on_duty, until_ms, report.from_ms, place_ms)

    def judge(self, standing: Standing | None) -> None:
        """How the driver's application stands by now. The refusal of `require_fit` for who is on duty and may not drive
        any more, and then is off duty."""
        self.standing = standing
        state = self._state
        if state is None or not state.on_duty:
            return
        try:
            until_ms = self._fit_until_ms(True, state.until_ms)
        except Refusal:
            self._put(state.lat, state.lng, False, 0, 0, state.place_ms)
            raise
        if until_ms != state.until_ms:
            self._put(state.lat, state.lng, True, until_ms, state.from_ms, state.place_ms)

    def _fit_until_ms(self, on_duty: bool, until_ms: int) -> int:
        """The end of a shift, 0 for not known: no later than the documents are good."""
        return fit_until_ms(self.standing, until_ms, self._now_ms()) if on_duty else until_ms

    def _judge(self) -> Track:
        track = self._track = track_of(self._services, self._pings.last(self._session.driver_id))
        track.another_phone()
        return track

    def _put(self, lat: float, lng: float, on_duty: bool, until_ms: int, from_ms: int, place_ms: int) -> None:
        session = self._session
        seq = 1 if self._state is None else self._state.seq + 1
        at_s = asyncio.get_running_loop().time()
        self._state = State(
            session.driver_id,
            session.region_id,
            session.session,
            seq,
            lat,
            lng,
            on_duty,
            at_s,
            until_ms,
            from_ms,
            place_ms,
            self._track,
        )
        self._pings.put(self._state)
        nearest = nearest_region(self._services.config.regions, lat, lng)
        if nearest != session.region_id:
            self._on_market(nearest)

    async def moved(self) -> None:
        """The session has another region now: it hears what is known, and the former one that the driver has left."""
        if (before := self._state) is not None:
            self._put(
                before.lat, before.lng, before.on_duty, before.until_ms, before.from_ms, before.place_ms
            )
            await self._pings.left(before)


async def take_off(services: Services, driver_id: str) -> None:
    """Take a driver off duty who may not drive any more, wherever they are connected: every market hears it, and passes
    it on to the gateway that has the socket. Tasks that are under way stay with the driver."""
    services.standings.forget(driver_id)
    at_s, seq = asyncio.get_running_loop().time(), services.now_us() // 1000
    last = services.pings.last(driver_id)
    for region_id in services.config.regions:
        lat, lng = services.centre_of(region_id) if last is None else (last.lat, last.lng)
        await services.pings.left(State(driver_id, region_id, 0, seq, lat, lng, False, at_s))
