"""A recorded region log as a day of the virtual market: its orders and couriers as they were, and how couriers answer,
drive and serve as the log shows it.

The region is stepped through the log again, as `doorstep replay` does it, and what it decides is noted with its time.
What the model of the day leaves out is told in `LogDay.notes`; see docs/replay.md.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from actors.region.segments import CutShort, LogError, Segment
from domain.ground.times import in_ms, instant
from domain.orders.lifecycle import OfferStatus, Role, TaskKind, TaskStatus
from domain.orders.records import OfferRow, TaskRow
from domain.region.log.journal import FAILED, digest
from domain.region.machine import Region
from domain.region.messages import Ask, Cancel, DriversSeen, Message, Ready, TaskOpened
from domain.region.policy import RegionPolicy
from domain.solve import Services
from sim.concurrency import Progress
from sim.days.day import Day, DayCourier, DayOrder
from sim.days.overrides import Scene, faster
from sim.days.whatif import History

PING_S = 30.0
TAIL_S = 3600.0  # who is on duty when the log ends stays for so long, unless the shift's end is known
PRIOR = 4  # answers of the average courier that count beside a courier's own
LEAST = 5  # observations for an estimate; with fewer the policy's figure stands
LEG_S = 60.0  # shorter drives say little about speed
PROGRESS_EVERY = 500_000  # messages

_ANSWERED = (OfferStatus.ACCEPTED, OfferStatus.REJECTED)


class LogDay(Struct, frozen=True, kw_only=True):
    """The day, what really came of it, and what a reader should know of the model."""

    scene: Scene
    history: History
    notes: tuple[str, ...]


class _Shift(Struct):
    """Times on duty; `last_ms`: heard of last, or went off; `until_ms`: the end that the driver named, 0 for none."""

    lat: float
    lng: float
    on_ms: int
    last_ms: int
    until_ms: int = 0
    on: bool = True


class _Steps(Struct):
    """When a task's courier took its steps."""

    arrived_ms: int | None = None
    at_door_ms: int | None = None


class _Book(Struct):
    """What is noted while the log is stepped."""

    policy: RegionPolicy | None = None
    now_ms: int = 0
    messages: int = 0
    differ: int = 0
    tasks: dict[str, TaskRow] = field(default_factory=dict)  # deliveries opened in the log, as first seen
    ready_ms: dict[str, int] = field(default_factory=dict)  # by task, as last told
    under_way: set[str] = field(default_factory=set)  # tasks that were held when the log began
    called_off: set[str] = field(default_factory=set)  # tasks cancelled by customer or merchant
    door_ms: dict[str, int] = field(default_factory=dict)  # handed over or refused, by order
    refused: set[str] = field(default_factory=set)  # tasks refused at the door
    offers: dict[str, OfferRow] = field(default_factory=dict)  # as they ended
    shifts: dict[str, list[_Shift]] = field(default_factory=lambda: defaultdict(list))
    steps: dict[str, _Steps] = field(default_factory=lambda: defaultdict(_Steps))
    left: dict[str, tuple[int, float, float]] = field(default_factory=dict)  # courier: set off when and where
    leg_ratios: list[float] = field(default_factory=list)  # seconds driven over seconds foreseen
    pickups_s: list[float] = field(default_factory=list)  # at the store, goods being ready
    doors_s: list[float] = field(default_factory=list)

    # -- reading ------------------------------------------------------------------------------------------------------

    def begin(self, region: Region, now_ms: int) -> None:
        """A segment begins in this state. What is known already is no news."""
        self.policy = self.policy or region.policy
        self.now_ms = max(self.now_ms, now_ms)
        for task_id, job in region.state.jobs.items():
            if task_id not in self.tasks and job.task.kind is TaskKind.DELIVERY:
                fresh = job.task.status in (TaskStatus.OPEN, TaskStatus.OFFERED)
                self.tasks[task_id] = job.task
                self.ready_ms[task_id] = job.task.ready_ms
                self.under_way |= set() if fresh else {task_id}
        fleet = region.state.fleet
        for row in np.flatnonzero(fleet.on_duty[: len(fleet)]).tolist():
            at = float(fleet.lat[row]), float(fleet.lng[row])
            self._on(fleet.ids[row], int(fleet.seen_ms[row]), *at, int(fleet.until_ms[row]))

    def note(self, now_ms: int, message: Message, region: Region, ready: Ready) -> None:
        """One step."""
        self.now_ms = now_ms
        if isinstance(message, DriversSeen):
            self._seen(message)
        by_people = (
            isinstance(message, Ask)
            and isinstance(message.action, Cancel)
            and message.role in (Role.CUSTOMER, Role.MERCHANT)
        )
        for record in ready.records:
            self.offers.update((offer.offer_id, offer) for offer in record.offers)
            for task in record.tasks:
                if task.kind is TaskKind.DELIVERY:
                    if task.status is TaskStatus.CANCELLED and by_people:
                        self.called_off.add(task.task_id)
                    self._moved(task, region)
        if isinstance(message, TaskOpened) and message.task.kind is TaskKind.DELIVERY:
            self.tasks.setdefault(message.task.task_id, message.task)
            self.ready_ms.setdefault(message.task.task_id, message.task.ready_ms)

    def _moved(self, task: TaskRow, region: Region) -> None:
        """A task as it was recorded; its step is now."""
        steps, driver_id = self.steps[task.task_id], task.driver_id
        self.ready_ms[task.task_id] = task.ready_ms
        store, door = (task.pickup_lat, task.pickup_lng), (task.dropoff_lat, task.dropoff_lng)
        match task.status:
            case TaskStatus.ASSIGNED if (
                driver_id is not None and len(region.state.holdings.of(driver_id)) == 1
            ):
                row = region.state.fleet.index[driver_id]
                self.left[driver_id] = (
                    self.now_ms,
                    float(region.state.fleet.lat[row]),
                    float(region.state.fleet.lng[row]),
                )
            case TaskStatus.AT_PICKUP if steps.arrived_ms is None:
                steps.arrived_ms = self.now_ms
                self._drove(driver_id, store)
            case TaskStatus.PICKED_UP if driver_id is not None:
                if steps.arrived_ms is not None and steps.arrived_ms >= task.ready_ms:
                    self.pickups_s.append((self.now_ms - steps.arrived_ms) / 1000)
                self.left[driver_id] = (self.now_ms, *store)
            case TaskStatus.AT_DROPOFF if steps.at_door_ms is None:
                steps.at_door_ms = self.now_ms
                self._drove(driver_id, door)
            case TaskStatus.DONE if driver_id is not None:
                self.door_ms[task.order_id] = self.now_ms
                if steps.at_door_ms is not None:
                    self.doors_s.append((self.now_ms - steps.at_door_ms) / 1000)
                self.left[driver_id] = (self.now_ms, *door)
            case TaskStatus.FAILED:
                self.refused.add(task.task_id)
                self.door_ms[task.order_id] = self.now_ms

    def _drove(self, driver_id: str | None, to: tuple[float, float]) -> None:
        """A courier who set off is there."""
        assert self.policy is not None
        if driver_id is None or (start := self.left.pop(driver_id, None)) is None:
            return
        at_ms, lat, lng = start
        foreseen_s = float(self.policy.travel.seconds(lat, lng, *to, at_ms))
        if foreseen_s >= LEG_S:
            self.leg_ratios.append((self.now_ms - at_ms) / 1000 / foreseen_s)

    def _seen(self, batch: DriversSeen) -> None:
        until = batch.until_ms.tolist() if batch.until_ms is not None else [0] * len(batch.driver_ids)
        columns = (batch.driver_ids, batch.lat.tolist(), batch.lng.tolist(), batch.on_duty.tolist(), until)
        for driver_id, lat, lng, on, until_ms in zip(*columns, strict=True):
            if on:
                self._on(driver_id, self.now_ms, lat, lng, until_ms)
            elif (shifts := self.shifts.get(driver_id)) and shifts[-1].on:
                shifts[-1].on, shifts[-1].last_ms = False, self.now_ms

    def _on(self, driver_id: str, at_ms: int, lat: float, lng: float, until_ms: int) -> None:
        """A ping on duty. Silence after which a driver gets no offers ends a shift; a shorter break is none."""
        assert self.policy is not None
        shifts = self.shifts[driver_id]
        if not shifts or at_ms - shifts[-1].last_ms > in_ms(self.policy.driver_stale_s):
            shifts.append(_Shift(lat, lng, at_ms, at_ms))
        shift = shifts[-1]
        shift.on, shift.until_ms, shift.last_ms = True, until_ms, max(at_ms, shift.last_ms)

    # -- the day ------------------------------------------------------------------------------------------------------

    def orders(self) -> tuple[DayOrder, ...]:
        """Those opened in the log, or open when it began, that nobody but dispatch kept from their doors."""
        left_out = self.under_way | self.called_off
        return tuple(
            DayOrder(
                id=task.order_id,
                store_id=task.store_id,
                pickup_lat=task.pickup_lat,
                pickup_lng=task.pickup_lng,
                dropoff_lat=task.dropoff_lat,
                dropoff_lng=task.dropoff_lng,
                placed_ms=task.opened_ms,
                ready_ms=self.ready_ms[task_id],
                due_ms=task.due_ms,
            )
            for task_id, task in sorted(self.tasks.items(), key=lambda item: (item[1].opened_ms, item[0]))
            if task_id not in left_out
        )

    def couriers(self, policy: RegionPolicy) -> tuple[DayCourier, ...]:
        """The shifts, and how their drivers answer: both figures are drawn to those of all by `PRIOR` answers.

        A courier takes (taken + PRIOR p) / (answered + PRIOR) of the offers, p being that of all. The time to an answer
        is exponential with a mean of (seconds that offers stood) / (answers), its maximum likelihood when some offers
        end unanswered (Cox and Oakes, Analysis of Survival Data, 1984, 3.2).
        """
        taken, answered = Counter[str](), Counter[str]()
        stood_s: dict[str, float] = defaultdict(float)
        for offer in self.offers.values():
            start_ms = offer.made_ms if offer.seen_ms is None else offer.seen_ms
            end_ms = self.now_ms if offer.closed_ms is None else offer.closed_ms
            stood_s[offer.driver_id] += (end_ms - start_ms) / 1000
            taken[offer.driver_id] += offer.status is OfferStatus.ACCEPTED
            answered[offer.driver_id] += offer.status in _ANSWERED
        total = answered.total()
        rate = taken.total() / total if total else None
        mean_s = sum(stood_s.values()) / total if total else None

        def courier(name: str, number: int, shift: _Shift) -> DayCourier:
            weight = answered[name] + PRIOR
            return DayCourier(
                id=name if number == 1 else f"{name}#{number}",
                lat=shift.lat,
                lng=shift.lng,
                on_ms=shift.on_ms,
                off_ms=self._off_ms(shift, policy),
                accept_rate=None if rate is None else (taken[name] + PRIOR * rate) / weight,
                answer_s=None if mean_s is None else max(0.1, (stood_s[name] + PRIOR * mean_s) / weight),
            )

        made = [
            courier(name, number, shift)
            for name, shifts in self.shifts.items()
            for number, shift in enumerate(shifts, 1)
        ]
        return tuple(sorted(made, key=lambda one: (one.on_ms, one.id)))

    def _off_ms(self, shift: _Shift, policy: RegionPolicy) -> int:
        if self.now_ms - shift.last_ms > in_ms(policy.driver_stale_s):
            return shift.last_ms  # went off, or fell silent
        # On duty, or gone just now as the server that wrote the log shut down.
        known = self.now_ms < shift.until_ms < self.now_ms + in_ms(24 * TAIL_S)
        return shift.until_ms if known else self.now_ms + in_ms(TAIL_S)

    def services(self, policy: RegionPolicy) -> Services:
        """Medians of the time at stores, once the goods were ready, and at doors."""
        return Services(
            pickup_before_s=_median(self.pickups_s, policy.services.pickup_before_s),
            pickup_after_s=0.0,
            door_before_s=_median(self.doors_s, policy.services.door_before_s),
            door_after_s=0.0,
        )


def _median(values: Sequence[float], otherwise: float) -> float:
    return float(median(values)) if len(values) >= LEAST else otherwise


def day_of_log(paths: Sequence[Path], progress: Progress = lambda line: None) -> LogDay:
    """The day that these segments, in order, tell of. `LogError` when they cannot be read or tell of no orders."""
    book = _Book()
    began_ms, name = None, ""
    for path in paths:
        progress(f"reading {path.name}")
        try:
            with Segment(path) as segment:
                region = segment.region()
                name = segment.header.region_id
                began_ms = segment.header.now_ms if began_ms is None else began_ms
                book.begin(region, segment.header.now_ms)
                for entry in segment.entries():
                    _step(book, region, entry.now_ms, entry.message, entry.digest)
                    if book.messages % PROGRESS_EVERY == 0:
                        progress(f"{book.messages:,} messages, at {instant(book.now_ms):%Y-%m-%d %H:%M:%S}")
        except CutShort:
            if len(paths) == 1:
                raise
    policy = book.policy
    if policy is None or began_ms is None:
        raise LogError("No segment is whole enough to be read.")
    orders, couriers = book.orders(), book.couriers(policy)
    if not orders or not couriers:
        raise LogError("The log tells of no orders, or of nobody on duty: there is no day to be tried again.")
    slower = _median(book.leg_ratios, 1.0)
    day = Day(
        name=f"{name} {instant(began_ms):%Y-%m-%d %H:%M}",
        orders=tuple(replace(one, placed_ms=max(one.placed_ms, began_ms)) for one in orders),
        couriers=couriers,
        travel=faster(policy.travel, 1 / max(slower, 0.05)),
        services=book.services(policy),
        give_up_s=policy.give_up_s,
    )
    ordered = {one.id for one in day.orders}
    history = History(
        door_ms={order_id: ms for order_id, ms in book.door_ms.items() if order_id in ordered},
        offers=len(book.offers),
        ends_ms=book.now_ms,
    )
    scene = Scene(day=day, policy=policy, ping_s=PING_S)
    return LogDay(scene=scene, history=history, notes=tuple(_notes(book, day, slower)))


def _step(book: _Book, region: Region, now_ms: int, message: Message, recorded: bytes) -> None:
    """Step the region as it was, and note it. Other code may decide otherwise, or fail."""
    book.messages += 1
    try:
        ready = region.step(now_ms, message)
    except Exception:  # the last message of a life may be the one that it failed at
        book.differ += recorded != FAILED
        return
    book.differ += recorded != digest(ready)
    book.note(now_ms, message, region, ready)


def _notes(book: _Book, day: Day, slower: float) -> list[str]:
    """What a reader should know of the model, in sentences."""
    notes = [
        f"drives took {slower:.2f} x the time that the policy expects"
        if len(book.leg_ratios) >= LEAST
        else "too few drives in the log to measure their speed: the policy's stands",
        f"{day.services.pickup_before_s:.0f} s at a store with the goods ready,"
        f" {day.services.door_before_s:.0f} s at a door",
    ]
    rates = [one.accept_rate for one in day.couriers if one.accept_rate is not None]
    means = [one.answer_s for one in day.couriers if one.answer_s is not None]
    if rates and means:
        notes.append(
            f"couriers take {100 * sum(rates) / len(rates):.0f} % of the offers that they answer, after"
            f" {sum(means) / len(means):.1f} s in the mean; who answers later than an offer stands lets it end"
        )
    else:
        notes.append("no offer was answered in the log: couriers take each at once")
    for count, what in (
        (len(book.under_way), "orders were under way when the log began, and are left out"),
        (len(book.called_off), "orders were cancelled by customer or merchant, and are left out"),
        (len(book.refused), "orders were refused at the door: in the model every order is taken"),
        (book.differ, f"of {book.messages:,} decisions are not those recorded: other code made them"),
    ):
        if count:
            notes.append(f"{count:,} {what}")
    return notes
