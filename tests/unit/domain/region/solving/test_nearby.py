"""A look for drivers takes those into account who can be there first."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.ground.geo import distance_m
from domain.region.messages import DriversSeen
from domain.region.solving.nearby import LEAST, nearby
from tests.support.story import Story

MANY = 2 * LEAST + 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_first_to_be_at_a_store_are_in(seed: int, stores: int) -> None:
    chance = np.random.default_rng(seed)
    lat, lng = 32.8 + chance.normal(0, 0.2, 3000), -96.8 + chance.normal(0, 0.2, 3000)
    wait_s = chance.choice([0.0, 600.0], 3000)
    places = [(32.8 + chance.normal(0, 0.2), -96.8 + chance.normal(0, 0.2)) for _ in range(stores)]
    chosen = nearby(lat, lng, wait_s, places, 400)
    assert chosen is not None
    assert len(chosen) <= max(400, LEAST * stores)
    for place in places:
        there_s = wait_s + distance_m(lat, lng, *place) / 7.4
        # The plane is not the sphere: of the very last ones one or the other may change places.
        assert set(np.argsort(there_s)[: LEAST - 8]) <= set(chosen.tolist())


def test_who_is_free_at_once_goes_before_who_is_nearer_but_busy() -> None:
    lat, lng = np.full(MANY, 32.8), np.full(MANY, -96.8)
    wait_s = np.zeros(MANY)
    lat[0], wait_s[1:] = 32.81, 3600.0  # one is a kilometre away
    chosen = nearby(lat, lng, wait_s, [(32.8, -96.8)], 1)
    assert chosen is not None
    assert 0 in chosen


def test_a_fleet_that_is_not_large_counts_whole() -> None:
    lat, lng, wait_s = np.full(MANY - 1, 32.8), np.full(MANY - 1, -96.8), np.zeros(MANY - 1)
    assert nearby(lat, lng, wait_s, [(32.8, -96.8), (32.8, -96.8)], 1) is None
    assert nearby(lat, lng, wait_s, [], 1) is None


def test_a_look_in_a_large_fleet_asks_for_few() -> None:
    story = Story(solving=False, solve_drivers_limit=1)
    ids = [f"driver-{n:04}" for n in range(1000)]
    lat = 32.9 + np.arange(1000) / 5000
    lat[500] = 32.801  # by far the nearest to the store
    ones = np.ones(1000, np.int64)
    zeros = np.zeros(1000, np.int64)
    everyone = DriversSeen(
        gateway_id="gateway:0",
        driver_ids=ids,
        session=zeros,
        seq=ones,
        lat=lat,
        lng=np.full(1000, -96.8),
        on_duty=np.full(1000, True),
        until_ms=zeros,
    )
    story.step(everyone)
    story.order()
    story.look()
    [request] = story.solves
    assert len(request.drivers.ids) == LEAST
    assert "driver-0500" in request.drivers.ids
    assert request.drivers.idle.all()
    assert request.expected is None
