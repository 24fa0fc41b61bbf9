"""Which positions are believed: judged by their age, by where they are, and by how fast one would have had to drive.

A phone says an old queue after a new position, gives (0, 0) before it knows where it is, and jumps to a radio mast
for a moment. A jump that goes on is believed after a while, since it may be the end of a long tunnel. What is not
believed moves nobody; nothing is said of it to the client, which cannot do anything about it, and it is counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from domain.ground.markets import MARKETS

M_PER_DEGREE = 111_195.0  # of latitude
JITTER_MS = 5_000  # by which what comes in one after the other may overtake


class Doubt(StrEnum):
    """Why a position is not believed."""

    OLD = "old"  # or older than the one that is known
    VAGUE = "vague"  # less accurate than it would have to be
    ELSEWHERE = "elsewhere"  # in reach of no market, as (0, 0) and the poles are
    JUMP = "jump"  # nobody drives so fast, and it is not confirmed yet


class Box(Struct, frozen=True):
    """What is in reach of a market, in degrees, with metres to a degree of longitude there."""

    south: float
    north: float
    west: float
    east: float
    m_per_lng: float


class Bounds(Struct, frozen=True):
    """How much is believed. Times are on the server's clock."""

    age_ms: int  # of a position; what is older is not taken
    clock_ms: int  # for so long a phone's clock has to be behind until it is the clock that is wrong
    accuracy_m: float
    speed_mps: float
    slack_m: float  # at any speed
    confirmations: int  # positions in a row that agree, the first included, make a jump a fact
    boxes: tuple[Box, ...]

    def reach(self, lat: float, lng: float) -> bool:
        """Whether the place is in reach of a market."""
        return any(box.south <= lat <= box.north and box.west <= lng <= box.east for box in self.boxes)


def boxes(region_ids: Iterable[str], reach_m: float) -> tuple[Box, ...]:
    """What is in reach of each market: its radius and so much more."""
    made = []
    for region_id in region_ids:
        market = MARKETS[region_id]
        m_per_lng = M_PER_DEGREE * math.cos(math.radians(market.lat))
        dlat, dlng = (market.radius_m + reach_m) / M_PER_DEGREE, (market.radius_m + reach_m) / m_per_lng
        made.append(
            Box(market.lat - dlat, market.lat + dlat, market.lng - dlng, market.lng + dlng, m_per_lng)
        )
    return tuple(made)


class Track:
    """Where one driver is, as far as it is believed: one object for as long as the driver is known, which each position
    changes. `ms`: when the driver was there, 0 while nothing is known."""

    __slots__ = (
        "_at_ms",
        "_bounds",
        "_box",
        "_late_lead_ms",
        "_late_ms",
        "_lead_ms",
        "_other_lat",
        "_other_lng",
        "_other_ms",
        "_others",
        "_slack_m2",
        "lat",
        "lng",
        "ms",
    )

    def __init__(self, bounds: Bounds) -> None:
        self._bounds, self._box = bounds, bounds.boxes[0]
        self._slack_m2 = bounds.slack_m**2
        self.lat = self.lng = 0.0
        self.ms: float = 0
        # A jump that is not confirmed yet: its newest position, and how many agree.
        self._other_lat = self._other_lng = 0.0
        self._other_ms: float = 0
        self._others = 0
        self.another_phone()

    def another_phone(self) -> None:
        """Its clock may differ from the last one's."""
        self._at_ms: float = 0  # of the newest position that was taken, by the phone's clock
        self._lead_ms: float = 0  # by which the phone's clock is known to be ahead of the server's, or behind
        self._late_ms = 0  # since when it seems to be behind
        self._late_lead_ms: float = 0  # and by how much

    def doubt(
        self, lat: float, lng: float, at_ms: float | None, accuracy_m: float | None, now_ms: int
    ) -> Doubt | None:
        """Take the position; or why not. `at_ms`: when the driver was there, by the phone's clock; None: now."""
        bounds = self._bounds
        if accuracy_m is not None and accuracy_m > bounds.accuracy_m:
            return Doubt.VAGUE
        was_ms: float = now_ms
        if at_ms is not None:
            # A position cannot come from the future: then it is the clock that is ahead.
            lead_ms = at_ms - now_ms
            if lead_ms > self._lead_ms:
                self._lead_ms = lead_ms
            was_ms = at_ms - self._lead_ms
            if at_ms < self._at_ms or was_ms < now_ms - bounds.age_ms or was_ms < self.ms - JITTER_MS:
                if self._is_old(at_ms, now_ms):
                    return Doubt.OLD
                was_ms = now_ms
        box = self._box
        if not (box.south <= lat <= box.north and box.west <= lng <= box.east):
            for box in bounds.boxes:
                if box.south <= lat <= box.north and box.west <= lng <= box.east:
                    self._box = box
                    break
            else:
                return Doubt.ELSEWHERE
        y_m, x_m = (lat - self.lat) * M_PER_DEGREE, (lng - self.lng) * box.m_per_lng
        square_m2 = y_m * y_m + x_m * x_m
        if square_m2 > self._slack_m2 and self.ms and self._is_jump(lat, lng, square_m2, was_ms):
            return Doubt.JUMP
        self.lat, self.lng, self.ms = lat, lng, was_ms
        self._others = self._late_ms = 0
        if at_ms is not None:
            self._at_ms = at_ms
        return None

    def _is_old(self, at_ms: float, now_ms: int) -> bool:
        """Whether it is the position that is old, and not the phone's clock that is wrong."""
        bounds, lead_ms = self._bounds, at_ms - now_ms
        if self._lead_ms > bounds.age_ms >= abs(lead_ms):
            self._lead_ms = max(0, lead_ms)  # it was far ahead, and has been put right
            return False
        if at_ms < self._at_ms:
            return True
        # Newer than all that this phone has said. A queue catches up with the time; a clock that is behind stays so.
        if not self._late_ms or lead_ms > self._late_lead_ms + JITTER_MS:
            self._late_ms, self._late_lead_ms = now_ms, lead_ms
        if now_ms - self._late_ms < bounds.clock_ms:
            return True
        self._lead_ms = lead_ms
        return False

    def _is_jump(self, lat: float, lng: float, square_m2: float, was_ms: float) -> bool:
        """Whether nobody drives so far since the last position, unless so many agree that they must be right."""
        far_m = self._bounds.slack_m + max(0, was_ms - self.ms) * self._bounds.speed_mps / 1000
        if square_m2 <= far_m * far_m:
            return False
        y_m, x_m = (lat - self._other_lat) * M_PER_DEGREE, (lng - self._other_lng) * self._box.m_per_lng
        far_m = self._bounds.slack_m + max(0, was_ms - self._other_ms) * self._bounds.speed_mps / 1000
        agrees = self._others > 0 and y_m * y_m + x_m * x_m <= far_m * far_m
        self._others = self._others + 1 if agrees else 1
        self._other_lat, self._other_lng, self._other_ms = lat, lng, was_ms
        return self._others < self._bounds.confirmations
