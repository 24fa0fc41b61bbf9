"""What a driver's device says about an action: when it was taken there, and the how-manieth it was.

An action may come in long after it was taken: the phone was in a tunnel and sent its queue afterwards. The server's
clock decides all the same (docs/adr/0007-server-clock.md); the device's time goes into the dossier as the device's
word, within what is plausible, and its numbers keep the actions about one order in the order in which they were taken.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from domain.errors import OutOfOrder
from domain.ground.times import millis
from domain.orders.reasons import OverrideReason
from domain.orders.records import Json, OrderFact
from domain.region.jobs import Job
from domain.region.messages import Accept, Ask, Device, Here, Reject
from domain.region.state import State


def device_of(at: datetime | None, n: int | None) -> Device | None:
    """What a device says of an action; None when it says nothing."""
    return None if at is None and n is None else Device(None if at is None else millis(at), n)


def here_of(lat: float | None, lng: float | None, override: OverrideReason | None) -> Here | None:
    """What a device says of where an action was taken; None when it says nothing."""
    return None if (lat is None or lng is None) and override is None else Here(lat, lng, override)


def concerned(state: State, ask: Ask) -> list[Job]:
    """The tasks that a driver's action is about, as far as they are under way."""
    action, offer = ask.action, None
    if isinstance(action, Accept | Reject):
        offer = (
            state.offers.get(action.offer_id) if action.offer_id else state.offers.of_driver(ask.principal_id)
        )
    if offer is not None:
        task_ids: tuple[str, ...] = offer.task_ids
    else:
        of_order = state.by_order.get(getattr(action, "order_id", ""), "")
        task_ids = (getattr(action, "task_id", None) or of_order,)
    return [state.jobs[task_id] for task_id in task_ids if task_id in state.jobs]


def require_turn(jobs: list[Job], driver_id: str, says: Device) -> None:
    """`OutOfOrder` when a later action of the driver about one of the tasks was carried out before."""
    for job in jobs:
        who, last = job.device
        if says.n is not None and who == driver_id and says.n <= last:
            raise OutOfOrder(f"Number {says.n} came after number {last}.")


def taken_ms(at_ms: int, last_ms: int, now_ms: int) -> int:
    """When the action was taken, as far as that can be: not after now, nor before the step before it."""
    return min(max(at_ms, last_ms), now_ms)


def stamped(fact: OrderFact, says: Device, last_ms: int) -> OrderFact:
    """The fact with the device's word in its payload. `last_ms`: when the order's step before it was taken."""
    payload: dict[str, Json] = {}
    if says.at_ms is not None:
        at_ms = taken_ms(says.at_ms, last_ms, fact.at_ms)
        payload = {"device_at_ms": at_ms, "late_ms": fact.at_ms - at_ms}
        if at_ms != says.at_ms:
            payload["device_said_ms"] = says.at_ms
    if says.n is not None:
        payload["device_n"] = says.n
    return replace(fact, payload=fact.payload | payload)
