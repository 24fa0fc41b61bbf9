"""A region's hard state in memory: open tasks with their orders, live offers, and what was answered lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec.structs import replace

from domain.ground.times import instant
from domain.orders.lifecycle import (
    TASK_HELD,
    OrderEvent,
    OrderStatus,
    Role,
    TaskEvent,
    TaskKind,
    TaskStatus,
    advance_order,
    advance_task,
)
from domain.orders.records import Json, OfferRow, OrderBrief, OrderFact, TaskRow
from domain.protocol import OfferView, Place, Stop, TaskView

AREA_DIGITS = 2  # decimals of a degree that tell about where a door is: a kilometre or so
K = TypeVar("K")
V = TypeVar("V")


class BoundedDict(Generic[K, V]):
    """A dictionary that forgets its oldest entries beyond `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._items: OrderedDict[K, V] = OrderedDict()

    def __setitem__(self, key: K, value: V) -> None:
        self._items[key] = value
        if len(self._items) > self.limit:
            self._items.popitem(last=False)

    def get(self, key: K) -> V | None:
        return self._items.get(key)

    def __len__(self) -> int:
        return len(self._items)


class Job:
    """A task that has not ended, its order, and who declined it: driver -> (times, last at ms). `device`: whose device
    took the last step and its number there; `taken_ms`: when that step was taken (see `domain/region/device.py`)."""

    __slots__ = ("declined", "device", "order", "taken_ms", "task", "tries")

    def __init__(self, task: TaskRow, order: OrderBrief) -> None:
        self.task = task
        self.order = order
        self.declined: dict[str, tuple[int, int]] = {}
        self.tries = 0  # offers of it that came to nothing
        self.device = ("", -1)
        self.taken_ms = task.opened_ms

    @property
    def held_by(self) -> str | None:
        return self.task.driver_id if self.task.status in TASK_HELD else None

    def note_decline(self, driver_id: str, at_ms: int) -> None:
        """The driver did not want the task, or did not bring it."""
        times, _ = self.declined.get(driver_id, (0, 0))
        self.declined[driver_id] = (times + 1, at_ms)

    def move_task(self, event: TaskEvent, **changes: Json) -> TaskRow:
        """Advance the task by its table and return the row to write."""
        self.task = replace(self.task, status=advance_task(self.task.status, event), **changes)
        return self.task

    def point_to(self, offer_id: str) -> TaskRow:
        """Let the task name another offer that stands of it; the row to write."""
        self.task = replace(self.task, offer_id=offer_id)
        return self.task

    def stayed(self, now_ms: int) -> dict[str, Json]:
        """How long the driver has been at the present stop, for the dossier; nothing where they never arrived there."""
        arrived_ms = self.task.arrived_ms
        return {} if arrived_ms is None else {"stayed_ms": max(0, now_ms - arrived_ms)}

    def goods_ready(self, ready_ms: int) -> TaskRow:
        """The goods can be had from now on; the row to write."""
        self.task = replace(self.task, ready_ms=ready_ms)
        return self.task

    def move_order(
        self,
        event: OrderEvent,
        role: Role,
        actor_id: str,
        at_ms: int,
        payload: dict[str, Json],
        ready_ms: int | None = None,
    ) -> OrderFact:
        """Advance the order by its table and return the fact to write."""
        status = advance_order(self.order.status, event, role)
        self.order = replace(self.order, status=status)
        self.taken_ms = at_ms
        return OrderFact(
            order_id=self.order.order_id,
            event=event,
            status=status,
            at_ms=at_ms,
            role=role,
            actor_id=actor_id,
            payload=payload,
            ready_ms=ready_ms,
        )

    @property
    def order_status(self) -> OrderStatus:
        return self.order.status


def task_view(task: TaskRow) -> TaskView:
    """The task as its driver sees it. Who does not hold it, not yet or no longer, sees about where the door is."""
    return _task_view(task, is_held=task.status in TASK_HELD)


def _task_view(task: TaskRow, *, is_held: bool) -> TaskView:
    pickup, dropoff = Place(*pickup_of(task, is_held)), Place(*dropoff_of(task, is_held))
    if is_held and task.kind is TaskKind.DELIVERY:
        dropoff = replace(dropoff, address=task.dropoff_address)
    return TaskView(
        task_id=task.task_id,
        order_id=task.order_id,
        kind=str(task.kind),
        status=str(task.status),
        store_id=task.store_id,
        pickup=pickup,
        dropoff=dropoff,
        min_age=task.min_age,
        ready_at=instant(task.ready_ms),
        due_at=instant(task.due_ms),
    )


def pickup_of(task: TaskRow, is_exact: bool, digits: int = AREA_DIGITS) -> tuple[float, float]:
    """Where the goods are fetched; at the door, for a return, and then about there unless `is_exact`."""
    is_exact = is_exact or task.kind is TaskKind.DELIVERY
    return _about(task.pickup_lat, task.pickup_lng, is_exact, digits)


def dropoff_of(task: TaskRow, is_exact: bool, digits: int = AREA_DIGITS) -> tuple[float, float]:
    """Where the goods are brought; to the door, for a delivery, and then about there unless `is_exact`."""
    is_exact = is_exact or task.kind is TaskKind.RETURN
    return _about(task.dropoff_lat, task.dropoff_lng, is_exact, digits)


def _about(lat: float, lng: float, is_exact: bool, digits: int) -> tuple[float, float]:
    return (lat, lng) if is_exact else (round(lat, digits), round(lng, digits))


def offer_view(offer: OfferRow, tasks: Iterable[TaskRow], now_ms: int) -> OfferView:
    """The offer as its driver sees it at `now_ms`: where exactly the doors are is told to who takes it."""
    tasks = tuple(tasks)
    stops = [Stop("pickup", task.task_id, *pickup_of(task, False)) for task in tasks]
    stops += [Stop("dropoff", task.task_id, *dropoff_of(task, False)) for task in tasks]
    return OfferView(
        offer_id=offer.offer_id,
        tasks=tuple(_task_view(task, is_held=False) for task in tasks),
        stops=tuple(stops),
        expires_at=instant(offer.expires_ms),
        ttl_s=max(0.0, (offer.expires_ms - now_ms) / 1000),
    )


def return_task(job: Job, task_id: str, driver_id: str, now_ms: int) -> TaskRow:
    """The task that takes refused goods from the door back to the store, held by the driver who has them."""
    task = job.task
    return replace(
        task,
        task_id=task_id,
        kind=TaskKind.RETURN,
        status=TaskStatus.PICKED_UP,
        pickup_lat=task.dropoff_lat,
        pickup_lng=task.dropoff_lng,
        dropoff_lat=task.pickup_lat,
        dropoff_lng=task.pickup_lng,
        dropoff_address="",
        driver_id=driver_id,
        offer_id=None,
        opened_ms=now_ms,
        ready_ms=now_ms,
        due_ms=now_ms,
        ended_ms=None,
        arrived_ms=None,
    )


def short(identifier: str) -> str:
    """The first characters of an id, for people."""
    return identifier[:8]
