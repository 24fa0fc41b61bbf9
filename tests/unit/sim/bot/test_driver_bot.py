"""A driver's mind, frame by frame. Times are server seconds from an arbitrary start; the server's clock runs at 10x."""

from __future__ import annotations

from random import Random
from typing import Any, TypeVar

import msgspec
import pytest

from domain import protocol as wire
from domain.ground.times import instant
from sim.bot.actions import Action, Call, Resync, Send, Told
from sim.bot.driver_bot import ANSWER_TIMEOUT_S, NEW_NUMBERING, DriverBot
from sim.bot.motion import Point, metres, offset
from sim.bot.personas import Door, DriverPersona

T0, SPEED = 1_000_000.0, 10.0
HOME = Point(32.78, -96.80)
STORE, DOOR = offset(HOME, 1000, 0), offset(HOME, 1000, 2000)
PERSONA = DriverPersona(
    speed_mps=10, detour=1.0, think_min_s=5, think_max_s=5, store_before_s=30, door_before_s=40
)

F = TypeVar("F")


def bot(
    door: Door = Door.PASS,
    persona: DriverPersona = PERSONA,
    off_s: float = float("inf"),
    doors: dict[str, Door] | None = None,
) -> DriverBot:
    """`doors` by order, where they differ from `door`."""
    return DriverBot(
        name="b",
        persona=persona,
        rng=Random(1),
        start=HOME,
        door=lambda order_id: (doors or {}).get(order_id, door),
        speed=SPEED,
        on_s=T0,
        off_s=off_s,
    )


def at(seconds: float) -> Any:
    return instant(round(seconds * 1000))


def task(
    status: str = "OFFERED",
    kind: str = "DELIVERY",
    task_id: str = "t1",
    ready_s: float = T0,
    order_id: str = "o1",
    door: Point = DOOR,
) -> wire.TaskView:
    there, back = wire.Place(*STORE, "store"), wire.Place(*door, "door")
    start, end = (there, back) if kind == "DELIVERY" else (back, there)
    return wire.TaskView(
        task_id=task_id, order_id=order_id, kind=kind, status=status, store_id="s1", pickup=start, dropoff=end,
        min_age=21, ready_at=at(ready_s), due_at=at(T0 + 2700),
    )  # fmt: skip


def welcome(resumed: bool = False, last_seq: int = 0, **snapshot: Any) -> wire.Welcome:
    return wire.Welcome(
        driver_id="d", heartbeat_s=15, resumed=resumed, server_time=at(T0), speed=SPEED,
        snapshot=wire.Snapshot(last_seq=last_seq, **snapshot),
    )  # fmt: skip


def offer(
    seq: int, now_s: float, offer_id: str = "f1", tasks: tuple[wire.TaskView, ...] = (task(),)
) -> wire.Offer:
    return wire.Offer(seq=seq, offer_id=offer_id, tasks=tasks, stops=(), expires_at=at(now_s + 30), ttl_s=30)


def sent(actions: list[Action], kind: type[F]) -> list[F]:
    return [action.frame for action in actions if isinstance(action, Send) and isinstance(action.frame, kind)]


def calls(actions: list[Action]) -> list[Call]:
    return [action for action in actions if isinstance(action, Call)]


def told(actions: list[Action]) -> list[tuple[str, str]]:
    return [(action.kind, action.order_id) for action in actions if isinstance(action, Told)]


class Play:
    """A bot and a clock; `until` lets time pass as the shell would, by the bot's own wake-up times."""

    def __init__(self, mind: DriverBot) -> None:
        self.bot, self.now_s = mind, T0
        self.out: list[Action] = []

    def frame(self, frame: wire.ServerFrame) -> list[Action]:
        self.out = self.bot.on_frame(self.now_s, frame)
        return self.out

    def answer(self, key: str, http: int, **body: Any) -> list[Action]:
        self.out = self.bot.on_answer(self.now_s, key, http, body)
        return self.out

    def until(self, kind: type[F], limit_s: float = 3600) -> F:
        """The next frame or call of this kind, and the time it takes to come to it."""
        end_s, actions = self.now_s + limit_s, self.out
        self.out = []
        while True:
            found = sent(actions, kind) or [action for action in actions if isinstance(action, kind)]
            if found:
                return found[0]
            assert self.bot.next_wake_s() > self.now_s or not actions, "a wake-up time that has passed"
            self.now_s = max(self.bot.next_wake_s(), self.now_s + 0.001)
            assert self.now_s < end_s, f"no {kind.__name__} within {limit_s} s"
            actions = self.bot.tick(self.now_s)

    def accept(self) -> None:
        """On duty, offered a task, and given it."""
        self.frame(welcome())
        self.frame(offer(1, self.now_s))
        asked = self.until(wire.OfferAccept)
        self.frame(wire.OfferAccepted(in_reply_to=asked.id, offer_id="f1", tasks=(task("ASSIGNED"),)))

    def to_door(self) -> None:
        """From the accept to the door."""
        self.accept()
        for kind, status in (
            (wire.TaskArrive, "AT_PICKUP"),
            (wire.TaskPickup, "PICKED_UP"),
            (wire.TaskArrive, "AT_DROPOFF"),
        ):
            asked: Any = self.until(kind)
            self.frame(wire.TaskUpdated(in_reply_to=asked.id, task=task(status)))


def test_goes_on_duty_where_it_is() -> None:
    actions = Play(bot()).frame(welcome())
    (duty,) = sent(actions, wire.Duty)
    assert (duty.on, duty.lat, duty.lng) == (True, HOME.lat, HOME.lng)
    assert sent(actions, wire.Location)


@pytest.mark.parametrize(
    ("lasts_s", "said"),
    [(8 * 3600.0, True), (60.0, False), (30 * 3600.0, False), (float("inf"), False)],
)
def test_says_until_when_it_is_on_duty_where_the_server_takes_it(lasts_s: float, said: bool) -> None:
    play = Play(bot(off_s=T0 + lasts_s))
    (duty,) = sent(play.frame(welcome()), wire.Duty)
    assert duty.until == (at(T0 + lasts_s) if said else None)


def test_thinks_before_it_accepts_and_says_so_once() -> None:
    play = Play(bot())
    play.frame(welcome())
    assert sent(play.frame(offer(1, T0)), wire.OfferSeen)
    first = play.until(wire.OfferAccept)
    assert first.offer_id == "f1"
    assert play.now_s == pytest.approx(T0 + 5)
    assert not sent(play.bot.tick(play.now_s + 1), wire.OfferAccept)


def test_a_request_without_an_answer_is_sent_again_with_the_same_id() -> None:
    play = Play(bot())
    play.frame(welcome())
    play.frame(offer(1, T0))
    first = play.until(wire.OfferAccept)
    asked_s = play.now_s
    assert play.until(wire.OfferAccept).id == first.id
    assert play.now_s == pytest.approx(asked_s + ANSWER_TIMEOUT_S * SPEED)
    assert play.bot.stats["resent"] == 1


def test_a_delivery_from_offer_to_door() -> None:
    play = Play(bot())
    play.to_door()
    # 5 s of thought, 1 km at 10 m/s, the counter, loading, 2 km at 10 m/s
    assert play.now_s == pytest.approx(T0 + 5 + 100 + 30 + 20 + 200, abs=1)
    check = play.until(Call)
    assert check.path == "/v1/orders/o1/doorstep_id_check/submit"
    body = dict(check.body)
    here = Point(body.pop("lat"), body.pop("lng"))
    assert metres(here, play.bot.where(play.now_s)) < 1
    assert body == {"method": "scan", "vendor_token": "fake:pass", "sober": True}
    (deliver,) = calls(play.answer(check.key, 200, status="ID_VERIFIED", passed=True))
    assert deliver.path == "/v1/orders/o1/deliver/confirm"
    assert told(play.answer(deliver.key, 200, status="DELIVERED")) == [("delivered", "o1")]
    assert not play.bot.busy


def test_waits_until_the_goods_are_ready_even_when_that_moves() -> None:
    play = Play(bot())
    play.accept()
    arrived: Any = play.until(wire.TaskArrive)
    play.frame(wire.TaskUpdated(in_reply_to=arrived.id, task=task("AT_PICKUP", ready_s=T0 + 900)))
    play.frame(wire.TaskUpdated(seq=2, task=task("AT_PICKUP", ready_s=T0 + 600)))
    play.until(wire.TaskPickup)
    assert play.now_s == pytest.approx(T0 + 600)


@pytest.mark.parametrize(
    ("door", "path", "part"),
    [
        (Door.UNDER_AGE, "doorstep_id_check/submit", {"vendor_token": "fake:under_age"}),
        (Door.EXPIRED_ID, "doorstep_id_check/submit", {"vendor_token": "fake:expired"}),
        (Door.WRONG_NAME, "doorstep_id_check/submit", {"vendor_token": "fake:wrong_name"}),
        (Door.INTOXICATED, "doorstep_id_check/submit", {"vendor_token": "fake:pass", "sober": False}),
        (Door.NO_ID, "refuse", {"reason": "NO_ID"}),
        (Door.NOBODY_HOME, "refuse", {"reason": "NOBODY_HOME"}),
    ],
)
def test_a_refusal_brings_the_goods_back(door: Door, path: str, part: dict[str, Any]) -> None:
    play = Play(bot(door))
    play.to_door()
    check = play.until(Call)
    assert check.path == f"/v1/orders/o1/{path}"
    assert part.items() <= check.body.items()
    back = task("PICKED_UP", "RETURN", "t2")
    answered = play.answer(check.key, 200, status="RETURNING", passed=False, task=msgspec.to_builtins(back))
    assert told(answered) == [("refused", "o1")]
    play.frame(wire.TaskUpdated(seq=2, task=back))  # the push of what the answer has brought already
    arrived = play.until(wire.TaskArrive)
    assert arrived.task_id == "t2"
    play.frame(wire.TaskUpdated(in_reply_to=arrived.id, task=task("AT_DROPOFF", "RETURN", "t2")))
    confirm = play.until(Call)
    assert confirm.path == "/v1/tasks/t2/return/confirm"
    assert told(play.answer(confirm.key, 200, status="RETURNED")) == [("returned", "o1")]
    assert not play.bot.busy


def test_without_an_answer_from_the_door_the_same_request_goes_again() -> None:
    play = Play(bot())
    play.to_door()
    first = play.until(Call)
    play.answer(first.key, 0)
    assert play.until(Call) == first


def test_what_was_refused_for_good_is_asked_again_under_a_new_key() -> None:
    play = Play(bot())
    play.to_door()
    first = play.until(Call)
    play.answer(first.key, 500, code="INTERNAL_CONFLICT")
    again = play.until(Call)
    assert (again.path, again.body) == (first.path, first.body)
    assert again.key != first.key


def test_who_is_too_far_by_the_servers_word_says_why_the_step_holds() -> None:
    play = Play(bot())
    play.to_door()
    first = play.until(Call)
    assert "override" not in first.body
    play.answer(first.key, 409, code="TOO_FAR")
    again = play.until(Call)
    assert (again.path, again.body["override"]) == (first.path, "GPS_WRONG")
    assert again.key != first.key


def test_a_check_that_was_made_before_a_restart_is_not_made_again() -> None:
    play = Play(bot())
    play.frame(welcome(tasks=(task("AT_DROPOFF"),)))
    check = play.until(Call)
    play.answer(check.key, 409, code="WRONG_STATE")
    assert play.until(Call).path.endswith("/deliver/confirm")


def test_the_snapshot_replaces_what_was_believed() -> None:
    play = Play(bot())
    play.accept()
    play.bot.on_disconnect()
    assert play.bot.resume_from == 1
    actions = play.frame(welcome(last_seq=7, tasks=(task("PICKED_UP", task_id="t9"),)))
    assert told(actions) == [("gone", "o1")]
    assert list(play.bot.tasks) == ["t9"]
    assert play.until(wire.TaskArrive).task_id == "t9"


def test_a_resumed_socket_asks_again_and_old_news_changes_nothing() -> None:
    play = Play(bot())
    play.accept()
    arrived: Any = play.until(wire.TaskArrive)
    play.bot.on_disconnect()
    actions = play.frame(welcome(resumed=True, last_seq=3, tasks=(task("AT_PICKUP"),)))
    assert [frame.id for frame in sent(actions, wire.TaskArrive)] == [arrived.id]
    # The frame that was missed is older than the snapshot: it is acknowledged, not believed.
    acked = sent(play.frame(wire.TaskUpdated(seq=2, task=task("ASSIGNED"))), wire.Ack)
    assert [ack.seq for ack in acked] == [2]
    assert play.bot.tasks["t1"].view.status == "AT_PICKUP"


def test_counts_what_is_lost_and_what_comes_twice() -> None:
    play = Play(bot())
    play.frame(welcome())
    play.frame(wire.OfferExpired(seq=1, offer_id="x"))
    play.frame(wire.OfferExpired(seq=4, offer_id="x"))
    play.frame(wire.OfferExpired(seq=4, offer_id="x"))
    play.frame(
        wire.OfferExpired(seq=4 + 2 * NEW_NUMBERING, offer_id="x")
    )  # a new life of the region: no loss
    assert play.bot.stats["lost_frames"] == 2
    assert play.bot.stats["duplicates"] == 1


def test_an_offer_that_is_gone_is_forgotten() -> None:
    play = Play(bot())
    play.frame(welcome())
    play.frame(offer(1, T0))
    play.frame(wire.OfferRevoked(seq=2, offer_id="f1", reason="ORDER_CANCELLED"))
    assert not sent(play.bot.tick(T0 + 6), wire.OfferAccept)


def test_a_refused_accept_is_not_repeated() -> None:
    play = Play(bot())
    play.frame(welcome())
    play.frame(offer(1, T0))
    asked = play.until(wire.OfferAccept)
    play.frame(wire.Error(code="OFFER_EXPIRED", detail="", in_reply_to=asked.id))
    assert not sent(play.bot.tick(play.now_s + 100), wire.OfferAccept)
    assert not play.bot.busy


def test_an_answer_that_comes_late_still_holds() -> None:
    play = Play(bot())
    play.frame(welcome())
    play.frame(wire.OfferAccepted(in_reply_to="from-before", offer_id="f1", tasks=(task("ASSIGNED"),)))
    assert play.until(wire.TaskArrive).task_id == "t1"


def test_a_cancelled_task_is_dropped() -> None:
    play = Play(bot())
    play.accept()
    actions = play.frame(wire.TaskCancelled(seq=2, task_id="t1", reason="ORDER_CANCELLED"))
    assert told(actions) == [("gone", "o1")]
    assert not play.bot.busy


def test_the_answer_to_an_old_request_does_not_bring_a_lost_task_back() -> None:
    play = Play(bot())
    play.accept()
    play.frame(wire.TaskCancelled(seq=2, task_id="t1", reason="DRIVER_LOST"))
    play.frame(wire.OfferAccepted(in_reply_to="b-1", offer_id="f1", tasks=(task("ASSIGNED"),)))
    play.frame(wire.TaskUpdated(in_reply_to="b-2", task=task("AT_PICKUP")))
    assert not play.bot.busy
    play.frame(offer(3, play.now_s, "f2"))  # but it can be won again
    asked = play.until(wire.OfferAccept)
    play.frame(wire.OfferAccepted(in_reply_to=asked.id, offer_id="f2", tasks=(task("ASSIGNED"),)))
    assert play.bot.busy


def test_where_the_server_disagrees_it_asks_for_the_truth() -> None:
    play = Play(bot())
    play.accept()
    asked: Any = play.until(wire.TaskArrive)
    actions = play.frame(wire.Error(code="NOT_TASK_HOLDER", detail="", in_reply_to=asked.id))
    assert any(isinstance(action, Resync) for action in actions)
    assert play.bot.resume_from is None


def test_a_busy_region_is_asked_again_with_the_same_id() -> None:
    play = Play(bot())
    play.accept()
    asked: Any = play.until(wire.TaskArrive)
    play.frame(wire.Error(code="REGION_UNAVAILABLE", detail="", in_reply_to=asked.id, retry_after_s=2))
    again: Any = play.until(wire.TaskArrive)
    assert again.id == asked.id


def test_a_driver_who_lets_offers_lapse_says_nothing() -> None:
    play = Play(bot(persona=msgspec.structs.replace(PERSONA, lapse=1.0)))
    play.frame(welcome())
    play.frame(offer(1, T0))
    assert not sent(play.bot.tick(T0 + 20), wire.OfferAccept)
    play.frame(wire.OfferExpired(seq=2, offer_id="f1"))
    assert play.bot.stats["expired"] == 1


def test_after_the_shift_what_is_held_is_finished() -> None:
    play = Play(bot(off_s=T0 + 60))
    play.accept()
    off = play.until(wire.Duty)
    assert (off.on, play.now_s) == (False, T0 + 60)
    assert not play.bot.done
    assert play.until(wire.TaskArrive).task_id == "t1"
    play.frame(wire.TaskCancelled(seq=2, task_id="t1", reason="ORDER_CANCELLED"))
    play.bot.on_frame(play.now_s, offer(3, play.now_s, "f2"))
    assert play.until(wire.OfferReject).offer_id == "f2"


def test_pings_follow_the_wall_on_a_fast_clock() -> None:
    play = Play(bot())
    play.frame(welcome())
    began = play.bot.stats["pings"]
    while play.now_s < T0 + 600:  # a minute of wall time, idle
        play.now_s = play.bot.next_wake_s()
        play.bot.tick(play.now_s)
    # One ping in 30 server seconds, so that a silence of 90 never happens, and no more.
    assert 18 <= play.bot.stats["pings"] - began <= 21
