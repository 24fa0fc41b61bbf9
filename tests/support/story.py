"""A region driven by hand: messages in, time by command, every record put into the store in memory at once.

The store refuses what the database would refuse, and a refused record fails the test that caused it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from domain.errors import InternalConflict
from domain.orders.commands import CreateOrder, MerchantAccept, OrderItem, RecordAgeCheck, RecordPayment
from domain.orders.lifecycle import Role
from domain.orders.records import Answer, CheckOutcome, Done, OfferRow, Record, RegionRecords, TaskRow
from domain.orders.state import refused
from domain.protocol import ServerFrame
from domain.region.machine import Region
from domain.region.messages import (
    Accept,
    Action,
    Arrive,
    Ask,
    Attached,
    Deliver,
    Device,
    Here,
    Kick,
    Message,
    Pickup,
    PlanReady,
    Push,
    Ready,
    Reported,
    Settled,
    TaskOpened,
    Tick,
)
from domain.region.policy import RegionPolicy
from domain.solve import Plan, Planning, SolveRequest
from persistence.orders.memory import MemoryStore
from solver.registry import solve
from tests.support import build
from tests.support.build import DOOR_AT, NOW, REGION, STORE_AT, Point

# Drivers ping this often while a story lets time pass, well within `driver_stale_s`.
PING_MS = 20_000


def put_order(store: MemoryStore, n: int, now_ms: int, door: Point = DOOR_AT) -> TaskOpened:
    """Bring `order-n` from the basket to the merchant's acceptance, which opens `task-n`."""
    if "store-1" not in store.stores:
        store.add_store(build.store(), build.products().values())
    order_id = f"order-{n}"
    create = CreateOrder(
        store_id="store-1",
        items=(OrderItem("beer", 2),),
        dropoff_lat=door[0],
        dropoff_lng=door[1],
        dropoff_address=f"{n} Elm Street",
    )
    accept = MerchantAccept(task_id=f"task-{n}", prep_s=300.0)
    steps = [
        build.command(create, order_id=order_id, at_ms=now_ms),
        build.command(
            RecordAgeCheck(f"age-{n}", CheckOutcome.PASS, "age-1"), order_id=order_id, at_ms=now_ms
        ),
        build.command(RecordPayment(True, "pay-1"), order_id=order_id, at_ms=now_ms),
        build.command(accept, Role.MERCHANT, "max", order_id=order_id, at_ms=now_ms),
    ]
    outcome = store.append_now(steps)[-1]
    assert isinstance(outcome, Done), outcome
    assert outcome.opened is not None, outcome
    return TaskOpened(*outcome.opened)


class Story:
    """One region and its store. `solving` False keeps solve requests in `solves` instead of answering them."""

    def __init__(self, *, solving: bool = True, **policy: Any) -> None:
        self.store = MemoryStore()
        self.refusing = False  # the store will refuse the next record
        # One order an offer, offers at once, and drivers at once where they are needed, unless the story is about that.
        usual: dict[str, Any] = {
            "planning": Planning(bundle_tries=0),
            "offer_lead_s": 3600.0,
            "batch_solver": "",
            "geofence": None,
        }
        self.policy = RegionPolicy(**usual | policy)
        self.now = NOW
        self.solving = solving
        self.solves: list[SolveRequest] = []
        self.records: list[Record] = []
        self.pushes: list[Push | Kick] = []
        self.out: list[Record | Push | Kick | SolveRequest] = []  # all of it, in order
        self.where: dict[str, Point] = {}  # drivers on duty
        self.silent: set[str] = set()  # of them, those who say nothing while time passes
        self.session: dict[str, int] = {}
        self.opened: dict[str, TaskOpened] = {}  # what the region was told, for telling it again
        self._seq = self._keys = self._orders = 0
        self.restart()

    def restart(self, down_s: float = 0.0) -> None:
        """A new life of the region, restored from the store, after it was down for so long."""
        self.now += round(down_s * 1000)
        self.region = Region(self.store.open_region_now(REGION, self.now), self.policy, self.now)

    # -- messages -----------------------------------------------------------------------------------------------------

    def step(self, message: Message) -> Ready:
        """One message in; its records become durable, its pushes are kept, its solve is answered."""
        ready = self.region.step(self.now, message)
        if ready.records and self.refusing:
            return self._refuse(message)
        self.records += ready.records
        self.out += [*ready.records, *ready.pushes]
        if ready.records:
            [outcome] = self.store.append_now(
                [RegionRecords(REGION, self.region.epoch, tuple(ready.records))]
            )
            assert outcome == Done(Answer()), f"the store refused what {message} decided: {outcome}"
        self.pushes += ready.pushes
        if ready.solve is not None:
            self.solves.append(ready.solve)
            self.out.append(ready.solve)
            if self.solving:
                self.step(PlanReady(solve(ready.solve)))
        return ready

    def _refuse(self, message: Message) -> Ready:
        """What the shell does when the store refuses a record: a new life, in which the request stays answered."""
        self.refusing = False
        answer = refused(InternalConflict())
        self.restart()
        if isinstance(message, Ask):
            self.region.step(self.now, Settled(message, answer))
        return Ready(reply=answer)

    def ask(
        self,
        who: str,
        action: Action,
        role: Role = Role.DRIVER,
        *,
        key: str | None = None,
        fingerprint: str = "same",
        by: str = "ws",
        session: int | None = None,
        device: Device | None = None,
        here: Here | None = None,
    ) -> Answer:
        """A request and its answer; each has an id of its own unless `key` is given. It comes over the driver's newest
        socket unless another is named."""
        self._keys += 1
        key = key or f"key-{self._keys}"
        session = self.session.get(who, 0) if session is None else session
        message = build.ask(action, role, who, key, fingerprint, by, session, device, here)
        reply = self.step(message).reply
        assert isinstance(reply, Answer)
        return reply

    def do(self, who: str, *actions: Action, role: Role = Role.DRIVER) -> Answer:
        """Requests that must all be granted; the last one's answer."""
        for action in actions:
            answer = self.ask(who, action, role)
            assert answer.code is None, f"{action}: {answer}"
        return answer

    def order(self, n: int | None = None, door: Point = DOOR_AT) -> str:
        """An order whose task the region is told of; returns the task's id."""
        self._orders = n or self._orders + 1
        opened = put_order(self.store, self._orders, self.now, door)
        self.opened[opened.task.task_id] = opened
        self.step(opened)
        return opened.task.task_id

    def drive(self, driver_id: str, where: Point = STORE_AT, *, on: bool = True) -> None:
        """The driver opens a socket, if there is none, and is seen at a place."""
        if driver_id not in self.session:
            self.attach(driver_id)
        self.where[driver_id] = where
        self.silent.discard(driver_id)
        self._seq += 1
        self.step(build.seen({driver_id: where}, session=self.session, seq=self._seq, on=on))
        if not on:
            del self.where[driver_id]

    def stray(self, driver_id: str, where: Point, *, session: int | None = None) -> None:
        """A ping on duty that was sent before the driver's last one, or on that earlier socket, comes in now."""
        session = self.session[driver_id] if session is None else session
        self.step(build.seen({driver_id: where}, session=session, seq=self._seq - 1))

    def silence(self, driver_id: str) -> None:
        """The driver says nothing more, until it drives again. Its socket stays open."""
        self.silent.add(driver_id)

    def attach(self, driver_id: str, resume_from: int | None = None) -> Attached:
        """The driver opens another socket."""
        self.session[driver_id] = self.session.get(driver_id, 0) + 1
        reply = self.step(build.attach(driver_id, self.session[driver_id], resume_from)).reply
        assert isinstance(reply, Attached)
        return reply

    # -- time ---------------------------------------------------------------------------------------------------------

    def wait(self, seconds: float, *, deaf: bool = False) -> None:
        """Let server time pass, with a tick at each deadline and pings of all drivers on duty who are not silent. None
        of them comes through while the region is `deaf`."""
        end = self.now + round(seconds * 1000)
        ping = self.now + PING_MS
        while self.now < end:
            deadline = self.region.next_deadline()
            self.now = min(end, ping, end if deadline is None else max(deadline, self.now))
            if self.now >= ping:
                if not deaf:
                    self.ping()
                ping += PING_MS
            if deadline is not None and deadline <= self.now:
                self.step(Tick())

    def ping(self, drivers: Iterable[str] | None = None) -> None:
        """Drivers say that they are still there: those named, or all on duty who are not silent."""
        names = [name for name in self.where if name not in self.silent] if drivers is None else drivers
        where = {name: self.where[name] for name in names}
        self._seq += 1
        self.step(build.seen(where, session=self.session, seq=self._seq))

    def look(self) -> None:
        """Let the FAST window pass."""
        self.wait(self.policy.fast_window_s)

    # -- short cuts ---------------------------------------------------------------------------------------------------

    def offered(self, driver_id: str = "ann") -> str:
        """An order, offered to this driver, who stands at the store; returns the offer's id."""
        self.drive(driver_id)
        self.order()
        self.look()
        return self.offer_to(driver_id).offer_id

    def assigned(self, driver_id: str = "ann") -> str:
        """A task that this driver has accepted; returns its id."""
        self.do(driver_id, Accept(offer_id=self.offered(driver_id)))
        return f"task-{self._orders}"

    def at_door(self, driver_id: str = "ann") -> str:
        """A task whose driver stands at the door; returns its id."""
        task_id = self.assigned(driver_id)
        self.do(driver_id, Arrive(task_id), Pickup(task_id), Arrive(task_id))
        return task_id

    def delivered(self, driver_id: str = "ann") -> str:
        task_id = self.at_door(driver_id)
        order_id = f"order-{self._orders}"
        self.do(driver_id, build.id_check(order_id), Deliver(order_id))
        return task_id

    # -- looking ------------------------------------------------------------------------------------------------------

    def offer_to(self, driver_id: str) -> OfferRow:
        """The live offer to this driver."""
        return self.region.state.offers.live[self.region.state.offers.by_driver[driver_id]]

    def task(self, task_id: str) -> TaskRow:
        """The task as it is durable."""
        return self.store.tasks[task_id]

    def frames(self, driver_id: str) -> list[ServerFrame]:
        """All that was pushed to this driver."""
        return [
            push.frame
            for push in self.pushes
            if isinstance(push, Push) and push.driver_id == driver_id and not isinstance(push.frame, Reported)
        ]

    def kinds(self, driver_id: str) -> list[str]:
        """The types of the frames that were pushed to this driver."""
        return [str(frame.__struct_config__.tag) for frame in self.frames(driver_id)]


# -- comparing --------------------------------------------------------------------------------------------------------

# Not part of what a request may change: the memory of answers, the output in hand, and when looks are due.
_ASIDE = {"answers", "ready", "cadence", "state"}


def digest(region: Region) -> dict[str, Any]:
    """All of a region's state that decides anything, as plain values that compare."""
    state = vars(region) | vars(region.state)
    return {name: _plain(value) for name, value in state.items() if name not in _ASIDE}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, set):
        return sorted(value)
    if hasattr(value, "__slots__") and not isinstance(value, msgspec.Struct):
        return [_plain(getattr(value, name)) for name in value.__slots__]
    if type(value).__module__.startswith("domain.") and hasattr(value, "__dict__"):
        return {key: _plain(item) for key, item in vars(value).items()}
    return list(value) if hasattr(value, "popleft") else value


def log_of(records: Iterable[Record]) -> bytes:
    """Records as bytes, to compare two runs."""
    return b"\n".join(msgspec.json.encode(record) for record in records)


def no_plan(request: SolveRequest) -> Plan:
    return Plan(request_id=request.request_id, assignments=())
