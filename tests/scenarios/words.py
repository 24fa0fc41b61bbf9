"""What a region does, in words: durable facts (`!`), pushes (`->`), problems for the solver (`?`), answers (`=`)."""

from __future__ import annotations

import re

from domain.orders.records import Answer, OrderFact, Record
from domain.protocol import Offer, OfferRevoked, Server, TaskAssigned, TaskCancelled, TaskUpdated
from domain.region.mailbox import SEQ_ROOM
from domain.region.messages import Attached, Kick, Push, Reported
from domain.solve import SolveRequest
from tests.support.build import NOW

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
# What an answer's body tells beyond that it was done.
TOLD = ("passed", "reason", "expired", "open_tasks")


class Words:
    """Short names for ids in the order of their appearance, and everything else by them."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # id -> short name

    def full(self, name: str) -> str:
        """The id that has this short name; whatever has none is its own name."""
        return next((full for full, short in self._names.items() if short == name), name)

    def tell(self, what: Record | Push | Kick | SolveRequest) -> str:
        """One line for what came out of the region."""
        if isinstance(what, Record):
            line = self._record(what)
        elif isinstance(what, Kick):
            line = f"-> {what.driver_id} socket {what.session} is closed"
        elif isinstance(what, Push):
            frame = what.frame
            said = str(frame) if isinstance(frame, Reported) else f"{number(frame.seq)} {_frame(frame)}"
            line = f"-> {what.driver_id} {said}"
        else:
            line = f"? {what.request_id}: {', '.join(what.tasks.ids)} for {', '.join(what.drivers.ids)}"
        return self.shorten(line)

    def attached(self, attached: Attached) -> str:
        """What a socket that opens is told."""
        missed = ", ".join(_frame(frame) for frame in attached.missed) or "nothing"
        tasks = [f"{task.task_id} {task.status}" for task in attached.snapshot.tasks]
        has = ", ".join([offer.offer_id for offer in attached.snapshot.offers] + tasks) or "nothing"
        return self.shorten(
            f"{'resumed, missed ' + missed if attached.resumed else 'not resumed'}; has {has}"
        )

    def shorten(self, line: str) -> str:
        return UUID.sub(lambda found: self._names.get(found[0], found[0]), line)

    def _record(self, record: Record) -> str:
        for offer in record.offers:
            self._name(offer.offer_id, "offer")
        for task in record.tasks:
            if UUID.fullmatch(task.task_id):
                self._name(task.task_id, "return")
        facts = [f"{offer.offer_id} to {offer.driver_id} {offer.status}" for offer in record.offers]
        facts += [
            f"{task.task_id} {task.status}{' ' + task.driver_id if task.driver_id else ''}"
            for task in record.tasks
        ]
        return "! " + ", ".join(facts + [_fact(fact) for fact in record.orders])

    def _name(self, full: str, kind: str) -> None:
        so_far = sum(name.startswith(kind) for name in self._names.values())
        self._names.setdefault(full, f"{kind}-{so_far + 1}")


def answered(answer: Answer) -> str:
    """An answer in one line."""
    if answer.code:
        return f"{answer.code}: {answer.detail}"
    told = [f"{name} {answer.body[name]}" for name in TOLD if name in answer.body]
    return ", ".join(["done", *told])


def number(seq: int) -> str:
    """A push's number: the region's life and the how-manieth push to the driver in it."""
    return f"#{seq // SEQ_ROOM}.{seq % SEQ_ROOM}"


def numbered(label: str) -> int:
    """The number that `number` wrote so."""
    life, n = label.removeprefix("#").split(".")
    return int(life) * SEQ_ROOM + int(n)


def _fact(fact: OrderFact) -> str:
    ready = "" if fact.ready_ms is None else f", ready at {(fact.ready_ms - NOW) / 1000:g} s"
    late_ms = fact.payload.get("late_ms")
    late = f", taken {late_ms / 1000:g} s before" if isinstance(late_ms, int) else ""
    return f"{fact.order_id} {fact.event} -> {fact.status}{ready}{late}"


def _frame(frame: Server) -> str:
    kind = str(frame.__struct_config__.tag)
    if isinstance(frame, Offer):
        return f"{kind} {frame.offer_id} for {frame.ttl_s:g} s"
    if isinstance(frame, TaskAssigned | TaskUpdated):
        return f"{kind} {frame.task.task_id} {frame.task.status}"
    reason = f" {frame.reason}" if isinstance(frame, OfferRevoked | TaskCancelled) else ""
    return f"{kind} {getattr(frame, 'offer_id', None) or getattr(frame, 'task_id', '')}{reason}"
