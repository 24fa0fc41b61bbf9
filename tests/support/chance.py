"""Random but sensible lives of a region, as plain data, so that the same moves can be made again elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from domain.orders.lifecycle import OrderStatus, Role, TaskKind, TaskStatus
from domain.orders.reasons import RefuseReason
from domain.region.messages import (
    Accept,
    Acked,
    Action,
    Arrive,
    Cancel,
    ConfirmReturn,
    Deliver,
    GatewayLost,
    GoodsReady,
    OfferSeenBy,
    Pickup,
    Refuse,
    Reject,
)
from persistence.orders.image import RECENT_MS
from tests.support.build import at, id_check
from tests.support.story import Story

DRIVERS = ("ann", "bob", "cyd")

# (what, driver or other number, which task or offer, seconds that pass before)
Move = tuple[str, int, int, float]

# "next" is whatever carries a task on from where it is, so that lives get to the door and beyond.
WHAT = (
    *("order", "order", "drive", "drive", *["next"] * 14),
    *("accept", "arrive", "pickup", "check", "underage", "deliver", "refuse", "confirm"),
    *("reject", "cancel", "ready", "off", "silent", "seen", "ack", "attach", "lost", "restart", "again"),
)
SECONDS = (0.0, 0.0, 0.0, 0.3, 0.3, 5.0, 31.0, 70.0)
_moves = st.lists(
    st.tuples(st.sampled_from(WHAT), st.integers(0, 5), st.integers(0, 5), st.sampled_from(SECONDS)),
    min_size=20,
    max_size=60,
)
# Every life begins with drivers and orders.
moves = _moves.map(lambda some: [("drive", i, i, 0.0) for i in range(3)] + [("order", 0, 0, 0.3)] * 2 + some)


def life() -> Story:
    """A region in which a silent driver is lost within two of the longer waits."""
    return Story(driver_lost_s=90.0)


def next_step(story: Story, task_id: str) -> Move | None:
    """What carries this task on, by its holder."""
    job = story.region.state.jobs.get(task_id)
    if job is None:
        return None
    if job.task.status is TaskStatus.AT_DROPOFF:
        delivery = "deliver" if job.order_status is OrderStatus.ID_VERIFIED else "check"
        what = "confirm" if job.task.kind is TaskKind.RETURN else delivery
    else:
        steps = {
            TaskStatus.OFFERED: "accept",
            TaskStatus.ASSIGNED: "arrive",
            TaskStatus.AT_PICKUP: "pickup",
            TaskStatus.PICKED_UP: "arrive",
        }
        what = steps.get(job.task.status, "again")
    return what, 5, 0, 0.0


def request(story: Story, move: Move) -> tuple[str, Action, Role] | None:
    """The request that this move stands for now; the holder asks as a rule, now and then somebody else."""
    what, who, which, _ = move
    tasks = sorted(story.region.state.jobs) or ["task-0"]
    task_id = tasks[which % len(tasks)]
    if what == "next":
        step = next_step(story, task_id)
        return None if step is None else request(story, (step[0], step[1], which, 0.0))
    job = story.region.state.jobs.get(task_id)
    order_id = job.task.order_id if job else "order-0"
    holder = job.held_by if job else None
    driver = DRIVERS[who % 3] if who < 2 or holder is None else holder
    if what in ("accept", "reject"):
        offers = [*reversed(story.store.offers)] or ["offer-0"]
        offer_id = (job.task.offer_id if job else None) or offers[which % min(len(offers), 3)]
        offer = story.store.offers.get(offer_id)
        driver = DRIVERS[who % 3] if who < 2 or offer is None else offer.driver_id
        return driver, (Accept if what == "accept" else Reject)(offer_id=offer_id), Role.DRIVER
    if what in ("check", "underage"):
        return driver, id_check(order_id, over_age=what == "check"), Role.DRIVER
    by_task: dict[str, type[Arrive] | type[Pickup] | type[ConfirmReturn]]
    by_task = {"arrive": Arrive, "pickup": Pickup, "confirm": ConfirmReturn}
    if what in by_task:
        return driver, by_task[what](task_id), Role.DRIVER
    others: dict[str, tuple[str, Action, Role]] = {
        "deliver": (driver, Deliver(order_id), Role.DRIVER),
        "refuse": (driver, Refuse(order_id, RefuseReason.NOBODY_HOME), Role.DRIVER),
        "cancel": ("cara" if who < 4 else "carl", Cancel(order_id), Role.CUSTOMER),
        "ready": ("max" if who < 4 else "mia", GoodsReady(order_id), Role.MERCHANT),
    }
    return others.get(what)


def move_on(story: Story, move: Move) -> None:
    """Make a move that is no request."""
    what, who, which, _ = move
    driver = DRIVERS[who % 3]
    if what == "order":
        story.order()
    elif what == "drive":
        story.drive(driver, at(which))
    elif what == "off" and driver in story.where:
        story.drive(driver, story.where[driver], on=False)
    elif what == "silent":
        story.silence(driver)
    elif what == "seen":
        story.step(OfferSeenBy(driver, story.region.state.offers.by_driver.get(driver, "")))
    elif what == "ack":
        story.step(Acked(driver, story.region.state.mail.last_seq(driver) - which))
    elif what == "attach" and driver in story.session:
        story.attach(driver, resume_from=which)
    elif what == "lost":
        story.step(GatewayLost("gateway:0"))
    elif what == "restart":
        story.restart()
    elif what == "again":
        # The relay repeats within seconds; a region that began since knows what ended as far back as its image reaches.
        since_ms = story.now - RECENT_MS
        fresh = [task_id for task_id, told in story.opened.items() if told.task.opened_ms > since_ms]
        if fresh:
            story.step(story.opened[sorted(fresh)[which % len(fresh)]])


def play(story: Story, moves: Sequence[Move]) -> None:
    """Make all moves."""
    for move in moves:
        story.wait(move[3])
        asked = request(story, move)
        if asked is None:
            move_on(story, move)
        else:
            story.ask(*asked)
