"""Travel times from a road engine: what is asked, what is remembered, and what happens when it cannot be had."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.ground.arrays import F64
from domain.ground.travel import Haversine
from domain.ports import RoadMatrix, RoadRoute, VendorError
from integrations.routing.options import RoadOptions
from integrations.routing.road_travel import RoadCounts, Roads, RoadTravel, blocks, place_of

PLAIN = Haversine()
OPTIONS = RoadOptions(router_mode="OSRM", router_cache_ttl_s=100.0, router_retry_s=30.0, router_budget_s=5.0)
RNG = np.random.default_rng(7)
LAT, LNG = 32.7 + RNG.random(40) / 5, -96.9 + RNG.random(40) / 5


class Engine:
    """A road engine on which every drive takes 1000 s and each request `takes_s` on the clock."""

    def __init__(self) -> None:
        self.now_s, self.takes_s = 1000.0, 0.0
        self.requests: list[tuple[int, int]] = []
        self.fails_from = 10**9  # the request from which on it fails
        self.closed: set[float] = set()  # latitudes that no road leads to

    def clock(self) -> float:
        return self.now_s

    def matrix(self, sources: F64, targets: F64) -> RoadMatrix:
        self.requests.append((len(sources), len(targets)))
        self.now_s += self.takes_s
        if len(self.requests) >= self.fails_from:
            raise VendorError("out of order")
        seconds = np.full((len(sources), len(targets)), 1000.0)
        for row, (lat, _) in enumerate(sources):
            if round(lat, 4) in self.closed:
                seconds[row] = np.nan
        return RoadMatrix(seconds, seconds * 10)

    def route(self, points: Sequence[tuple[float, float]]) -> RoadRoute | None:
        raise NotImplementedError


@pytest.fixture
def engine() -> Engine:
    return Engine()


def travel(engine: Engine, **changes: float) -> tuple[RoadTravel, Roads]:
    options = replace(OPTIONS, **changes)
    roads = Roads(engine, options, engine.clock)
    return RoadTravel(roads, PLAIN, options), roads


def table(model: RoadTravel | Haversine, n: int = 4, m: int = 3, first: int = 0) -> F64:
    """Seconds from n places to m others."""
    a, b = slice(first, first + n), slice(first + n, first + n + m)
    return model.seconds(LAT[a, None], LNG[a, None], LAT[b], LNG[b], 0)


def test_what_is_known_is_not_asked_again(engine: Engine) -> None:
    model, roads = travel(engine)
    assert np.all(table(model) == 1000)
    assert np.all(table(model) == 1000)
    assert engine.requests == [(4, 3)]
    assert roads.counts == RoadCounts(hits=12, misses=12)
    # One place more: its pairs alone are asked for.
    assert np.all(model.seconds(LAT[:5, None], LNG[:5, None], LAT[4:7], LNG[4:7], 0)[:4] == 1000)
    assert engine.requests[1:] == [(1, 2)], "from the fifth place to the others; to itself there is no drive"


def test_places_within_the_grid_are_one(engine: Engine) -> None:
    model, _ = travel(engine)
    model.seconds([32.70000, 32.70002], [-96.9, -96.9], [32.8, 32.80003], -96.8, 0)
    assert engine.requests == [(1, 1)]
    assert float(model.seconds(32.7, -96.9, 32.70003, -96.9, 0)) < 10, "no road is needed for three metres"
    assert engine.requests == [(1, 1)]


def test_what_is_known_is_forgotten_in_time(engine: Engine) -> None:
    model, roads = travel(engine)
    table(model)
    engine.now_s += 90
    table(model, first=20)  # keeps the cache in use, which must not keep the first pairs
    table(model)
    assert len(engine.requests) == 2
    engine.now_s += 10
    table(model)
    assert len(engine.requests) == 3, "older than 100 s"
    engine.now_s += 1_000_000
    table(model)
    assert (len(engine.requests), roads.cached) == (4, 12), "what was known a million seconds ago is gone"


@pytest.mark.parametrize("entries", [2, 10, 100])
def test_the_cache_has_an_end(engine: Engine, entries: int) -> None:
    model, roads = travel(engine, router_cache_entries=entries)
    for first in range(0, 30, 3):
        assert np.all(table(model, first=first) == 1000), "an answer is whole however small the cache"
        assert roads.cached <= entries


def test_where_no_road_leads_the_estimate_stands(engine: Engine) -> None:
    model, roads = travel(engine)
    engine.closed = {round(float(LAT[1]), 4)}
    for _ in range(2):
        times = table(model)
        assert np.all(times[[0, 2, 3]] == 1000)
        assert np.array_equal(times[1], table(PLAIN)[1])
    assert len(engine.requests) == 1, "that there is no road is known as well"
    assert roads.counts == RoadCounts(misses=9, hits=9, unreachable=6)


def test_the_nearest_pairs_are_asked_for(engine: Engine) -> None:
    model, roads = travel(engine, router_pairs_limit=5)
    estimate = table(PLAIN)
    times = table(model)
    # A block has all pairs of its places, but only those asked for count.
    nearest = np.argsort(estimate.ravel())[:5]
    asked = np.zeros(12, bool)
    asked[nearest] = True
    assert np.all(times.ravel()[asked] == 1000)
    assert np.array_equal(times.ravel()[~asked], estimate.ravel()[~asked])
    assert roads.counts == RoadCounts(misses=5, fallbacks=7)


def test_after_a_failure_there_is_a_pause(engine: Engine) -> None:
    model, roads = travel(engine)
    engine.fails_from = 1
    assert np.array_equal(table(model), table(PLAIN))
    engine.fails_from = 10**9
    engine.now_s += 29
    assert np.array_equal(table(model), table(PLAIN))
    assert len(engine.requests) == 1
    assert roads.counts == RoadCounts(fallbacks=24, failures=1)
    engine.now_s += 1
    assert np.all(table(model) == 1000)


def test_what_came_before_the_failure_counts(engine: Engine) -> None:
    model, roads = travel(engine, router_table_limit=4)
    engine.fails_from = 2
    times = table(model)
    assert engine.requests[0] == (3, 1)
    assert np.count_nonzero(times == 1000) == 3
    assert np.array_equal(times[times != 1000], table(PLAIN)[times != 1000])
    assert roads.counts == RoadCounts(misses=3, fallbacks=9, failures=1)


def test_when_the_time_is_spent_the_rest_is_estimated(engine: Engine) -> None:
    model, roads = travel(engine, router_table_limit=4)
    engine.takes_s = 3.0
    times = table(model)
    assert len(engine.requests) == 2, "after the second, 6 of the 5 seconds are gone"
    assert 0 < np.count_nonzero(times == 1000) < 12
    assert roads.counts.failures == 0
    for _ in range(5):
        times = table(model)
    assert np.all(times == 1000), "what is missing comes with the next looks"


def test_more_places_than_a_table_holds(engine: Engine) -> None:
    model, _ = travel(engine, router_table_limit=10)
    assert np.all(table(model, 25, 15) == 1000)
    assert all(n + m <= 10 for n, m in engine.requests)


@settings(max_examples=50, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=80),
    limit=st.integers(2, 30),
)
def test_blocks_cover_every_pair_within_the_limit(pairs: list[tuple[int, int]], limit: int) -> None:
    places = place_of(LAT[:31], LNG[:31])
    source, target = (places[np.array(side)] for side in zip(*pairs, strict=True))
    covered: set[tuple[int, int]] = set()
    for rows, columns in blocks(source, target, limit):
        assert len(rows) + len(columns) <= limit
        covered |= {(i, j) for i in rows.tolist() for j in columns.tolist()}
    assert covered >= set(zip(source.tolist(), target.tolist(), strict=True))


def test_neighbours_share_a_block() -> None:
    # Two towns: nobody is asked for a drive from the one to the other.
    near = place_of(32.7 + np.arange(20) / 1000, np.full(20, -96.9))
    far = place_of(30.2 + np.arange(20) / 1000, np.full(20, -97.7))
    source, target = np.concatenate([near[:10], far[:10]]), np.concatenate([near[10:], far[10:]])
    i, j = (grid.ravel() for grid in np.indices((10, 10)))
    pairs = np.concatenate([source[:10][i], source[10:][i]]), np.concatenate([target[:10][j], target[10:][j]])
    asked = sum(len(rows) * len(columns) for rows, columns in blocks(*pairs, limit=40))
    assert asked == 200
