"""A region that comes out of a checkpoint goes on exactly like the one that went in, and nothing else comes out."""

from __future__ import annotations

import copyreg
import os
import pickle
import zlib
from collections import OrderedDict, deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from actors.region.checkpoint import CheckpointError, CutOff, code_hash, difference, dump, freeze, load
from domain.ground.geo import distance_m
from domain.region.log.journal import digest
from domain.region.machine import Region
from domain.region.messages import Accept, Message, Ready
from domain.region.policy import RegionPolicy
from tests.support import build
from tests.support.build import NOW, at
from tests.support.chance import Move, moves, play
from tests.support.examples import examples
from tests.support.recording import Recorded
from tests.support.story import Story


def through(region: Region) -> Region:
    """The region as it comes back from a checkpoint."""
    pieces: list[bytes] = []
    dump(freeze(region), pieces.append)
    return load(pieces)


class Twin:
    """A journal that keeps a second region beside the first, which goes through a checkpoint now and then."""

    def __init__(self, every: int = 5) -> None:
        self.every, self.steps = every, 0

    def began(self, region: Region, now_ms: int) -> None:
        self.original, self.twin = region, through(region)

    def failed(self, now_ms: int, message: Message) -> None:
        pass

    def stepped(self, now_ms: int, message: Message, ready: Ready) -> None:
        assert digest(self.twin.step(now_ms, message)) == digest(ready), message
        assert self.twin.next_deadline() == self.original.next_deadline()
        self.steps += 1
        if self.steps % self.every == 0:
            self.twin = through(self.twin)


@examples(60)
@given(moves)
def test_a_restored_region_goes_on_like_the_original(some: list[Move]) -> None:
    twin = Twin()
    play(Recorded(twin), some)
    assert difference(twin.original, twin.twin) is None
    assert difference(twin.original, through(twin.original)) is None


def crowd(drivers: int = 2_500) -> Story:
    """A region with more of everything than goes into one part of a checkpoint."""
    story = Story(promise_s=600.0)
    story.session = dict.fromkeys((f"driver-{i}" for i in range(drivers)), 1)
    story.where = {name: at(i % 50, i // 50) for i, name in enumerate(story.session)}
    story.ping()
    for i in range(drivers):
        story.ask(f"driver-{i}", Accept(offer_id=f"no-offer-{i}"))
    for _ in range(5):
        story.order()
    story.look()
    return story


def test_a_large_state_is_written_in_parts_and_comes_back() -> None:
    region = crowd().region
    frozen = freeze(region)
    assert {part.kind for part in frozen.parts} >= {"dict", "list", "OrderedDict"}
    pieces: list[bytes] = []
    dump(frozen, pieces.append)
    back = load(pieces)
    assert difference(region, back) is None
    kinds = {type(back.state.offers.closed._items), type(back.state.fleet.ids), type(back.state.fleet.index)}
    assert kinds == {OrderedDict, list, dict}
    assert max(map(len, pieces)) < 200_000, "small enough for the region to go on in between"


def test_a_frozen_state_does_not_move_with_its_region() -> None:
    story = crowd()
    twin, frozen = through(story.region), freeze(story.region)
    story.wait(31)
    pieces: list[bytes] = []
    dump(frozen, pieces.append)
    assert difference(twin, load(pieces)) is None
    assert difference(twin, story.region) is not None


def test_a_full_deque_stays_full() -> None:
    region = Region(build.image(), RegionPolicy(decisions_limit=2, demand_limit=1500), NOW)
    region.demand.extend((NOW, str(n)) for n in range(2000))
    for n in range(5):
        region.state.say(NOW, str(n))
    back = through(region)
    assert (back.demand, back.demand.maxlen, back.state.decisions.maxlen) == (region.demand, 1500, 2)


def test_state_that_could_not_be_read_back_is_not_written() -> None:
    region = Story().region
    region.state.counters["callback"] = len  # type: ignore[assignment]
    with pytest.raises(TypeError, match="builtin_function_or_method cannot be kept"):
        freeze(region)


# -- what is read -----------------------------------------------------------------------------------------------------


def written(state: Any) -> list[bytes]:
    """A checkpoint with no large containers and this state."""
    return [zlib.compress(pickle.dumps([], 5) + pickle.dumps(state, 5))]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo reached > /tmp/doorstep-evil",)


@pytest.mark.parametrize(
    "state", [Evil(), os.system, eval, copyreg.pickle, distance_m, Story, np.load, pickle.loads]
)
def test_nothing_but_values_is_made(state: Any) -> None:
    with pytest.raises(CheckpointError, match="which this code does not know"):
        load(written(state))


@pytest.mark.parametrize("state", [1, "region", RegionPolicy(), deque([1]), None])
def test_something_else_than_a_region_is_refused(state: Any) -> None:
    with pytest.raises(CheckpointError, match="not of a region"):
        load(written(state))


def test_half_a_checkpoint_is_told_from_a_bad_one() -> None:
    pieces: list[bytes] = []
    dump(freeze(Story().region), pieces.append)
    data = b"".join(pieces)
    with pytest.raises(CutOff):
        load([data[:-1]])
    with pytest.raises(CutOff):
        load([])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load([b"no checkpoint at all"])
    with pytest.raises(CheckpointError, match="lacks a part"):
        load([zlib.compress(pickle.dumps([("list", None, 2)], 5) + pickle.dumps([], 5))])


# -- comparing --------------------------------------------------------------------------------------------------------


def test_the_place_of_a_difference_is_named() -> None:
    story = Story()
    story.assigned()
    one = story.region
    for change, place in (
        (lambda region: region.state.fleet.lat.__setitem__(0, 1.0), "region.state.fleet.lat"),
        (lambda region: region.state.counters.update(orders=9), "region.state.counters['orders']"),
        (lambda region: region.state.holdings.by_driver.clear(), "region.state.holdings.by_driver"),
        (lambda region: setattr(region.state, "epoch", 7), "region.state.epoch"),
        (
            lambda region: setattr(region.state, "policy", RegionPolicy(candidates=3, geofence=None)),
            "region.state.policy.candidates",
        ),
    ):
        other = through(one)
        assert difference(one, other) is None
        change(other)
        assert difference(one, other) == place


def test_the_hash_of_the_code_is_short_and_steady() -> None:
    assert len(code_hash()) == 12
    assert code_hash() == code_hash.__wrapped__()
