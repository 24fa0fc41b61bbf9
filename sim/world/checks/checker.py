"""What must hold whatever happens, looked at from outside after every step of a simulated world.

The checker believes nobody: it hears each commit, each step of a region, each frame on a driver's phone, each REST
answer and each published event, keeps books of its own, and notes the first thing that does not fit. `quiet` then
compares everybody's picture with the database once faults have ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from msgspec import Struct

from actors.config import Limits
from domain import protocol as wire
from domain.errors import InternalConflict
from domain.ground.times import in_ms
from domain.orders.dossier import GENESIS, Entry, verify
from domain.orders.lifecycle import (
    TASK_ENDED,
    TASK_HELD,
    TASK_RELEASABLE,
    OfferStatus,
    OrderStatus,
    TaskKind,
    TaskStatus,
)
from domain.orders.records import OfferRow, OutboxEvent, RecordRefused, TaskRow
from domain.ports import Channel
from domain.region.machine import Region
from domain.region.messages import Message, Ready, Tick
from domain.region.ops.frames import COUNTERS
from domain.region.ops.outlook import why_open
from domain.region.policy import RegionPolicy
from domain.region.solving.reasons import Waiting
from persistence.orders.image import counters
from persistence.orders.memory import MemoryStore
from persistence.orders.plan import Plan
from sim.bot.personas import Door
from sim.world.checks.money import MoneyRules
from sim.world.payment_vendor import Bank

ENDED = frozenset(
    {
        OrderStatus.CLOSED,
        OrderStatus.CANCELLED,
        OrderStatus.REJECTED,
        OrderStatus.RETURNED,
        OrderStatus.WRITTEN_OFF,
    }
)
# Before a merchant took it on, an order may be left lying by its customer.
UNBOUND = frozenset({OrderStatus.DRAFT, OrderStatus.AGE_VERIFIED, OrderStatus.PAYMENT_AUTHORIZED})
LATE_MS = 10_000  # server time after which a step was sent late, and not just on its way
LATE_TICK_MS = 5_000  # server time by which a region may miss a deadline of its own


class Violation(Struct, frozen=True):
    """A promise that was broken: its name, and what was seen."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


class Watched(Protocol):
    """What the checker asks of the world: what is drawn by its seed, and the time."""

    policy: RegionPolicy
    limits: Limits
    bank: Bank

    def policy_of(self, region_id: str) -> RegionPolicy:
        """What this market lives by."""
        ...

    def now_s(self) -> float:
        """The server's time as it really is."""
        ...

    def door(self, order_id: str) -> Door:
        """What the driver finds at this order's door."""
        ...

    def may_refuse(self) -> bool:
        """Whether the database has refused something by our own will, or an operator's."""
        ...

    def was_poison(self, order_id: str) -> bool:
        """Whether the event bus did not take this order's events for a while."""
        ...


class Checker:
    """`violation` is the first promise that was seen broken, None while all hold."""

    def __init__(self, world: Watched) -> None:
        policy = world.policy
        self.violation: Violation | None = None
        self.memory = MemoryStore(self.committed, world.policy_of)
        self.money = MoneyRules(world.bank, self.memory, self.must)
        self.saw: Counter[str] = Counter()
        # Lives of regions whose clock was stopped or set: late through no fault of theirs.
        self.excused_regions: set[tuple[str, int]] = set()
        self._world, self._door, self._may_refuse = world, world.door, world.may_refuse
        self._offer_ttl_ms, self._offers_ahead = in_ms(policy.offer_ttl_s), policy.offer_ahead_s > 0
        self._heads: dict[str, tuple[int, bytes]] = {}
        self._was: set[tuple[str, TaskStatus, str | None]] = (
            set()
        )  # every state of a task that was ever durable
        self._offer_was: set[tuple[str, OfferStatus]] = set()
        self._granted: dict[
            tuple[str, str], tuple[float, Any]
        ] = {}  # request -> when, and what it was granted
        self._won: dict[str, tuple[str, tuple[str, ...]]] = {}  # offer -> driver and tasks, as answered
        # As the rows say in the order in which they were written: tasks by holder, the open offer of each driver.
        self._held: dict[str, dict[str, TaskRow]] = {}
        self._holder: dict[str, str] = {}
        self._open: dict[str, str] = {}
        self._asked: dict[str, set[str]] = {}  # task -> its open offers
        self._bundled: set[str] = set()  # held tasks that were taken with others
        # Tasks that may say for a while that they are offered: an operator has ended the offer, or spoilt their row.
        self._by_hand: set[str] = set()
        self._first_ms: dict[tuple[str, int], int] = {}  # region life -> its first step
        self._published: dict[int, tuple[str, int]] = {}
        self._told: dict[str, int] = {}  # order -> its newest event on the bus
        self._outbox: dict[int, tuple[str, int]] = {}  # committed events: id -> order, seq

    def broken(self, rule: str, what: str) -> None:
        """Note that a promise was broken; the first one counts."""
        if self.violation is None:
            self.violation = Violation(rule, what)

    def must(self, holds: bool, rule: str, what: Callable[[], str] | str) -> None:
        """A promise."""
        if not holds:
            self.broken(rule, what if isinstance(what, str) else what())

    # -- the database -------------------------------------------------------------------------------------------------

    def committed(self, planned: Plan) -> None:
        """A transaction has become durable."""
        for entry in planned.entries:
            seq, head = self._heads.get(entry.order_id, (0, GENESIS))
            fits = entry.seq == seq + 1 and entry.prev_hash == head
            self.must(fits, "dossier", f"event {entry.seq} of {entry.order_id} does not follow event {seq}")
            self._device(entry)
            self._heads[entry.order_id] = entry.seq, entry.hash
            self.saw[entry.type] += 1
        self._outbox_rows(planned)
        for row in planned.outbox:
            if row.channel is Channel.TASKS:
                self._opened(row.payload["task"])
        for unit in planned.units:
            for offer in unit.offers:
                self._offer_row(offer)
            for task in unit.tasks:
                self._task_row(task)
            for offer in unit.offers:
                self._whole(offer)
            for write in unit.orders:
                if write.head.order.status is OrderStatus.DELIVERED:
                    self._delivered(write.head.order.order_id)
        touched = {task.task_id for unit in planned.units for task in unit.tasks}
        touched.update(
            task_id for unit in planned.units for offer in unit.offers for task_id in offer.task_ids
        )
        for task_id in sorted(touched):
            status, asked = self.memory.tasks[task_id].status, sorted(self._asked.get(task_id, ()))
            if status is not TaskStatus.OFFERED:
                self._by_hand.discard(task_id)
            fits = bool(asked) == (status is TaskStatus.OFFERED) or task_id in self._by_hand
            self.must(fits, "whole offer", f"{task_id} is {status}, offered by {asked}")

    def _opened(self, task: Any) -> None:
        """A task is opened by what its own market promises."""
        promise_ms = in_ms(self._world.policy_of(task["region_id"]).promise_s)
        due_ms = max(task["opened_ms"] + promise_ms, task["ready_ms"])
        what = f"{task['task_id']} is due at {task['due_ms']}, by its market's policy at {due_ms}"
        self.must(task["due_ms"] == due_ms, "policy", what)

    def _device(self, entry: Entry) -> None:
        """What a phone said of the time is noted within what can be."""
        late_ms, at_ms = entry.payload.get("late_ms", 0), entry.payload.get("device_at_ms", entry.at_ms)
        fits = isinstance(late_ms, int) and late_ms >= 0 and at_ms == entry.at_ms - late_ms
        self.must(fits, "device time", f"event {entry.seq} of {entry.order_id} is {late_ms} ms late")
        self.saw["sent late"] += isinstance(late_ms, int) and late_ms > LATE_MS

    def _outbox_rows(self, planned: Plan) -> None:
        for_bus = [row for row in planned.outbox if row.channel is Channel.BUS]
        told = [(row.aggregate_id, row.payload["seq"]) for row in for_bus]
        made = [(entry.order_id, entry.seq) for entry in planned.entries]
        self.must(told == made, "outbox", lambda: f"{made} happened, {told} is to be published")
        newest = list(self.memory.outbox[Channel.BUS].values())[-len(for_bus) :] if for_bus else []
        for event in newest:
            self._outbox[event.event_id] = event.aggregate_id, event.payload["seq"]

    def _offer_row(self, offer: OfferRow) -> None:
        self._offer_was.add((offer.offer_id, offer.status))
        self.saw[f"offer {offer.status}"] += 1
        name = f"offer {offer.offer_id} to {offer.driver_id}"
        if offer.status is OfferStatus.OFFERED:
            standing = offer.expires_ms - (offer.made_ms if offer.seen_ms is None else offer.seen_ms)
            self.must(standing == self._offer_ttl_ms, "ttl", f"{name} stands for {standing} ms")
            lasts = offer.expires_ms - offer.made_ms
            self.must(
                lasts <= 2 * self._offer_ttl_ms, "ttl", f"{name} lasts {lasts} ms, shown again and again"
            )
            for held in self._held.get(offer.driver_id, {}).values():
                rule = "return first" if held.kind is TaskKind.RETURN else "one at a time"
                # With nothing but doors before them, drivers may be asked for the next trip.
                doors = held.kind is TaskKind.DELIVERY and (
                    (self._offers_ahead and held.status not in TASK_RELEASABLE) or "by_hand" in offer.features
                )
                self.must(doors, rule, f"{name}, who holds the {held.kind} {held.task_id}, {held.status}")
            other = self._open.setdefault(offer.driver_id, offer.offer_id)
            self.must(other == offer.offer_id, "one at a time", f"{name}, who has {other} open")
            for task_id in offer.task_ids:
                self._asked.setdefault(task_id, set()).add(offer.offer_id)
            return
        if self._open.get(offer.driver_id) == offer.offer_id:
            del self._open[offer.driver_id]
        for task_id in offer.task_ids:
            self._asked.get(task_id, set()).discard(offer.offer_id)
        if offer.status is OfferStatus.ACCEPTED:
            in_time = offer.closed_ms is not None and offer.closed_ms < offer.expires_ms
            self.must(in_time, "ttl", f"{name} was accepted after its end")

    def _whole(self, offer: OfferRow) -> None:
        """An offer's tasks go together: they are its driver's from its acceptance on, and of one store."""
        if offer.status is OfferStatus.OFFERED:
            beside = offer.seen_ms is None and len(self._asked[offer.task_ids[0]]) > 1
            self.saw["asked beside another"] += beside
            stores = {self.memory.tasks[task_id].store_id for task_id in offer.task_ids}
            self.must(len(stores) == 1, "whole offer", f"{offer.offer_id} is of {len(stores)} stores")
        if offer.status is OfferStatus.ACCEPTED:
            self.saw["next trip"] += len(self._held.get(offer.driver_id, ())) > len(offer.task_ids)
            if len(offer.task_ids) > 1:
                self.saw["bundle"] += 1
                self._bundled.update(offer.task_ids)
            for task_id in offer.task_ids:
                holder = self._holder.get(task_id)
                self.must(
                    holder == offer.driver_id,
                    "whole offer",
                    f"{offer.offer_id} was given to {offer.driver_id}, and {task_id} of it to {holder}",
                )

    def _task_row(self, task: TaskRow) -> None:
        state = task.task_id, task.status, task.driver_id
        if state not in self._was:
            self._was.add(state)
            self.saw[f"task {task.kind} {task.status}"] += 1
        if task.task_id in self._bundled and task.status not in TASK_HELD:
            self._bundled.discard(task.task_id)
            self.saw["bundle broken up"] += task.status is not TaskStatus.DONE
        holder = self._holder.pop(task.task_id, None)
        if holder is not None:
            del self._held[holder][task.task_id]
        if task.status in TASK_HELD and task.driver_id is not None:
            # Only a release, which opens the task for all, comes between two holders.
            self.must(holder in (None, task.driver_id), "two holders", f"{task.task_id} was {holder}'s")
            self._holder[task.task_id] = task.driver_id
            held = self._held.setdefault(task.driver_id, {})
            held[task.task_id] = task
            if any(other.kind is TaskKind.RETURN for other in held.values()):
                fetch = [other.task_id for other in held.values() if other.status in TASK_RELEASABLE]
                self.must(not fetch, "return first", lambda: f"{task.driver_id} has yet to fetch {fetch}")

    def _delivered(self, order_id: str) -> None:
        task = next(
            (
                task
                for task in self.memory.tasks.values()
                if task.order_id == order_id and task.kind is TaskKind.DELIVERY
                and task.status in (TaskStatus.AT_DROPOFF, TaskStatus.DONE)
            ),
            None,
        )  # fmt: skip
        passed = task is not None and any(
            check.passed and check.order_id == order_id and check.driver_id == task.driver_id
            for check in self.memory.checks.values()
        )
        self.must(passed, "door gate", f"{order_id} was delivered without its holder's passed check")
        door = self._door(order_id)
        self.must(door is Door.PASS, "door gate", f"{order_id} was delivered to {door}")

    # -- the region ---------------------------------------------------------------------------------------------------

    def stepped(self, region: Region, now_ms: int, message: Message, ready: Ready) -> None:
        """A region took a message in."""
        state, life = region.state, (region.id, region.epoch)
        jobs, offers = state.jobs, state.offers.live
        self._first_ms.setdefault(life, now_ms)
        for offer_id, offer in offers.items():
            own = state.offers.by_driver.get(offer.driver_id) == offer_id
            self.must(own, "memory", f"{offer_id} is half there")
            beside = state.offers.by_tasks.get(offer.task_ids, ())
            for task_id in offer.task_ids:
                job = jobs.get(task_id)
                fits = job is not None and offer_id in beside and job.task.offer_id in beside
                self.must(fits, "memory", f"{offer_id} offers {task_id}, which does not know of it")
        drivers = len(state.offers.by_driver)
        self.must(drivers == len(offers), "memory", "a driver has an offer that is not there")
        for task_id, job in jobs.items():
            status = job.task.status
            self.must(
                (task_id in region.state.open) == (status is TaskStatus.OPEN),
                "memory",
                f"{task_id} is {status} and {'' if task_id in region.state.open else 'not '}among the open ones",
            )
            if job.held_by is not None:
                held = task_id in region.state.holdings.by_driver.get(job.held_by, ())
                self.must(held, "memory", f"{task_id} is not among what {job.held_by} holds")
            self.must(status not in TASK_ENDED, "memory", f"{task_id} has ended and is still there")
        due_ms = region.next_deadline()
        if isinstance(message, Tick):
            late = [offer.offer_id for offer in offers.values() if offer.expires_ms <= now_ms]
            self.must(not late, "ttl", lambda: f"{late[0]} outlives its end")
        elif due_ms is not None and life not in self.excused_regions:
            late_ms = now_ms - max(due_ms, self._first_ms[life])
            self.must(late_ms < LATE_TICK_MS, "deadline", f"a deadline is {late_ms} ms late")
        for task_id in region.state.open:
            why = why_open(region.state, jobs[task_id], now_ms)
            self.must(why is not Waiting.UNEXPLAINED, "reason", f"{task_id} waits and nobody knows why")

    # -- drivers, customers, merchants --------------------------------------------------------------------------------

    def heard(self, driver_id: str, frame: wire.ServerFrame) -> None:
        """A frame reached a driver's phone: what it says must be durable."""
        self.saw[f"frame {frame.__struct_config__.tag}"] += 1
        if isinstance(frame, wire.Welcome):
            for view in frame.snapshot.tasks:
                self._is_durable(view.task_id, view.status, driver_id)
            for offer in frame.snapshot.offers:
                self._offer_is_durable(offer.offer_id, OfferStatus.OFFERED)
        elif isinstance(frame, wire.Offer):
            self._offer_is_durable(frame.offer_id, OfferStatus.OFFERED)
        elif isinstance(frame, wire.OfferExpired):
            self._offer_is_durable(frame.offer_id, OfferStatus.EXPIRED)
        elif isinstance(frame, wire.OfferRevoked):
            self._offer_is_durable(frame.offer_id, OfferStatus.REVOKED)
        elif isinstance(frame, wire.OfferRejected):
            self._offer_is_durable(frame.offer_id, OfferStatus.REJECTED)
        elif isinstance(frame, wire.TaskAssigned | wire.TaskUpdated):
            self._is_durable(frame.task.task_id, frame.task.status, driver_id)
        elif isinstance(frame, wire.OfferAccepted):
            self._accepted(driver_id, frame.offer_id, tuple(view.task_id for view in frame.tasks))

    def _is_durable(self, task_id: str, status: str, driver_id: str) -> None:
        known = (task_id, TaskStatus(status), driver_id) in self._was
        self.must(known, "durable first", f"{driver_id} was told that {task_id} is {status}")

    def _offer_is_durable(self, offer_id: str, status: OfferStatus) -> None:
        known = (offer_id, status) in self._offer_was
        self.must(known, "durable first", f"a driver was told that {offer_id} is {status}")

    def _accepted(self, driver_id: str, offer_id: str, tasks: tuple[str, ...]) -> None:
        self._offer_is_durable(offer_id, OfferStatus.ACCEPTED)
        for task_id in tasks:
            self._is_durable(task_id, TaskStatus.ASSIGNED, driver_id)
        winner, _ = self._won.setdefault(offer_id, (driver_id, tasks))
        self.must(winner == driver_id, "one winner", f"{offer_id} was given to {winner} and {driver_id}")

    def answered(self, who: str, key: str, granted: bool, what: Any) -> None:
        """A request was answered for good: granted stays granted, with the same words."""
        self.saw["answer" if granted else "refusal"] += 1
        request, now_s = (who, key), self._world.now_s()
        first_s, before = self._granted.get(request, (now_s, None))
        if before is not None and now_s - first_s < self._world.limits.idempotency_ttl_s:
            self.must(granted and before == what, "same answer", f"{who} asked {key} again and got {what}")
            self.saw["repeated answer"] += 1
        elif granted:
            self._granted[request] = now_s, what

    def ended_by_hand(self, offer: OfferRow) -> None:
        """An operator has ended an offer: not by our books, but so it is."""
        self._offer_row(offer)
        self._by_hand.update(offer.task_ids)

    def spoilt(self, task_id: str) -> None:
        """A region cannot live with the task's row, and ends the offers that it is in."""
        self._by_hand.add(task_id)

    def refused(self, region_id: str, outcome: RecordRefused) -> None:
        """The rows refuse a region's record, which costs it a life."""
        what = f"{outcome.record_id} of {region_id} broke {outcome.constraint}"
        self.must(self._may_refuse(), "restarted", what)

    def failed(self, who: str, path: str, code: str, why: str) -> None:
        """Somebody got a 500. A change that the database refused is told so, but there must be such a change."""
        self.saw[code] += 1
        if code != InternalConflict.code or not self._may_refuse():
            self.broken("no 500", f"{who} at {path}: {code} {why}")

    # -- downstream ---------------------------------------------------------------------------------------------------

    def published(self, events: Iterable[OutboxEvent]) -> None:
        """Events reached the bus."""
        for event in events:
            about = event.aggregate_id, event.payload["seq"]
            committed = self._outbox.get(event.event_id) == about
            self.must(committed, "published", f"event {event.event_id} of {about} was never committed")
            order_id, seq = about
            newest = self._told.get(order_id, 0)
            in_turn = f"event {seq} of {order_id} is published after event {newest}"
            self.must(seq <= newest + 1, "bus order", in_turn)
            self._told[order_id] = max(newest, seq)
            self.saw["published again"] += event.event_id in self._published
            self._published[event.event_id] = about

    # -- in the end ---------------------------------------------------------------------------------------------------

    def unfinished(self) -> list[str]:
        """Orders that somebody still has to do something about, with their status."""
        return [
            f"{order_id} is {order.status}"
            for order_id, order in self.memory.orders.items()
            if (order.status not in ENDED | UNBOUND or order.payment_open_ms is not None)
            and not (order.status is OrderStatus.DELIVERED and self.money.is_stuck(order_id))
        ]

    def waiting(self, channel: Channel) -> list[OutboxEvent]:
        """Committed events that somebody still has to hand on. What its receiver never took is left to people."""
        events = self.memory.outbox[channel].values()
        return [event for event in events if not self._refused(channel, event.aggregate_id)]

    def _refused(self, channel: Channel, order_id: str) -> bool:
        if channel is Channel.PAYMENTS:
            return self.money.is_stuck(order_id)
        return channel is Channel.BUS and self._world.was_poison(order_id)

    def quiet(self, regions: dict[str, Region | None], phones: dict[str, set[str]]) -> None:
        """All is calm and has ended: what everybody believes is what the database says.

        `regions` are those that serve, by market, `phones` the tasks that each driver's phone shows as held.
        """
        for task in self.memory.tasks.values():
            hangs = task.status is TaskStatus.OFFERED and not self._asked.get(task.task_id)
            self.must(not hangs, "hanging offer", f"{task.task_id} is OFFERED, and no offer of it stands")
        for what in self.unfinished():
            self.broken("liveness", what)
        for order_id in self.memory.orders:
            verdict = verify(self.memory.dossier(order_id))
            self.must(verdict.ok, "dossier", f"{order_id}: {verdict.reason}")
        for channel in Channel:
            waiting = self.waiting(channel)
            self.must(not waiting, "outbox", f"{len(waiting)} events of {channel} were never handed on")
        self.money.quiet()
        told = self._published.keys()
        lost = {
            id for id, (of, _) in self._outbox.items() if id not in told and not self._world.was_poison(of)
        }
        self.must(not lost, "outbox", lambda: f"event {min(lost)} was never published")
        for offer_id, (driver_id, _) in self._won.items():
            row = self.memory.offers[offer_id]
            kept = row.status is OfferStatus.ACCEPTED and row.driver_id == driver_id
            self.must(kept, "accept stays", f"{driver_id} was given {offer_id}, which is {row.status}")
        for market, region in regions.items():
            if region is None:
                self.broken("liveness", f"no region serves {market}")
            else:
                self._remembers(region)
        for driver_id, shown in phones.items():
            held = set(self._held.get(driver_id, ()))
            self.must(shown == held, "phone", f"{driver_id} sees {sorted(shown)}, holds {sorted(held)}")

    def _remembers(self, region: Region) -> None:
        all_tasks = [task for task in self.memory.tasks.values() if task.region_id == region.id]
        all_offers = [offer for offer in self.memory.offers.values() if offer.region_id == region.id]
        live = {task.task_id: task for task in all_tasks if task.status not in TASK_ENDED}
        here = {task_id: job.task for task_id, job in region.state.jobs.items()}
        self.must(here == live, "memory", lambda: f"the region has {sorted(here)}, the store {sorted(live)}")
        standing = {offer.offer_id for offer in all_offers if offer.status is OfferStatus.OFFERED}
        self.must(set(region.state.offers.live) == standing, "memory", "live offers differ from the store's")
        tasks = Counter((str(task.kind), str(task.status)) for task in all_tasks)
        due = counters(tasks, Counter(str(offer.status) for offer in all_offers))
        wrong = [name for name in COUNTERS if region.state.counters[name] != due[name]]
        self.must(not wrong, "memory", lambda: f"{wrong[0]}: {region.state.counters} instead of {due}")
