"""Transcripts of one region: a file of commands with what each made the region do, readable as a story.

    # words for the reader
    > drive ann 1 0          Ann is seen 1 km north, 0 km east of the store, on duty
    > off ann
    > silent ann             says nothing more until the next drive; the socket stays open
    > order                  the next order; its task is task-1, task-2, ...
    > wait 0.2               seconds of server time, with ticks at the deadlines
    > ann accept offer-1     also reject, arrive, pickup, check, underage, deliver, refuse, confirm
    > cara cancel order-1
    > max ready order-1
    > attach ann -1          another socket, resuming from the last push but one; without a number afresh
    > told task-1            the relay repeats that the task was opened
    > restart                kill -9

Below a command stands what it led to: durable facts (`!`), pushes (`->`), the answer (`=`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from domain.lifecycle import Role
from domain.mailbox import SEQ_ROOM
from domain.messages import (
    Accept,
    Action,
    Arrive,
    Cancel,
    ConfirmReturn,
    Deliver,
    GoodsReady,
    Kick,
    Pickup,
    Refuse,
    Reject,
)
from domain.protocol import Offer, OfferRevoked, Server, TaskCancelled, TaskUpdated
from domain.records import Answer, Record
from tests.support.build import at, id_check
from tests.support.story import Story

ROLES = {"cara": Role.CUSTOMER, "max": Role.MERCHANT}
ASKS: dict[str, Callable[[str], Action]] = {
    "accept": lambda name: Accept(offer_id=name),
    "reject": lambda name: Reject(offer_id=name),
    "arrive": Arrive,
    "pickup": Pickup,
    "check": lambda name: id_check(name, f"check of {name}"),
    "underage": lambda name: id_check(name, f"check of {name}", over_age=False),
    "deliver": Deliver,
    "refuse": lambda name: Refuse(name, "nobody home"),
    "confirm": ConfirmReturn,
    "cancel": Cancel,
    "ready": GoodsReady,
}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


class Transcript:
    """Carries commands out and tells what happened, with short names for ids in the order of their appearance."""

    def __init__(self) -> None:
        self.story = Story()
        self.names: dict[str, str] = {}  # id -> short name

    def run(self, text: str) -> str:
        """The transcript with the outcome of each command below it; outcomes already there are dropped."""
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith(">"):
                lines += [line, *self._carry_out(line[1:].split())]
            elif not line.startswith("  "):
                lines.append(line)
        return "\n".join(lines) + "\n"

    def _carry_out(self, words: list[str]) -> list[str]:
        story = self.story
        records, pushes = len(story.records), len(story.pushes)
        answer = self._command(words)
        told = [line for record in story.records[records:] for line in self._record(record)]
        told += [self._push(push) for push in story.pushes[pushes:]]
        told += [f"= {answer}"] if answer else []
        return [f"  {self._short(line)}" for line in told] or ["  nothing"]

    def _command(self, words: list[str]) -> str:
        story, first, rest = self.story, words[0], words[1:]
        if first == "drive":
            story.drive(rest[0], at(float(rest[1]), float(rest[2])))
        elif first == "off":
            story.drive(rest[0], story.where[rest[0]], on=False)
        elif first == "silent":
            story.silence(rest[0])
        elif first == "order":
            story.order()
        elif first == "wait":
            story.wait(float(rest[0]))
        elif first == "told":
            story.step(story.opened[rest[0]])
        elif first == "restart":
            story.restart()
        elif first == "attach":
            return self._attach(rest[0], int(rest[1]) if len(rest) > 1 else None)
        else:
            action = ASKS[rest[0]](self._full(rest[1]))
            return self._answer(story.ask(first, action, ROLES.get(first, Role.DRIVER)))
        return ""

    def _attach(self, driver_id: str, back: int | None) -> str:
        last = max((frame.seq for frame in self.story.frames(driver_id)), default=0)
        attached = self.story.attach(driver_id, None if back is None else last + 1 + back)
        missed = ", ".join(self._frame(frame) for frame in attached.missed) or "nothing"
        tasks = [f"{task.task_id} {task.status}" for task in attached.snapshot.tasks]
        offers = [offer.offer_id for offer in attached.snapshot.offers]
        has = ", ".join([*offers, *tasks]) or "nothing"
        return f"{'resumed, missed ' + missed if attached.resumed else 'not resumed'}; has {has}"

    # -- in words -----------------------------------------------------------------------------------------------------

    def _record(self, record: Record) -> list[str]:
        for offer in record.offers:
            self.names.setdefault(offer.offer_id, f"offer-{self._count('offer') + 1}")
        for task in record.tasks:
            if UUID.fullmatch(task.task_id):
                self.names.setdefault(task.task_id, f"return-{self._count('return') + 1}")
        facts = [f"{offer.offer_id} to {offer.driver_id} {offer.status}" for offer in record.offers]
        facts += [
            f"{task.task_id} {task.status}{' ' + task.driver_id if task.driver_id else ''}"
            for task in record.tasks
        ]
        facts += [f"{fact.order_id} {fact.event} -> {fact.status}" for fact in record.orders]
        return ["! " + ", ".join(facts)]

    def _push(self, push: object) -> str:
        if isinstance(push, Kick):
            return f"-> {push.driver_id} socket {push.session} is closed"
        driver_id, frame = getattr(push, "driver_id", ""), getattr(push, "frame", None)
        assert isinstance(frame, Server)
        return f"-> {driver_id} #{frame.seq // SEQ_ROOM}.{frame.seq % SEQ_ROOM} {self._frame(frame)}"

    @staticmethod
    def _frame(frame: Server) -> str:
        kind = str(frame.__struct_config__.tag)
        if isinstance(frame, Offer):
            return f"{kind} {frame.offer_id} for {frame.ttl_s:g} s"
        if isinstance(frame, TaskUpdated):
            return f"{kind} {frame.task.task_id} {frame.task.status}"
        what = getattr(frame, "offer_id", None) or getattr(frame, "task_id", "")
        return f"{kind} {what}" + (
            f" {frame.reason}" if isinstance(frame, OfferRevoked | TaskCancelled) else ""
        )

    @staticmethod
    def _answer(answer: Answer) -> str:
        return f"{answer.code}: {answer.detail}" if answer.code else "done"

    def _short(self, line: str) -> str:
        return UUID.sub(lambda found: self.names.get(found[0], found[0]), line)

    def _full(self, name: str) -> str:
        return next((full for full, short in self.names.items() if short == name), name)

    def _count(self, kind: str) -> int:
        return sum(name.startswith(kind) for name in self.names.values())
