"""When and where a driver will be done with what is held, by the region's own travel model.

Worked out at each step of the driver's tasks, from the moment of that step: what comes after it is travel and service.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from domain.ground.times import in_ms
from domain.ground.travel import TravelModel
from domain.orders.lifecycle import TaskStatus
from domain.orders.records import TaskRow
from domain.solve import Services

_TO_PICK_UP = (TaskStatus.OFFERED, TaskStatus.ASSIGNED, TaskStatus.AT_PICKUP)


class Done(NamedTuple):
    """Free at `at_ms` (server milliseconds) at this place."""

    at_ms: int
    lat: float
    lng: float


def when_done(
    now_ms: int,
    lat: float,
    lng: float,
    trips: Iterable[Sequence[TaskRow]],
    travel: TravelModel,
    services: Services,
    tail_s: float = 0.0,
) -> Done:
    """For a driver at this place who took a step just now, and has `tail_s` seconds of service left there.

    One trip after the other; of each first all that is to be picked up, store after store, then the doors in order.
    """
    at_ms = now_ms + 1000.0 * tail_s
    before_ms, door_ms = (
        in_ms(services.pickup_before_s),
        in_ms(services.door_before_s + services.door_after_s),
    )

    def drive(to_lat: float, to_lng: float) -> None:
        nonlocal at_ms, lat, lng
        at_ms += 1000 * float(travel.seconds(lat, lng, to_lat, to_lng, now_ms))
        lat, lng = to_lat, to_lng

    for trip in trips:
        stores: dict[tuple[float, float], list[TaskRow]] = {}
        for task in trip:
            if task.status in _TO_PICK_UP:
                stores.setdefault((task.pickup_lat, task.pickup_lng), []).append(task)
        for place, waiting in stores.items():
            if any(task.status is TaskStatus.AT_PICKUP for task in waiting):
                lat, lng = place
            else:
                drive(*place)
            at_ms = max(at_ms + before_ms, *(task.ready_ms for task in waiting))
            at_ms += in_ms(services.pickup_after_s)
        for task in trip:
            if task.status is not TaskStatus.AT_DROPOFF:
                drive(task.dropoff_lat, task.dropoff_lng)
            lat, lng = task.dropoff_lat, task.dropoff_lng
            at_ms += door_ms
    return Done(round(at_ms), lat, lng)
