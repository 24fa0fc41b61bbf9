"""A plan's assignments with what they were made on, and for those that become offers, why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from domain.ground.arrays import F64, I64
from domain.ground.geo import distance_m
from domain.solve import Assignment, Candidate, Explanation
from solver.objective import acceptance, active, cost_s, terms_s
from solver.scene import Scene
from solver.terms import Leg
from solver.units import Units

EXPLAINED = 20  # candidates named in an explanation, beside the chosen one
_DIGITS = 3
_PRUNED = ("", "declined_lately", "shift_ends", "too_late")


def assignments(
    scene: Scene, units: Units, unit: I64, driver: I64, among: Callable[[int], I64] | None = None
) -> tuple[Assignment, ...]:
    """An assignment for each pair of a unit and a driver that is to be offered now. `features` are those of the offer
    log, in seconds and kilometres. `among`: the drivers who were looked at for a unit; all where it is not given."""
    unit, driver, leave_ms = due(scene, units, unit, driver)
    if not len(unit):
        return ()
    request, services = scene.request, scene.request.services
    tasks, drivers = request.tasks, request.drivers
    leg = _leg(scene, units, unit, driver)
    declined = _declined(scene, units, unit, driver)
    cost = cost_s(leg) + declined
    first = units.end[unit] if units.real == units.singles else np.array([units.members[u][0] for u in unit])
    door = leg.pickup + units.to_door[unit, 0]
    pickup_m = distance_m(
        drivers.lat[driver], drivers.lng[driver], tasks.pickup_lat[first], tasks.pickup_lng[first]
    )
    trip_m = distance_m(
        tasks.pickup_lat[first], tasks.pickup_lng[first], tasks.dropoff_lat[first], tasks.dropoff_lng[first]
    )
    idle_drivers = float(drivers.idle.sum())
    columns: dict[str, Any] = {
        "pickup_km": pickup_m / 1000,
        "trip_km": trip_m / 1000,
        "travel_s": leg.travel,
        "wait_s": leg.pickup - scene.free[driver] - leg.travel - services.pickup_before_s,
        "eta_s": door,
        "late_s": np.maximum(door - units.due[unit, 0], 0.0),
        "delay_s": np.maximum(door - units.ideal[unit, 0], 0.0),
        "p_accept": acceptance(leg),
        "accept_rate": drivers.accept_rate[driver],
        "ahead_orders": drivers.ahead[driver],
        "refusal": scene.refusal[first],
        "declined_s": declined,
        "orders": np.array([len(units.members[u]) for u in unit.tolist()], np.float64),
        "open_tasks": np.full(len(unit), float(scene.n)),
        "idle_drivers": np.full(len(unit), idle_drivers),
        "pressure": np.full(len(unit), request.pressure),
        "cost_s": cost,
    }
    why: list[Explanation] | None = None
    if request.explain:
        everyone = np.arange(scene.m)
        looked_at = [everyone if among is None else among(u) for u in unit.tolist()]
        why = explanations(scene, units, unit, driver, looked_at)
    rounded = {name: np.round(column, _DIGITS).tolist() for name, column in columns.items()}
    return tuple(
        Assignment(
            task_ids=tuple(tasks.ids[i] for i in units.members[u]),
            driver_id=drivers.ids[d],
            cost=rounded["cost_s"][k],
            features={name: column[k] for name, column in rounded.items()},
            leave_ms=int(leave_ms[k]),
            explanation=None if why is None else why[k],
        )
        for k, (u, d) in enumerate(zip(unit.tolist(), driver.tolist(), strict=True))
    )


def due(scene: Scene, units: Units, unit: I64, driver: I64) -> tuple[I64, I64, I64]:
    """Of these pairs those whose driver is free and must set off before the next look might be too late, with the time
    (server ms) by which that is. All others may come out better yet."""
    request = scene.request
    travel = scene.travel_to(driver, units.store[unit])
    leave = units.ready[unit] - request.services.pickup_before_s - travel
    leave_ms = request.now_ms + np.maximum(leave * 1000, 0).astype(np.int64)
    by_ms = request.offer_by_ms + (scene.free[driver] * 1000).astype(np.int64)
    now = np.flatnonzero(request.drivers.idle[driver] & (leave_ms < by_ms))
    return unit[now], driver[now], leave_ms[now]


def _leg(scene: Scene, units: Units, unit: I64, driver: I64) -> Leg:
    travel = scene.travel_to(driver, units.store[unit])
    arrival = scene.free[driver] + travel + scene.request.services.pickup_before_s
    return Leg(scene, units, unit, driver, np.maximum(units.ready[unit], arrival), travel)


def _declined(scene: Scene, units: Units, unit: I64, driver: I64) -> F64:
    """Seconds that each pair costs for earlier declines; infinity where it is barred."""
    if units.real == units.singles:
        return scene.declined(unit, driver)
    penalty = scene.penalties
    pairs = zip(unit.tolist(), driver.tolist(), strict=True)
    return np.array([sum(penalty.get((task, d), 0.0) for task in units.members[u]) for u, d in pairs])


def explanations(
    scene: Scene, units: Units, unit: I64, driver: I64, among: Sequence[I64]
) -> list[Explanation]:
    """Of each pair why the unit goes to the driver, against the drivers `among` whom it was chosen.

    Terms are weighted seconds. Who is not among them was too far away to be looked at.
    """
    count = np.array([len(drivers) for drivers in among])
    of, who = np.repeat(unit, count), np.concatenate(among)
    leg = _leg(scene, units, of, who)
    declined = _declined(scene, units, of, who)
    cost = cost_s(leg) + declined
    out = np.select(
        [np.isinf(declined), leg.pickup > scene.until[who], leg.pickup > units.latest[of]], [1, 2, 3], 0
    )
    every = terms_s(leg)
    columns = {name: weight * every[name] for name, weight in active(scene.request.weights)}
    columns |= {"declined": declined, "p_accept": acceptance(leg)}
    names = tuple(columns)
    rows = np.round(np.column_stack([*columns.values(), cost]), _DIGITS)
    ids = scene.request.drivers.ids
    made = []
    ends = np.cumsum(count)
    for k, end in enumerate(ends.tolist()):
        start = end - int(count[k])
        reasons = np.bincount(out[start:end], minlength=len(_PRUNED)).tolist()
        pruned = {reason: n for reason, n in zip(_PRUNED[1:], reasons[1:], strict=True) if n}
        pruned |= {"too_far": scene.m - len(among[k])} if scene.m > len(among[k]) else {}
        fits = start + np.flatnonzero(out[start:end] == 0)
        fits = fits[np.argsort(cost[fits], kind="stable")]
        own = fits[who[fits] == driver[k]]
        named = [*fits[:EXPLAINED].tolist(), *(i for i in own.tolist() if i not in fits[:EXPLAINED])]
        if len(fits) > len(named):
            pruned["dearer"] = len(fits) - len(named)
        candidates = tuple(
            Candidate(driver_id=ids[who[i]], cost=row[-1], terms=dict(zip(names, row[:-1], strict=True)))
            for i, row in zip(named, rows[named].tolist(), strict=True)
        )
        other = next((i for i in fits.tolist() if who[i] != driver[k]), None)
        made.append(
            Explanation(
                candidates=candidates,
                pruned=pruned,
                runner_up=None if other is None else ids[who[other]],
                gap=None
                if other is None or not len(own)
                else round(float(cost[other] - cost[own[0]]), _DIGITS),
            )
        )
    return made
