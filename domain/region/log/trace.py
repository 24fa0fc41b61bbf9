"""Messages and decisions of a region in a line each, for people who look for the first difference of two runs."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from domain.orders.records import Record
from domain.region.messages import Ask, Attached, DriversSeen, Kick, Message, PlanReady, Ready
from domain.solve import Plan

LINE = 300  # characters shown of what may be long


def message_line(message: Message) -> str:
    """What came in."""
    kind = type(message).__name__
    if isinstance(message, DriversSeen):
        return f"{kind}: {len(message.driver_ids)} drivers by {message.gateway_id}"
    if isinstance(message, PlanReady):
        return f"{kind}: {plan_line(message.plan)}"
    if isinstance(message, Ask):
        action = f"{type(message.action).__name__} {_json(message.action)}"
        return f"{kind}: {message.role} {message.principal_id}, key {message.key}: {action}"
    return f"{kind}: {_json(message)}"


def ready_lines(ready: Ready) -> Iterator[str]:
    """What was decided."""
    for record in ready.records:
        yield f"record {record.record_id}: {_short(', '.join(_facts(record)))}"
    for push in ready.pushes:
        if isinstance(push, Kick):
            yield f"close session {push.session} of {push.driver_id}"
        else:
            yield _short(f"push to {push.driver_id}: {_json(push.frame)}")
    if isinstance(ready.reply, Attached):
        yield _short(f"reply: resumed {ready.reply.resumed}, {_json(ready.reply.snapshot)}")
    elif ready.reply is not None:
        yield f"reply: {ready.reply.code or 'done'} {_json(ready.reply.body)}"
    if ready.solve is not None:
        tasks, drivers = len(ready.solve.tasks.ids), len(ready.solve.drivers.ids)
        yield f"solve request {ready.solve.request_id}: {tasks} tasks, {drivers} drivers"
    if ready == Ready():
        yield "nothing"


def plan_line(plan: Plan) -> str:
    """Who is to get what."""
    pairs = (f"{'+'.join(one.task_ids)} to {one.driver_id}" for one in plan.assignments)
    return _short(f"plan {plan.request_id} ({', '.join(pairs) or 'nothing'})")


def _facts(record: Record) -> Iterator[str]:
    yield from (f"offer {offer.offer_id} to {offer.driver_id} {offer.status}" for offer in record.offers)
    yield from (f"task {task.task_id} {task.status}" for task in record.tasks)
    yield from (f"order {fact.order_id} {fact.status}" for fact in record.orders)
    yield from (f"check {check.check_id} {'passed' if check.passed else 'failed'}" for check in record.checks)


def _json(value: object) -> str:
    return _short(msgspec.json.encode(value).decode())


def _short(text: str) -> str:
    return text if len(text) <= LINE else f"{text[:LINE]}..."
