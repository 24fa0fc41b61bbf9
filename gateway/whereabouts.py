"""Where a driver is and whether on duty, as one socket's session says it to the region."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from domain.errors import InvalidRequest
from domain.messages import Reported
from gateway.connection import Sighting
from gateway.pings import State, shift_ms
from gateway.places import nearest_region

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


class Whereabouts:
    """`on_market(region_id)` is called with each word from another market than the session's."""

    def __init__(self, services: Services, session: Session, on_market: Callable[[str], None]) -> None:
        self._services, self._session, self._on_market = services, session, on_market
        self._traffic, self._pings = services.metrics.traffic, services.pings
        self._roams = len(services.config.regions) > 1
        self._state: State | None = None  # of this session, once there is something to tell
        self._said_ms = 0  # wall time of the driver's last word on duty

    def pinged(self, lat: float, lng: float) -> None:
        """The hot path: nothing is made, written or looked up that the newest position does not need."""
        self._traffic.pings += 1
        if self._state is not None and not self._roams:
            self._pings.move(self._state, lat, lng)
        elif (last := self._pings.last(self._session.driver_id)) is not None:
            self._put(lat, lng, last.on_duty, last.until_ms, last.from_ms)
        # A position before any word on duty says nothing about it: wait for the word.

    def sighted(self, event: Sighting) -> None:
        """The driver's word on duty. `InvalidRequest` for an impossible shift, and for duty at no known place."""
        from_ms, until_ms = shift_ms(event.begins, event.until, self._services.config.clock.now_ms())
        lat, lng = event.lat, event.lng
        if lat is None or lng is None:
            before = self._pings.last(self._session.driver_id)
            if before is None and event.on_duty:
                raise InvalidRequest("Say where you go on duty: lat and lng.")
            centre = self._services.centre_of
            lat, lng = (before.lat, before.lng) if before else centre(self._session.region_id)
        self._said_ms = self._services.now_us() // 1000
        self._put(lat, lng, event.on_duty, until_ms, from_ms)

    def reported(self, report: Reported) -> None:
        """The same, said at another gateway; ignored when the driver has said something else since."""
        if report.said_ms > self._said_ms:
            self._said_ms = report.said_ms
            self._put(report.lat, report.lng, report.on_duty, report.until_ms, report.from_ms)

    def _put(self, lat: float, lng: float, on_duty: bool, until_ms: int, from_ms: int) -> None:
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
        )
        self._pings.put(self._state)
        nearest = nearest_region(self._services.config.regions, lat, lng)
        if nearest != session.region_id:
            self._on_market(nearest)

    async def moved(self) -> None:
        """The session has another region now: it hears what is known, and the former one that the driver has left."""
        if (before := self._state) is not None:
            self._put(before.lat, before.lng, before.on_duty, before.until_ms, before.from_ms)
            await self._pings.left(before)
