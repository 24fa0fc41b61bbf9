"""A region's state, with the operations that keep it sound: who holds which tasks, which offers live, which tasks are
open, and what one step leaves behind.

The step functions (`requests/`, `offers.py`, `silence.py`) call these and change no table by themselves. Nothing here
knows the machine that steps, nor what people ask for.
"""

from __future__ import annotations

import heapq
import uuid
from collections import deque
from collections.abc import Collection, Iterator

import numpy as np

from domain.errors import NotFound
from domain.ground.times import in_ms
from domain.orders.lifecycle import TASK_RELEASABLE, OfferStatus, TaskKind, TaskStatus
from domain.orders.records import OfferRow, Record, RegionImage, TaskRow
from domain.protocol import ServerFrame
from domain.region.fleet import DriverState, Fleet, Rows
from domain.region.foresight import when_done
from domain.region.jobs import BoundedDict, Job
from domain.region.mailbox import Mailboxes
from domain.region.messages import Push, Ready
from domain.region.ops.frames import COUNTERS
from domain.region.policy import RegionPolicy
from domain.region.solving.cadence import Cadence
from domain.region.watch import Watch

_STATE_OF_TASK = {
    TaskStatus.ASSIGNED: DriverState.TO_PICKUP,
    TaskStatus.AT_PICKUP: DriverState.TO_PICKUP,
    TaskStatus.PICKED_UP: DriverState.TO_DROPOFF,
    TaskStatus.AT_DROPOFF: DriverState.TO_DROPOFF,
}


class OfferTable:
    """The live offers. A driver has one at a time; tasks that are offered together are offered to several drivers where
    it came to that, and never in part. `closed`: how offers ended lately."""

    def __init__(self, closed_limit: int) -> None:
        self.live: dict[str, OfferRow] = {}
        self.closed: BoundedDict[str, OfferStatus] = BoundedDict(closed_limit)
        self.by_driver: dict[str, str] = {}
        self.by_tasks: dict[tuple[str, ...], list[str]] = {}
        self._expiries: list[tuple[int, str]] = []  # (ms, offer), a heap; offers may have ended before

    def get(self, offer_id: str | None) -> OfferRow | None:
        """A live offer."""
        return self.live.get(offer_id or "")

    def of_driver(self, driver_id: str) -> OfferRow | None:
        """The live offer to this driver."""
        return self.live.get(self.by_driver.get(driver_id, ""))

    def asks(self, driver_id: str) -> bool:
        """Whether the driver has a live offer."""
        return driver_id in self.by_driver

    def of_tasks(self, task_ids: tuple[str, ...]) -> list[OfferRow]:
        """The live offers of exactly these tasks, the one that was made first first."""
        return [self.live[offer_id] for offer_id in self.by_tasks.get(task_ids, ())]

    def tasks(self) -> set[str]:
        """All tasks that are offered."""
        return {task_id for task_ids in self.by_tasks for task_id in task_ids}

    def fits(self, offer: OfferRow) -> bool:
        """Whether the driver has no other offer, and no other bundle has one of its tasks."""
        others = {task_id for task_ids in self.by_tasks if task_ids != offer.task_ids for task_id in task_ids}
        return offer.driver_id not in self.by_driver and others.isdisjoint(offer.task_ids)

    def put(self, offer: OfferRow) -> None:
        """Put a live offer on the table."""
        assert offer.driver_id not in self.by_driver
        self.live[offer.offer_id] = offer
        heapq.heappush(self._expiries, (offer.expires_ms, offer.offer_id))
        self.by_driver[offer.driver_id] = offer.offer_id
        self.by_tasks.setdefault(offer.task_ids, []).append(offer.offer_id)

    def prolong(self, offer: OfferRow) -> None:
        """The same offer with a later end."""
        assert offer.offer_id in self.live
        self.live[offer.offer_id] = offer
        heapq.heappush(self._expiries, (offer.expires_ms, offer.offer_id))

    def take_off(self, offer: OfferRow, status: OfferStatus) -> None:
        """The offer has ended."""
        del self.live[offer.offer_id]
        del self.by_driver[offer.driver_id]
        beside = self.by_tasks[offer.task_ids]
        beside.remove(offer.offer_id)
        if not beside:
            del self.by_tasks[offer.task_ids]
        self.note_closed(offer.offer_id, status)

    def note_closed(self, offer_id: str, status: OfferStatus) -> None:
        """Remember how an offer ended."""
        self.closed[offer_id] = status

    def next_ms(self) -> int | None:
        """When to look for offers that are past their time."""
        return self._expiries[0][0] if self._expiries else None

    def past(self, now_ms: int) -> OfferRow | None:
        """The oldest live offer that is past its time. It is given once."""
        while self._expiries and self._expiries[0][0] <= now_ms:
            _, offer_id = heapq.heappop(self._expiries)
            offer = self.live.get(offer_id)
            if offer is not None and offer.expires_ms <= now_ms:  # else it was shown, and has another entry
                return offer
        return None


class Holdings:
    """Which tasks each driver holds, and in which order their offers were taken."""

    def __init__(self) -> None:
        self.by_driver: dict[str, set[str]] = {}
        self._taken: dict[str, tuple[tuple[str, ...], ...]] = {}  # tasks of each offer taken, in order

    def __contains__(self, driver_id: str) -> bool:
        return driver_id in self.by_driver

    def __iter__(self) -> Iterator[str]:
        """The drivers who hold something."""
        return iter(self.by_driver)

    def of(self, driver_id: str) -> Collection[str]:
        """The tasks that the driver holds."""
        return self.by_driver.get(driver_id, ())

    def add(self, driver_id: str, task_id: str) -> None:
        """The driver holds the task."""
        self.by_driver.setdefault(driver_id, set()).add(task_id)

    def remove(self, driver_id: str, task_id: str) -> None:
        """The driver holds the task no longer."""
        held = self.by_driver[driver_id]
        held.discard(task_id)
        if not held:
            del self.by_driver[driver_id]

    def took(self, driver_id: str, task_ids: tuple[str, ...]) -> None:
        """The driver took the offer of these tasks, after those before."""
        self._taken[driver_id] = (*self._taken.get(driver_id, ()), task_ids)

    def is_done(self, driver_id: str) -> None:
        """The driver has nothing left of what was taken."""
        self._taken.pop(driver_id, None)

    def trips(self, driver_id: str) -> list[list[str]]:
        """Tasks that the driver holds, trip after trip, each in the order of its doors as far as it is known."""
        left = set(self.by_driver.get(driver_id, ()))
        trips = [[task_id for task_id in trip if task_id in left] for trip in self._taken.get(driver_id, ())]
        left.difference_update(*trips)
        # A return, or what was held when the region's life began.
        return [[task_id] for task_id in sorted(left)] + [trip for trip in trips if trip]


class State:
    """What a region knows. `ready` collects what the step under way decides."""

    def __init__(self, image: RegionImage, policy: RegionPolicy, now_ms: int) -> None:
        self.id, self.epoch, self.policy = image.region_id, image.epoch, policy
        self.fleet = Fleet()
        self.jobs: dict[str, Job] = {}
        self.by_order: dict[str, str] = {}  # order id -> its active task
        self.open: dict[str, None] = {}  # open tasks, oldest first
        self.ended: BoundedDict[str, TaskStatus] = BoundedDict(policy.ended_tasks_limit)
        self.offers = OfferTable(policy.closed_offers_limit)
        self.holdings = Holdings()
        self.cadence = Cadence(policy, now_ms)
        self.mail = Mailboxes(self.epoch, policy.push_ring)
        self.counters = {name: image.counters.get(name, 0) for name in COUNTERS}
        self.decisions: deque[tuple[int, str]] = deque(maxlen=policy.decisions_limit)
        self.watch = Watch()  # drivers who may lose a task by silence
        self.began_ms = now_ms
        self.listening_ms = now_ms  # since when gateways have been heard without a gap
        self.aside = image.aside
        # What did not fit together in the image, to be put right by the first tick: offers that stand for nothing, and
        # tasks that are offered to nobody.
        self.strays: tuple[OfferRow, ...] = ()
        self.stranded: tuple[str, ...] = ()
        self._ids = 0
        self.ready = Ready()

    # -- what leaves --------------------------------------------------------------------------------------------------

    def record(self, record: Record) -> None:
        """What must be durable before anything else of this step leaves."""
        self.ready.records.append(record)

    def new_id(self) -> str:
        """The next id of this epoch: a name-based UUID, so that a replay gives the same one."""
        self._ids += 1
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.id}/{self.epoch}/{self._ids}"))

    def push(self, driver_id: str, frame: ServerFrame) -> None:
        """Number a frame for the driver, keep it until acknowledged, and send it when a socket is known."""
        self.send(self.fleet.row(driver_id), self.mail.put(driver_id, frame))

    def send(self, row: int, frame: ServerFrame) -> None:
        """Send a numbered frame to the socket of the driver in this row, if one is known."""
        fleet = self.fleet
        if fleet.gateway[row] >= 0:
            gateway_id = fleet.gateways[fleet.gateway[row]]
            self.ready.pushes.append(Push(gateway_id, fleet.ids[row], int(fleet.session[row]), frame))

    def say(self, now_ms: int, text: str) -> None:
        """Note a decision in words for mission control. Ids only, no personal data."""
        self.decisions.appendleft((now_ms, text))

    # -- tasks --------------------------------------------------------------------------------------------------------

    def job_of_order(self, order_id: str) -> Job:
        """The active task of an order; `NotFound` when the region has none."""
        task_id = self.by_order.get(order_id)
        if task_id is None:
            raise NotFound("The order has no task under way.")
        return self.jobs[task_id]

    def jobs_of(self, offer: OfferRow) -> list[Job]:
        """The tasks of an offer, with their orders."""
        return [self.jobs[task_id] for task_id in offer.task_ids]

    def tasks_of(self, offer: OfferRow) -> list[TaskRow]:
        """The tasks of a live offer."""
        return [job.task for job in self.jobs_of(offer)]

    def add_job(self, job: Job, now_ms: int) -> None:
        """A task that has not ended: open, offered or held."""
        self.jobs[job.task.task_id] = job
        self.by_order[job.task.order_id] = job.task.task_id
        if job.task.status is TaskStatus.OPEN:
            self.put_open(job.task.task_id, now_ms)
        elif job.held_by is not None:
            self.hold(job)

    def put_open(self, task_id: str, now_ms: int) -> None:
        """Put a task among the open ones."""
        if not self.open:
            self.cadence.first_waits(now_ms)
        self.open[task_id] = None
        self.cadence.wake(now_ms)

    def take_from_open(self, task_id: str) -> None:
        """Somebody is asked about an open task."""
        del self.open[task_id]

    def end_job(self, now_ms: int, job: Job) -> None:
        """Forget a task that has ended; its driver is free unless something else is held."""
        task = job.task
        del self.jobs[task.task_id]
        self.note_ended(task)
        self.open.pop(task.task_id, None)
        self.cadence.ended(task.task_id)
        if self.by_order.get(task.order_id) == task.task_id:
            del self.by_order[task.order_id]
        if task.driver_id is not None:
            self.let_go(job)
        self.cadence.wake(now_ms)

    def note_ended(self, task: TaskRow) -> None:
        """Remember how a task ended."""
        self.ended[task.task_id] = task.status

    # -- offers -------------------------------------------------------------------------------------------------------

    def put_offer(self, offer: OfferRow) -> None:
        """An offer stands, and its driver has it."""
        self.offers.put(offer)
        self.set_state(offer.driver_id)

    # -- who holds what -----------------------------------------------------------------------------------------------

    def hold(self, job: Job) -> None:
        """The job's driver holds its task."""
        driver_id = job.task.driver_id
        assert driver_id is not None
        self.holdings.add(driver_id, job.task.task_id)
        self.set_state(driver_id)
        if (lost_ms := self.lost_ms(driver_id)) is not None:
            self.watch.add(driver_id, lost_ms)

    def let_go(self, job: Job) -> None:
        """The job's driver holds its task no longer and is free unless something else is held."""
        driver_id = job.task.driver_id
        assert driver_id is not None
        self.holdings.remove(driver_id, job.task.task_id)
        self.set_state(driver_id)

    def releasable(self, driver_id: str) -> list[str]:
        """Tasks that the driver holds and has not picked up, oldest first."""
        jobs = [self.jobs[task_id] for task_id in self.holdings.of(driver_id)]
        tasks = [job.task for job in jobs if job.task.status in TASK_RELEASABLE]
        return [task.task_id for task in sorted(tasks, key=lambda task: (task.opened_ms, task.task_id))]

    def lost_ms(self, driver_id: str) -> int | None:
        """When the driver, not heard of until then, loses what is not picked up; None when there is nothing to lose.

        Nobody could be heard before this life of the region or while no gateway was: no time runs then.
        """
        if not self.releasable(driver_id):
            return None
        heard_ms = int(self.fleet.heard_ms[self.fleet.row(driver_id)])
        return max(heard_ms, self.listening_ms) + in_ms(self.policy.driver_lost_s)

    # -- drivers ------------------------------------------------------------------------------------------------------

    def set_state(self, driver_id: str) -> None:
        """Derive what the driver is busy with from offers and tasks."""
        row = self.fleet.row(driver_id)
        if held := self.holdings.of(driver_id):
            self.fleet.state[row] = max(_state_for(self.jobs[task_id].task) for task_id in held)
        elif self.offers.asks(driver_id):
            self.fleet.state[row] = DriverState.OFFERED
        else:
            self.fleet.state[row] = DriverState.FREE

    def foresee(self, driver_id: str, now_ms: int, tail_s: float = 0.0) -> None:
        """Work out when and where the driver, who took a step just now, will be done with what is held and offered.
        `tail_s`: seconds of service left at this place."""
        fleet, row = self.fleet, self.fleet.row(driver_id)
        trips = [[self.jobs[task_id].task for task_id in trip] for trip in self.holdings.trips(driver_id)]
        if not trips:
            self.holdings.is_done(driver_id)
        if offer := self.offers.of_driver(driver_id):
            trips.append(self.tasks_of(offer))  # as if it were taken
        lat, lng = float(fleet.lat[row]), float(fleet.lng[row])
        travel, services = self.policy.travel, self.policy.services
        done = when_done(now_ms, lat, lng, trips, travel, services, tail_s)
        fleet.free_ms[row], fleet.free_lat[row], fleet.free_lng[row] = done

    def rows_to_ask(self, now_ms: int) -> Rows:
        """Rows of the drivers who may be made an offer now: free, or with nothing before them but doors."""
        stale_ms, ahead_ms = in_ms(self.policy.driver_stale_s), in_ms(self.policy.offer_ahead_s)
        rows = self.fleet.free_rows(now_ms, stale_ms, ahead_ms)
        if not ahead_ms:
            return rows
        ids = self.fleet.ids
        asked = (self.offers.asks(ids[row]) or bool(self.releasable(ids[row])) for row in rows.tolist())
        return rows[~np.fromiter(asked, np.bool_, len(rows))]


def _state_for(task: TaskRow) -> DriverState:
    return DriverState.RETURNING if task.kind is TaskKind.RETURN else _STATE_OF_TASK[task.status]
