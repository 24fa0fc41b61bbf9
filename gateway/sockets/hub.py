"""The sockets that are open on this gateway, and the way of a region's pushes to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from domain.marketplace.drivers import Standing
from domain.protocol import CLOSE_TAKEN_OVER, ServerFrame
from domain.region.messages import Kick, Push, Reported
from persistence.reads.views import Holder


class Socket(Protocol):
    """What the hub asks of a driver's socket."""

    driver_id: str
    session: int
    region_id: str

    def push(self, frame: ServerFrame) -> None: ...

    def close(self, code: int, reason: str) -> None: ...

    def sighted(
        self,
        lat: float | None,
        lng: float | None,
        on_duty: bool,
        until: datetime | None,
        begins: datetime | None,
    ) -> None:
        """The driver said over REST where they are, and from and until when if they are on duty. `InvalidRequest` as
        for the same word on the socket."""
        ...

    def judge(self, standing: Standing | None) -> None:
        """How the driver's application stands by now, None where there is none."""
        ...

    def reported(self, report: Reported) -> None:
        """The same, said at another gateway; ignored when the driver has said something else since."""
        ...

    def reattach(self) -> None:
        """The region does not know this socket any more."""
        ...


class OpenSocket(Socket, Protocol):
    """A driver's socket as the whole gateway sees it."""

    holder: Holder | None  # of its newest token, None before the hello

    def expel(self) -> None:
        """The account is gone or disabled, is no driver's any more, or took the token back."""
        ...

    def retire(self, reason: str) -> None:
        """Close with 1012 as soon as every question that was asked is answered."""
        ...


class Hub:
    """One socket a driver. Sessions rise with time, over gateways and restarts as well."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        """`now_us`: the time in microseconds, as all gateways see it and whatever is done to their clocks: a socket
        whose number is lower than that of the driver's last one is taken for an older one, and closed."""
        self._now_us = now_us
        self._sockets: dict[str, Socket] = {}
        self._last_session = 0
        self.pushed = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._sockets)

    def next_session(self) -> int:
        """The time in microseconds, or one more than the last where the clock stood or went back."""
        self._last_session = max(self._now_us(), self._last_session + 1)
        return self._last_session

    def add(self, socket: Socket) -> None:
        """Make this the driver's socket; one that was open before closes."""
        before = self._sockets.get(socket.driver_id)
        self._sockets[socket.driver_id] = socket
        if before is not None:
            before.close(CLOSE_TAKEN_OVER, "another socket took over")

    def remove(self, socket: Socket) -> None:
        """Forget the socket if it is still the driver's."""
        if self._sockets.get(socket.driver_id) is socket:
            del self._sockets[socket.driver_id]

    def get(self, driver_id: str) -> Socket | None:
        """The driver's socket on this gateway."""
        return self._sockets.get(driver_id)

    def deliver(self, batch: Iterable[Push | Kick]) -> None:
        """Carry a region's pushes out, in their order. What is for a former session is dropped: the region keeps it."""
        for item in batch:
            socket = self._sockets.get(item.driver_id)
            if socket is None or socket.session != item.session:
                self.dropped += 1
            elif isinstance(item, Kick):
                socket.close(CLOSE_TAKEN_OVER, "another socket took over")
            elif isinstance(item.frame, Reported):
                socket.reported(item.frame)
            else:
                self.pushed += 1
                socket.push(item.frame)

    def in_region(self, region_id: str) -> list[Socket]:
        """The sockets attached to a region."""
        return [socket for socket in self._sockets.values() if socket.region_id == region_id]
