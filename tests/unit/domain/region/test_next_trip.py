"""Offers to drivers who are not done yet: the next trip, and what becomes of it when goods have to go back."""

from __future__ import annotations

from domain.orders.lifecycle import OfferStatus, TaskStatus
from domain.orders.reasons import RefuseReason
from domain.region.messages import Accept, Arrive, Deliver, Pickup, Refuse
from domain.solve import Planning
from tests.support import build
from tests.support.build import DOOR_AT
from tests.support.story import Story


def at_the_door() -> Story:
    """Ann stands at a door with one order, and is offered another."""
    story = Story(offer_ahead_s=600.0)
    story.at_door()
    story.drive("ann", DOOR_AT)
    story.order()
    story.look()
    return story


def test_who_will_be_done_soon_is_offered_the_next_trip() -> None:
    story = at_the_door()
    offer = story.offer_to("ann")
    assert offer.task_ids == ("task-2",)
    story.do("ann", Accept(offer_id=offer.offer_id))
    story.order()
    story.wait(10)
    assert "ann" not in story.region.state.offers.by_driver  # one trip ahead is enough
    assert story.region.state.holdings.trips("ann") == [["task-1"], ["task-2"]]
    story.do("ann", build.id_check("order-1"), Deliver("order-1"))
    story.do("ann", Arrive("task-2"), Pickup("task-2"), Arrive("task-2"))
    story.do("ann", build.id_check("order-2"), Deliver("order-2"))
    assert story.task("task-2").status is TaskStatus.DONE


def test_who_is_not_on_the_way_to_a_door_is_not_asked() -> None:
    story = Story(offer_ahead_s=3600.0)
    story.assigned()
    story.order()
    story.wait(10)
    assert story.region.state.offers.live == {}


def test_without_it_only_who_is_free_is_asked() -> None:
    story = Story()
    story.at_door()
    story.order()
    story.wait(10)
    assert story.region.state.offers.live == {}


def test_a_refusal_at_the_door_takes_the_next_trip_away() -> None:
    story = at_the_door()
    story.do("ann", Accept(offer_id=story.offer_to("ann").offer_id))
    story.do("ann", Refuse("order-1", RefuseReason.NOBODY_HOME))
    assert story.task("task-2").status is TaskStatus.OPEN
    assert "task.cancelled" in story.kinds("ann")
    story.wait(120)
    assert story.region.state.offers.by_driver == {}  # the goods go back first


def test_a_refusal_at_the_door_takes_the_open_offer_away() -> None:
    story = at_the_door()
    offer_id = story.offer_to("ann").offer_id
    story.do("ann", Refuse("order-1", RefuseReason.NOBODY_HOME))
    assert story.store.offers[offer_id].status is OfferStatus.REVOKED
    assert story.store.offers[offer_id].reason == "RETURN_FIRST"
    assert story.task("task-2").status is TaskStatus.OPEN


def test_a_bundle_is_foreseen_door_after_door() -> None:
    story = Story(planning=Planning(bundle_delay_s=-1.0))
    story.drive("ann")
    for n in (1, 2):
        story.order(n)
    story.look()
    offer = story.offer_to("ann")
    assert set(offer.task_ids) == {"task-1", "task-2"}
    row = story.region.state.fleet.index["ann"]
    free_ms = int(story.region.state.fleet.free_ms[row])
    story.do("ann", Accept(offer_id=offer.offer_id))
    assert story.region.state.fleet.free_ms[row] == free_ms
    first, second = offer.task_ids
    story.do("ann", Arrive(first), Arrive(second), Pickup(first), Pickup(second), Arrive(first))
    assert story.region.state.holdings.trips("ann") == [[first, second]]
