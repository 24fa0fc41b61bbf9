"""Whether a driver is where a step belongs (see `domain.region.policy.Geofence`), and what the dossier says of it."""

from __future__ import annotations

import math

from domain.errors import TooFar
from domain.ground.geo import distance_m
from domain.orders.lifecycle import OrderEvent
from domain.orders.reasons import OverrideReason, known
from domain.orders.records import Json
from domain.region.jobs import Job, short
from domain.region.messages import Ask
from domain.region.policy import Geofence
from domain.region.state import State

# The steps that belong to the place where goods are fetched; all others of a driver belong to where they are brought.
_AT_PICKUP = frozenset({OrderEvent.ARRIVED_AT_STORE, OrderEvent.PICKED_UP})
# How near each step must be: a field of the policy. Steps that are not here may be taken anywhere.
_LIMITS = {
    OrderEvent.ARRIVED_AT_STORE: "store_m",
    OrderEvent.PICKED_UP: "store_m",
    OrderEvent.ARRIVED_AT_DOOR: "door_m",
    OrderEvent.ID_PASSED: "door_m",
    OrderEvent.ID_FAILED: "door_m",
    OrderEvent.DELIVERED: "door_m",
    OrderEvent.ARRIVED_FOR_RETURN: "return_m",
    OrderEvent.RETURN_CONFIRMED: "return_m",
}


def near(state: State, now_ms: int, ask: Ask, job: Job, event: OrderEvent) -> dict[str, Json]:
    """What the dossier says of where the driver was: by the last position that was believed, and by the device's word.
    `TooFar` when that is not near and nothing is said of why the step holds; nothing has changed then."""
    payload, fence, attribute = (
        whereabouts(state, now_ms, ask, job, event),
        state.policy.geofence,
        _LIMITS.get(event),
    )
    said_m = _by_device(ask, job, event)
    if said_m is not None:
        payload["device_distance_m"] = round(said_m)
    if fence is None or attribute is None:
        return payload
    here, limit_m = ask.here, getattr(fence, attribute)
    away = _judged(state, now_ms, ask, payload, said_m, fence)
    if away is not None and away <= limit_m:
        return payload
    if here is None or here.override is None:
        if away is None:
            raise TooFar(f"It is not known where you are, and this is done within {limit_m:.0f} m.")
        raise TooFar(f"You are {away:.0f} m away, and this is done within {limit_m:.0f} m.")
    override = known(OverrideReason, here.override)
    state.fleet.count_override(ask.principal_id)
    distance = "nobody knows how far" if away is None else f"{away:.0f} m"
    task_id = short(job.task.task_id)
    state.say(
        now_ms,
        f"Driver {short(ask.principal_id)} was {distance} away at {event} of task {task_id}: {override}",
    )
    return payload | {"override": str(override)}


def whereabouts(state: State, now_ms: int, ask: Ask, job: Job, event: OrderEvent) -> dict[str, Json]:
    """How far from the place of this step the driver was when last seen, and how long ago that was; None: not known."""
    fleet = state.fleet
    row = fleet.index.get(ask.principal_id)
    if row is None or not fleet.seen_ms[row]:
        return {"distance_m": None, "position_age_ms": None}
    away_m = float(distance_m(fleet.lat[row], fleet.lng[row], *_place(job, event)))
    age_ms = max(0, now_ms - int(fleet.seen_ms[row]))
    return {"distance_m": round(away_m), "position_age_ms": age_ms}


def _place(job: Job, event: OrderEvent) -> tuple[float, float]:
    task = job.task
    if event in _AT_PICKUP:
        return task.pickup_lat, task.pickup_lng
    return task.dropoff_lat, task.dropoff_lng


def _by_device(ask: Ask, job: Job, event: OrderEvent) -> float | None:
    here = ask.here
    if here is None or here.lat is None or here.lng is None:
        return None
    if not (math.isfinite(here.lat) and math.isfinite(here.lng)) or (here.lat, here.lng) == (0.0, 0.0):
        return None
    return float(distance_m(here.lat, here.lng, *_place(job, event)))


def _judged(
    state: State, now_ms: int, ask: Ask, payload: dict[str, Json], said_m: float | None, fence: Geofence
) -> float | None:
    """How far away the driver is taken to be; None: not known."""
    if said_m is not None and _can_be(state, now_ms, ask, fence):
        return said_m
    age_ms = payload["position_age_ms"]
    if age_ms is None or age_ms > fence.position_age_s * 1000:
        return None
    distance: int = payload["distance_m"]
    return float(distance)


def _can_be(state: State, now_ms: int, ask: Ask, fence: Geofence) -> bool:
    """Whether the driver can have been at the device's place at the time of the step, by the last position."""
    here, fleet = ask.here, state.fleet
    assert here is not None
    assert here.lat is not None
    assert here.lng is not None
    row = fleet.index.get(ask.principal_id)
    if row is None or not fleet.seen_ms[row]:
        return True
    taken_ms = now_ms if ask.device is None or ask.device.at_ms is None else min(ask.device.at_ms, now_ms)
    between_s = abs(taken_ms - int(fleet.seen_ms[row])) / 1000
    moved_m = float(distance_m(here.lat, here.lng, fleet.lat[row], fleet.lng[row]))
    return moved_m <= fence.grace_m + fence.speed_mps * between_s
