"""A driver with several tasks of one store: fetched at one stop, brought door after door in the offer's order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain import protocol as wire
from sim.bot.actions import Call, Resync
from sim.bot.driver_bot import DriverBot
from sim.bot.motion import offset
from sim.bot.personas import Door
from tests.unit.sim.bot.test_driver_bot import (
    HOME,
    T0,
    Play,
    at,
    bot,
    calls,
    offer,
    sent,
    task,
    told,
    welcome,
)

# Three doors on one road behind the store, a kilometre apart; at 10 m/s each is 100 s from the next.
DOORS = {name: offset(HOME, 1000, 1000 * (1 + n)) for n, name in enumerate("abc")}


def one(name: str, status: str = "ASSIGNED", kind: str = "DELIVERY", **others: Any) -> wire.TaskView:
    return task(status, kind, task_id=name, order_id=f"order-{name[0]}", door=DOORS[name[0]], **others)


class Tour(Play):
    """A driver and a server that grants every step; `visited` tells the steps in their order."""

    def __init__(self, mind: DriverBot | None = None, names: str = "abc") -> None:
        super().__init__(mind or bot())
        self.seq = 1
        self.visited: list[str] = []
        self.views = {name: one(name) for name in names}

    def take(self) -> None:
        """The bundle is offered and accepted."""
        self.frame(welcome())
        self.frame(offer(1, self.now_s, tasks=tuple(one(name, "OFFERED") for name in self.views)))
        asked = self.until(wire.OfferAccept)
        views = tuple(self.views.values())
        self.frame(wire.OfferAccepted(in_reply_to=asked.id, offer_id="f1", tasks=views))

    def push(self, frame: Any) -> None:
        self.seq += 1
        self.frame(msgspec.structs.replace(frame, seq=self.seq))

    def go_on(self, steps: int) -> None:
        """So many more steps, each granted; those of one moment in the order in which they were asked for."""
        while steps:
            for action in self.turn():
                self.grant(action)
                steps -= 1

    def turn(self) -> list[Any]:
        """What is asked for next, all that is asked for at that moment."""
        while True:
            actions, self.out = self.out, []
            asked = [*sent(actions, wire.TaskArrive), *sent(actions, wire.TaskPickup), *calls(actions)]
            if asked:
                return asked
            self.now_s = max(self.bot.next_wake_s(), self.now_s + 0.001)
            assert self.now_s < T0 + 7200, "nothing more is asked for"
            self.out = self.bot.tick(self.now_s)

    def grant(self, asked: Any) -> None:
        before = self.out
        if isinstance(asked, Call):
            self.call(asked)
        else:
            view = self.views[asked.task_id]
            at_store = view.status in ("ASSIGNED", "AT_PICKUP")
            status = {wire.TaskArrive: "AT_PICKUP" if at_store else "AT_DROPOFF"}.get(
                type(asked), "PICKED_UP"
            )
            self.views[asked.task_id] = msgspec.structs.replace(view, status=status)
            self.visited.append(f"{'fetch' if at_store else 'at'} {asked.task_id}")
            self.frame(wire.TaskUpdated(in_reply_to=asked.id, task=self.views[asked.task_id]))
        self.out = [*before, *self.out]

    def call(self, asked: Call) -> None:
        name, step = asked.path.split("/")[3].removeprefix("order-"), asked.path.split("/")[4]
        if step == "deliver":
            self.visited.append(f"bring {name}")
            self.answer(asked.key, 200, status="DELIVERED")
        elif step == "return":
            self.visited.append(f"return {name}")
            self.answer(asked.key, 200, status="RETURNED")
        elif asked.body.get("vendor_token", "") == "fake:pass":
            self.answer(asked.key, 200, passed=True)
        else:
            self.visited.append(f"refused {name}")
            back = self.views[f"{name}r"] = one(f"{name}r", "PICKED_UP", "RETURN")
            self.answer(asked.key, 200, passed=False, task=msgspec.to_builtins(back))


def test_a_bundle_is_fetched_at_one_stop_and_brought_door_by_door() -> None:
    tour = Tour()
    tour.take()
    tour.go_on(6)
    assert tour.visited == ["fetch a", "fetch b", "fetch c"] * 2
    # 5 s of thought, 1 km at 10 m/s, and the counter once, not three times
    assert tour.now_s == pytest.approx(T0 + 5 + 100 + 30, abs=1)
    tour.go_on(9)
    assert tour.visited[6:] == ["at a", "bring a", "at b", "bring b", "at c", "bring c"]
    # loading once, then three times 1 km, the door, and after each but the last the way back to the car
    assert tour.now_s == pytest.approx(T0 + 135 + 20 + 3 * (100 + 40) + 2 * 10, abs=1)
    assert not tour.bot.busy


def test_the_doors_come_in_the_order_of_the_offer() -> None:
    tour = Tour(names="cab")
    tour.take()
    tour.go_on(6 + 9)
    assert [step for step in tour.visited if step.startswith("bring")] == ["bring c", "bring a", "bring b"]


def test_goods_that_are_not_ready_keep_the_others_of_the_bundle_waiting() -> None:
    tour = Tour(names="ab")
    tour.views["b"] = one("b", ready_s=T0 + 900)
    tour.take()
    tour.go_on(3)
    assert tour.visited == ["fetch a", "fetch b", "fetch a"]
    tour.go_on(1)
    assert tour.now_s == pytest.approx(T0 + 900)
    tour.go_on(1)
    assert tour.visited[3:] == ["fetch b", "at a"]


@pytest.mark.parametrize("reason", ["ORDER_CANCELLED", "DRIVER_LOST"])
def test_a_task_that_is_taken_away_drops_out_and_the_others_are_brought(reason: str) -> None:
    tour = Tour()
    tour.take()
    tour.go_on(3)
    tour.push(wire.TaskCancelled(task_id="a", reason=reason))
    assert told(tour.out) == [("gone", "order-a")]
    tour.go_on(2 + 6)
    assert tour.visited[3:] == ["fetch b", "fetch c", "at b", "bring b", "at c", "bring c"]


def test_a_request_about_a_task_that_is_taken_away_is_not_repeated() -> None:
    tour = Tour(names="ab")
    tour.take()
    asked = tour.turn()
    assert [frame.task_id for frame in asked] == ["a", "b"]
    tour.push(wire.TaskCancelled(task_id="a", reason="ORDER_CANCELLED"))
    again: Any = tour.until(wire.TaskArrive)
    assert again.id == asked[1].id
    assert tour.bot.stats["resent"] == 1


def test_refused_goods_go_back_after_the_last_door() -> None:
    tour = Tour(bot(doors={"order-a": Door.UNDER_AGE}), "ab")
    tour.take()
    tour.go_on(4 + 2)
    assert tour.visited[4:] == ["at a", "refused a"]
    assert set(tour.bot.tasks) == {"b", "ar"}
    tour.go_on(3 + 2)
    assert tour.visited[6:] == ["at b", "bring b", "at ar", "return ar"]
    assert not tour.bot.busy


def test_a_bundle_goes_on_from_the_middle_after_a_fresh_start() -> None:
    """A phone that has forgotten everything: the snapshot has the tasks in the order of their doors."""
    tour = Tour(names="cab")
    tour.views = {"c": one("c", "PICKED_UP"), "a": one("a", "PICKED_UP"), "b": one("b", "AT_PICKUP")}
    tour.frame(welcome(last_seq=1, tasks=tuple(tour.views.values())))
    tour.go_on(1 + 9)
    assert tour.visited == ["fetch b", "at c", "bring c", "at a", "bring a", "at b", "bring b"]


def test_who_stands_at_a_door_finishes_there_first() -> None:
    tour = Tour(names="ab")
    tour.views["b"] = one("b", "AT_DROPOFF")
    tour.views["a"] = one("a", "PICKED_UP")
    tour.frame(welcome(last_seq=1, tasks=tuple(tour.views.values())))
    tour.go_on(2 + 3)
    assert tour.visited == ["bring b", "at a", "bring a"]


def test_a_resumed_socket_asks_again_for_every_task_of_the_stop() -> None:
    tour = Tour(names="ab")
    tour.take()
    asked = tour.turn()
    tour.bot.on_disconnect()
    tour.frame(welcome(resumed=True, last_seq=1, tasks=tuple(tour.views.values())))
    assert [frame.id for frame in sent(tour.out, wire.TaskArrive)] == [frame.id for frame in asked]


def test_where_one_task_is_disputed_the_others_are_kept() -> None:
    tour = Tour(names="ab")
    tour.take()
    first, second = tour.turn()
    tour.frame(wire.Error(code="NOT_TASK_HOLDER", detail="", in_reply_to=first.id))
    assert any(isinstance(action, Resync) for action in tour.out)
    tour.bot.on_disconnect()
    tour.frame(welcome(last_seq=1, tasks=(tour.views["b"],)))
    assert told(tour.out) == [("gone", "order-a")]
    assert [frame.id for frame in sent(tour.out, wire.TaskArrive)] == [second.id]


def test_an_offer_with_more_time_is_the_same_offer() -> None:
    play = Play(bot())
    play.frame(welcome())
    assert sent(play.frame(offer(1, T0)), wire.OfferSeen)
    longer = msgspec.structs.replace(offer(2, T0), expires_at=at(T0 + 33))
    assert not sent(play.frame(longer), wire.OfferSeen)
    assert play.bot.stats["offers"] == 1
    play.until(wire.OfferAccept)
    assert play.now_s == pytest.approx(T0 + 5)


def test_that_an_offer_is_shown_is_said_again_on_a_new_socket() -> None:
    play = Play(bot())
    play.frame(welcome())
    play.frame(offer(1, T0))
    play.bot.on_disconnect()
    shown = wire.OfferView(offer_id="f1", tasks=(task(),), stops=(), expires_at=at(T0 + 30), ttl_s=30)
    assert sent(play.frame(welcome(resumed=True, last_seq=1, offers=(shown,))), wire.OfferSeen)
    assert play.bot.stats["offers"] == 1


def test_the_bundle_of_an_old_answer_does_not_come_back() -> None:
    tour = Tour(names="ab")
    tour.take()
    tour.push(wire.TaskCancelled(task_id="a", reason="DRIVER_LOST"))
    tour.frame(wire.OfferAccepted(in_reply_to="b-1", offer_id="f1", tasks=tuple(tour.views.values())))
    assert list(tour.bot.tasks) == ["b"]


def test_what_is_in_the_car_is_brought_before_the_next_trip() -> None:
    tour = Tour(names="b")
    tour.views = {"b": one("b"), "a": one("a", "PICKED_UP")}
    tour.frame(welcome(last_seq=1, tasks=tuple(tour.views.values())))
    tour.go_on(3 + 2)
    assert tour.visited == ["at a", "bring a", "fetch b", "fetch b"]


def test_nothing_is_taken_from_the_counter_until_all_of_the_stop_has_arrived() -> None:
    tour = Tour(names="ab")
    tour.take()
    first, second = tour.turn()
    tour.grant(first)
    busy = wire.Error(code="REGION_UNAVAILABLE", detail="", in_reply_to=second.id, retry_after_s=60)
    tour.frame(busy)
    again: Any = tour.until(wire.TaskArrive)
    assert again.id == second.id
    tour.grant(again)
    tour.go_on(3)
    assert tour.visited == ["fetch a", "fetch b", "fetch a", "fetch b", "at a"]
