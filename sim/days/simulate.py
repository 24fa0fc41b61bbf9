"""A virtual market: the product's own region and solvers on a virtual clock, with model couriers. No Ray, no gateway,
one process, no chance but a seed: the same day under the same policy gives the same outcome byte for byte, as far as
its solvers do not stop by a clock of their own (BATCH does).

The market says to the region what gateways and the store would say (pings, opened tasks, answers to offers, steps of a
delivery) and does what the region pushes. Couriers (`couriers.py`) learn of an offer in the moment it is made and
answer at once, or after a while where the day says so; a pick-up after the end of the shift is not possible, so such an
offer is declined. At one instant deliveries and freed couriers come first, then new orders, duty, orders given up,
answers that took a while, pings, and at last the look for drivers.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from random import Random

import msgspec
import numpy as np
from msgspec import Struct

from domain.ground.times import in_ms
from domain.orders.lifecycle import OfferStatus, OrderStatus, Role, TaskKind, TaskStatus
from domain.orders.reasons import CancelReason
from domain.orders.records import Answer, OfferRow, OrderBrief, RegionImage, TaskRow
from domain.protocol import Offer
from domain.region.machine import Region
from domain.region.messages import (
    Accept,
    Action,
    Arrive,
    Ask,
    Cancel,
    Deliver,
    DispatchTick,
    DriversSeen,
    Message,
    OfferSeenBy,
    Pickup,
    PlanReady,
    Push,
    Ready,
    Reject,
    SubmitIdCheck,
    TaskOpened,
    Tick,
)
from domain.region.policy import RegionPolicy
from domain.solve import Plan, SolveRequest
from sim.concurrency import Progress
from sim.days.couriers import Courier, Stop
from sim.days.day import Brought, Day, DayOrder, Outcome, Solves
from solver.registry import solve as solve_here

REGION_ID = "tx-dfw"  # for its rulebook; the places of a day may lie anywhere
GATEWAY_ID = "gateway:0"
SESSION = 1  # of every courier's phone
PROGRESS_EVERY = 500  # orders brought
TICKS_LIMIT = 1_000  # of the region's deadlines at one instant: more is a bug

Solve = Callable[[SolveRequest], Plan]


def run_day(
    day: Day,
    policy: RegionPolicy,
    *,
    seed: int = 0,
    look_s: float | None = None,
    ping_s: float | None = None,
    solve: Solve = solve_here,
    progress: Progress = lambda line: None,
) -> Outcome:
    """Let a day happen under a policy.

    `look_s`: the region is told to look for drivers so often (at whole multiples); None: it looks by its own
    deadlines, which hold in either case. `ping_s`: couriers ping so often beside each change of place or duty.
    `AssertionError` where the region does what it must not: an offer without its record, a step refused.
    """
    return _Market(day, policy, seed, solve, progress).run(look_s, ping_s)


class _Kind(IntEnum):
    """What happens at one instant, in this order: a courier reaches a place before it says so."""

    REACH = 0
    DRIVE = 1
    ORDER = 2
    DUTY = 3
    GIVE_UP = 4
    ANSWER = 5
    PING = 6
    LOOK = 7


_RECURRING = (_Kind.PING, _Kind.LOOK)


class _Held(Struct):
    """A task that was accepted, and its steps so far."""

    order_id: str
    courier_id: str
    offer_id: str
    assigned_ms: int
    arrive_ms: int = 0
    pickup_ms: int = 0


class _Market:
    """One run of a day. Methods are events and what they share; `run` is the loop."""

    def __init__(self, day: Day, policy: RegionPolicy, seed: int, solve: Solve, progress: Progress) -> None:
        self.day, self.solve, self.progress = day, solve, progress
        starts = [order.placed_ms for order in day.orders] + [one.on_ms for one in day.couriers]
        self.now_ms = min(starts, default=0)
        # Couriers here do what they say, and where: none is asked how near they are.
        lived = msgspec.structs.replace(policy, geofence=None)
        self.region = Region(RegionImage(region_id=REGION_ID, epoch=1), lived, self.now_ms)
        self.rng = Random(f"answers/{seed}/{day.name}")
        self.couriers = {one.id: Courier.of(one) for one in day.couriers}
        self.order_of = {_task_id(order): order for order in day.orders}
        self.events: list[tuple[int, _Kind, int, Callable[[], None]]] = []  # a heap
        self.ahead = 0  # events that do not recur
        self.numbers = 0
        self.inbox: deque[tuple[str, Offer]] = deque()  # pushed, not answered yet
        self.moved: dict[str, None] = {}  # couriers whose ping is due
        self.offers: dict[str, OfferRow] = {}  # as recorded
        self.status: dict[str, TaskStatus] = {}  # of tasks, as recorded
        self.held: dict[str, _Held] = {}
        self.brought: dict[str, Brought] = {}
        self.given_up: list[str] = []
        self.solves = Solves()

    # -- time ---------------------------------------------------------------------------------------------------------

    def at(self, at_ms: int, kind: _Kind, event: Callable[[], None]) -> None:
        """Let something happen. What is due at one instant goes by kind, then in the order of these calls."""
        self.numbers += 1
        self.ahead += kind not in _RECURRING
        heapq.heappush(self.events, (max(at_ms, self.now_ms), kind, self.numbers, event))

    def every(self, step_ms: int, kind: _Kind, event: Callable[[], None]) -> None:
        """Let something happen at every whole multiple of `step_ms`."""

        def again() -> None:
            self.at(self.now_ms + step_ms, kind, again)
            event()

        self.at(-(-self.now_ms // step_ms) * step_ms, kind, again)

    def run(self, look_s: float | None, ping_s: float | None) -> Outcome:
        """All of the day, until nothing is left to do or nobody is left to do it."""
        for order in self.day.orders:
            self.at(order.placed_ms, _Kind.ORDER, partial(self.open, order))
        for courier in self.couriers.values():
            said_ms = courier.day.on_ms - in_ms(self.region.policy.planning.ahead_s)
            self.at(said_ms, _Kind.DUTY, partial(self.duty, courier, True))
            self.at(courier.day.off_ms, _Kind.DUTY, partial(self.duty, courier, False))
        if ping_s is not None:
            self.every(in_ms(ping_s), _Kind.PING, self.ping_all)
        if look_s is not None:
            self.every(in_ms(look_s), _Kind.LOOK, self.look)
        ticks = 0
        while self.ahead and len(self.brought) + len(self.given_up) < len(self.day.orders):
            deadline_ms = self.region.next_deadline()
            if deadline_ms is not None and deadline_ms < self.events[0][0]:
                ticks = ticks + 1 if deadline_ms <= self.now_ms else 0
                assert ticks < TICKS_LIMIT, f"the region's deadline stands still at {self.now_ms}"
                self.now_ms = max(deadline_ms, self.now_ms)
                self.step(Tick())
            else:
                self.now_ms, kind, _, event = heapq.heappop(self.events)
                self.ahead -= kind not in _RECURRING
                event()
            while self.inbox:
                self.show(*self.inbox.popleft())
            if not self.events or self.events[0][0] > self.now_ms:
                self.ping()
        return Outcome(
            day=self.day.name,
            brought=self.brought,
            given_up=tuple(self.given_up),
            offers=tuple(self.offers.values()),
            drive_s={courier.day.id: courier.drive_s for courier in self.couriers.values()},
            solves=self.solves,
        )

    # -- the region ---------------------------------------------------------------------------------------------------

    def step(self, message: Message) -> Ready:
        """Say it to the region, take in what it records and pushes, and solve what it asks for."""
        ready = self.region.step(self.now_ms, message)
        for record in ready.records:
            self.offers.update((offer.offer_id, offer) for offer in record.offers)
            self.status.update((task.task_id, task.status) for task in record.tasks)
        for push in ready.pushes:
            if isinstance(push, Push) and isinstance(push.frame, Offer):
                row = self.offers.get(push.frame.offer_id)
                assert row is not None, f"offered without a record: {push}"
                assert row.driver_id == push.driver_id, f"offered to another than recorded: {push}"
                self.inbox.append((push.driver_id, push.frame))
        if ready.solve is not None:
            plan = self.solve(ready.solve)
            self.solves.count += 1
            self.solves.tasks += len(ready.solve.tasks.ids)
            self.solves.drivers += len(ready.solve.drivers.ids)
            self.solves.pairs += plan.pairs
            self.solves.assignments += len(plan.assignments)
            self.step(PlanReady(plan))
        return ready

    def ask(self, who: str, role: Role, action: Action) -> Ready:
        """A request that must be granted."""
        self.numbers += 1
        message = Ask(
            scope=f"{who}|ws",
            key=str(self.numbers),
            fingerprint="",
            role=role,
            principal_id=who,
            action=action,
            session=SESSION,
        )
        ready = self.step(message)
        assert isinstance(ready.reply, Answer), f"{action} got no answer"
        assert ready.reply.code is None, f"{action} was refused: {ready.reply.detail}"
        return ready

    def do(self, courier: Courier, action: Action, task_id: str, status: TaskStatus) -> None:
        """A courier's step, which must be recorded and bring the task to this status."""
        self.ping()  # a phone says where it is before it says what was done there
        self.ask(courier.day.id, Role.DRIVER, action)
        assert self.status.get(task_id) is status, f"{action} left no record of {status}"

    def look(self) -> None:
        """Ping first, so that the region looks at the couriers of this instant."""
        self.ping()
        self.ask("market", Role.SYSTEM, DispatchTick())

    # -- orders -------------------------------------------------------------------------------------------------------

    def open(self, order: DayOrder) -> None:
        task = TaskRow(
            task_id=_task_id(order),
            order_id=order.id,
            region_id=REGION_ID,
            kind=TaskKind.DELIVERY,
            status=TaskStatus.OPEN,
            store_id=order.store_id,
            pickup_lat=order.pickup_lat,
            pickup_lng=order.pickup_lng,
            dropoff_lat=order.dropoff_lat,
            dropoff_lng=order.dropoff_lng,
            dropoff_address="",
            min_age=21,
            opened_ms=self.now_ms,
            ready_ms=order.ready_ms,
            due_ms=order.due_ms,
        )
        brief = OrderBrief(
            order_id=order.id,
            status=OrderStatus.CONFIRMED,
            customer_id="customer",
            merchant_id=order.store_id,
        )
        self.step(TaskOpened(task, brief))
        if self.day.give_up_s is not None:
            hopeless_ms = self.hopeless_ms(order, order.placed_ms + in_ms(self.day.give_up_s))
            self.at(hopeless_ms, _Kind.GIVE_UP, partial(self.give_up, order))

    def hopeless_ms(self, order: DayOrder, latest_ms: int) -> int:
        """From when on even a courier at the store would be at the door after `latest_ms`."""
        services = self.day.services
        store, door = (order.pickup_lat, order.pickup_lng), (order.dropoff_lat, order.dropoff_lng)
        drive_ms = in_ms(float(self.day.travel.seconds(*store, *door, order.ready_ms)))
        pickup_ms = latest_ms - in_ms(services.pickup_after_s + services.door_before_s) - drive_ms
        return self.now_ms if order.ready_ms > pickup_ms else pickup_ms - in_ms(services.pickup_before_s) + 1

    def give_up(self, order: DayOrder) -> None:
        """Call the order off unless somebody has taken it."""
        if self.status.get(_task_id(order), TaskStatus.OPEN) in (TaskStatus.OPEN, TaskStatus.OFFERED):
            ready = self.ask("market", Role.DISPATCHER, Cancel(order.id, CancelReason.TAKES_TOO_LONG))
            assert ready.records, "cancelled without a record"
            self.given_up.append(order.id)

    # -- couriers -----------------------------------------------------------------------------------------------------

    def duty(self, courier: Courier, on: bool) -> None:
        courier.on = on
        self.moved[courier.day.id] = None

    def show(self, courier_id: str, offer: Offer) -> None:
        """An offer is on a courier's phone. One that is not answered at once is told of again, with a later end."""
        mean_s = self.couriers[courier_id].day.answer_s
        if mean_s is None:
            self.answer(courier_id, offer)
        elif self.offers[offer.offer_id].seen_ms is None:
            self.step(OfferSeenBy(courier_id, offer.offer_id))
            after_ms = in_ms(self.rng.expovariate(1 / mean_s))
            self.at(self.now_ms + after_ms, _Kind.ANSWER, partial(self.answer, courier_id, offer))

    def answer(self, courier_id: str, offer: Offer) -> None:
        """Take an offer or decline it, unless it has ended."""
        row = self.offers[offer.offer_id]
        if row.status is not OfferStatus.OFFERED or row.expires_ms <= self.now_ms:
            return
        courier = self.couriers[courier_id]
        rate = courier.day.accept_rate
        willing = rate is None or self.rng.random() < rate
        orders = {task.task_id: self.order_of[task.task_id] for task in offer.tasks}
        ready_ms = {task_id: order.ready_ms for task_id, order in orders.items()}
        doors = {task_id: (order.dropoff_lat, order.dropoff_lng) for task_id, order in orders.items()}
        stops = courier.trip(offer, ready_ms, doors, self.now_ms, self.day)
        if not willing or any(stop.pickup and stop.act_ms > courier.day.off_ms for stop in stops):
            self.ask(courier_id, Role.DRIVER, Reject(offer_id=offer.offer_id))
            return
        self.ask(courier_id, Role.DRIVER, Accept(offer_id=offer.offer_id))
        for task in offer.tasks:
            assert self.status[task.task_id] is TaskStatus.ASSIGNED, "accepted without a record"
            self.held[task.task_id] = _Held(task.order_id, courier_id, offer.offer_id, self.now_ms)
        courier.take(stops)
        for stop in stops:
            self.at(stop.arrive_ms, _Kind.REACH, partial(self.reach, courier, stop))
            self.at(stop.arrive_ms, _Kind.DRIVE, partial(self.arrive, courier, stop))
            self.at(stop.act_ms, _Kind.DRIVE, partial(self.act, courier, stop))

    def reach(self, courier: Courier, stop: Stop) -> None:
        """Be there."""
        assert courier.reach() is stop
        self.moved[courier.day.id] = None

    def arrive(self, courier: Courier, stop: Stop) -> None:
        """Say so."""
        status = TaskStatus.AT_PICKUP if stop.pickup else TaskStatus.AT_DROPOFF
        for task_id in stop.tasks:
            self.do(courier, Arrive(task_id), task_id, status)
            if stop.pickup:
                self.held[task_id].arrive_ms = self.now_ms

    def act(self, courier: Courier, stop: Stop) -> None:
        """Take the goods over, or check the customer's ID and hand them over."""
        for task_id in stop.tasks:
            held = self.held[task_id]
            if stop.pickup:
                held.pickup_ms = self.now_ms
                self.do(courier, Pickup(task_id), task_id, TaskStatus.PICKED_UP)
                continue
            self.ask(courier.day.id, Role.DRIVER, _passed_check(held.order_id))
            self.do(courier, Deliver(held.order_id), task_id, TaskStatus.DONE)
            self.brought[held.order_id] = Brought(
                order_id=held.order_id,
                courier_id=held.courier_id,
                offer_id=held.offer_id,
                assigned_ms=held.assigned_ms,
                arrive_ms=held.arrive_ms,
                pickup_ms=held.pickup_ms,
                dropoff_ms=self.now_ms,
            )
            if len(self.brought) % PROGRESS_EVERY == 0:
                self.progress(
                    f"{self.day.name}: {len(self.brought)} of {len(self.day.orders)} orders brought"
                )

    # -- pings --------------------------------------------------------------------------------------------------------

    def ping_all(self) -> None:
        """Everybody on duty or under way says where they are."""
        self.moved.update((name, None) for name, one in self.couriers.items() if one.on or one.ahead)

    def ping(self) -> None:
        """One batch of pings of all who changed place or duty since the last."""
        if not self.moved:
            return
        self.numbers += 1
        couriers = [self.couriers[courier_id] for courier_id in self.moved]
        self.moved.clear()
        places = [courier.place(self.now_ms) for courier in couriers]
        batch = DriversSeen(
            gateway_id=GATEWAY_ID,
            driver_ids=[courier.day.id for courier in couriers],
            session=np.full(len(couriers), SESSION),
            seq=np.full(len(couriers), self.numbers, np.int64),
            lat=np.array([place[0] for place in places], np.float64),
            lng=np.array([place[1] for place in places], np.float64),
            on_duty=np.array([courier.on for courier in couriers], np.bool_),
            until_ms=np.array([courier.day.off_ms for courier in couriers], np.int64),
            from_ms=np.array([courier.day.on_ms for courier in couriers], np.int64),
        )
        self.step(batch)


def _task_id(order: DayOrder) -> str:
    return f"task-{order.id}"


def _passed_check(order_id: str) -> SubmitIdCheck:
    return SubmitIdCheck(
        order_id=order_id,
        over_age=True,
        not_expired=True,
        name_matches=True,
        sober=True,
        method="scan",
        vendor_ref="market",
    )
