"""What-if: the same day with other settings moves the figures the right way, and with the same ones not at all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from actors.region.recorder import Recorder
from actors.region.segments import LogError
from bench.dispatch.mdrp import POLICY, write_solution
from bench.dispatch.mdrp_check import check
from domain.ground.travel import Haversine, Planar
from domain.orders.lifecycle import Role
from domain.orders.reasons import RefuseReason
from domain.region.machine import Region
from domain.region.messages import Arrive, Cancel, Deliver, Message, Pickup, Ready, Refuse
from domain.region.policy import RegionPolicy
from domain.solve import Planning, Services
from sim.days.day import Brought, Day, DayCourier, DayOrder, Outcome, Solves
from sim.days.logday import LogDay, day_of_log
from sim.days.mdrplib import read_mdrplib
from sim.days.overrides import Scene, faster, knobs, names, parse, person, turned, value_of
from sim.days.simulate import _Market
from sim.days.whatif import METRICS, Comparison, Pay, gini, measure, play, what_if
from solver.registry import solve
from tests.support.build import id_check
from tests.support.recording import logs, record

MIN = 60_000
BEGIN_MS = 1_750_000_000_000
STORES = ((32.80, -96.80), (32.82, -96.77), (32.78, -96.83))
SERVICES = Services(pickup_before_s=90, door_before_s=150)
QUICK: dict[str, Any] = {"fast_max_wait_s": 20.0, "planning": Planning(bundle_tries=0, moves=0, rounds=1)}
BELIEF = RegionPolicy(offer_ttl_s=25.0, **QUICK)  # in faster drives and shorter stops than there are
INSTANCES = Path(__file__).parents[5] / "shared" / "data" / "mdrplib" / "instances"


def made_up(
    orders: int = 40, couriers: int = 8, rate: float | None = None, answer_s: float | None = None
) -> Day:
    """Two hours in a city: an order every three minutes, couriers for the whole time."""
    rng = np.random.default_rng(7)

    def order(n: int) -> DayOrder:
        store, placed_ms = STORES[n % 3], BEGIN_MS + 3 * n * MIN
        return DayOrder(
            id=f"o{n}",
            store_id=f"s{n % 3}",
            pickup_lat=store[0],
            pickup_lng=store[1],
            dropoff_lat=store[0] + float(rng.uniform(-0.03, 0.03)),
            dropoff_lng=store[1] + float(rng.uniform(-0.03, 0.03)),
            placed_ms=placed_ms,
            ready_ms=placed_ms + 8 * MIN,
            due_ms=placed_ms + 30 * MIN,
        )

    def courier(n: int) -> DayCourier:
        lat, lng = (float(one + rng.uniform(-0.03, 0.03)) for one in STORES[n % 3])
        return DayCourier(
            id=f"c{n}",
            lat=lat,
            lng=lng,
            on_ms=BEGIN_MS - 5 * MIN,
            off_ms=BEGIN_MS + 240 * MIN,
            accept_rate=rate,
            answer_s=answer_s,
        )

    return Day(
        name="made up",
        orders=tuple(order(n) for n in range(orders)),
        couriers=tuple(courier(n) for n in range(couriers)),
        travel=Haversine(),
        services=SERVICES,
    )


def scene(day: Day | None = None, **policy: Any) -> Scene:
    """The live policy, which knows what the day's stops take, with fewer looks to be quick."""
    made = RegionPolicy(services=SERVICES, **(QUICK | policy))
    return Scene(day=day or made_up(orders=25), policy=made, ping_s=30.0)


def tried(*settings: str, given: tuple[str, ...] = (), day: Day | None = None, seeds: int = 1) -> Comparison:
    return what_if(scene(day), parse(settings), given=parse(given), seeds=range(1, 1 + seeds))


# -- two runs ---------------------------------------------------------------------------------------------------------


def test_the_same_settings_change_nothing() -> None:
    day = made_up(orders=20, rate=0.7, answer_s=8.0)
    same = tried("beta=2", "ttl_s=30", "fleet=1", day=day, seeds=2)
    assert set(same.difference.values()) == {0.0}
    assert same.error == dict.fromkeys(same.difference, 0.0)
    assert same.baseline == same.changed
    assert same.baseline["delivered_count"] == 20
    assert same.fit is None


def test_a_comparison_is_the_same_twice() -> None:
    day = made_up(orders=20, rate=0.7, answer_s=8.0)
    one, two = (msgspec.json.encode(tried("ttl_s=10", day=day)) for _ in range(2))
    assert one == two


def test_half_the_couriers_are_later_and_do_more_each() -> None:
    made = tried("fleet=0.4")
    assert made.difference["late_mean_min"] > 1
    assert made.difference["ctd_mean_min"] > 1
    assert made.difference["topped_up_pct"] < 0
    assert made.difference["cost_usd"] < 0, "fewer hours are guaranteed"
    assert made.couriers == 8


def test_more_couriers_are_sooner() -> None:
    assert tried("fleet=2", given=("fleet=0.5",)).difference["ctd_mean_min"] < -1


def test_slower_vehicles_drive_longer_but_not_further() -> None:
    made = tried("speed=0.5", day=made_up(orders=6, couriers=3))
    assert made.difference["ctd_mean_min"] > 3
    assert made.difference["drive_min"] > 0.8 * made.baseline["drive_min"]
    assert made.difference["loaded_km"] == pytest.approx(0, abs=0.05)


def test_a_shorter_ttl_lets_more_offers_end() -> None:
    made = tried("ttl_s=5", given=("answer_s=20",))
    assert made.baseline["expired"] > 0
    assert made.difference["expired"] > 0.3
    assert made.difference["ctd_mean_min"] > 0


def test_unwilling_couriers_decline() -> None:
    made = tried("accept=0.5", day=made_up(orders=40))
    assert made.baseline["declined"] == 0
    assert made.difference["declined"] > 0.4


def test_the_nearest_driver_is_another_plan() -> None:
    assert tried("solver=greedy", given=("fleet=0.4",)).difference["ctd_mean_min"] != 0


# -- measuring --------------------------------------------------------------------------------------------------------


def test_figures_by_hand() -> None:
    """A plane on which a km takes a minute. c1 brings two orders in one trip and one later, c2 none."""
    km = 1000 * 1e-5

    def order(n: int, door_km: float, placed_min: int) -> DayOrder:
        return DayOrder(
            id=f"o{n}", store_id="s", pickup_lat=0.0, pickup_lng=0.0, dropoff_lat=0.0, dropoff_lng=door_km * km,
            placed_ms=placed_min * MIN, ready_ms=placed_min * MIN, due_ms=(placed_min + 10) * MIN,
        )  # fmt: skip

    def brought(n: int, offer: int, pickup_min: int, drop_min: int) -> Brought:
        return Brought(
            order_id=f"o{n}", courier_id="c1", offer_id=f"f{offer}", assigned_ms=0, arrive_ms=pickup_min * MIN,
            pickup_ms=pickup_min * MIN, dropoff_ms=drop_min * MIN,
        )  # fmt: skip

    couriers = tuple(
        DayCourier(id=name, lat=0.0, lng=-2 * km, on_ms=0, off_ms=60 * MIN) for name in ("c1", "c2")
    )
    day = Day(
        name="plane",
        orders=(order(1, 3.0, 0), order(2, 5.0, 0), order(3, 3.0, 20), order(4, 3.0, 30)),
        couriers=couriers,
        travel=Planar(metres_per_grain=1000.0),
        services=Services(),
        give_up_s=3600.0,
    )
    done = [brought(1, 1, 2, 5), brought(2, 1, 2, 12), brought(3, 2, 22, 32)]
    outcome = Outcome(
        day="plane", brought={one.order_id: one for one in done}, given_up=("o4",), offers=(),
        drive_s={"c1": 900.0, "c2": 0.0}, solves=Solves(),
    )  # fmt: skip
    got = measure(day, outcome, Pay(per_order_usd=10, per_hour_usd=15))
    assert got["delivered_count"] == 3
    assert got["undelivered_pct"] == 25
    assert got["ctd_mean_min"] == pytest.approx((5 + 12 + 12) / 3)
    assert got["ctd_p90_min"] == pytest.approx(12)
    assert got["late_mean_min"] == pytest.approx((0 + 2 + 2) / 3)
    assert got["late_pct"] == pytest.approx(200 / 3)
    assert got["rtp_mean_min"] == pytest.approx((2 + 2 + 2) / 3)
    assert got["empty_km"] == pytest.approx((2 + 5) / 3), "to the store, and from the second door back to it"
    assert got["loaded_km"] == pytest.approx((3 + 2 + 3) / 3)
    assert got["drive_min"] == pytest.approx(5)
    assert got["bundle"] == pytest.approx(1.5)
    assert got["cost_usd"] == pytest.approx((30 + 15) / 3), "c2 gets the hour's guarantee"
    assert got["topped_up_pct"] == pytest.approx(50)
    assert got["gini"] == pytest.approx(0.5)
    assert got["per_hour_sd"] == pytest.approx(1.5)
    assert got.keys() == {metric.name for metric in METRICS}
    half = measure(day, outcome, Pay(per_order_usd=10, per_hour_usd=15), until_ms=30 * MIN)
    assert half["cost_usd"] == pytest.approx((30 + 7.5) / 3), "hours count until then"
    late = measure(replace(day, give_up_s=10 * 60.0), outcome, Pay())
    assert late["delivered_count"] == 1, "what comes after the end of all patience is not delivered"
    assert late["cost_usd"] == pytest.approx(30 + 15), "but paid for"


def test_gini_of_what_is_known() -> None:
    assert gini(np.array([2.0, 2.0, 2.0])) == 0
    assert gini(np.array([0.0, 0.0, 0.0, 8.0])) == pytest.approx(0.75)
    assert gini(np.array([3.0, 1.0])) == pytest.approx(0.25)
    assert gini(np.array([0.0, 0.0])) == 0


@pytest.mark.skipif(not INSTANCES.is_dir(), reason="needs the Grubhub instances")
def test_the_figures_are_those_of_the_independent_checker(tmp_path: Path) -> None:
    """The benchmark's checker knows the raw files alone."""
    folder = INSTANCES / "0o50t100s1p100"
    day = read_mdrplib(folder)
    policy = replace(POLICY, travel=day.travel, services=day.services, solver="greedy")
    outcome = play(Scene(day=day, policy=policy, look_s=60.0), 1)
    write_solution(tmp_path / "solution.csv", outcome)
    theirs = check(folder, tmp_path / "solution.csv").metrics
    ours = measure(day, outcome, Pay())
    names_of = {
        "undelivered_pct": "undelivered_pct",
        "ctd_mean_min": "ctd_mean_min",
        "ctd_p90_min": "ctd_p90_min",
        "late_mean_min": "overage_mean_min",
        "late_pct": "late_pct",
        "rtp_mean_min": "rtp_mean_min",
        "cost_usd": "cost_per_order_usd",
        "bundle": "orders_per_bundle",
    }
    assert {name: ours[name] for name in names_of} == pytest.approx(
        {name: theirs[other] for name, other in names_of.items()}
    )


# -- names ------------------------------------------------------------------------------------------------------------


def test_letters_and_last_parts_lead_to_paths() -> None:
    assert parse(
        ["beta=2", "ttl_s=20", "rounds=5", "weights.zone=3", "sacrifice=true", "give_up_s=none"]
    ) == {
        "weights.lateness": 2.0,
        "offer_ttl_s": 20.0,
        "planning.rounds": 5,
        "weights.zone": 3.0,
        "planning.sacrifice": True,
        "give_up_s": None,
    }


def test_every_name_can_be_set_to_what_it_is() -> None:
    """... and then changes nothing: paths are read and written in the same place."""
    before = scene()
    for path, knob in knobs().items():
        value = value_of(before, path)
        if path.startswith("scene."):
            continue
        text = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        assert knob.read(text) == value, path
        assert turned(before, {path: value}, 1) == before, path
    assert names()["lateness"] == "weights.lateness"
    assert "weights" not in names()


def test_a_value_arrives_at_its_path() -> None:
    made = turned(
        scene(),
        parse(["alpha=0.7", "rounds=9", "candidates=4", "driver_stale_s=700", "driver_lost_s=800"]),
        1,
    )
    assert made.policy.weights.travel == 0.7
    assert made.policy.planning.rounds == 9
    assert (made.policy.candidates, made.policy.driver_stale_s, made.policy.driver_lost_s) == (4, 700, 800)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("bta=2", "There is no setting bta. Did you mean beta"),
        ("offer_tl_s=2", "Did you mean offer_ttl_s"),
        ("qqqqqq=2", "`--set help` lists what can be set."),
        ("beta", "'beta' is not NAME=VALUE, such as beta=2."),
        ("beta=", "'beta=' is not NAME=VALUE"),
        ("beta=much", "beta=much: weights.lateness is a number, and not 'much'."),
        ("beta=-1", "weights.lateness is at least 0, and not -1."),
        ("beta=nan", "weights.lateness is at least 0, and not nan."),
        ("ttl_s=inf", "offer_ttl_s is at least 1, and not inf."),
        ("candidates=1.5", "candidates is a whole number, and not '1.5'."),
        ("fleet=0", "scene.fleet is 0.01 to 10, and not 0."),
        ("solver=magic", "solver is one of "),
        ("sacrifice=maybe", "planning.sacrifice is true or false, and not maybe."),
        ("promise_s=60", "promise_s cannot be tried"),
        ("weights=3", "There is no setting weights."),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse([setting])


def test_a_setting_is_set_once() -> None:
    with pytest.raises(ValueError, match=r"weights\.lateness is set twice\."):
        parse(["beta=1", "lateness=2"])


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="driver_lost_s must not be less"):
        turned(scene(), parse(["driver_lost_s=10"]), 1)


def test_a_smaller_fleet_is_part_of_a_larger_one() -> None:
    ids = {}
    for times in ("0.25", "0.5", "1", "2"):
        made = turned(scene(), parse([f"fleet={times}"]), 3)
        ids[times] = {one.id for one in made.day.couriers}
    assert [len(some) for some in ids.values()] == [2, 4, 8, 16]
    assert ids["0.25"] < ids["0.5"] < ids["1"] < ids["2"]
    assert (
        turned(scene(), parse(["fleet=0.5"]), 4).day.couriers
        != turned(scene(), parse(["fleet=0.5"]), 3).day.couriers
    )


def test_a_person_is_kept_with_all_shifts() -> None:
    day = made_up(couriers=4)
    shifts = tuple(replace(one, id=f"{one.id}#{number}") for one in day.couriers for number in (2, 3))
    half = turned(scene(replace(day, couriers=day.couriers + shifts)), parse(["fleet=0.5"]), 1).day.couriers
    assert len({person(one.id) for one in half}) == 2
    assert len(half) == 6


def test_speed_is_everybodys_knowledge() -> None:
    made = turned(scene(), parse(["speed=0.5"]), 1)
    assert made.day.travel == made.policy.travel == Haversine(speed_mps=5.0)
    assert faster(Planar(metres_per_grain=300.0), 2) == Planar(metres_per_grain=600.0)


# -- a day from a log -------------------------------------------------------------------------------------------------


class Watched(Region):
    """A region whose steps are recorded, as a pump does it."""

    recorder: Recorder

    def step(self, now_ms: int, message: Message) -> Ready:
        ready = super().step(now_ms, message)
        self.recorder.stepped(now_ms, message, ready)
        return ready


def recorded_market(folder: Path, made: Scene) -> Outcome:
    """The scene's day on the virtual market, with a log in the folder."""
    market = _Market(made.day, made.policy, 1, solve, lambda line: None)
    recorder = Recorder(folder, 10**9, 10**9, backlog_bytes=10**12)
    recorder.began(market.region, market.now_ms)
    market.region.__class__ = Watched
    market.region.recorder = recorder  # type: ignore[attr-defined]
    outcome = market.run(None, 30.0)
    assert recorder.recording
    recorder.close()
    return outcome


@pytest.fixture(scope="module")
def from_log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Day, LogDay, Outcome]:
    """A day that was dispatched, what its log tells, and what came of it."""
    folder = tmp_path_factory.mktemp("log") / "tx-dfw"
    day = replace(made_up(rate=0.7, answer_s=6.0), travel=Haversine(speed_mps=7.5))
    outcome = recorded_market(folder, Scene(day=day, policy=BELIEF))
    return day, day_of_log(logs(folder)), outcome


def test_a_log_tells_of_its_orders_and_couriers(from_log: tuple[Day, LogDay, Outcome]) -> None:
    day, told, _ = from_log
    assert told.scene.day.orders == day.orders
    assert [(one.id, one.lat, one.lng) for one in told.scene.day.couriers] == sorted(
        (one.id, one.lat, one.lng) for one in day.couriers
    )
    assert {one.on_ms for one in told.scene.day.couriers} == {day.couriers[0].on_ms}
    assert {one.off_ms for one in told.scene.day.couriers} == {day.couriers[0].off_ms}
    assert told.scene.policy == replace(BELIEF, geofence=None)  # couriers of days are where they say
    assert told.scene.look_s is None


def test_a_log_tells_how_couriers_drive_serve_and_answer(from_log: tuple[Day, LogDay, Outcome]) -> None:
    _, told, outcome = from_log
    day = told.scene.day
    assert isinstance(day.travel, Haversine)
    assert day.travel.speed_mps == pytest.approx(7.5, rel=0.02)
    assert day.services.pickup_before_s == pytest.approx(90, abs=1)
    assert day.services.door_before_s == pytest.approx(150, abs=1)
    rates = [one.accept_rate for one in day.couriers]
    means = [one.answer_s for one in day.couriers]
    assert len(outcome.offers) > 40
    assert np.mean([rate or 0 for rate in rates]) == pytest.approx(0.7, abs=0.1)
    assert np.mean([mean or 0 for mean in means]) == pytest.approx(6.0, rel=0.3)
    assert len(set(rates)) > 3, "each courier's own"
    assert any("drives took 1.33 x the time" in note for note in told.notes)


def test_the_model_fits_the_log_it_was_made_of(from_log: tuple[Day, LogDay, Outcome]) -> None:
    _, told, outcome = from_log
    assert told.history.door_ms == {name: one.dropoff_ms for name, one in outcome.brought.items()}
    assert told.history.offers == len(outcome.offers)
    made = what_if(told.scene, parse(["ttl_s=3"]), history=told.history)
    assert made.fit is not None
    was, is_ = made.fit["click to door of the same orders, mean min"]
    assert is_ == pytest.approx(was, rel=0.1)
    was, is_ = made.fit["brought to the door by the log's end"]
    assert is_ == pytest.approx(was, rel=0.1)
    assert made.difference["expired"] > 0.2


def test_shifts_breaks_and_silence(tmp_path: Path) -> None:
    """Ann has two shifts; Bob's break is too short to be one; Cyd falls silent; Dee is on duty at the end, and
    Flo went off as the log ended; Eve never came."""

    def tell(story: Any) -> None:
        for name in ("ann", "bob", "cyd", "dee"):
            story.drive(name)
        story.wait(300)
        story.silence("cyd")
        story.drive("ann", on=False)
        story.drive("bob", on=False)
        story.wait(40)
        story.drive("bob")
        story.wait(600)
        story.drive("ann")
        story.wait(120)
        story.drive("ann", on=False)
        story.drive("bob", on=False)
        story.wait(100)
        story.attach("eve")
        story.drive("flo")
        story.order()
        story.drive("flo", on=False)

    record(tmp_path / "log", tell)
    told = day_of_log(logs(tmp_path / "log")).scene.day
    start_ms = min(one.on_ms for one in told.couriers)
    spans = {
        one.id: ((one.on_ms - start_ms) // 1000, (one.off_ms - start_ms) // 1000) for one in told.couriers
    }
    assert spans == {
        "ann": (0, 300),
        "ann#2": (940, 1060),
        "bob": (0, 1060),
        "cyd": (0, 300),
        "dee": (0, 1160 + 3600),
        "flo": (1160, 1160 + 3600),
    }
    assert {person(name) for name in spans} == {"ann", "bob", "cyd", "dee", "flo"}


def test_what_is_not_of_the_day_is_left_out_and_told(tmp_path: Path) -> None:
    def tell(story: Any) -> None:
        story.delivered()
        story.drive("ann", on=False)
        story.order()
        story.do("cara", Cancel("order-2"), role=Role.CUSTOMER)
        story.order()
        story.do("dan", Cancel("order-3"), role=Role.DISPATCHER)
        story.at_door("bob")
        story.do("bob", Refuse("order-4", RefuseReason.NOBODY_HOME))

    record(tmp_path / "log", tell)
    told = day_of_log(logs(tmp_path / "log"))
    assert [one.id for one in told.scene.day.orders] == ["order-1", "order-3", "order-4"]
    assert set(told.history.door_ms) == {"order-1", "order-4"}
    assert "1 orders were cancelled by customer or merchant, and are left out" in told.notes
    assert "1 orders were refused at the door: in the model every order is taken" in told.notes


def test_a_log_without_orders_is_refused(tmp_path: Path) -> None:
    record(tmp_path / "log", lambda story: story.drive("ann"))
    with pytest.raises(LogError, match="no orders, or of nobody on duty"):
        day_of_log(logs(tmp_path / "log"))


def test_orders_under_way_when_the_log_begins_are_left_out(tmp_path: Path) -> None:
    def tell(story: Any) -> None:
        story.assigned("ann")
        story.drive("bob")
        story.order()
        story.wait(30)

    record(tmp_path / "log", tell, segment_bytes=500)
    parts = logs(tmp_path / "log")
    whole = day_of_log(parts)
    assert [one.id for one in whole.scene.day.orders] == ["order-1", "order-2"]
    assert not any("under way" in note for note in whole.notes)
    later = day_of_log(parts[-1:])
    assert "order-1" not in [one.id for one in later.scene.day.orders]
    assert any("1 orders were under way when the log began" in note for note in later.notes)


def test_waiting_for_goods_is_no_service(tmp_path: Path) -> None:
    """Goods are packed after five minutes; the driver is there at once and takes them after six."""

    def tell(story: Any) -> None:
        for n in range(1, 7):
            task_id = story.assigned()
            story.do("ann", Arrive(task_id))
            story.wait(360)
            story.do("ann", Pickup(task_id), Arrive(task_id))
            story.wait(70)
            story.do("ann", id_check(f"order-{n}"), Deliver(f"order-{n}"))

    record(tmp_path / "log", tell)
    services = day_of_log(logs(tmp_path / "log")).scene.day.services
    assert services.pickup_before_s == RegionPolicy().services.pickup_before_s, "nothing was learnt"
    assert services.door_before_s == 70
