"""The pump holds everything back until its records are durable, and forgets nothing when a life ends."""

from __future__ import annotations

from msgspec.structs import replace

from actors.region.pump import Batch, Pump
from domain.orders.records import Answer, RegionRecords
from domain.region.machine import Region
from domain.region.messages import Accept, Acked, PlanReady
from domain.region.policy import RegionPolicy
from persistence.orders.memory import MemoryStore
from solver.registry import solve
from tests.support.build import NOW, REGION, STORE_AT, ask, attach, seen
from tests.support.story import put_order


class World:
    """A pump with an order open and a driver at the store."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.pump: Pump[str] = Pump(Region(self.store.open_region_now(REGION, NOW), RegionPolicy(), NOW), NOW)
        self.pump.take(NOW, attach("ann"), "attach")
        self.pump.take(NOW, seen({"ann": STORE_AT}), None)
        self.pump.take(NOW, put_order(self.store, 1, NOW), "opened")

    def offer(self) -> str:
        """Make the offer; its record waits in the next batch."""
        request = self.pump.take(NOW + 200, Acked("ann", 0))
        assert request is not None
        self.pump.take(NOW + 201, PlanReady(solve(request)))
        return self.pump.region.state.offers.by_driver["ann"]

    def commit(self) -> Batch[str]:
        batch = self.pump.next_batch()
        assert batch is not None
        self.store.append_now([RegionRecords(REGION, 1, tuple(batch.records))])
        return self.pump.appended(batch)


def test_what_needs_no_record_leaves_at_once() -> None:
    batch = World().commit()
    assert [taken.ticket for taken in batch.taken] == ["attach", "opened"]
    assert batch.records == []


def test_nothing_is_handed_out_while_an_append_is_under_way() -> None:
    world = World()
    world.commit()
    offer_id = world.offer()
    first = world.pump.next_batch()
    assert first is not None
    assert len(first.records) == 1
    world.pump.take(NOW + 300, ask(Accept(offer_id=offer_id)), "accept")
    world.pump.take(NOW + 301, attach("bob"), "bob")  # needs no record, and still must not overtake
    assert world.pump.next_batch() is None
    assert [
        type(push.frame).__name__ for push in world.pump.appended(first).pushes if hasattr(push, "frame")
    ] == ["Offer"]


def test_what_was_stepped_meanwhile_makes_one_next_append_in_order() -> None:
    world = World()
    world.commit()
    offer_id = world.offer()
    first = world.pump.next_batch()
    assert first is not None
    keys = ["k1", "k2", "k3"]
    for key in keys:
        world.pump.take(NOW + 300, ask(Accept(offer_id=offer_id), key=key), key)
    world.pump.appended(first)
    second = world.pump.next_batch()
    assert second is not None
    assert [taken.ticket for taken in second.taken] == keys
    assert len(second.records) == 1
    replies = [taken.reply for taken in second.taken]
    assert [reply.code for reply in replies if isinstance(reply, Answer)] == [
        None,
        "OFFER_TAKEN",
        "OFFER_TAKEN",
    ]


def test_an_idle_pump_has_nothing_to_do() -> None:
    world = World()
    world.commit()
    assert world.pump.next_batch() is None
    world.pump.take(NOW + 1, seen({"ann": STORE_AT}, seq=2))
    assert world.pump.next_batch() is None
    assert world.pump.waiting == 0


def test_waiting_counts_both_what_is_under_way_and_what_is_next() -> None:
    world = World()
    assert world.pump.waiting == 2
    batch = world.pump.next_batch()
    assert batch is not None
    world.pump.take(NOW, attach("bob"), "bob")
    assert world.pump.waiting == 3
    world.pump.appended(batch)
    assert world.pump.waiting == 1


def test_an_abandoned_life_gives_back_all_that_has_not_left() -> None:
    world = World()
    world.commit()
    offer_id = world.offer()
    assert world.pump.next_batch() is not None
    world.pump.take(NOW + 300, ask(Accept(offer_id=offer_id)), "accept")
    world.pump.take(NOW + 300, attach("bob"), "bob")
    culprits, others = world.pump.abandoned()
    assert culprits == []
    assert [taken.ticket for taken in others] == [None, "accept", "bob"]


def test_the_makers_of_a_refused_record_are_told_apart() -> None:
    world = World()
    world.commit()
    offer_id = world.offer()
    world.pump.take(NOW + 300, ask(Accept(offer_id=offer_id)), "accept")
    world.pump.take(NOW + 300, ask(Accept(offer_id=offer_id), who="bob"), "bob")
    batch = world.pump.next_batch()
    assert batch is not None
    accepted = batch.records[1]
    culprits, others = world.pump.abandoned(accepted.record_id)
    assert [taken.ticket for taken in culprits] == ["accept"]
    assert [taken.ticket for taken in others] == [None, "bob"]


def test_the_repeat_of_a_refused_request_is_refused_with_it() -> None:
    world = World()
    world.commit()
    offer_id = world.offer()
    world.commit()
    for ticket in ("first", "again"):
        world.pump.take(NOW + 300, ask(Accept(offer_id=offer_id), key="k1"), ticket)
    world.pump.take(NOW + 301, ask(Accept(offer_id=offer_id), key="k2", who="bob"), "bob")
    batch = world.pump.next_batch()
    assert batch is not None
    culprits, others = world.pump.abandoned(batch.records[0].record_id)
    assert [taken.ticket for taken in culprits] == ["first", "again"]
    assert [taken.ticket for taken in others] == ["bob"]


def test_what_waits_is_answered_though_the_region_has_forgotten_it() -> None:
    """A repeat gets the first answer before its record is durable, and the region remembers it anew from then on:
    whoever looked in the database a moment before found nothing there."""
    world = World()
    policy = RegionPolicy(answers_limit=1)
    world.pump = Pump(Region(world.store.open_region_now(REGION, NOW), policy, NOW), NOW)
    world.pump.take(NOW, attach("ann"), "attach")
    world.pump.take(NOW, seen({"ann": STORE_AT}), None)
    world.commit()
    offer_id = world.offer()
    world.commit()
    accept = ask(Accept(offer_id=offer_id), key="first")
    world.pump.take(NOW + 300, accept, "first")
    held = world.pump.next_batch()
    assert held is not None
    world.pump.take(NOW + 301, ask(Accept(offer_id=offer_id), key="other"), "other")
    again = replace(accept, looked=True)
    world.pump.take(NOW + 302, again, "again")
    world.pump.take(NOW + 303, replace(again, fingerprint="another"), "another")
    free = world.pump.appended(held)
    later = world.pump.next_batch()
    assert later is not None
    replies = {taken.ticket: taken.reply for taken in (*free.taken, *later.taken)}
    assert replies["again"] == replies["first"]
    assert getattr(replies["first"], "code", "") is None
    assert getattr(replies["another"], "code", None) == "IDEMPOTENCY_KEY_REUSED"
    assert [settled.ask.key for settled in free.settled] == ["first"]
    world.pump.appended(later)
    world.pump.take(NOW + 304, free.settled[0], None)
    world.pump.take(NOW + 305, again, "late")
    last = world.pump.next_batch()
    assert last is not None
    assert [taken.reply for taken in last.taken if taken.ticket == "late"] == [replies["first"]]
