"""A model courier: takes one trip after the other, in the order of the offers, and drives by the day's travel model.

arrive = max(accepted, free, on duty) + drive      pick up = max(goods ready, arrive + service)
leave = pick up + service                          hand over = arrive + service, and so on, door by door
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import groupby

from msgspec import Struct, field

from domain.ground.times import in_ms
from domain.protocol import Offer
from sim.days.day import Day, DayCourier

Place = tuple[float, float]  # latitude and longitude


class Stop(Struct, frozen=True, kw_only=True):
    """A stop of a trip: `tasks` are picked up, or the one handed over. The courier is bound until `leave_ms`."""

    offer_id: str
    pickup: bool
    tasks: tuple[str, ...]
    lat: float
    lng: float
    depart_ms: int
    arrive_ms: int
    act_ms: int
    leave_ms: int


class Courier(Struct):
    """`lat`, `lng`, `free_ms`: where and when all accepted trips will be over. `at_*`: the last place reached."""

    day: DayCourier
    lat: float
    lng: float
    free_ms: int
    at_lat: float
    at_lng: float
    on: bool = False
    drive_s: float = 0.0
    ahead: deque[Stop] = field(default_factory=deque)  # stops not reached yet

    @classmethod
    def of(cls, day: DayCourier) -> Courier:
        """At the start of the shift."""
        return cls(day, day.lat, day.lng, day.on_ms, day.lat, day.lng)

    def trip(
        self, offer: Offer, ready_ms: Mapping[str, int], doors: Mapping[str, Place], now_ms: int, day: Day
    ) -> list[Stop]:
        """The stops of an offer with their times, were it accepted now, behind all that was accepted before.

        Pick-ups at one place are one stop. `ready_ms`: of the offer's tasks; `doors`: where they go exactly, which is
        told to who accepts.
        """
        services, stops = day.services, list[Stop]()
        lat, lng, free_ms = self.lat, self.lng, max(self.free_ms, now_ms)
        legs = groupby(
            offer.stops, lambda stop: stop.task_id if stop.action != "pickup" else (stop.lat, stop.lng)
        )
        for _, group in legs:
            same = list(group)
            to, pickup = same[0], same[0].action == "pickup"
            tasks = tuple(stop.task_id for stop in same)
            before_s = services.pickup_before_s if pickup else services.door_before_s
            after_s = services.pickup_after_s if pickup else services.door_after_s
            place = (to.lat, to.lng) if pickup else doors[to.task_id]
            arrive_ms = free_ms + in_ms(float(day.travel.seconds(lat, lng, *place, free_ms)))
            act_ms = arrive_ms + in_ms(before_s)
            if pickup:
                act_ms = max(act_ms, *(ready_ms[task_id] for task_id in tasks))
            stop = Stop(
                offer_id=offer.offer_id,
                pickup=pickup,
                tasks=tasks,
                lat=place[0],
                lng=place[1],
                depart_ms=free_ms,
                arrive_ms=arrive_ms,
                act_ms=act_ms,
                leave_ms=act_ms + in_ms(after_s),
            )
            stops.append(stop)
            lat, lng, free_ms = stop.lat, stop.lng, stop.leave_ms
        return stops

    def take(self, stops: Sequence[Stop]) -> None:
        """Accept a trip."""
        last = stops[-1]
        self.lat, self.lng, self.free_ms = last.lat, last.lng, last.leave_ms
        self.drive_s += sum(stop.arrive_ms - stop.depart_ms for stop in stops) / 1000
        self.ahead.extend(stops)

    def reach(self) -> Stop:
        """Be at the next stop."""
        stop = self.ahead.popleft()
        self.at_lat, self.at_lng = stop.lat, stop.lng
        return stop

    def place(self, now_ms: int) -> Place:
        """Where the courier is, on a straight line while driving."""
        here = self.at_lat, self.at_lng
        if not self.ahead:
            return here
        stop = self.ahead[0]
        return on_the_way(here, (stop.lat, stop.lng), stop.depart_ms, stop.arrive_ms, now_ms)


def on_the_way(start: Place, end: Place, depart_ms: int, arrive_ms: int, now_ms: int) -> Place:
    """A place on the straight line between two, by the time."""
    if now_ms >= arrive_ms:
        return end
    if now_ms <= depart_ms:
        return start
    share = (now_ms - depart_ms) / (arrive_ms - depart_ms)
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
