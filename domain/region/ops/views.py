"""What a region shows of itself to operators. Reads only; bounded whatever the fleet's size."""

from __future__ import annotations

import heapq
from collections import Counter
from itertools import islice

import numpy as np
import numpy.typing as npt

from domain.orders.lifecycle import TASK_HELD
from domain.region.jobs import AREA_DIGITS, dropoff_of, pickup_of
from domain.region.machine import Region
from domain.region.ops.frames import (
    DRIVER_STATES,
    DecisionLine,
    DriverLine,
    DriversAsked,
    DriverStateName,
    DriversView,
    Hex,
    OfferLine,
    RegionView,
    TaskPoint,
    TasksView,
)
from domain.region.ops.outlook import Outlook
from domain.solve import NEVER_MS

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


def driver_lines(region: Region, now_ms: int, asked: DriversAsked) -> list[DriverLine]:
    """One page of the region's drivers, by id."""
    fleet, states = region.state.fleet, _states(region, now_ms)
    wanted = {DRIVER_STATES.index(name) for name in asked.states} or set(range(len(DRIVER_STATES)))
    found = (
        driver_id
        for driver_id, row in fleet.index.items()
        if driver_id > asked.after and int(states[row]) in wanted
    )
    page = heapq.nsmallest(asked.limit, found)
    return [_line(region, driver_id, DRIVER_STATES[states[fleet.index[driver_id]]]) for driver_id in page]


def _line(region: Region, driver_id: str, state: DriverStateName) -> DriverLine:
    fleet, row = region.state.fleet, region.state.fleet.index[driver_id]
    seen_ms, until_ms, free_ms = int(fleet.seen_ms[row]), int(fleet.until_ms[row]), int(fleet.free_ms[row])
    held = region.state.holdings.of(driver_id)
    offer = region.state.offers.of_driver(driver_id)
    return DriverLine(
        driver_id=driver_id,
        state=state,
        on_duty=bool(fleet.on_duty[row]),
        connected=bool(fleet.gateway[row] >= 0),
        lat=round(float(fleet.lat[row]), 5) if seen_ms else None,
        lng=round(float(fleet.lng[row]), 5) if seen_ms else None,
        seen_ms=seen_ms or None,
        until_ms=None if until_ms == NEVER_MS else until_ms,
        free_ms=free_ms if held else None,
        task_ids=tuple(sorted(held)),
        offer_id=None if offer is None else offer.offer_id,
        overrides=int(fleet.overrides[row]),
    )


def _states(region: Region, now_ms: int) -> npt.NDArray[np.int64]:
    """Every row's state, an index into DRIVER_STATES."""
    fleet, n = region.state.fleet, len(region.state.fleet)
    stale = now_ms - fleet.seen_ms[:n] >= region.policy.driver_stale_s * 1000
    state = fleet.state[:n].astype(np.int64)
    state[stale] = STALE
    # A driver who went off duty but still holds a task is shown by the task.
    state[~fleet.on_duty[:n] & (fleet.state[:n] == 0)] = OFF
    return state


def _drivers(region: Region, now_ms: int, limit: int) -> DriversView:
    fleet, n = region.state.fleet, len(region.state.fleet)
    state = _states(region, now_ms)
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
