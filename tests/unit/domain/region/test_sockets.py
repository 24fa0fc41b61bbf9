"""Stories of sockets: numbered pushes, what a returning client missed, takeovers, and lost gateways."""

from __future__ import annotations

import pytest

from domain.protocol import Offer
from domain.region.mailbox import SEQ_ROOM
from domain.region.messages import (
    Accept,
    Acked,
    Arrive,
    Deliver,
    Detach,
    GatewayLost,
    Kick,
    Pickup,
    Push,
    Ready,
    Reject,
)
from tests.support.build import STORE_AT, at, attach, id_check, seen
from tests.support.story import Story


def pushed(ready: Ready) -> list[Push]:
    return [push for push in ready.pushes if isinstance(push, Push)]


def busy(story: Story, rounds: int) -> None:
    """Offers that Ann declines by REST: two pushes each."""
    for _ in range(rounds):
        story.do("ann", Reject(offer_id=story.offered("ann")))


def seqs(story: Story, driver_id: str = "ann") -> list[int]:
    return [frame.seq for frame in story.frames(driver_id)]


def test_sequence_numbers_rise_by_one_from_the_epochs_base() -> None:
    story = Story()
    task_id = story.assigned()
    for action in (Arrive(task_id), Pickup(task_id), Arrive(task_id)):
        assert story.ask("ann", action, by="rest").code is None
    assert seqs(story) == [SEQ_ROOM + i for i in range(1, 5)]


def test_each_driver_has_numbers_of_their_own() -> None:
    story = Story()
    story.drive("bob", at(3))
    story.offered("ann")
    story.order()
    story.look()
    assert seqs(story, "ann") == seqs(story, "bob") == [SEQ_ROOM + 1]


def test_a_returning_client_gets_what_it_missed_and_no_more() -> None:
    story = Story()
    story.do("ann", Accept(offer_id=story.offered()))
    first = seqs(story)[-1]
    story.step(Detach(driver_id="ann", session=story.session["ann"]))
    assert story.ask("ann", Arrive("task-1"), by="rest").code is None
    assert story.ask("ann", Pickup("task-1"), by="rest").code is None
    attached = story.attach("ann", resume_from=first)
    assert attached.resumed
    assert [frame.seq for frame in attached.missed] == [first + 1, first + 2]
    assert [task.status for task in attached.snapshot.tasks] == ["PICKED_UP"]
    assert attached.snapshot.last_seq == first + 2


def test_a_client_that_missed_nothing_resumes_with_nothing() -> None:
    story = Story()
    story.offered()
    attached = story.attach("ann", resume_from=seqs(story)[-1])
    assert attached.resumed
    assert attached.missed == ()
    assert [offer.offer_id for offer in attached.snapshot.offers] == [story.offer_to("ann").offer_id]


def test_a_client_without_a_past_starts_from_the_snapshot() -> None:
    story = Story()
    story.offered()
    attached = story.attach("ann")
    assert not attached.resumed
    assert attached.missed == ()
    assert len(attached.snapshot.offers) == 1
    assert attached.snapshot.last_seq == seqs(story)[-1]


def test_the_snapshots_number_is_a_place_to_resume_from() -> None:
    story = Story()
    at_start = story.attach("ann").snapshot.last_seq
    assert at_start == SEQ_ROOM
    story.step(Detach(driver_id="ann", session=1))
    story.drive("ann")
    story.offered()
    attached = story.attach("ann", resume_from=at_start)
    assert attached.resumed
    assert [type(frame) for frame in attached.missed] == [Offer]


def test_after_the_ring_overflowed_nobody_resumes_from_before() -> None:
    story = Story(push_ring=3, decline_cooldown_s=0.0)
    busy(story, 5)
    numbers = seqs(story)
    assert len(numbers) == 5
    assert not story.attach("ann", resume_from=numbers[0]).resumed
    attached = story.attach("ann", resume_from=numbers[1])
    assert attached.resumed
    assert [frame.seq for frame in attached.missed] == numbers[2:]


def test_what_was_acknowledged_is_not_kept() -> None:
    story = Story(decline_cooldown_s=0.0)
    busy(story, 3)
    numbers = seqs(story)
    story.step(Acked("ann", numbers[1]))
    assert not story.attach("ann", resume_from=numbers[0]).resumed
    assert [frame.seq for frame in story.attach("ann", resume_from=numbers[1]).missed] == numbers[2:]
    story.step(Acked("ann", numbers[2]))
    assert story.attach("ann", resume_from=numbers[2]).resumed
    story.step(Acked("zoe", 5))  # never heard of: nothing to forget


def test_a_new_life_of_the_region_resumes_nobody_and_tells_again() -> None:
    story = Story()
    offer_id = story.offered()
    last = seqs(story)[-1]
    story.restart()
    attached = story.attach("ann", resume_from=last)
    assert not attached.resumed
    assert [offer.offer_id for offer in attached.snapshot.offers] == [offer_id]
    assert attached.snapshot.last_seq > last


def test_a_number_that_was_never_sent_is_no_place_to_resume_from() -> None:
    story = Story()
    story.offered()
    for number in (seqs(story)[-1] + 1, 7 * SEQ_ROOM):
        assert not story.attach("ann", resume_from=number).resumed


def test_a_second_socket_takes_over_and_the_first_is_closed() -> None:
    story = Story()
    story.drive("ann")
    ready = story.step(attach("ann", session=9, gateway_id="gateway:1"))
    assert ready.pushes == [Kick("gateway:0", "ann", 1)]
    story.session["ann"] = 9
    assert story.step(attach("ann", session=9, gateway_id="gateway:1")).pushes == []  # the same socket again
    story.where["ann"] = STORE_AT
    story.order()
    ready = story.step(seen({"ann": STORE_AT}, session=9, seq=50, gateway_id="gateway:1"))
    story.look()
    [push] = [push for push in story.pushes if isinstance(push, Push)]
    assert (push.gateway_id, push.session) == ("gateway:1", 9)


def test_the_close_of_a_replaced_socket_does_not_detach_the_new_one() -> None:
    story = Story()
    story.drive("ann")
    story.attach("ann")
    story.step(Detach(driver_id="ann", session=1))
    story.offered("ann")
    assert [push.session for push in story.pushes if isinstance(push, Push)] == [2]


def test_without_a_socket_pushes_wait_for_the_next() -> None:
    story = Story()
    story.drive("ann")
    story.step(Detach(driver_id="ann", session=1))
    story.order()
    story.wait(3)
    assert pushed(story.step(Detach(driver_id="ann", session=1))) == []
    assert story.frames("ann") == []
    attached = story.attach("ann", resume_from=SEQ_ROOM)
    assert [type(frame) for frame in attached.missed] == [Offer]


@pytest.mark.parametrize("acked", [False, True])
def test_a_lost_gateways_drivers_get_unacknowledged_pushes_again(acked: bool) -> None:
    story = Story()
    story.offered()
    story.drive("bob", at(30))
    if acked:
        story.step(Acked("ann", seqs(story)[-1]))
    story.step(GatewayLost("gateway:0"))
    before = story.frames("ann")
    story.ping(["ann"])
    assert story.frames("ann")[len(before) :] == ([] if acked else before)
    story.ping(["ann"])
    assert len(story.frames("ann")) == len(before) * (1 if acked else 2)


def test_while_the_gateway_is_lost_nothing_is_sent_to_it() -> None:
    story = Story()
    story.offered()
    story.step(GatewayLost("gateway:0"))
    ready = story.step(Detach(driver_id="zoe", session=4))
    assert ready.pushes == []
    count = len(story.frames("ann"))
    story.ask("ann", Accept(task_id="task-1"), by="rest")
    assert len(story.frames("ann")) == count


def test_a_lost_gateway_is_no_matter_to_the_others() -> None:
    story = Story()
    story.step(GatewayLost("gateway:9"))
    story.offered()
    assert len(story.frames("ann")) == 1
    story.step(GatewayLost("gateway:9"))
    assert pushed(story.step(seen({"ann": STORE_AT}, session=1, seq=999))) == []


def test_a_socket_that_was_overtaken_on_its_way_is_closed_and_not_the_later_one() -> None:
    story = Story()
    story.drive("ann")
    story.attach("ann")  # session 2
    late = story.step(attach("ann", 1, None))
    assert late.pushes == [Kick("gateway:0", "ann", 1)]
    story.offered("ann")
    assert [push.session for push in story.pushes if isinstance(push, Push)] == [2]


def test_another_phone_hears_what_the_first_one_asked_for() -> None:
    story = Story()
    offer_id = story.offered()
    first = story.session["ann"]
    story.attach("ann")
    assert story.ask("ann", Accept(offer_id=offer_id), session=first).code is None
    for action in (Arrive("task-1"), Pickup("task-1"), Arrive("task-1")):
        assert story.ask("ann", action, session=first).code is None
    assert story.do("ann", id_check()).code is None
    assert story.ask("ann", Deliver("order-1"), session=first).code is None
    assert story.kinds("ann") == ["offer", "offer.accepted", *["task.updated"] * 4]


def test_another_phone_hears_of_an_offer_that_the_first_one_declined() -> None:
    story = Story()
    offer_id = story.offered()
    first = story.session["ann"]
    story.attach("ann")
    assert story.ask("ann", Reject(offer_id=offer_id), session=first).code is None
    assert story.kinds("ann") == ["offer", "offer.rejected"]
    assert story.ask("ann", Reject(offer_id=story.offered("ann"))).code is None
    assert story.kinds("ann") == ["offer", "offer.rejected", "offer"]  # the socket carries the answer itself
