"""Who decides on an order now: its rows or its region. The client does not have to know."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable
from typing import TypeVar

import structlog

from domain.errors import NotFound, RegionUnavailable, VendorUnavailable, VersionMismatch, WrongState
from domain.orders.commands import OrderAction
from domain.orders.lifecycle import REGION_DECIDES, OrderStatus, Role
from domain.orders.records import Answer
from domain.orders.state import DECIDER_MOVED
from domain.ports import VendorError
from domain.region.messages import Accept, Action, Reject
from gateway.http.auth import Principal
from gateway.http.idempotency import Call
from gateway.http.policy import DESK, OPERATORS
from gateway.services import Services
from persistence.reads.views import OrderRow

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# A vendor's name for its evidence goes into dossiers: a token, and no text.
_VENDOR_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")
ATTEMPTS = 3  # an order that is just changing hands is looked for so often
PAUSE_S = 0.05


async def order_for(services: Services, principal: Principal, order_id: str) -> OrderRow:
    """The order if the principal may see it: its customer, its merchant, the driver who holds its task, an operator.
    Anybody else learns nothing, not even that there is one."""
    order = await services.reads.order(order_id)
    if order is not None:
        role = principal.role
        if role in DESK:
            return order
        if (role is Role.CUSTOMER and order.customer_id == principal.id) or (
            role is Role.MERCHANT and order.merchant_id == principal.party_id
        ):
            return order
        if role is Role.DRIVER and principal.id == await services.reads.holder_of(order_id):
            return order
    raise NotFound("There is no such order.")


async def decide(
    services: Services, call: Call, order_id: str, *, rows: OrderAction | None, region: Action | None
) -> Answer:
    """Put the call to whoever decides on the order now; `rows` or `region` is None where that decider has no such step.

    An order that changes hands between the look and the question is looked for again, `ATTEMPTS` times.
    """
    for attempt in range(ATTEMPTS):
        order = await order_for(services, call.principal, order_id)
        if OrderStatus(order.status) in REGION_DECIDES:
            if region is None:
                raise wrong_state(order)
            check_version(call, order)
            answer = await services.backend.ask(order.region_id, call.ask(region))
            if answer.code != NotFound.code:
                return answer
        else:
            if rows is None:
                raise wrong_state(order)
            answer = await services.backend.decide(
                call.command(order_id, services.config.clock.now_ms(), rows)
            )
            if answer.code != DECIDER_MOVED.code:
                return answer
        await asyncio.sleep(PAUSE_S * 2**attempt)
    raise RegionUnavailable("The order is just changing hands.", retry_after_s=1)


async def ask_about_task(services: Services, call: Call, task_id: str, action: Action) -> Answer:
    """Ask the region of a task. One that is under way by its row and unknown to its region is looked for again."""
    for attempt in range(ATTEMPTS):
        task = await services.reads.task(task_id)
        known = task is not None and task.region_id in services.config.regions
        # Whether a task that was offered is still to be had, its region says.
        theirs = task is not None and task.driver_id == call.principal.id
        may = theirs or isinstance(action, Accept | Reject) or call.principal.role in OPERATORS
        if task is None or not (known and may):
            raise NotFound("There is no such task.")
        answer = await services.backend.ask(task.region_id, call.ask(action))
        if answer.code != NotFound.code or task.ended_ms is not None:
            return answer
        await asyncio.sleep(PAUSE_S * 2**attempt)
    raise RegionUnavailable("The task is just changing hands.", retry_after_s=1)


def wrong_state(order: OrderRow) -> WrongState:
    """The refusal of a step that the order has not in this state."""
    return WrongState(f"This is not possible while the order is {order.status}.")


def check_version(call: Call, order: OrderRow) -> None:
    """`VersionMismatch` when the client has seen another version.

    A region keeps no versions, so for its orders this is as good as the row that was just read.
    """
    if call.if_match is not None and order.version not in call.if_match:
        raise VersionMismatch(f"The order is at version {order.version}.")


def about(order: OrderRow, purpose: str, vendor_token: str) -> str:
    """The id of a vendor's check: of the order, of what it is for and of the evidence that the token names, never of
    the try. Tries side by side are one request; once an outcome is on record the order has another version, and the
    next try is another one."""
    return f"{purpose}:{order.order_id}:{order.version}:{digest(order.order_id, vendor_token)}"


def digest(order_id: str, vendor_token: str) -> str:
    """What tells one vendor token from another on one order."""
    return hashlib.sha256(f"{order_id}|{vendor_token}".encode()).hexdigest()[:32]


def payment_patience_ms(services: Services) -> int:
    """For so long, in server time, one card is waited for before the next is tried."""
    return round(2 * services.config.limits.vendor_timeout_s * services.config.clock.speed * 1000)


async def ask_vendor(services: Services, port: str, question: Awaitable[T]) -> T:
    """A vendor's answer within `vendor_timeout_s`; anything else is `VendorUnavailable`, and no gate opens."""
    started_s = time.perf_counter()
    try:
        async with asyncio.timeout(services.config.limits.vendor_timeout_s):
            answer = await question
        if not _VENDOR_REF.fullmatch(getattr(answer, "vendor_ref", "")):
            raise VendorError("the vendor's reference is no token")
    except Exception as error:
        outcome = "timeout" if isinstance(error, TimeoutError) else "error"
        services.metrics.vendor_calls.labels(port, outcome).inc()
        took_s = round(time.perf_counter() - started_s, 3)
        _log.warning(
            "vendor unavailable", port=port, outcome=outcome, reason=type(error).__name__, took_s=took_s
        )
        raise VendorUnavailable(retry_after_s=5) from error
    services.metrics.vendor_calls.labels(port, "answer").inc()
    return answer
