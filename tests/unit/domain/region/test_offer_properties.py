"""Whatever happens in a region, an offer goes only to who may be asked: seen lately, on duty, in the shift, rested,
with no return to do and nothing else to answer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.orders.lifecycle import OfferStatus, TaskKind, TaskStatus
from domain.orders.records import OfferRow
from domain.region.messages import DriversSeen, Message, Ready
from domain.solve import Planning
from tests.support.build import NOW
from tests.support.chance import DRIVERS, Move, life, moves, play
from tests.support.examples import examples
from tests.support.story import Story

TO_THE_DOOR = {TaskStatus.PICKED_UP, TaskStatus.AT_DROPOFF}


class Watched(Story):
    """A story that looks at every offer when it is made. `ends`: when each driver's shift ends, as told with pings."""

    def __init__(self, ends: dict[str, int], **policy: Any) -> None:
        self.ends, self.seen_ms, self.made = ends, dict[str, int](), list[OfferRow]()
        super().__init__(**policy)

    def restart(self, down_s: float = 0.0) -> None:
        self.seen_ms = {}
        super().restart(down_s)

    def step(self, message: Message) -> Ready:
        if isinstance(message, DriversSeen):
            ends = [self.ends.get(driver_id, 0) for driver_id in message.driver_ids]
            message = replace(message, until_ms=np.array(ends, np.int64))
            self.seen_ms |= dict.fromkeys(message.driver_ids, self.now)
        ready = super().step(message)
        for record in ready.records:
            for offer in record.offers:
                if offer.status is OfferStatus.OFFERED and offer.made_ms == self.now:
                    self.made.append(offer)
                    self.check(offer)
        return ready

    def check(self, offer: OfferRow) -> None:
        """The offer was made just now; what it was made on has not changed since but by the offer itself."""
        who, region, now = offer.driver_id, self.region, self.now
        assert who in self.where, "off duty"
        assert now - self.seen_ms[who] < 1000 * self.policy.driver_stale_s, "not heard of for long"
        assert now < self.ends.get(who, now + 1), "past the shift's end"
        assert region.state.fleet.rest_until_ms[region.state.fleet.index[who]] <= now, (
            "resting after an offer that was ignored"
        )
        held = [job.task for job in region.state.jobs.values() if job.held_by == who]
        assert not any(task.kind is TaskKind.RETURN for task in held), "with a return to do"
        if not self.policy.offer_ahead_s:
            assert not held, "with a task in hand"
        assert {task.status for task in held} <= TO_THE_DOOR, "with something else to pick up"
        live = Counter(
            one.driver_id for one in self.store.offers.values() if one.status is OfferStatus.OFFERED
        )
        assert live[who] <= 1, "two offers to one driver"
        assert len({region.state.jobs[task_id].task.store_id for task_id in offer.task_ids}) == 1


SHIFTS = st.dictionaries(
    st.sampled_from(DRIVERS), st.integers(1, 400).map(lambda s: NOW + 1000 * s), max_size=3
)


@pytest.mark.parametrize("ahead_s", [0.0, 600.0])
@given(script=moves, ends=SHIFTS)
@examples(12)
def test_offers_go_only_to_who_may_be_asked(ahead_s: float, script: list[Move], ends: dict[str, int]) -> None:
    story = Watched(
        ends, planning=Planning(), offer_ahead_s=ahead_s, driver_lost_s=life().policy.driver_lost_s
    )
    play(story, script)


def test_the_lives_do_have_offers_of_all_kinds_in_them() -> None:
    """Singles, bundles, and offers to who has something else in the vehicle."""
    story = Watched({}, planning=Planning(), offer_ahead_s=600.0)
    steps: list[Move] = [("drive", 0, 0, 0.0), *[("order", 0, 0, 0.0)] * 3, ("accept", 0, 0, 5.0)]
    play(story, [*steps, *[("next", 5, i % 3, 5.0) for i in range(12)]])
    sizes = {len(offer.task_ids) for offer in story.made}
    assert 1 in sizes
    assert max(sizes) > 1
