"""Changes of one batch in layers: within a layer no row changes twice, so a layer is a few multi-row statements, and a
row that goes several steps in one batch meets the database's edge look-up at each of them."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from domain.orders.records import DoorCheck, OfferRow, TaskRow
from persistence.orders.plan import OrderWrite, Unit


class Layer(Struct):
    """Written in the order of the fields: a gate finds the check and the holder that it asks for."""

    checks: list[DoorCheck] = field(default_factory=list)
    offers: list[OfferRow] = field(default_factory=list)
    tasks: list[TaskRow] = field(default_factory=list)
    orders: list[OrderWrite] = field(default_factory=list)


def layers(units: Iterable[Unit]) -> list[Layer]:
    """Lay the units out: all changes of a unit come after every earlier change of any row that it touches."""
    result: list[Layer] = []
    last: dict[str, int] = {}  # id -> the last layer that touches its row

    def layer(number: int) -> Layer:
        while len(result) <= number:
            result.append(Layer())
        return result[number]

    for unit in units:
        ids = [
            *(check.task_id for check in unit.checks),
            *(check.order_id for check in unit.checks),
            *(offer.offer_id for offer in unit.offers),
            *(task.task_id for task in unit.tasks),
            *(task.order_id for task in unit.tasks),
            *(write.head.order.order_id for write in unit.orders),
        ]
        base = max((last.get(id_, -1) for id_ in ids), default=-1) + 1
        first, here = layer(base) if ids else None, dict.fromkeys(ids, base)
        if first is None:
            continue
        first.checks.extend(unit.checks)
        seen: set[str] = set()
        for offer in unit.offers:
            number = here[offer.offer_id] = here[offer.offer_id] + (offer.offer_id in seen)
            seen.add(offer.offer_id)
            layer(number).offers.append(offer)
        for task in unit.tasks:
            number = here[task.task_id] = here[task.task_id] + (task.task_id in seen)
            seen.add(task.task_id)
            layer(number).tasks.append(task)
        for write in unit.orders:
            order_id = write.head.order.order_id
            number = here[order_id] = here[order_id] + (order_id in seen)
            seen.add(order_id)
            layer(number).orders.append(write)
        last.update(here)
    return result
