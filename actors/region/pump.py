"""The order in which a region's decisions leave: durable first. Sans I/O, so that a simulator can drive it by hand.

    pump.take(now_ms, message, ticket) -> solve request to start, or None
    batch = pump.next_batch()          -> what to append now, None while an append is under way or nothing waits
    pump.appended(batch, held)         -> replies and pushes that may leave now; `held` records wait for a locked row
    pump.abandoned()                   -> after a failed append: the messages to step again on a restored region

The region goes on stepping while an append is under way; what it decides meanwhile makes up the next append (group
commit). Whatever was stepped after a record leaves after that record, because it may rest on it. While somebody holds a
row locked, that is so of what shares a subject with the record that waits for it (`domain.region.locked_records`); the
rest goes on.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, Protocol, TypeVar

from msgspec import Struct, field

from domain.errors import IdempotencyKeyReused
from domain.orders.records import Answer, Record
from domain.orders.state import refused
from domain.region.locked_records import behind, message_subjects
from domain.region.machine import Region
from domain.region.messages import Ask, Attached, Kick, Message, Push, Ready, Settled
from domain.solve import SolveRequest

T = TypeVar("T")


class Taken(Struct, Generic[T]):
    """A stepped message with its ticket, the answer that waits, and the ids of the records it made."""

    message: Message
    ticket: T | None
    reply: Answer | Attached | None
    record_ids: tuple[str, ...]


class Batch(Struct, Generic[T]):
    """What leaves together: records first, and when they are durable, replies and pushes."""

    records: list[Record] = field(default_factory=list)
    taken: list[Taken[T]] = field(default_factory=list)
    pushes: list[Push | Kick] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)  # answers that the region is to remember anew


class Journal(Protocol):
    """Hears of everything that goes into a region and what it decided, in order."""

    def began(self, region: Region, now_ms: int) -> None:
        """A life of the region begins in this state."""
        ...

    def stepped(self, now_ms: int, message: Message, ready: Ready) -> None:
        """The region took this message in."""
        ...

    def failed(self, now_ms: int, message: Message) -> None:
        """The region failed at this message, and its life is over."""
        ...


class Pump(Generic[T]):
    """Steps one life of a region and holds its output back until it may leave. `T`: whatever stands for who waits."""

    def __init__(self, region: Region, now_ms: int, journal: Journal | None = None) -> None:
        self.region, self._journal = region, journal
        if journal is not None:
            journal.began(region, now_ms)
        self._next: Batch[T] = Batch()
        self._under_way: Batch[T] | None = None
        self._held: Batch[T] = Batch()  # what waits for locked rows
        self._about: set[str] = set()  # what all of that is about
        self._again = False  # it is to be tried again
        # The answers among all that waits, by request, with the fingerprint: the region may have forgotten them when a
        # repeat comes, and the database does not know them yet.
        self._answers: dict[tuple[str, str], tuple[str, Answer]] = {}

    @property
    def waiting(self) -> int:
        """Messages that were stepped and whose outcome has not left."""
        return self.held + len(self._next.taken) + (len(self._under_way.taken) if self._under_way else 0)

    @property
    def held(self) -> int:
        """Messages among them that wait for a locked row."""
        return len(self._held.taken)

    @property
    def holds(self) -> bool:
        """Whether anything waits for a locked row."""
        return bool(self._held.records)

    def try_again(self) -> None:
        """What waits for locked rows goes into the next batch."""
        self._again = self.holds

    def take(self, now_ms: int, message: Message, ticket: T | None = None) -> SolveRequest | None:
        """Step one message; a solve that it asks for may start at once, for a plan is only advice."""
        if self._answers and isinstance(message, Ask):
            fingerprint, answer = self._answers.get((message.scope, message.key), (None, None))
            if answer is not None:
                same = fingerprint == message.fingerprint
                reply = answer if same else refused(IdempotencyKeyReused())
                self._next.taken.append(Taken(message, ticket, reply, ()))
                return None
        try:
            ready = self.region.step(now_ms, message)
        except Exception:
            if self._journal is not None:
                self._journal.failed(now_ms, message)
            raise
        if self._journal is not None:
            self._journal.stepped(now_ms, message, ready)
        self._next.records.extend(ready.records)
        self._next.pushes.extend(ready.pushes)
        if ticket is not None or ready.records:
            ids = tuple(record.record_id for record in ready.records)
            self._next.taken.append(Taken(message, ticket, ready.reply, ids))
            if ids and isinstance(message, Ask) and isinstance(ready.reply, Answer):
                self._answers[(message.scope, message.key)] = message.fingerprint, ready.reply
        return ready.solve

    def next_batch(self) -> Batch[T] | None:
        """The batch to append now. One without records needs no append and goes straight to `appended`."""
        if self._under_way is not None:
            return None
        batch, self._next = self._next, Batch()
        if self._again:
            batch, self._held, self._about, self._again = _joined(self._held, batch), Batch(), set(), False
        elif self._about:
            batch = self._hold(batch, ())
        if not (batch.records or batch.taken or batch.pushes):
            return None
        self._under_way = batch
        return batch

    def appended(self, batch: Batch[T], held: Collection[str] = ()) -> Batch[T]:
        """The batch's records are durable, but for those of the ids `held`: what does not rest on them may leave."""
        assert batch is self._under_way
        self._under_way = None
        free = self._hold(batch, held) if held else batch
        for one in free.taken:
            ask = one.message
            if one.record_ids and isinstance(ask, Ask):
                _, answer = self._answers.pop((ask.scope, ask.key), (None, None))
                if answer is not None and self.region.answers.known(ask.scope, ask.key) is None:
                    # Who looked for it in the database just before it was there asks the region now.
                    free.settled.append(Settled(ask, answer))
        return free

    def _hold(self, batch: Batch[T], locked: Collection[str]) -> Batch[T]:
        """Keep back what waits for locked rows; returns the rest."""
        waiting = behind(batch.records, locked, self._about)
        names = {record.record_id for record in waiting}
        free: Batch[T] = Batch()
        self._held.records += waiting
        free.records = [record for record in batch.records if record.record_id not in names]
        for taken in batch.taken:
            waits = not names.isdisjoint(taken.record_ids) or not self._about.isdisjoint(
                message_subjects(taken.message)
            )
            (self._held if waits else free).taken.append(taken)
        for push in batch.pushes:
            (self._held if push.driver_id in self._about else free).pushes.append(push)
        return free

    def abandoned(self, record_id: str | None = None) -> tuple[list[Taken[T]], list[Taken[T]]]:
        """This life of the region is over, because its last append failed.

        Returns the messages that made the record of that id (the store refused it) with their repeats, and all others
        whose outcome has not left, in order, to be stepped on a restored region. A repeat stepped there would be
        decided anew, and might be granted to somebody who was just told that nothing was done.
        """
        under_way = self._under_way.taken if self._under_way else []
        taken = self._held.taken + under_way + self._next.taken
        requests = {_request(one.message) for one in taken if record_id in one.record_ids} - {None}
        culprits: list[Taken[T]] = []
        others: list[Taken[T]] = []
        for one in taken:
            guilty = record_id in one.record_ids or _request(one.message) in requests
            (culprits if guilty else others).append(one)
        return culprits, others


def _joined(first: Batch[T], then: Batch[T]) -> Batch[T]:
    return Batch(first.records + then.records, first.taken + then.taken, first.pushes + then.pushes)


def _request(message: Message) -> tuple[str, str] | None:
    """The id of a request."""
    return (message.scope, message.key) if isinstance(message, Ask) else None
