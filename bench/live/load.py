"""The load of `bench live`, in a process of its own: drivers on sockets, customers and a merchant over REST.

    python -m bench.live.load < lines          # a LiveJob, then commands; see bench/live/job.py

Every driver accepts at once and does the whole delivery with a car that is everywhere at once, so that all are soon
free again. Orders come at a steady rate whatever the server does (open loop), and every time is measured from the
moment at which the step was due, so that a server that stalls cannot hide it (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys
import time
from collections import Counter
from typing import Any

import msgspec

from bench.latency.accept import histogram
from bench.live.http import Rest
from bench.live.job import (
    Check,
    Command,
    Connect,
    Drop,
    Halt,
    Line,
    LiveJob,
    Place,
    Result,
    Return,
    Said,
    Settle,
    Window,
)
from bench.live.orders import Checkout
from bench.live.record import Accepted, Note, Record, entry_of, judge
from bench.live.series import Series
from bench.live.socket import Driver, Fleet
from domain import protocol as wire
from domain.orders.dossier import Entry
from domain.orders.reasons import OverrideReason
from sim.concurrency import Crowd, each
from sim.demo.summary import percentile

OPEN_AT_ONCE = 200
ANSWER_LIMIT_S = 90.0  # for a driver's message, over as many sockets as it takes
LINES_S = 5.0
READS_AT_ONCE = 16
_SHARES = {"p50_s": 0.5, "p90_s": 0.9, "p99_s": 0.99, "all_s": 1.0}
# Two drivers were asked at once, or it took too long: nobody's fault.
_TAKEN = ("OFFER_TAKEN", "OFFER_EXPIRED")
_ENDED = ("DONE", "FAILED", "CANCELLED")
_encode = msgspec.json.Encoder().encode


class Load:
    """All that the process does; a method for each command."""

    def __init__(self, job: LiveJob) -> None:
        self._job = job
        self._rest = Rest(job.host, job.port)
        self._crowd = Crowd()
        self._answers: dict[str, asyncio.Future[wire.ServerFrame]] = {}
        self._offers: set[str] = set()  # that were heard of, by push or snapshot
        self._trips: set[str] = set()  # tasks in some driver's hands
        self._placing = self._measured = True
        self._number = 0
        self.record = Record()
        self.errors: Counter[str] = Counter()
        self.offer, self.accept, self.step = Series(), Series(), Series()
        self._checkout = Checkout(job, self._rest, self.record, self.errors)
        self.fleet = Fleet(
            host=job.host,
            port=job.port,
            tokens=[driver.token for driver in job.drivers],
            homes=job.homes,
            handler=self,
            ping_hz=job.ping_hz,
            rng=random.Random(f"{job.seed}:fleet"),
        )

    async def carry_out(self, command: Command) -> None:
        """Do what is asked and say what came of it."""
        handler: dict[type[Command], Any] = {
            Connect: self._connect,
            Place: self._place,
            Halt: self._halt,
            Settle: self._settle,
            Drop: self._drop,
            Return: self._return,
            Check: self._check,
        }
        cpu_s, began_s = _cpu_s(), time.monotonic()
        values = await handler[type(command)](command)
        took_s = time.monotonic() - began_s
        values |= {"took_s": round(took_s, 3), "generator_cpu_s": round(_cpu_s() - cpu_s, 3)}
        say(Result(type(command).__name__, values))

    # -- sockets ------------------------------------------------------------------------------------------------------

    async def _connect(self, command: Connect) -> dict[str, Any]:
        fleet, until_s = self.fleet, time.monotonic() + command.limit_s
        fleet.reconnects = True
        self._crowd.start(fleet.ping())
        line_s = time.monotonic()
        waiting = iter(fleet.drivers)
        opening: list[Driver] = []
        while time.monotonic() < until_s:
            opening = [driver for driver in opening if not driver.ready]
            while len(opening) < OPEN_AT_ONCE and (driver := next(waiting, None)) is not None:
                opening.append(driver)
                fleet.start(driver)
            if not opening:
                break
            if time.monotonic() - line_s > LINES_S:
                line_s = time.monotonic()
                say(Said(f"{fleet.welcomed:,} of {len(fleet.drivers):,} drivers connected"))
            await asyncio.sleep(0.01)
        return {"connected": fleet.welcomed, "counts": dict(fleet.counts)}

    async def _drop(self, _: Drop) -> dict[str, Any]:
        self.fleet.drop()
        return {}

    async def _return(self, command: Return) -> dict[str, Any]:
        fleet, until_s, line_s = self.fleet, time.monotonic() + command.limit_s, time.monotonic()
        while time.monotonic() < until_s:
            back = [
                driver for driver in fleet.drivers if driver.ready and driver.welcomed_s > command.since_s
            ]
            if len(back) == len(fleet.drivers):
                break
            if time.monotonic() - line_s > LINES_S:
                line_s = time.monotonic()
                say(Said(f"{len(back):,} of {len(fleet.drivers):,} drivers are back"))
            await asyncio.sleep(0.05)
        took_s = sorted(
            driver.welcomed_s - command.since_s if driver.welcomed_s > command.since_s else float("inf")
            for driver in fleet.drivers
        )
        spent = {name: percentile(took_s, share) for name, share in _SHARES.items()}
        return {name: round(s, 3) if s < 1e9 else None for name, s in spent.items()} | {
            "back": sum(s < 1e9 for s in took_s),
            "resumed": sum(driver.resumed for driver in fleet.drivers),
            "counts": dict(fleet.counts),
        }

    # -- what drivers hear --------------------------------------------------------------------------------------------

    def on_offer(self, driver: Driver, offer: wire.OfferView | wire.Offer) -> None:
        now_s = time.monotonic()
        for task in offer.tasks:
            note = self.record.orders.get(task.order_id)
            if note is not None and not note.offered:
                note.offered = True
                if note.measured:
                    self.offer.add(now_s - note.due_s)
        if offer.offer_id not in self._offers:
            self._offers.add(offer.offer_id)
            self._crowd.start(self._take(driver, offer.offer_id))

    def on_snapshot(self, driver: Driver, snapshot: wire.Snapshot) -> None:
        for offer in snapshot.offers:
            self.on_offer(driver, offer)
        for task in snapshot.tasks:
            self._begin(driver, task)

    def on_answer(self, driver: Driver, message_id: str, frame: wire.ServerFrame) -> None:
        answer = self._answers.get(message_id)
        if answer is not None and not answer.done():
            answer.set_result(frame)

    async def _ask(self, driver: Driver, message_id: str, frame: wire.ClientFrame) -> wire.ServerFrame | None:
        """The answer, over as many sockets as it takes; None when there is none for too long."""
        answer: asyncio.Future[wire.ServerFrame] = asyncio.get_running_loop().create_future()
        self._answers[message_id] = answer
        driver.ask(message_id, frame)
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                return await answer
        except TimeoutError:
            self.errors[f"{type(frame).__name__} unanswered"] += 1
            return None
        finally:
            driver.pending.pop(message_id, None)
            del self._answers[message_id]

    async def _take(self, driver: Driver, offer_id: str) -> None:
        message_id, sent_s = f"a-{offer_id}", time.monotonic()
        answer = await self._ask(driver, message_id, wire.OfferAccept(message_id, offer_id))
        if isinstance(answer, wire.OfferAccepted):
            if self._measured:
                self.accept.add(time.monotonic() - sent_s)
            driver_id = self._job.drivers[driver.number].user_id
            self.record.accepted += [
                Accepted(task.task_id, task.order_id, driver_id) for task in answer.tasks
            ]
            for task in answer.tasks:
                self._begin(driver, task)
        elif isinstance(answer, wire.Error):
            self.fleet.counts[f"accept: {answer.code}"] += 1
            if answer.code not in _TAKEN:
                self.errors[f"accept: {answer.code}"] += 1

    def _begin(self, driver: Driver, task: wire.TaskView) -> None:
        if task.task_id not in self._trips and task.status not in _ENDED:
            self._trips.add(task.task_id)
            self._crowd.start(self._bring(driver, task))

    async def _bring(self, driver: Driver, task: wire.TaskView) -> None:
        """From wherever the task stands to the door, and over it."""
        number = 0
        while task.status in ("ASSIGNED", "AT_PICKUP", "PICKED_UP"):
            number += 1
            message_id = f"{number}-{task.task_id}"
            kind = wire.TaskPickup if task.status == "AT_PICKUP" else wire.TaskArrive
            sent_s = time.monotonic()
            place = task.dropoff if task.status == "PICKED_UP" else task.pickup
            # Drivers here are at once where they are needed, which nobody would believe.
            why = OverrideReason.OTHER
            step = kind(message_id, task.task_id, lat=place.lat, lng=place.lng, override=why)
            answer = await self._ask(driver, message_id, step)
            if not isinstance(answer, wire.TaskUpdated):
                code = answer.code if isinstance(answer, wire.Error) else "no answer"
                self.errors[f"{kind.__name__} at {task.status}: {code}"] += 1
                return
            if self._measured:
                self.step.add(time.monotonic() - sent_s)
            task = answer.task
        driver.move(task.dropoff.lat, task.dropoff.lng)
        token, path = driver.token, f"/v1/orders/{task.order_id}"
        here = {"lat": task.dropoff.lat, "lng": task.dropoff.lng, "override": "OTHER"}
        check = {"method": "scan", "vendor_token": "fake:pass", "sober": True} | here
        for what, body in (("doorstep_id_check/submit", check), ("deliver/confirm", here)):
            reply = await self._rest.post(f"{path}/{what}", token, body, f"{task.task_id}-{what}")
            if not self._checkout.went_well(what, reply):
                return
        note = self.record.orders.get(task.order_id)
        if note is not None:
            note.delivered = True
        self._trips.discard(task.task_id)
        driver.tell(wire.Ack(driver.last_seq))

    # -- orders -------------------------------------------------------------------------------------------------------

    async def _place(self, command: Place) -> dict[str, Any]:
        """Returns when the last order was begun; what is under way then is measured to its end by `Settle`."""
        every_s, began_s = 60 / command.orders_per_min, time.monotonic()
        sent, skipped, cpu_s = self.fleet.pings_sent, self.fleet.pings_skipped, _cpu_s()
        self.fleet.late = Series()
        windows = self._crowd.start(self._windows(command.window_s))
        self._placing, self._measured = True, command.measured
        number = 0
        while self._placing and number * every_s < command.duration_s:
            due_s = began_s + number * every_s
            if (ahead_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(min(ahead_s, 0.5))
                continue
            self._crowd.start(self._checkout.order(self._number, due_s, measured=command.measured))
            number, self._number = number + 1, self._number + 1
        await asyncio.sleep(max(0.0, began_s + min(command.duration_s, number * every_s) - time.monotonic()))
        took_s = time.monotonic() - began_s
        windows.cancel()
        return self.fleet.late.summary("generator_late") | {
            "orders_begun": number,
            "pings_sent": self.fleet.pings_sent - sent,
            "pings_skipped": self.fleet.pings_skipped - skipped,
            "generator_cpu_pct": round(100 * (_cpu_s() - cpu_s) / took_s, 1),
        }

    async def _halt(self, _: Halt) -> dict[str, Any]:
        self._placing = False
        return {}

    async def _windows(self, window_s: float) -> None:
        """Say every so often what was measured since the last time."""
        at_s, cpu_s, sent = time.monotonic(), _cpu_s(), self.fleet.pings_sent
        while True:
            await asyncio.sleep(window_s)
            now_s, now_cpu_s, now_sent = time.monotonic(), _cpu_s(), self.fleet.pings_sent
            values: dict[str, float | None] = {
                "pings_per_s": round((now_sent - sent) / (now_s - at_s), 1),
                "generator_cpu_pct": round(100 * (now_cpu_s - cpu_s) / (now_s - at_s), 1),
                "orders_open": len(self.record.open()),
                "connected": self.fleet.welcomed,
                "errors": sum(self.errors.values()),
            }
            for name, series in (
                ("offer", self.offer),
                ("accept", self.accept),
                ("order_create", self._checkout.create),
            ):
                values |= series.window(name)
            at_s, cpu_s, sent = now_s, now_cpu_s, now_sent
            say(Window(now_s, values))

    async def _settle(self, command: Settle) -> dict[str, Any]:
        until_s, line_s = time.monotonic() + command.limit_s, time.monotonic()
        while (left := self.record.open()) and time.monotonic() < until_s:
            if time.monotonic() - line_s > LINES_S:
                line_s = time.monotonic()
                say(Said(f"{len(left):,} orders are not delivered yet"))
            await asyncio.sleep(0.1)
        values: dict[str, Any] = {
            "orders": len(self.record.orders),
            "offered": sum(note.offered for note in self.record.orders.values()),
            "accepted": len(self.record.accepted),
            "delivered": sum(note.delivered for note in self.record.orders.values()),
            "open": len(self.record.open()),
            "errors": dict(self.errors),
            "refused": dict(self._rest.counts),
            "sockets": dict(self.fleet.counts),
            "failures": self._crowd.failures[:5],
            "offer_histogram": histogram(self.offer.sorted()),
            "accept_histogram": histogram(self.accept.sorted()),
        }
        for name, series in (
            ("offer", self.offer),
            ("accept", self.accept),
            ("order_create", self._checkout.create),
            ("task_step", self.step),
        ):
            values |= series.summary(name)
        return values

    # -- the check ----------------------------------------------------------------------------------------------------

    async def _check(self, _: Check) -> dict[str, Any]:
        dossiers: dict[str, list[Entry]] = {}
        unread = 0

        async def read(note: Note) -> None:
            nonlocal unread
            customer = self._job.customers[note.customer]
            reply = await self._rest.get(f"/v1/orders/{note.order_id}/dossier", customer.token)
            if reply.ok:
                dossiers[note.order_id] = [entry_of(event) for event in reply.body["events"]]
            elif reply.status != 404:
                unread += 1
                self.errors[f"dossier: {reply.code}"] += 1

        await each(READS_AT_ONCE, list(self.record.orders.values()), read)
        return judge(self.record, dossiers).values() | {"dossiers": len(dossiers), "unread": unread}

    async def end(self) -> None:
        """Hang up."""
        await self._crowd.stop()
        await self.fleet.stop()
        self._rest.close()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def say(line: Line) -> None:
    """Write a line for the other side."""
    sys.stdout.buffer.write(_encode(line) + b"\n")
    sys.stdout.buffer.flush()


async def main() -> None:
    """Take the job and carry out commands until standard input ends."""
    reader = asyncio.StreamReader(limit=256 * 2**20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    job = msgspec.json.decode(await reader.readline(), type=LiveJob)
    # A task that is destroyed or fails in silence would be a measurement too many.
    load, commands, decode = Load(job), Crowd(), msgspec.json.Decoder(Command).decode
    while line := await reader.readline():
        commands.start(load.carry_out(decode(line)))
    await commands.stop()
    await load.end()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
