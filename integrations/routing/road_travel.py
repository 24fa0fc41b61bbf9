"""Travel times of a road engine for the solver: cached, bounded, and never a failure.

Each solver process has one `Roads`, which lives as long as the process; `RoadTravel` ties it to the travel model of a
request, whose times stand in for whatever the engine does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import h3
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from domain.ground.arrays import F64, I64
from domain.ground.travel import TravelTimes
from domain.ports import RoadRouter, VendorError
from integrations.routing.breaker import Breaker
from integrations.routing.options import RoadOptions

# Places are one and the same within this grid, about 11 m of latitude.
_GRID_DEG = 1e-4
_ROW = 3_600_001  # columns of the grid, from -180 to 180 degrees
_ORDER_RESOLUTION = 9  # H3; places that are near each other come into the same block


class RoadCounts(Struct):
    """Pairs of places since the start, each in one of the first four; and failures of the engine."""

    hits: int = 0  # known from before
    misses: int = 0  # asked and answered
    unreachable: int = 0  # asked or known, and no road leads
    fallbacks: int = 0  # not asked: too many, no time left, or the engine is down
    failures: int = 0


class Roads:
    """A road engine behind a cache, a budget and a breaker. `now` is a clock in seconds that only goes forward.

    The cache has two halves. What is new goes into the young one; when that is full or half a lifetime old it becomes
    the old one, and the former old one is dropped. So it never holds more than `router_cache_entries`, and nothing
    longer than `router_cache_ttl_s`.
    """

    def __init__(
        self, router: RoadRouter, options: RoadOptions, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._router, self._options, self._now = router, options, now
        self._breaker = Breaker(options.router_retry_s, now)
        self._young: dict[tuple[int, int], float] = {}
        self._old: dict[tuple[int, int], float] = {}
        self._young_since = now()
        self.counts = RoadCounts()

    @property
    def cached(self) -> int:
        """Entries in the cache."""
        return len(self._young) + len(self._old)

    def seconds(self, source: I64, target: I64) -> F64:
        """Driving seconds for pairs of distinct places (see `place_of`), NaN for what is not known."""
        self._age()
        # Read once each, so that an answer never mixes a pair's old and new value.
        known = [self._find(pair) for pair in zip(source.tolist(), target.tolist(), strict=True)]
        missing = np.array([at for at, value in enumerate(known) if value is None], np.int64)
        result = np.array([np.nan if value is None else value for value in known], np.float64)
        unreachable = int(np.isnan(result).sum()) - len(missing)
        self.counts.hits += len(known) - len(missing) - unreachable
        answered = self._ask(source[missing], target[missing]) if len(missing) else {}
        for at in missing.tolist():
            value = answered.get((int(source[at]), int(target[at])))
            if value is None:
                self.counts.fallbacks += 1
            elif np.isnan(value):
                unreachable += 1
            else:
                self.counts.misses += 1
                result[at] = value
        self.counts.unreachable += unreachable
        return result

    def _ask(self, source: I64, target: I64) -> dict[tuple[int, int], float]:
        """What the engine says of these pairs, as far as it can be had within the budget."""
        answers: dict[tuple[int, int], float] = {}
        give_up = self._now() + self._options.router_budget_s
        for rows, columns in blocks(source, target, self._options.router_table_limit):
            if self._breaker.open or self._now() >= give_up:
                break
            try:
                seconds = self._router.matrix(_degrees(rows), _degrees(columns)).seconds
            except VendorError:
                self._breaker.trip()
                self.counts.failures = self._breaker.failures
                break
            # All of the block, since it is there: neighbours are asked for again and again.
            pairs = ((i, j) for i in rows.tolist() for j in columns.tolist())
            answers.update(zip(pairs, seconds.ravel().tolist(), strict=True))
        for pair, value in answers.items():
            self._keep(pair, value)
        return answers

    def _find(self, pair: tuple[int, int]) -> float | None:
        value = self._young.get(pair)
        return self._old.get(pair) if value is None else value

    def _keep(self, pair: tuple[int, int], seconds: float) -> None:
        if len(self._young) >= max(1, self._options.router_cache_entries // 2):
            self._turn()
        self._young[pair] = seconds

    def _age(self) -> None:
        half_s = self._options.router_cache_ttl_s / 2
        halves = (self._now() - self._young_since) // half_s
        if halves >= 1:
            since = self._young_since + half_s
            self._turn()
            self._young_since = since
        if halves >= 2:  # nobody asked for so long that these are too old as well
            self._turn()

    def _turn(self) -> None:
        self._old, self._young, self._young_since = self._young, {}, self._now()


class RoadTravel:
    """`domain.ground.travel.TravelTimes` on a road engine, with another model's times where the engine has none.

    At most `router_pairs_limit` pairs of one call are taken to the engine, the nearest: the far ones decide little.
    """

    def __init__(self, roads: Roads, fallback: TravelTimes, options: RoadOptions) -> None:
        self._roads, self._fallback, self._options = roads, fallback, options

    def seconds(
        self,
        from_lat: npt.ArrayLike,
        from_lng: npt.ArrayLike,
        to_lat: npt.ArrayLike,
        to_lng: npt.ArrayLike,
        at_ms: int,
    ) -> F64:
        """`TravelTimes.seconds`. Places are taken to the nearest point of a grid of 1e-4 degrees."""
        estimate = self._fallback.seconds(from_lat, from_lng, to_lat, to_lng, at_ms)
        source, target = np.broadcast_arrays(place_of(from_lat, from_lng), place_of(to_lat, to_lng))
        source, target = source.ravel(), target.ravel()
        flat = estimate.ravel().copy()
        # An unknown place has no road to it, and two in one cell of the grid need none.
        wanted = np.flatnonzero((source >= 0) & (target >= 0) & (source != target))
        if not len(wanted):
            return estimate
        places, index = np.unique(np.concatenate([source[wanted], target[wanted]]), return_inverse=True)
        n = len(wanted)
        _, first, back = np.unique(
            index[:n] * len(places) + index[n:], return_index=True, return_inverse=True
        )
        pairs = wanted[first]
        limit = self._options.router_pairs_limit
        near = np.arange(len(pairs))
        if len(pairs) > limit:
            near = np.argpartition(flat[pairs], limit)[:limit]
            self._roads.counts.fallbacks += len(pairs) - limit
        found = np.full(len(pairs), np.nan)
        found[near] = self._roads.seconds(source[pairs[near]], target[pairs[near]])
        road = found[back]
        flat[wanted] = np.where(np.isnan(road), flat[wanted], road)
        return flat.reshape(estimate.shape)


def place_of(lat: npt.ArrayLike, lng: npt.ArrayLike) -> I64:
    """The grid point of each place as one number; -1 for a place that is not known."""
    rows, columns = (
        np.rint(np.divide(lat, _GRID_DEG)) + 900_000,
        np.rint(np.divide(lng, _GRID_DEG)) + 1_800_000,
    )
    known = (rows >= 0) & (rows <= 1_800_000) & (columns >= 0) & (columns < _ROW)
    return np.asarray(np.where(known, rows * _ROW + columns, -1.0).astype(np.int64))


def _degrees(places: I64) -> F64:
    """k x 2 latitudes and longitudes of places."""
    rows, columns = np.divmod(places, _ROW)
    return np.stack([(rows - 900_000) * _GRID_DEG, (columns - 1_800_000) * _GRID_DEG], axis=1)


def blocks(source: I64, target: I64, limit: int) -> Iterator[tuple[I64, I64]]:
    """Rectangles of sources and targets, of at most `limit` places each, that cover the pairs.

    The side with fewer places is cut into groups of neighbours, each with everything that it is paired with: drivers
    come into question for several nearby stores, so most of a rectangle is wanted.
    """
    if len(np.unique(source)) < len(np.unique(target)):
        yield from ((columns, rows) for rows, columns in blocks(target, source, limit))
        return
    group = max(1, limit // 4)
    targets = _by_neighbourhood(np.unique(target))
    for start in range(0, len(targets), group):
        columns = targets[start : start + group]
        sources = _by_neighbourhood(np.unique(source[np.isin(target, columns)]))
        step = max(1, limit - len(columns))
        for at in range(0, len(sources), step):
            yield sources[at : at + step], columns


def _by_neighbourhood(places: I64) -> I64:
    """Sorted so that neighbours are near each other: the digits of an H3 cell go from coarse to fine."""
    cells = [h3.latlng_to_cell(lat, lng, _ORDER_RESOLUTION) for lat, lng in _degrees(places).tolist()]
    return places[np.argsort(np.array(cells), kind="stable")]
