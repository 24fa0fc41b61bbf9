"""What a region shows of itself to operators. Reads only; bounded whatever the fleet's size."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np

from domain.orders.lifecycle import TASK_HELD
from domain.region.jobs import AREA_DIGITS, dropoff_of, pickup_of
from domain.region.machine import Region
from domain.region.ops.frames import (
    DRIVER_STATES,
    DecisionLine,
    DriversView,
    Hex,
    OfferLine,
    RegionView,
    TaskPoint,
    TasksView,
)
from domain.region.ops.outlook import Outlook

BLOCK_DIGITS = 3  # decimals of a degree of a door that somebody is on the way to: a block or so
STALE, OFF = DRIVER_STATES.index("stale"), DRIVER_STATES.index("off")


def region_view(region: Region, now_ms: int, positions_limit: int) -> RegionView:
    """The region at `now_ms`, with at most `positions_limit` driver positions (an even sample of the rows)."""
    return RegionView(
        region_id=region.id,
        epoch=region.epoch,
        now_ms=now_ms,
        drivers=_drivers(region, now_ms, positions_limit),
        tasks=_tasks(region, now_ms),
        offers=_offers(region, now_ms),
        hexes=[Hex(cell, count) for cell, count in Counter(cell for _, cell in region.demand).items()],
        counters=dict(region.state.counters),
        decisions=[DecisionLine(at_ms, text) for at_ms, text in region.state.decisions],
    )


def _drivers(region: Region, now_ms: int, limit: int) -> DriversView:
    fleet, n = region.state.fleet, len(region.state.fleet)
    stale = now_ms - fleet.seen_ms[:n] >= region.policy.driver_stale_s * 1000
    state = fleet.state[:n].astype(np.int64)
    state[stale] = STALE
    # A driver who went off duty but still holds a task is shown by the task.
    state[~fleet.on_duty[:n] & (fleet.state[:n] == 0)] = OFF
    counts = np.bincount(state, minlength=len(DRIVER_STATES))
    counts[OFF] -= len(fleet.vacant)
    shown = np.flatnonzero((state != OFF) & (fleet.seen_ms[:n] > 0))
    shown = shown[:: max(1, -(-len(shown) // limit))]
    lat, lng = fleet.lat[shown].round(5).tolist(), fleet.lng[shown].round(5).tolist()
    return DriversView(
        counts=dict(zip(DRIVER_STATES, counts.tolist(), strict=True)),
        positions=list(zip(lng, lat, state[shown].tolist(), strict=True)),
        total=len(fleet.index),
    )


def _tasks(region: Region, now_ms: int) -> TasksView:
    tasks = [job.task for job in region.state.jobs.values()]
    outlook = Outlook(region.state, now_ms)
    waiting = {task_id: str(outlook.why(region.state.jobs[task_id])) for task_id in region.state.open}
    points = [
        TaskPoint(
            task.task_id,
            str(task.kind),
            str(task.status),
            pickup_of(task, False, digits)[::-1],
            dropoff_of(task, False, digits)[::-1],
            (now_ms - task.opened_ms) / 1000,
            waiting.get(task.task_id),
        )
        for task in tasks[: region.policy.view_points]
        for digits in (BLOCK_DIGITS if task.status in TASK_HELD else AREA_DIGITS,)
    ]
    counts = dict(Counter(str(task.status) for task in tasks))
    return TasksView(counts, points, dict(Counter(waiting.values())))


def _offers(region: Region, now_ms: int) -> list[OfferLine]:
    lines = []
    for offer in islice(region.state.offers.live.values(), region.policy.view_points):
        row = region.state.fleet.row(offer.driver_id)
        task = region.state.jobs[offer.task_ids[0]].task
        if region.state.fleet.seen_ms[row]:
            at = (float(region.state.fleet.lng[row]), float(region.state.fleet.lat[row]))
            lines.append(
                OfferLine(
                    offer.offer_id, at, (task.pickup_lng, task.pickup_lat), (offer.expires_ms - now_ms) / 1000
                )
            )
    return lines
