"""Log lines of what was done for a request, at DEBUG: one in each process that it went through."""

from __future__ import annotations

import logging

import structlog

from actors.telemetry.tracing import Origins, ids
from domain.orders.commands import OrderCommand
from domain.orders.lifecycle import Role
from domain.orders.records import Answer, Done, Outcome
from domain.ports import Command
from domain.region.messages import Ask, Message

_log = structlog.stdlib.get_logger(__name__)
_says = logging.getLogger(__name__)  # whether anybody reads a line is cheaper to ask here

_WHAT = ("order_id", "task_id", "offer_id")


def kind_of(message: Message) -> str:
    """What a message is called in the log, such as `Tick` or `Ask Accept`."""
    name = type(message).__name__
    return f"{name} {type(message.action).__name__}" if isinstance(message, Ask) else name


def decided(region_id: str, message: Message, reply: object, origins: Origins) -> None:
    """A region has answered."""
    if not _says.isEnabledFor(logging.DEBUG) or not (isinstance(message, Ask) and isinstance(reply, Answer)):
        return
    what = {name: value for name in _WHAT if (value := getattr(message.action, name, None)) is not None}
    if message.role is Role.DRIVER:
        what["driver_id"] = message.principal_id
    _log.debug(
        "region.decided",
        region_id=region_id,
        kind=kind_of(message),
        code=reply.code,
        **what,
        **ids(origins),
    )


def committed(command: Command, outcome: Outcome, name: str, origins: Origins) -> None:
    """A store has made it durable; `name` is what the outcome is called."""
    if not _says.isEnabledFor(logging.DEBUG):
        return
    if isinstance(command, OrderCommand):
        kind, what = type(command.action).__name__, {"order_id": command.order_id}
    else:
        kind, what = type(command).__name__, {"region_id": command.region_id}
    code = outcome.answer.code if isinstance(outcome, Done) else None
    _log.debug("persistence.committed", kind=kind, outcome=name, code=code, **what, **ids(origins))
