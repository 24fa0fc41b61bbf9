"""What customers, merchants and operators ask."""

from __future__ import annotations

from domain.errors import NotFound
from domain.orders.lifecycle import OrderEvent, Role, TaskEvent, advance_task
from domain.orders.reasons import CancelReason, known
from domain.orders.records import Answer
from domain.protocol import TaskCancelled, TaskUpdated
from domain.region import offers
from domain.region.jobs import short, task_view
from domain.region.messages import Ask, Cancel, ExpireOffers, GoodsReady
from domain.region.requests.draft import Draft, only, task_answer
from domain.region.state import State


def cancel(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, Cancel)
    job = state.job_of_order(ask.action.order_id)
    if ask.role is Role.CUSTOMER and job.order.customer_id != ask.principal_id:
        raise NotFound("There is no such order.")
    payload = {"reason": str(known(CancelReason, ask.action.reason))}
    advance_task(job.task.status, TaskEvent.CANCEL)
    fact = job.move_order(OrderEvent.CANCELLED, ask.role, ask.principal_id, now_ms, payload)
    offer = state.offers.get(job.task.offer_id)
    revoked = () if offer is None else offers.revoke(state, now_ms, offer.task_ids, "ORDER_CANCELLED")
    # The others of a bundle are open again.
    reopened = () if offer is None else offers.reopen(state, now_ms, offer)
    others = tuple(row for row in reopened if row.task_id != job.task.task_id)
    holder = job.held_by
    task = job.move_task(TaskEvent.CANCEL, ended_ms=now_ms)
    state.end_job(now_ms, job)
    if holder is not None:
        state.foresee(holder, now_ms)
        state.push(holder, TaskCancelled(task_id=task.task_id, reason="ORDER_CANCELLED"))
    state.counters["cancelled"] += 1
    state.say(now_ms, f"Order {short(task.order_id)} was called off")
    return Draft(task_answer(job), (task, *others), tuple(revoked), (fact,))


def goods_ready(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, GoodsReady)
    job = state.job_of_order(ask.action.order_id)
    if ask.role is Role.MERCHANT and job.order.merchant_id != ask.party_id:
        raise NotFound("There is no such order.")
    ready_ms = min(job.task.ready_ms, now_ms)  # goods that are ready stay so, however often it is said
    payload = {"task_id": job.task.task_id, "ready_ms": ready_ms}
    fact = job.move_order(
        OrderEvent.GOODS_READY, ask.role, ask.principal_id, now_ms, payload, ready_ms=ready_ms
    )
    job.goods_ready(ready_ms)
    if job.held_by is not None:
        state.push(job.held_by, TaskUpdated(task=task_view(job.task)))
    state.cadence.wake(now_ms)
    return Draft(task_answer(job), (job.task,), (), (fact,))


def expire_offers(state: State, now_ms: int, ask: Ask) -> Draft:
    assert isinstance(ask.action, ExpireOffers)
    only(ask, Role.SYSTEM)
    return Draft(Answer(body={"expired": offers.expire(state, now_ms, ask.action.limit)}))


def dispatch_tick(state: State, now_ms: int, ask: Ask) -> Draft:
    only(ask, Role.SYSTEM)
    expired = offers.expire(state, now_ms)
    state.cadence.hurry(now_ms)
    return Draft(Answer(body={"region_id": state.id, "open_tasks": len(state.open), "expired": expired}))
