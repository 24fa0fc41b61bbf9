"""GREEDY: the oldest task first, to the nearest driver who is free, offered at once. What other solvers are measured
against."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from domain.ground.travel import TravelTimes
from domain.solve import NEVER_MS, Plan, SolveRequest, Spread
from solver.proposals import assignments
from solver.scene import Scene
from solver.units import Units


def greedy(request: SolveRequest, travel: TravelTimes, spread: Spread) -> Plan:
    """Nearest by driving seconds, with the penalty of a pair that was declined before, among the free who can pick up
    before their shift's end and be at the door in time."""
    n, m = len(request.tasks.ids), len(request.drivers.ids)
    if not n or not m:
        return Plan(request_id=request.request_id, assignments=(), left_out=tuple(request.tasks.ids))
    scene = Scene(replace(request, expected=None, offer_by_ms=NEVER_MS), travel)
    units = Units(scene)
    away_s = scene.from_driver[:, scene.store].T  # (n, m)
    pickup = np.maximum(units.ready[:, None], scene.free + away_s + request.services.pickup_before_s)
    possible = (pickup <= scene.until) & (pickup <= units.latest[:, None]) & request.drivers.idle
    cost_s = np.where(possible, away_s, np.inf)
    for pair, seconds in scene.penalties.items():
        cost_s[pair] += seconds
    chosen: list[tuple[int, int]] = []
    for task in np.argsort(request.tasks.opened_ms, kind="stable").tolist():
        driver = int(np.argmin(cost_s[task]))
        if np.isfinite(cost_s[task, driver]):
            chosen.append((task, driver))
            cost_s[:, driver] = np.inf
    pairs = np.array(sorted(chosen), np.int64).reshape(-1, 2)
    return Plan(
        request_id=request.request_id,
        assignments=assignments(scene, units, pairs[:, 0], pairs[:, 1]),
        left_out=tuple(np.delete(request.tasks.ids, pairs[:, 0]).tolist()),
        components=1,
        pairs=n * m,
    )
