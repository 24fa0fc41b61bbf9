"""What people ask of a region, each decided by the lifecycle tables and the market's rulebook.

A handler either returns a `Draft` (the facts and the answer) or raises a `Refusal`, and then it has changed nothing:
every look-up that can fail comes before the first change.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from domain.errors import InvalidRequest
from domain.region import device
from domain.region.messages import (
    Accept,
    Action,
    Arrive,
    Ask,
    Assign,
    Cancel,
    ConfirmReturn,
    Deliver,
    DispatchTick,
    ExpireOffers,
    GoodsReady,
    NoteIdCheck,
    Pickup,
    Reassign,
    Refuse,
    Reject,
    Release,
    Resolve,
    SubmitIdCheck,
)
from domain.region.requests.dispatch import assign, reassign, release, resolve
from domain.region.requests.door import confirm_return, deliver, note_id_check, refuse, submit_id_check
from domain.region.requests.draft import Draft
from domain.region.requests.driving import arrive, pickup
from domain.region.requests.offers import accept, reject
from domain.region.requests.orders import cancel, dispatch_tick, expire_offers, goods_ready
from domain.region.state import State


def decide(state: State, now_ms: int, ask: Ask) -> Draft:
    """What the request leads to; with the device's word on it, where there is one, in the facts of the order."""
    if not _can_be_kept(ask):
        raise InvalidRequest("Text must be Unicode without NUL.")
    handler, says = HANDLERS[type(ask.action)], ask.device
    if says is None:
        return handler(state, now_ms, ask)
    jobs = device.concerned(state, ask)
    device.require_turn(jobs, ask.principal_id, says)
    last_ms = {job.order.order_id: job.taken_ms for job in jobs}
    draft = handler(state, now_ms, ask)
    draft.orders = tuple(
        device.stamped(fact, says, last_ms[fact.order_id]) if fact.actor_id == ask.principal_id else fact
        for fact in draft.orders
    )
    if says.n is not None:
        state.fleet.note_number(ask.principal_id, says.n)
    for job in jobs:
        # A refusal at the door ends the task and begins the return: the device's word goes on with the order.
        current = state.jobs.get(state.by_order.get(job.order.order_id, ""), job)
        current.device = (ask.principal_id, job.device[1] if says.n is None else says.n)
        if says.at_ms is not None:
            current.taken_ms = device.taken_ms(says.at_ms, last_ms[job.order.order_id], now_ms)
    return draft


Handler: TypeAlias = "Callable[[State, int, Ask], Draft]"

HANDLERS: dict[type[Action], Handler] = {
    Accept: accept,
    Reject: reject,
    Arrive: arrive,
    Pickup: pickup,
    SubmitIdCheck: submit_id_check,
    NoteIdCheck: note_id_check,
    Deliver: deliver,
    Refuse: refuse,
    ConfirmReturn: confirm_return,
    Cancel: cancel,
    GoodsReady: goods_ready,
    Assign: assign,
    Reassign: reassign,
    Release: release,
    Resolve: resolve,
    ExpireOffers: expire_offers,
    DispatchTick: dispatch_tick,
}

_UNFIT = re.compile("[\x00\ud800-\udfff]")  # what no database keeps


def _can_be_kept(ask: Ask) -> bool:
    """Whether a record of the request can be written. Gateways look as well; here it would cost the region its life."""
    said = (getattr(ask.action, name) for name in ask.action.__struct_fields__)
    return not any(type(text) is str and _UNFIT.search(text) for text in (ask.scope, ask.key, *said))
