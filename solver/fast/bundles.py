"""Orders of one store that go together when that is cheaper than apart: the capacity of a peak."""

from __future__ import annotations

import numpy as np

from domain.ground.arrays import F64, I64
from solver.fast.chains import costs, exact, match
from solver.scene import Scene
from solver.units import Units

_UNSERVED_S = 3600.0  # what counts as the delay of an order that the plan leaves out


def choose(scene: Scene, units: Units, matrix: F64) -> tuple[Units, F64, I64]:
    """Try bundles one after the other and keep one when the matching with it is cheaper than without.

    The units with the bundles among them, their costs, and which of them are to be matched.
    """
    singles = np.arange(units.count)
    objective, before = match(matrix, units, singles, scene.m)
    pickup = exact(scene, units, singles, before).pickup
    delay = np.where(before >= 0, pickup - units.ready, _UNSERVED_S)[: scene.n]
    if not (delay > 0).any():
        return units, matrix, singles
    tries = pairs(scene, delay)
    if not tries:
        return units, matrix, singles
    units = Units(scene, tries)
    matrix = costs(scene, units)
    active = np.ones(units.count, bool)
    active[units.singles : units.real] = False
    used: set[int] = set()
    for row in range(units.singles, units.real):
        members = units.members[row]
        if used.intersection(members):
            continue
        trial = active.copy()
        trial[row], trial[list(members)] = True, False
        with_it, _ = match(matrix, units, np.flatnonzero(trial), scene.m)
        if with_it < objective - 1e-4:
            objective, active = with_it, trial
            used.update(members)
    return units, matrix, np.flatnonzero(active)


def pairs(scene: Scene, delay: F64) -> list[tuple[int, int]]:
    """Pairs of one store, ready close together, with doors on one way; the best first by extra time less delays."""
    planning, services = scene.request.planning, scene.request.services
    n, ready, trip = scene.n, scene.ready, scene.trip
    soon = np.flatnonzero(ready[:n] <= planning.bundle_ahead_s)
    soon = soon[np.argsort(scene.store[soon], kind="stable")]
    same = scene.store[soon][:, None] == scene.store[soon]
    a, b = np.nonzero(np.triu(same, 1))
    a, b = soon[a], soon[b]
    fit = (np.abs(ready[a] - ready[b]) <= planning.bundle_ready_gap_s) & (
        delay[a] + delay[b] > planning.bundle_delay_s
    )
    a, b = a[fit], b[fit]
    if not len(a):
        return []
    hop, back = scene.between(a, b), scene.between(b, a)
    wait = 2 * np.maximum(ready[a], ready[b]) - ready[a] - ready[b]
    stop = services.door_after_s + services.door_before_s
    first_a, first_b = wait + trip[a] + stop + hop - trip[b], wait + trip[b] + stop + back - trip[a]
    detour = np.minimum(trip[a] + hop - trip[b], trip[b] + back - trip[a])
    extra = np.minimum(first_a, first_b) - delay[a] - delay[b]
    near = detour <= planning.bundle_detour_s
    order = np.flatnonzero(near)[np.lexsort((b[near], a[near], extra[near]))][: planning.bundle_tries]
    a_first = first_a <= first_b
    return [(int(a[i]), int(b[i])) if a_first[i] else (int(b[i]), int(a[i])) for i in order.tolist()]
