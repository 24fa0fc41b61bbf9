"""Transcripts of one region: a file of commands with what each made the region do, readable as a story.

    # words for the reader
    > drive ann 1 0          Ann is seen 1 km north, 0 km east of the store, on duty; opens a socket if there is none
    > off ann
    > silent ann             says nothing more until the next drive; the socket stays open
    > hang-up ann            the same, and the socket closes
    > stray ann 5 0          a ping that Ann sent before her last one comes in now; `socket=1`: on that earlier socket
    > attach ann #1.3        another socket, resuming from that push; without a number afresh
    > ack ann #1.3           has handled all pushes up to that one
    > order                  the next order; its task is task-1, task-2, ...; `order 3 0`: to a door 3 km north
    > told task-1            the relay repeats that the task was opened
    > wait 0.2               seconds of server time, with ticks at the deadlines and pings; `deaf`: none comes in
    > ann accept offer-1     `task-1` for its task; also reject, arrive, pickup, deliver, refuse, confirm
    > ann check order-1      passes; outdated, underage, stranger and drunk are checks that do not
    > ann bring offer-1      accept, arrive, pickup, arrive
    > cara cancel order-1    also cleo, another customer, and dora, a dispatcher
    > max ready order-1      also mona, another merchant
    > ops expire 1           the internal endpoints: expire at most so many offers, and `look` for drivers now
    > why task-1             why it is still open
    > restart 40             kill -9, and the next life 40 s later; at once without a number
    > gateway-lost
    > spoil                  the database will refuse the next record
    > solver off             what it is asked is told (`?`) and waits for `plan 1` or `fail 1`, until `solver on`
    > policy push_ring=2     instead of the usual; comes first. `planning={}`: bundles, which stories are without

Any request takes `id=7`, a request's id to repeat it by, and `by=rest` instead of the socket; a driver's also `ago=30`,
taken on the phone 30 s ago, and `n=4`, its number there. Pushes are numbered `#life.n`. Below a command stands what it
led to, see `words.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_type_hints

import msgspec

from domain.orders.lifecycle import Role
from domain.orders.reasons import RefuseReason
from domain.orders.records import Answer
from domain.region.messages import (
    Accept,
    Acked,
    Action,
    Arrive,
    Cancel,
    ConfirmReturn,
    Deliver,
    Detach,
    Device,
    DispatchTick,
    ExpireOffers,
    GatewayLost,
    GoodsReady,
    Pickup,
    PlanReady,
    Refuse,
    Reject,
    SolveFailed,
)
from domain.region.ops.outlook import why_open
from domain.region.policy import RegionPolicy
from domain.solve import SolveRequest
from solver.registry import solve
from tests.scenarios.words import Words, answered, numbered
from tests.support.build import DOOR_AT, at, id_check
from tests.support.story import Story

ROLES = {
    "cara": Role.CUSTOMER,
    "cleo": Role.CUSTOMER,
    "max": Role.MERCHANT,
    "mona": Role.MERCHANT,
    "dora": Role.DISPATCHER,
    "ops": Role.SYSTEM,
}
ASKS: dict[str, Callable[[str], Action]] = {
    "accept": lambda name: Accept(task_id=name) if name.startswith("task-") else Accept(offer_id=name),
    "reject": lambda name: Reject(offer_id=name),
    "arrive": Arrive,
    "pickup": Pickup,
    "check": id_check,
    "outdated": lambda name: id_check(name, not_expired=False),
    "underage": lambda name: id_check(name, over_age=False),
    "stranger": lambda name: id_check(name, name_matches=False),
    "drunk": lambda name: id_check(name, sober=False),
    "deliver": Deliver,
    "refuse": lambda name: Refuse(name, RefuseReason.NOBODY_HOME),
    "confirm": ConfirmReturn,
    "cancel": Cancel,
    "ready": GoodsReady,
    "expire": lambda limit: ExpireOffers(int(limit)),
    "look": lambda _: DispatchTick(),
}


class Transcript:
    """Carries commands out and tells what happened."""

    def __init__(self) -> None:
        self.story = Story()
        self.words = Words()

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
        before = len(self.story.out)
        command = COMMANDS.get(words[0])
        options = dict(word.split("=", 1) for word in words if "=" in word)
        words = [word for word in words if "=" not in word]
        answer = command(self, words[1:], options) if command else self._ask(words, options)
        out = self.story.out[before:]
        shown = [what for what in out if not (self.story.solving and isinstance(what, SolveRequest))]
        told = [self.words.tell(what) for what in shown] + ([f"= {answer}"] if answer else [])
        return [f"  {line}" for line in told] or ["  nothing"]

    # -- requests -----------------------------------------------------------------------------------------------------

    def _ask(self, words: list[str], options: dict[str, str]) -> str:
        who, what, name = words[0], words[1], self.words.full(words[2]) if len(words) > 2 else ""
        if what == "bring":
            task_id = self.story.region.state.offers.live[name].task_ids[0]
            return answered(
                self.story.do(who, Accept(offer_id=name), Arrive(task_id), Pickup(task_id), Arrive(task_id))
            )
        answer: Answer = self.story.ask(
            who,
            ASKS[what](name),
            ROLES.get(who, Role.DRIVER),
            key=options.get("id"),
            fingerprint=" ".join(words[1:]),
            by=options.get("by", "ws"),
            device=self._device(options),
        )
        return answered(answer)

    def _device(self, options: dict[str, str]) -> Device | None:
        if not options.keys() & {"ago", "n"}:
            return None
        at_ms = self.story.now - round(float(options["ago"]) * 1000) if "ago" in options else None
        return Device(at_ms, int(options["n"]) if "n" in options else None)

    # -- drivers and their sockets ------------------------------------------------------------------------------------

    def _drive(self, words: list[str], _: dict[str, str]) -> None:
        self.story.drive(words[0], at(float(words[1]), float(words[2])))

    def _off(self, words: list[str], _: dict[str, str]) -> None:
        self.story.drive(words[0], self.story.where[words[0]], on=False)

    def _silent(self, words: list[str], _: dict[str, str]) -> None:
        self.story.silence(words[0])

    def _hang_up(self, words: list[str], _: dict[str, str]) -> None:
        self.story.silence(words[0])
        self.story.step(Detach(driver_id=words[0], session=self.story.session[words[0]]))

    def _stray(self, words: list[str], options: dict[str, str]) -> None:
        session = int(options["socket"]) if "socket" in options else None
        self.story.stray(words[0], at(float(words[1]), float(words[2])), session=session)

    def _attach(self, words: list[str], _: dict[str, str]) -> str:
        resume_from = numbered(words[1]) if len(words) > 1 else None
        return self.words.attached(self.story.attach(words[0], resume_from))

    def _ack(self, words: list[str], _: dict[str, str]) -> None:
        self.story.step(Acked(words[0], numbered(words[1])))

    def _gateway_lost(self, _: list[str], __: dict[str, str]) -> None:
        self.story.step(GatewayLost("gateway:0"))

    # -- tasks and time -----------------------------------------------------------------------------------------------

    def _order(self, words: list[str], _: dict[str, str]) -> None:
        self.story.order(door=at(float(words[0]), float(words[1])) if words else DOOR_AT)

    def _told(self, words: list[str], _: dict[str, str]) -> None:
        self.story.step(self.story.opened[words[0]])

    def _why(self, words: list[str], _: dict[str, str]) -> str:
        region, job = self.story.region, self.story.region.state.jobs[words[0]]
        is_open = job.task.task_id in region.state.open
        return str(why_open(region.state, job, self.story.now)) if is_open else f"it is {job.task.status}"

    def _wait(self, words: list[str], _: dict[str, str]) -> None:
        self.story.wait(float(words[0]), deaf="deaf" in words)

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    def _restart(self, words: list[str], _: dict[str, str]) -> None:
        self.story.restart(float(words[0]) if words else 0.0)

    def _spoil(self, _: list[str], __: dict[str, str]) -> None:
        self.story.refusing = True

    def _solver(self, words: list[str], _: dict[str, str]) -> None:
        self.story.solving = words[0] == "on"

    def _plan(self, words: list[str], _: dict[str, str]) -> None:
        [request] = [asked for asked in self.story.solves if asked.request_id == int(words[0])]
        self.story.step(PlanReady(solve(request)))

    def _fail(self, words: list[str], _: dict[str, str]) -> None:
        self.story.step(SolveFailed(int(words[0])))

    def _policy(self, _: list[str], options: dict[str, str]) -> None:
        types = get_type_hints(RegionPolicy)
        self.story = Story(
            **{name: msgspec.json.decode(value, type=types[name]) for name, value in options.items()}
        )


COMMANDS: dict[str, Callable[[Transcript, list[str], dict[str, str]], str | None]] = {
    "drive": Transcript._drive,
    "off": Transcript._off,
    "silent": Transcript._silent,
    "hang-up": Transcript._hang_up,
    "stray": Transcript._stray,
    "attach": Transcript._attach,
    "ack": Transcript._ack,
    "gateway-lost": Transcript._gateway_lost,
    "order": Transcript._order,
    "told": Transcript._told,
    "why": Transcript._why,
    "wait": Transcript._wait,
    "restart": Transcript._restart,
    "spoil": Transcript._spoil,
    "solver": Transcript._solver,
    "plan": Transcript._plan,
    "fail": Transcript._fail,
    "policy": Transcript._policy,
}
