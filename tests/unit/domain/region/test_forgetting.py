"""A region does not grow with every driver who ever came: who is gone for long is forgotten, and nothing that matters
is forgotten with them."""

from __future__ import annotations

import numpy as np

from actors.region.checkpoint import difference, dump, freeze, load
from domain.protocol import TaskCancelled
from domain.region.fleet import Fleet
from domain.region.machine import Region
from domain.region.mailbox import Mailboxes
from domain.region.messages import Attached, Detach
from domain.region.ops.views import region_view
from domain.region.policy import RegionPolicy
from persistence.orders.memory import MemoryStore
from tests.support.build import DOOR_AT, NOW, REGION, STORE_AT, attach, seen
from tests.support.story import put_order

DAY_MS = 86_400_000
CALLED_OFF = TaskCancelled(task_id="task-1", reason="CANCELLED")


def region_of(store: MemoryStore) -> Region:
    return Region(store.open_region_now(REGION, NOW), RegionPolicy(), NOW)


def come_and_go(region: Region, now_ms: int, *names: str) -> None:
    for name in names:
        region.step(now_ms, attach(name))
    region.step(now_ms, seen(dict.fromkeys(names, STORE_AT)))
    for name in names:
        region.step(now_ms, Detach(driver_id=name, session=1))


def test_a_year_of_drivers_takes_the_room_of_two_days() -> None:
    region = region_of(MemoryStore())
    for day in range(60):
        now_ms = NOW + day * DAY_MS // 2
        come_and_go(region, now_ms, *(f"{day}-{n}" for n in range(20)))
    assert len(region.state.fleet) <= 20 * 5
    assert len(region.state.fleet.index) <= 20 * 5
    assert len(region.state.fleet.index) + len(region.state.fleet.vacant) == len(region.state.fleet)
    assert sum(map(bool, region.state.fleet.ids)) == len(region.state.fleet.index)
    view = region_view(region, now_ms, 100).drivers
    assert (view.total, sum(view.counts.values())) == (len(region.state.fleet.index),) * 2


def test_who_holds_a_task_or_has_a_socket_or_was_heard_of_stays() -> None:
    store = MemoryStore()
    region = region_of(store)
    come_and_go(region, NOW, "gone", "holder", "asked")
    region.step(NOW, attach("connected"))
    region.step(NOW, put_order(store, 1, NOW))
    region.state.holdings.by_driver["holder"] = {"task-1"}
    region.state.offers.by_driver["asked"] = "offer-1"
    later_ms = NOW + DAY_MS + 1
    region.step(later_ms - 1000, attach("fresh"))
    region.step(later_ms, seen({"fresh": DOOR_AT}))
    assert set(region.state.fleet.index) == {"holder", "asked", "connected", "fresh"}


def test_who_comes_back_is_as_one_who_is_new() -> None:
    region = region_of(MemoryStore())
    come_and_go(region, NOW, "ann")
    region.state.fleet.offers[region.state.fleet.index["ann"]] = 7
    region.step(NOW + DAY_MS + 1, seen({"bob": STORE_AT}))
    assert "ann" not in region.state.fleet.index
    reply = region.step(NOW + DAY_MS + 2, attach("ann")).reply
    assert isinstance(reply, Attached)
    assert region.state.fleet.index["bob"] == 0, "the room of the one before"
    row = region.state.fleet.index["ann"]
    assert (row, region.state.fleet.offers[row], region.state.fleet.seen_ms[row]) == (1, 0, 0)


def test_no_number_of_a_push_comes_twice() -> None:
    mail = Mailboxes(epoch=3, limit=4)
    numbers = [mail.put("ann", CALLED_OFF).seq for _ in range(5)]
    mail.put("bob", CALLED_OFF)
    mail.forget("ann")
    mail.forget("bob")
    assert mail.kept("ann") == ()
    assert mail.since("ann", numbers[2]) is None, "the ring does not reach back"
    assert mail.put("ann", CALLED_OFF).seq > numbers[-1]
    assert mail.put("bob", CALLED_OFF).seq > numbers[-1]
    assert mail.since("ann", None) is None
    mail.forget("nobody")


def test_a_checkpoint_has_what_was_forgotten_too() -> None:
    region = region_of(MemoryStore())
    come_and_go(region, NOW, "ann", "bob")
    region.step(NOW + DAY_MS + 1, seen({"cat": STORE_AT}))
    pieces: list[bytes] = []
    dump(freeze(region), pieces.append)
    assert difference(load(pieces), region) is None


def test_rows_are_given_again_and_filled_as_new_ones() -> None:
    fleet = Fleet()
    rows = [fleet.row(name) for name in ("a", "b", "c")]
    fleet.lat[rows[1]] = 5.0
    fleet.forget("b")
    assert (fleet.row("d"), fleet.ids, len(fleet)) == (rows[1], ["a", "d", "c"], 3)
    assert (fleet.lat[1], fleet.gateway[1]) == (0.0, -1)
    assert fleet.row("e") == 3
    assert np.all(fleet.heard_ms[:4] == 0)
