"""A region begins with what can be lived with: bad rows are set aside, what does not fit together is put right."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from domain.orders.lifecycle import OfferStatus, OrderStatus, Role, TaskStatus
from domain.orders.records import Aside, OrderBrief, RegionImage
from domain.region.machine import Region
from domain.region.messages import Accept, Arrive, Cancel
from domain.region.policy import RegionPolicy
from domain.region.restoring import is_mended, restored
from tests.support.build import NOW, REGION, STORE_AT
from tests.support.story import Story

LATER_MS = 2**61  # no time that people can be told


@pytest.fixture
def story() -> Story:
    """Three orders: one offered to ann, one held by bob, one open."""
    one = Story(solving=True)
    one.drive("bob")
    one.order()
    one.wait(1)
    one.do("bob", Accept(offer_id=live(one)))
    one.drive("ann")
    one.order()
    one.wait(1)
    assert one.store.tasks["task-2"].status is TaskStatus.OFFERED
    one.order()
    return one


def live(story: Story) -> str:
    [offer] = [offer for offer in story.store.offers.values() if offer.status is OfferStatus.OFFERED]
    return offer.offer_id


def image_of(story: Story) -> RegionImage:
    return story.store.open_region_now(REGION, story.now)


def again(story: Story, **changes: Any) -> None:
    """A new life of the region from what the store has."""
    story.restart()


def spoil_task(story: Story, n: int, **changes: Any) -> None:
    """An operator's hand."""
    task_id = f"task-{n}"
    story.store.tasks[task_id] = replace(story.store.tasks[task_id], **changes)


def spoil_offer(story: Story, **changes: Any) -> str:
    offer_id = live(story)
    story.store.offers[offer_id] = replace(story.store.offers[offer_id], **changes)
    return offer_id


# -- rows that cannot be lived with -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"due_ms": LATER_MS},
        {"ready_ms": -LATER_MS},
        {"order_id": "nobody's"},
        {"status": TaskStatus.ASSIGNED, "driver_id": None},
        {"pickup_lat": None},
        {"status": "NO SUCH STATUS", "driver_id": "bob"},
    ],
    ids=lambda changes: " ".join(map(str, changes)),
)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_bad_task_is_set_aside_and_all_others_are_restored(
    story: Story, n: int, changes: dict[str, Any]
) -> None:
    image = image_of(story)
    bad = next(task for task in image.tasks if task.task_id == f"task-{n}")
    tasks = tuple(replace(task, **changes) if task is bad else task for task in image.tasks)
    region = restored(replace(image, tasks=tasks), story.policy, story.now)
    assert [one.row_id for one in region.state.aside] == [f"task-{n}"]
    assert set(region.state.jobs) == {"task-1", "task-2", "task-3"} - {f"task-{n}"}
    [aside] = region.state.aside
    assert aside.table == "tasks"
    assert aside.row == next(task for task in tasks if task.task_id == f"task-{n}")


def test_nothing_is_decided_on_what_was_set_aside(story: Story) -> None:
    opened = story.opened["task-3"]
    image = image_of(story)
    aside = Aside(table="tasks", row_id="task-3", order_id="order-3", driver_id="ann", reason="ValueError")
    rest = tuple(task for task in image.tasks if task.task_id != "task-3")
    story.region = restored(replace(image, tasks=rest, aside=(aside,)), story.policy, story.now)
    story.step(opened)  # told again by the outbox, whose copy is good
    assert "task-3" not in story.region.state.jobs
    # Not "not found": a phone would take the task for ended, and hear nothing of it when it is back.
    assert story.ask("cara", Cancel("order-3"), Role.CUSTOMER).code == "REGION_UNAVAILABLE"
    assert story.ask("ann", Arrive("task-3")).code == "REGION_UNAVAILABLE"
    assert story.ask("cyd", Arrive("task-3")).code == "NOT_FOUND"  # somebody else's
    assert story.ask("ann", Arrive("task-4711")).code == "NOT_FOUND"
    story.drive("ann")
    story.drive("cyd")
    before = len(story.store.offers)
    story.order()
    story.wait(1)
    made = list(story.store.offers.values())[before:]
    assert [offer.driver_id for offer in made] == [
        "cyd"
    ]  # who may have the bad one's goods is asked for nothing more


def test_an_offer_of_what_was_set_aside_ends(story: Story) -> None:
    """The others in it must not wait for a row that is not theirs, nor may they stand in two offers."""
    image = image_of(story)
    aside = Aside(table="tasks", row_id="task-2", order_id="order-2", driver_id=None, reason="ValueError")
    rest = tuple(task for task in image.tasks if task.task_id != "task-2")
    [offer] = [offer for offer in image.offers if "task-2" in offer.task_ids]
    story.region = restored(replace(image, tasks=rest, aside=(aside,)), story.policy, story.now)
    story.wait(1)
    assert story.store.offers[offer.offer_id].status == "REVOKED"
    assert story.store.tasks["task-2"].status == "OFFERED"  # as long as nobody can read it
    again = restored(image_of(story), story.policy, story.now)
    assert "task-2" in again.state.stranded


def test_several_bad_rows_of_all_kinds_are_found(story: Story) -> None:
    for n in range(4, 40):
        story.order(n)
    image = image_of(story)
    bad = {"task-7", "task-8", "task-31"}
    tasks = tuple(replace(t, due_ms=LATER_MS) if t.task_id in bad else t for t in image.tasks)
    answers = (*image.answers, replace(image.answers[0], key="bad", answer=None))
    offers = tuple(replace(offer, expires_ms=LATER_MS) for offer in image.offers)
    region = restored(replace(image, tasks=tasks, offers=offers, answers=answers), story.policy, story.now)
    found = {(one.table, one.row_id) for one in region.state.aside}
    assert found >= {("tasks", task_id) for task_id in bad} | {("offers", offers[0].offer_id)}
    assert set(region.state.jobs) == {task.task_id for task in image.tasks} - bad


def test_what_no_row_is_to_blame_for_is_raised(story: Story) -> None:
    with pytest.raises(TypeError):
        restored(image_of(story), replace(RegionPolicy(), decisions_limit="many"), NOW)


def test_a_row_is_mended_when_it_is_another_one_or_gone(story: Story) -> None:
    image = image_of(story)
    row = image.tasks[0]
    aside = Aside(
        table="tasks", row_id=row.task_id, order_id=None, driver_id=None, reason="ValueError", row=row
    )
    assert not is_mended(aside, image)
    assert is_mended(aside, replace(image, tasks=(replace(row, due_ms=1), *image.tasks[1:])))
    assert is_mended(aside, replace(image, tasks=image.tasks[1:]))
    unread = replace(aside, row=None)
    assert not is_mended(unread, replace(image, aside=(unread,)))
    assert is_mended(unread, image)


# -- rows that do not fit each other ------------------------------------------------------------------------------


def test_a_task_that_is_offered_to_nobody_is_open_again(story: Story) -> None:
    spoil_offer(story, status=OfferStatus.EXPIRED, closed_ms=story.now, reason="by hand")
    story.store._live_offers[REGION].clear()
    story.silence("ann")
    story.restart()
    assert story.region.state.jobs["task-2"].task.status is TaskStatus.OFFERED
    deadline = story.region.next_deadline()
    assert deadline is not None
    assert deadline <= story.now
    story.wait(0.1)
    task = story.store.tasks["task-2"]
    assert (task.status, task.offer_id) == (TaskStatus.OPEN, None)
    story.drive("dan", STORE_AT)
    story.wait(5)
    story.do("dan", Accept(task_id="task-2"))


@pytest.mark.parametrize("how", ["no such task", "held by another", "open"])
def test_an_offer_that_stands_for_nothing_is_revoked_and_its_driver_told(story: Story, how: str) -> None:
    if how == "no such task":
        offer_id = spoil_offer(story, task_ids=("task-2", "task-99"))
    elif how == "open":
        offer_id = live(story)
        spoil_task(story, 2, status=TaskStatus.OPEN, offer_id=None)
    else:
        offer_id = spoil_offer(story, task_ids=("task-1",))
    story.restart()
    story.wait(1)
    row = story.store.offers[offer_id]
    assert (row.status, row.reason) == (OfferStatus.REVOKED, "SERVER_RESTARTED")
    assert story.store.tasks["task-2"].status in (TaskStatus.OPEN, TaskStatus.OFFERED)
    assert story.store.tasks["task-2"].offer_id != offer_id
    assert story.store.tasks["task-1"].driver_id == "bob"
    story.do("bob", Arrive("task-1"))


def test_of_two_offers_to_one_driver_the_first_stands(story: Story) -> None:
    first = live(story)
    story.wait(0.01)
    second = replace(
        story.store.offers[first], offer_id="second", task_ids=("task-3",), made_ms=story.now + 1
    )
    story.store.offers["second"] = second
    story.store._live_offers[REGION].add("second")
    spoil_task(story, 3, status=TaskStatus.OFFERED, offer_id="second")
    story.restart()
    story.wait(0.1)
    assert story.store.offers["second"].status is OfferStatus.REVOKED
    assert story.store.tasks["task-3"].status is TaskStatus.OPEN
    story.do("ann", Accept(offer_id=first))


def test_what_fits_is_left_as_it_is(story: Story) -> None:
    before = dict(story.store.tasks), dict(story.store.offers)
    story.restart()
    assert (story.region.state.strays, story.region.state.stranded) == ((), ())
    story.wait(0.1)
    assert (story.store.tasks, story.store.offers) == before


def test_a_region_of_nothing_is_restored() -> None:
    region = restored(RegionImage(region_id=REGION, epoch=1), RegionPolicy(), NOW)
    assert isinstance(region, Region)
    assert region.next_deadline() is None
    brief = OrderBrief(order_id="o", status=OrderStatus.CONFIRMED, customer_id="c", merchant_id="m")
    assert (
        restored(RegionImage(region_id=REGION, epoch=1, orders=(brief,)), RegionPolicy(), NOW).state.aside
        == ()
    )
