"""A driver in a tunnel: the work goes on, what was done is kept, and sent in order when there is a network again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain import protocol as wire
from sim.bot.actions import Action, Call, Resync, Send
from sim.bot.driver_bot import ANSWER_TIMEOUT_S
from sim.bot.personas import Door
from tests.unit.sim.bot.test_driver_bot import (
    PERSONA,
    SPEED,
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


class Tunnel(Play):
    """`inside`: let time pass without a network; nothing may be sent."""

    def inside(self, seconds: float) -> None:
        self.bot.on_disconnect()
        end_s, self.out = self.now_s + seconds, []
        while self.now_s < end_s:
            actions = self.bot.tick(self.now_s)
            assert not [action for action in actions if isinstance(action, Send | Call)], (
                "sent without a network"
            )
            self.now_s = min(end_s, max(self.bot.next_wake_s(), self.now_s + 0.001))

    def asked(self) -> list[Any]:
        """What was asked for in the last actions."""
        frames = [action.frame for action in self.out if isinstance(action, Send)]
        return [frame for frame in frames if hasattr(frame, "id")] + calls(self.out)

    def only(self) -> Any:
        (one,) = self.asked()
        return one

    def grant(self, asked: Any, view: wire.TaskView) -> list[Action]:
        return self.frame(wire.TaskUpdated(in_reply_to=asked.id, task=view))


def test_the_work_goes_on_and_is_sent_in_order_with_its_times() -> None:
    play = Tunnel(bot())
    play.accept()
    # 1 km to the store, the counter, loading, 2 km to the door: all of it in the tunnel.
    play.inside(400)
    assert play.bot.tasks["t1"].status == "AT_DROPOFF"
    entered_s, play.now_s = play.now_s - 400, play.now_s
    play.frame(welcome(resumed=True, last_seq=1, tasks=(task("ASSIGNED"),)))
    first = play.only()
    assert isinstance(first, wire.TaskArrive)
    assert first.at == pytest.approx(at(entered_s + 100), abs=msgspec_s(SPEED))
    play.grant(first, task("AT_PICKUP"))
    second = play.only()
    assert isinstance(second, wire.TaskPickup)
    play.grant(second, task("PICKED_UP"))
    third = play.only()
    assert isinstance(third, wire.TaskArrive)
    # What the ID says is taken down at the door, and asked about when it can be.
    play.grant(third, task("AT_DROPOFF"))
    check = play.only()
    assert check.path.endswith("/doorstep_id_check/submit")
    steps: list[Any] = [first, second, third, check]
    numbers = [step.n for step in steps]
    assert numbers == sorted(set(numbers))
    times = [step.at for step in steps]
    assert times == sorted(times)
    assert check.at < at(play.now_s)
    (deliver,) = calls(play.answer(check.key, 200, status="ID_VERIFIED", passed=True))
    assert deliver.n > check.n
    assert told(play.answer(deliver.key, 200, status="DELIVERED")) == [("delivered", "o1")]
    assert play.bot.stats["done_offline"] == 4


def msgspec_s(seconds: float) -> Any:
    """So many seconds as what instants differ by."""
    return at(seconds) - at(0)


def test_nothing_is_handed_over_before_the_check_has_passed() -> None:
    play = Tunnel(bot())
    play.to_door()
    play.inside(3600)
    play.frame(welcome(resumed=True, last_seq=1, tasks=(task("AT_DROPOFF"),)))
    assert [asked.path.rpartition("/")[2] for asked in play.asked()] == ["submit"]


def test_what_was_sent_before_the_tunnel_and_not_answered_comes_first_with_the_same_id() -> None:
    play = Tunnel(bot())
    play.accept()
    before: Any = play.until(wire.TaskArrive)
    play.inside(60)
    play.frame(welcome(resumed=True, last_seq=1, tasks=(task("ASSIGNED"),)))
    assert play.only() == before
    play.grant(before, task("AT_PICKUP"))
    assert isinstance(play.only(), wire.TaskPickup)


def test_the_answer_may_be_lost_too() -> None:
    play = Tunnel(bot())
    play.accept()
    play.inside(150)
    play.frame(welcome(resumed=True, last_seq=1, tasks=(task("ASSIGNED"),)))
    first = play.only()
    play.inside(5)
    # The server has heard it, and says so in the snapshot.
    play.frame(welcome(resumed=True, last_seq=1, tasks=(task("AT_PICKUP"),)))
    assert play.only() == first
    play.grant(first, task("AT_PICKUP"))
    assert isinstance(play.only(), wire.TaskPickup)
    assert play.bot.tasks["t1"].status == "PICKED_UP"  # for that is where the driver is


def test_where_a_step_is_refused_what_was_done_after_it_is_not_sent() -> None:
    play = Tunnel(bot())
    play.accept()
    play.inside(400)
    play.frame(welcome(resumed=True, last_seq=1, tasks=(task("ASSIGNED"),)))
    first = play.only()
    play.frame(wire.Error(code="OUT_OF_ORDER", detail="", in_reply_to=first.id))
    assert any(isinstance(action, Resync) for action in play.out)
    assert not play.asked()
    assert play.bot.tasks["t1"].status == "ASSIGNED"
    play.frame(welcome(tasks=(task("AT_PICKUP"),)))
    assert isinstance(play.until(wire.TaskPickup), wire.TaskPickup)


def test_a_task_that_was_given_away_meanwhile_is_forgotten_with_all_that_was_done() -> None:
    play = Tunnel(bot())
    play.accept()
    play.inside(400)
    assert told(play.frame(welcome(last_seq=9))) == [("gone", "o1")]
    assert not play.asked()
    assert not play.bot.unanswered
    assert not play.bot.busy


@pytest.mark.parametrize("choice", ["accept", "reject"])
def test_an_offer_is_answered_in_a_tunnel_and_sent_if_it_is_still_open(choice: str) -> None:
    play = Tunnel(bot(persona=msgspec.structs.replace(PERSONA, reject=float(choice == "reject"))))
    play.frame(welcome())
    play.frame(offer(1, play.now_s))
    play.inside(10)
    view = wire.OfferView(offer_id="f1", tasks=(task(),), stops=(), expires_at=at(play.now_s + 20), ttl_s=20)
    play.frame(welcome(resumed=True, last_seq=1, offers=(view,)))
    assert isinstance(play.only(), wire.OfferAccept if choice == "accept" else wire.OfferReject)
    late = Tunnel(bot())
    late.frame(welcome())
    late.frame(offer(1, late.now_s))
    late.inside(100)
    late.frame(welcome(resumed=True, last_seq=2))
    assert not late.asked()


def test_a_refusal_at_the_door_is_sent_afterwards() -> None:
    play = Tunnel(bot(Door.NO_ID))
    play.to_door()
    play.inside(200)
    play.frame(welcome(resumed=True, last_seq=1, tasks=(task("AT_DROPOFF"),)))
    refusal = play.only()
    assert refusal.path.endswith("/refuse")
    assert refusal.at < at(play.now_s - 100)


def test_a_request_that_found_no_network_goes_again_as_it_was() -> None:
    play = Tunnel(bot())
    play.to_door()
    check = play.until(Call)
    play.inside(1)
    play.answer(check.key, 0)
    assert not play.asked()
    play.now_s += ANSWER_TIMEOUT_S * SPEED
    play.frame(welcome(resumed=True, last_seq=1, tasks=(task("AT_DROPOFF"),)))
    assert play.only() == check


def test_numbers_rise_though_the_clock_is_set_back() -> None:
    play = Tunnel(bot())
    play.accept()
    first: Any = play.until(wire.TaskArrive)
    play.now_s -= 5000
    play.grant(first, task("AT_PICKUP", ready_s=play.now_s))
    second: Any = play.until(wire.TaskPickup)
    assert second.n == first.n + 1
    assert second.at < first.at


def test_a_new_phone_counts_from_where_the_old_one_was() -> None:
    play = Tunnel(bot())
    last_n = round(play.now_s * 1000) + 3_600_000  # whose clock was an hour ahead
    play.frame(welcome(tasks=(task("ASSIGNED"),), last_n=last_n))
    step: Any = play.until(wire.TaskArrive)
    assert step.n == last_n + 1


def test_only_actions_are_sent_not_where_the_driver_was() -> None:
    play = Tunnel(bot())
    play.accept()
    play.inside(50)
    play.frame(welcome(resumed=True, last_seq=1, tasks=(task("ASSIGNED"),)))
    assert len(sent(play.out, wire.Location)) == 1
