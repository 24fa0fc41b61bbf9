"""Drivers who hold a task and fall silent: when to look after them, and what they lose.

Until the goods are picked up a silent driver is replaced; afterwards they are in a vehicle that only people can find.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING

from domain.orders.lifecycle import OrderEvent, Role, TaskEvent
from domain.orders.records import OrderFact, Record, TaskRow
from domain.protocol import TaskCancelled
from domain.region.jobs import short

if TYPE_CHECKING:
    from domain.region.machine import Region

REASON = "DRIVER_LOST"
RETURN_FIRST = "RETURN_FIRST"
_BECAUSE = {
    REASON: "is lost, not heard of for {:.3g} min",
    RETURN_FIRST: "has goods to bring back first",
}


class Watch:
    """Holders by the moment at which they would be lost (server ms), at most one entry each.

    Being heard of only moves the moment on, so an entry is early rather than late, and what moved it is looked up when
    it comes up: a batch of pings costs nothing here.
    """

    def __init__(self) -> None:
        self._due: list[tuple[int, str]] = []
        self._drivers: set[str] = set()

    def add(self, driver_id: str, lost_ms: int) -> None:
        """Look after this driver at `lost_ms`, unless an earlier look will come."""
        if driver_id not in self._drivers:
            self._drivers.add(driver_id)
            heapq.heappush(self._due, (lost_ms, driver_id))

    def next_ms(self) -> int | None:
        """When the next look is due."""
        return self._due[0][0] if self._due else None

    def lost(self, now_ms: int, lost_ms: Callable[[str], int | None]) -> list[str]:
        """The drivers who are lost by now, in the order of their moments; they are looked after no longer.

        `lost_ms` tells the moment as it is now, None for a driver with nothing to lose.
        """
        lost = []
        while self._due and self._due[0][0] <= now_ms:
            _, driver_id = heapq.heappop(self._due)
            self._drivers.discard(driver_id)
            at_ms = lost_ms(driver_id)
            if at_ms is not None and at_ms > now_ms:
                self.add(driver_id, at_ms)
            elif at_ms is not None:
                lost.append(driver_id)
        return lost


def release(region: Region, now_ms: int, driver_id: str, reason: str = REASON) -> None:
    """Take from a driver who is lost, or has goods to bring back first, what is not picked up, so that it is offered to
    others. The reason is told to the driver and in the dossier."""
    tasks: list[TaskRow] = []
    facts: list[OrderFact] = []
    for task_id in region.releasable(driver_id):
        job = region.jobs[task_id]
        payload = {"driver_id": driver_id, "task_id": task_id, "reason": reason}
        facts.append(job.move_order(OrderEvent.RELEASED, Role.SYSTEM, region.id, now_ms, payload))
        region.let_go(job)
        tasks.append(job.move_task(TaskEvent.RELEASE, driver_id=None, offer_id=None))
        job.note_decline(driver_id, now_ms)
        region.put_open(task_id, now_ms)
        region.say(
            now_ms,
            f"Driver {short(driver_id)} {_BECAUSE[reason].format(region.policy.driver_lost_s / 60)}: "
            f"looking for another for task {short(task_id)}",
        )
    region.foresee(driver_id, now_ms)
    region.record(Record(record_id=region.new_id(), tasks=tuple(tasks), orders=tuple(facts)))
    for task in tasks:
        region.push(driver_id, TaskCancelled(task_id=task.task_id, reason=reason))
