"""What must hold of time: nobody is held up by what is not theirs, and what went down is back soon.

Looked at from outside every now and then, in wall time. Only in worlds in which one market alone is hurt is it known
whose the troubles are: all others go on as on the best of days.
"""

from __future__ import annotations

from collections.abc import Callable

from domain.ports import Channel
from sim.world.surroundings import Surroundings

HELD_UP_S = 2.0  # wall time by which somebody may be held up by another market's troubles
BACK_S = 5.0  # wall time within which a region serves again, once its process has been started


class RecoveryRules:
    """`spared(market)`: whether nothing strikes it. `look` is to be called twice a second or so."""

    def __init__(self, world: Surroundings) -> None:
        self._world = world
        self._must = world.checker.must
        self._since_s: dict[int, float] = {}  # event not handed on -> since when
        self._away_s: dict[str, float] = {}  # region that does not serve -> since when its process could

    def spared(self, market: str) -> bool:
        """Whether troubles are about, and none of them is this market's."""
        faults = self._world.faults
        return faults.hurt is not None and bool(market) and market != faults.hurt

    def answered(self, market: str, what: Callable[[], str], took_s: float) -> None:
        """Somebody in this market has had an answer, or none."""
        if self.spared(market):
            self._must(took_s <= HELD_UP_S, "held up", lambda: f"{what()} took {took_s:.1f} s")

    def look(self, now_s: float) -> None:
        """See who waits, and for how long."""
        if self._world.faults.hurt is not None:
            self._events(now_s)
            self._regions(now_s)

    def _events(self, now_s: float) -> None:
        waiting = {
            event.event_id: (channel, event.region_id)
            for channel in Channel
            for event in self._world.checker.waiting(channel)
            if self.spared(event.region_id)
        }
        self._since_s = {event_id: self._since_s.get(event_id, now_s) for event_id in waiting}
        for event_id, (channel, market) in waiting.items():
            waits_s = now_s - self._since_s[event_id]
            what = f"event {event_id} of {channel} for {market}"
            self._must(waits_s <= HELD_UP_S, "held up", f"{what} waits {waits_s:.1f} s")

    def _regions(self, now_s: float) -> None:
        for market in self._world.regions:
            node = self._world.net.nodes.get(f"region:{market}")
            if node is None or not node.alive or node.frozen or node.target.serves:
                self._away_s.pop(market, None)
                continue
            away_s = now_s - self._away_s.setdefault(market, now_s)
            self._must(away_s <= BACK_S, "back", f"{market} has not served for {away_s:.1f} s")
