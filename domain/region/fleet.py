"""The drivers of a region in columns, so that a batch of ten thousand pings is one vectorised step.

All of it is soft state but `state`, which follows from tasks and offers: after a restart the pings refill the rest.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from domain.ground.arrays import F64
from domain.region.messages import DriversSeen, Kick, Push, Reported
from domain.solve import NEVER_MS, DriverColumns

Rows = npt.NDArray[np.int64]


class DriverState(IntEnum):
    """What a driver is busy with; the first entries of `domain.region.ops.frames.DRIVER_STATES`."""

    FREE = 0
    OFFERED = 1
    TO_PICKUP = 2
    TO_DROPOFF = 3
    RETURNING = 4


_COLUMNS: dict[str, type] = {
    "lat": np.float64,
    "lng": np.float64,
    "seen_ms": np.int64,  # when the position was taken
    "heard_ms": np.int64,  # the newest ping or granted request
    "session": np.int64,
    "seq": np.int64,
    "rest_seq": np.int64,  # of the newest report without a socket
    "last_n": np.int64,  # the greatest number of an action that was carried out, by the driver's devices
    "gateway": np.int64,  # index into `gateways`, -1: no socket
    "on_duty": np.bool_,
    "state": np.int8,
    "rest_until_ms": np.int64,
    "on_since_ms": np.int64,  # beginning of the duty
    "from_ms": np.int64,  # beginning of the shift, where it was said before it began
    "until_ms": np.int64,  # end of the shift, NEVER_MS: not known
    "free_ms": np.int64,  # when what is held will be done
    "free_lat": np.float64,  # ... and where
    "free_lng": np.float64,
    "done": np.int64,  # orders brought in this duty
    "offers": np.int64,
    "taken": np.int64,
    "overrides": np.int64,  # steps of this duty that were taken far away, with a reason
}


_FILL = {"gateway": -1, "until_ms": NEVER_MS}


class Seen(NamedTuple):
    """What a batch of pings brought: rows whose socket became known, rows that went off duty, whether anybody came on
    duty, and what to tell gateways: sockets to close because a later one of the same driver is open, and reports over
    REST of drivers with a socket."""

    appeared: list[int]
    went_off: list[int]
    came_on: bool
    told: list[Kick | Push]


class Fleet:
    """One row per driver seen of late. A driver's row number stays until the driver is forgotten; then it is another's,
    and until then its id is empty."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.index: dict[str, int] = {}
        self.vacant: list[int] = []  # rows of drivers who were forgotten
        self.gateways: list[str] = []
        self.pings = 0
        self._room = 0
        self.lat = self.lng = np.empty(0)
        self.seen_ms = self.heard_ms = self.session = self.seq = self.gateway = np.empty(0, np.int64)
        self.rest_seq = self.last_n = np.empty(0, np.int64)
        self.rest_until_ms = self.offers = self.taken = self.overrides = np.empty(0, np.int64)
        self.from_ms = self.on_since_ms = self.until_ms = self.free_ms = self.done = np.empty(0, np.int64)
        self.free_lat = self.free_lng = np.empty(0)
        self.on_duty = np.empty(0, np.bool_)
        self.state = np.empty(0, np.int8)

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, driver_id: str) -> int:
        """The driver's row, made when it is new (off duty, never seen)."""
        row = self.index.get(driver_id)
        if row is None and self.vacant:
            row = self.vacant.pop()
            self.index[driver_id], self.ids[row] = row, driver_id
        elif row is None:
            row = len(self.ids)
            self.index[driver_id] = row
            self.ids.append(driver_id)
            if row >= self._room:
                self._grow()
        return row

    def attach(self, driver_id: str, gateway_id: str, session: int) -> None:
        """The driver has this socket now."""
        row = self.row(driver_id)
        self.gateway[row] = self.gateway_number(gateway_id)
        self.session[row], self.seq[row] = session, 0

    def detach(self, driver_id: str, session: int) -> None:
        """The driver's socket has gone, if it is the one that was known."""
        row = self.row(driver_id)
        if self.session[row] == session:
            # The session's number stays: a ping of an older socket that comes late must not count as news.
            self.gateway[row] = -1

    def gateway_lost(self, gateway_id: str) -> None:
        """All sockets of this gateway have gone."""
        self.gateway[self.gateway == self.gateway_number(gateway_id)] = -1

    def heard(self, driver_id: str, now_ms: int) -> None:
        """The driver gave a sign of life."""
        row = self.row(driver_id)  # may make room, so it comes before a column is named
        self.heard_ms[row] = now_ms

    def rest(self, driver_id: str, until_ms: int) -> None:
        """Leave the driver alone until then."""
        row = self.row(driver_id)
        self.rest_until_ms[row] = until_ms

    def count_offer(self, driver_id: str, times: int = 1) -> None:
        """One more offer went to the driver; -1 for one that says nothing about them."""
        row = self.row(driver_id)
        self.offers[row] += times

    def count_taken(self, driver_id: str) -> None:
        """The driver took an offer."""
        row = self.row(driver_id)
        self.taken[row] += 1

    def count_done(self, driver_id: str) -> None:
        """The driver brought an order."""
        row = self.row(driver_id)
        self.done[row] += 1

    def count_override(self, driver_id: str) -> None:
        """The driver took a step far from where it belongs, and said why."""
        row = self.row(driver_id)
        self.overrides[row] += 1

    def note_number(self, driver_id: str, n: int) -> None:
        """The greatest number that the driver's devices gave a step."""
        row = self.row(driver_id)
        self.last_n[row] = max(int(self.last_n[row]), n)

    def silent(self, since_ms: int) -> list[str]:
        """Drivers without a socket and without a task or an offer, of whom nothing was heard since then."""
        n = len(self.ids)
        mask = (self.heard_ms[:n] < since_ms) & (self.gateway[:n] < 0) & (self.state[:n] == DriverState.FREE)
        return [self.ids[row] for row in np.flatnonzero(mask).tolist() if self.ids[row]]

    def forget(self, driver_id: str) -> None:
        """Give the driver's row free."""
        row = self.index.pop(driver_id)
        self.ids[row] = ""
        for name in _COLUMNS:
            getattr(self, name)[row] = _FILL.get(name, 0)
        self.vacant.append(row)

    def _grow(self) -> None:
        more = max(64, self._room)
        for name, dtype in _COLUMNS.items():
            fill: npt.NDArray[Any] = np.full(more, _FILL.get(name, 0), dtype)
            setattr(self, name, np.concatenate([getattr(self, name), fill]))
        self._room += more

    def see(self, now_ms: int, batch: DriversSeen) -> Seen:
        """Take a batch of pings in. A ping older than the newest one known changes nothing."""
        n = len(batch.driver_ids)
        if n == 0:
            return Seen([], [], False, [])
        self.pings += n
        rows = np.fromiter((self.row(driver_id) for driver_id in batch.driver_ids), np.int64, n)
        known_session = self.session[rows]
        later = batch.session > known_session
        fresh = later | ((batch.session == known_session) & (batch.seq >= self.seq[rows]))
        # Reports over REST have no session; they count while no socket is known.
        by_rest = (batch.session == 0) & (self.gateway[rows] < 0) & (batch.seq >= self.rest_seq[rows])
        fresh = np.where(batch.session == 0, by_rest, fresh)
        gateway = self.gateway_number(batch.gateway_id)
        told: list[Kick | Push] = [*self._stale_sockets(batch, rows, later, gateway)]
        told += self._reports(batch, rows)

        rows, source = rows[fresh], np.flatnonzero(fresh)
        went_off = rows[self.on_duty[rows] & ~batch.on_duty[source]]
        came_on = bool(np.any(~self.on_duty[rows] & batch.on_duty[source]))
        has_socket = batch.session[source] > 0
        appeared = rows[has_socket & (self.gateway[rows] != gateway)]
        begun = rows[~self.on_duty[rows] & batch.on_duty[source]]
        self.on_since_ms[begun], self.done[begun], self.overrides[begun] = now_ms, 0, 0
        for name in ("lat", "lng", "on_duty"):
            getattr(self, name)[rows] = getattr(batch, name)[source]
        if batch.until_ms is not None:
            until_ms = batch.until_ms[source]
            self.until_ms[rows] = np.where(until_ms > 0, until_ms, NEVER_MS)
        if batch.from_ms is not None:
            self.from_ms[rows] = batch.from_ms[source]
        on_socket, heard = rows[has_socket], source[has_socket]
        self.session[on_socket], self.seq[on_socket] = batch.session[heard], batch.seq[heard]
        self.gateway[on_socket] = gateway
        self.rest_seq[rows[~has_socket]] = batch.seq[source[~has_socket]]
        self.seen_ms[rows] = self.heard_ms[rows] = now_ms
        if batch.place_ms is not None:
            # Who says where they are and is not believed is heard of all the same.
            place_ms = batch.place_ms[source]
            self.seen_ms[rows] = np.where(place_ms > 0, np.minimum(place_ms, now_ms), now_ms)
        return Seen(appeared.tolist(), went_off.tolist(), came_on, told)

    def _stale_sockets(
        self, batch: DriversSeen, rows: Rows, later: npt.NDArray[np.bool_], gateway: int
    ) -> list[Kick]:
        known = self.session[rows]
        replaced = later & (known > 0) & (self.gateway[rows] >= 0)
        kicks = [
            Kick(self.gateways[self.gateway[row]], self.ids[row], int(self.session[row]))
            for row in rows[replaced].tolist()
        ]
        behind = (batch.session > 0) & (batch.session < known)
        kicks += [
            Kick(batch.gateway_id, batch.driver_ids[i], int(batch.session[i]))
            for i in np.flatnonzero(behind).tolist()
        ]
        return kicks

    def _reports(self, batch: DriversSeen, rows: Rows) -> list[Push]:
        """A socket speaks for its driver: a word over REST goes there, whichever gateway it is at, and comes back."""
        elsewhere = (batch.session == 0) & (self.gateway[rows] >= 0) & (batch.seq > self.rest_seq[rows])
        pushes = []
        for i in np.flatnonzero(elsewhere).tolist():
            row = int(rows[i])
            self.rest_seq[row] = said_ms = int(batch.seq[i])
            report = Reported(
                said_ms=said_ms,
                lat=float(batch.lat[i]),
                lng=float(batch.lng[i]),
                on_duty=bool(batch.on_duty[i]),
                until_ms=0 if batch.until_ms is None else int(batch.until_ms[i]),
                from_ms=0 if batch.from_ms is None else int(batch.from_ms[i]),
            )
            pushes.append(
                Push(self.gateways[self.gateway[row]], self.ids[row], int(self.session[row]), report)
            )
        return pushes

    def gateway_number(self, gateway_id: str) -> int:
        if gateway_id not in self.gateways:
            self.gateways.append(gateway_id)
        return self.gateways.index(gateway_id)

    def free_rows(self, now_ms: int, stale_ms: int, ahead_ms: int = 0) -> Rows:
        """Rows of the drivers who can be offered a task now, and with `ahead_ms` of those on the way to a last door who
        will be done so soon."""
        n = len(self.ids)
        state, free_ms = self.state[:n], np.maximum(self.free_ms[:n], self.from_ms[:n])
        mask = (state == DriverState.FREE) & (free_ms <= now_ms)
        if ahead_ms:
            mask |= (state == DriverState.FREE) & (free_ms < now_ms + ahead_ms)
            mask |= (state == DriverState.TO_DROPOFF) & (free_ms < now_ms + ahead_ms)
        mask &= self.on_duty[:n] & (now_ms - self.seen_ms[:n] < stale_ms)
        mask &= (self.rest_until_ms[:n] <= now_ms) & (self.until_ms[:n] > now_ms)
        return np.flatnonzero(mask)

    def rows_to_plan(self, now_ms: int, stale_ms: int, ahead_ms: int) -> Rows:
        """Rows of the drivers who can be planned with: free now, or done within `ahead_ms` with what they hold or are
        asked to take. Who has a return to do is not among them."""
        n = len(self.ids)
        state = self.state[:n]
        busy = (state > DriverState.FREE) & (state < DriverState.RETURNING)
        mask = self.on_duty[:n] & (now_ms - self.seen_ms[:n] < stale_ms)
        mask &= (self.until_ms[:n] > now_ms) & (self.free_ms[:n] <= now_ms + ahead_ms)
        mask &= self.from_ms[:n] <= now_ms + ahead_ms
        idle = (self.state[:n] == DriverState.FREE) & (self.rest_until_ms[:n] <= now_ms)
        return np.flatnonzero(mask & (idle | busy))

    def places(self, now_ms: int, rows: Rows) -> tuple[F64, F64, Rows]:
        """Where each of these will be when done with what is held, and from when on there (ms)."""
        free_ms = np.maximum(np.maximum(self.free_ms[rows], self.from_ms[rows]), now_ms)
        waiting = (self.state[rows] == DriverState.FREE) & (self.free_ms[rows] <= now_ms)
        lat = np.where(waiting, self.lat[rows], self.free_lat[rows])
        return lat, np.where(waiting, self.lng[rows], self.free_lng[rows]), free_ms

    def columns(self, now_ms: int, rows: Rows, askable: Rows, guaranteed_per_h: float) -> DriverColumns:
        """The given rows as a solver sees them; `askable`: rows of those who may be made an offer.

        The accept rate is smoothed towards that of the whole region, which begins at 3 of 4 offers taken: what is known
        of all is the best guess for who is new (empirical Bayes).
        """
        of_all = (self.taken.sum() + 3) / (self.offers.sum() + 4)
        lat, lng, free_ms = self.places(now_ms, rows)
        since_ms = np.maximum(self.on_since_ms[rows], self.from_ms[rows])
        hours = np.maximum(now_ms - since_ms, 0) / 3_600_000
        return DriverColumns(
            ids=[self.ids[row] for row in rows.tolist()],
            lat=lat,
            lng=lng,
            free_ms=free_ms,
            until_ms=self.until_ms[rows],
            idle=np.isin(rows, askable),
            accept_rate=(self.taken[rows] + 4 * of_all) / (self.offers[rows] + 4),
            ahead=self.done[rows] - guaranteed_per_h * hours,
        )
