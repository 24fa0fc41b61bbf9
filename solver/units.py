"""What a driver can be given: single orders first, then bundles of one store, then orders that are only expected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domain.ground.arrays import F64, I64, Bool
from solver.scene import LONG_S, Scene, from_now


class Units:
    """Columns of one length, times in seconds from now. Of member k: `to_door[:, k]` seconds from the pick-up to the
    hand-over, `ideal[:, k]` the hand-over when picked up once ready and driven straight, `due[:, k]` the promise, and
    `weight[:, k]` 1, or 0 where there is no such member. `share`: how much a unit counts, less than 1 where it is only
    expected."""

    def __init__(self, scene: Scene, bundles: Sequence[tuple[int, ...]] = ()) -> None:
        n, h, planning = scene.n, scene.h, scene.request.planning
        services = scene.request.services
        self.singles, self.real = n, n + len(bundles)
        self.members: list[tuple[int, ...]] = [(i,) for i in range(n)] + list(bundles)
        self.count = self.real + h
        # Row of each unit's first member: bundles are put right below.
        first = np.concatenate([np.arange(n), [b[0] for b in bundles], n + np.arange(h)]).astype(np.int64)
        self.store: I64 = scene.store[first]
        self.end: I64 = first.copy()  # the last door, by task
        self.ready: F64 = scene.ready[first]
        self.go: F64 = scene.go[first]
        self.planned, self.until = scene.planned[first], scene.planned_until[first]
        self.planned = np.maximum(self.planned, self.ready)
        self.behind: F64 = scene.behind[first]
        to_door = scene.to_hand_over[first]
        expected_back = scene.refusal[first] * scene.back[first]
        self.busy: F64 = to_door + services.door_after_s + expected_back
        self.latest: F64 = self._latest(scene, first, to_door)
        width = max((len(b) for b in bundles), default=1)
        self.to_door, self.ideal, self.due, self.weight = (np.zeros((self.count, width)) for _ in range(4))
        self.to_door[:, 0], self.ideal[:, 0] = to_door, self.ready + to_door
        self.due[:, 0] = scene.due[first]
        self.weight[:, 0] = 1.0
        self.share = np.ones(self.count)
        self.share[self.real :] = planning.expected
        self.back = expected_back
        self._raised = False
        for row, bundle in enumerate(bundles, n):
            self._put(scene, row, bundle)
        self._prices(scene)

    @staticmethod
    def _latest(scene: Scene, tasks: I64, to_door: F64) -> F64:
        """Latest pick-up: at the door in time, and back at the store before it closes."""
        way_back = scene.request.services.door_after_s + scene.back[tasks]
        return np.minimum(scene.latest[tasks] - to_door, scene.closes[tasks] - to_door - way_back)

    def _put(self, scene: Scene, row: int, bundle: tuple[int, ...]) -> None:
        """Columns of a bundle: all goods at once, then door after door."""
        services, tasks = scene.request.services, np.array(bundle)
        hops = scene.between(tasks[:-1], tasks[1:])
        stop = services.door_after_s + services.door_before_s
        to_door = scene.to_hand_over[tasks[0]] + np.concatenate([[0.0], np.cumsum(hops + stop)])
        self.end[row] = bundle[-1]
        self.ready[row] = scene.ready[tasks].max()
        self.back[row] = (scene.refusal[tasks] * scene.back[tasks]).sum()
        self.busy[row] = to_door[-1] + services.door_after_s + self.back[row]
        self.latest[row] = self._latest(scene, tasks, to_door).min()
        size = len(bundle)
        self.to_door[row, :size], self.weight[row, :size] = to_door, 1.0
        self.ideal[row, :size] = scene.ready[tasks] + scene.to_hand_over[tasks]
        self.due[row, :size] = scene.due[tasks]
        soonest = tasks[np.argmin(scene.planned[tasks])]
        self.planned[row] = max(self.ready[row], scene.planned[soonest])
        self.until[row], self.behind[row] = scene.planned_until[soonest], scene.behind[tasks].max()

    def _prices(self, scene: Scene) -> None:
        """`left_out`: the price of leaving a unit out. `credit`: that and the driver time that the members take one by
        one, which the matching sets against the time that the unit takes.

        In a queue an order that takes long is worth less, since others could be brought in its time: the price falls by
        `left_out_pressure` seconds per waiting order a driver and second of driver time.
        """
        planning, pressure = scene.request.planning, scene.request.pressure
        size, alone = np.ones(self.real), self.busy[: self.real].copy()
        waited = np.maximum(-from_now(scene.request.tasks.opened_ms, scene.request.now_ms), 0.0)
        for row in range(self.singles, self.real):
            tasks = list(self.members[row])
            size[row], alone[row] = len(tasks), self.busy[tasks].sum()
        price = planning.left_out_s * size - planning.left_out_pressure * pressure * alone
        self.left_out = np.full(self.count, planning.expected * planning.expected_left_out_s)
        self.left_out[: self.real] = np.maximum(price, planning.left_out_floor_s * size)
        for row, members in enumerate(self.members if planning.waiting else ()):
            self.left_out[row] += planning.waiting * waited[list(members)].sum()
        self.credit = self.left_out + planning.saved_time * self.busy
        self.credit[: self.real] = self.left_out[: self.real] + planning.saved_time * alone

    def raise_prices(self, least: F64) -> None:
        """Add what even its best driver costs to the price of each real unit, so that none is left out for being late.

        Once: the costs of a later round change nothing of it.
        """
        if not self._raised:
            self._raised = True
            possible = np.where(least < LONG_S, np.maximum(least, 0.0), 0.0)[: self.real]
            self.left_out[: self.real] += possible
            self.credit[: self.real] += possible

    def before(self, pickup: F64, until: F64 | float = LONG_S) -> Bool:
        """Whether a pick-up (the last axis over all units) is neither after the shift's end nor too late."""
        return (pickup <= until) & (pickup <= self.latest)
