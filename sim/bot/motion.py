"""Points and straight legs on the sphere: what a simulated driver needs, in plain floats (one call per ping)."""

from __future__ import annotations

import math
from typing import NamedTuple

from domain.ground.geo import EARTH_RADIUS_M

METRES_PER_DEGREE = math.radians(1) * EARTH_RADIUS_M


class Point(NamedTuple):
    """A place in WGS84 degrees."""

    lat: float
    lng: float


def metres(a: Point, b: Point) -> float:
    """Great-circle distance in metres."""
    phi_a, phi_b = math.radians(a.lat), math.radians(b.lat)
    half_phi, half_lam = (phi_b - phi_a) / 2, math.radians(b.lng - a.lng) / 2
    h = math.sin(half_phi) ** 2 + math.cos(phi_a) * math.cos(phi_b) * math.sin(half_lam) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))


def offset(origin: Point, east_m: float, north_m: float) -> Point:
    """The point so many metres east and north of `origin`, on a plane that touches there (good to ~100 km)."""
    lng = origin.lng + east_m / (METRES_PER_DEGREE * math.cos(math.radians(origin.lat)))
    return Point(origin.lat + north_m / METRES_PER_DEGREE, lng)


def heading_deg(a: Point, b: Point) -> float:
    """The compass direction from `a` to `b`, 0 <= degrees < 360, north is 0."""
    east = (b.lng - a.lng) * math.cos(math.radians(a.lat))
    return math.degrees(math.atan2(east, b.lat - a.lat)) % 360


class Leg(NamedTuple):
    """A drive from one point to another between two instants (server seconds)."""

    start: Point
    end: Point
    leave_s: float
    arrive_s: float

    def at(self, now_s: float) -> Point:
        """Where the driver is at `now_s`."""
        if now_s >= self.arrive_s:
            return self.end
        share = max(0.0, (now_s - self.leave_s) / (self.arrive_s - self.leave_s))
        return Point(
            self.start.lat + (self.end.lat - self.start.lat) * share,
            self.start.lng + (self.end.lng - self.start.lng) * share,
        )


def drive(start: Point, end: Point, now_s: float, speed_mps: float, detour: float) -> Leg:
    """A leg along the straight line that takes as long as a road `detour` times its length would."""
    return Leg(start, end, now_s, now_s + metres(start, end) * detour / speed_mps)


class Car:
    """Where a driver is: standing at a point or on a leg. Speed in metres a second, `detour` as in `drive`."""

    def __init__(self, start: Point, speed_mps: float, detour: float) -> None:
        self.leg: Leg | None = None
        self._point, self._speed_mps, self._detour = start, speed_mps, detour

    def where(self, now_s: float) -> Point:
        """The position at `now_s`."""
        return self.leg.at(now_s) if self.leg is not None else self._point

    def toward(self, now_s: float, to: Point) -> bool:
        """Be under way to `to`, turning round if need be; True once there."""
        if self.leg is not None and now_s >= self.leg.arrive_s:
            self._point, self.leg = self.leg.end, None
        if self.leg is None and metres(self._point, to) < 1:
            return True
        if self.leg is None or self.leg.end != to:
            self.leg = drive(self.where(now_s), to, now_s, self._speed_mps, self._detour)
        return False

    def stop(self, now_s: float) -> None:
        """Stand still where the car is."""
        self._point, self.leg = self.where(now_s), None
