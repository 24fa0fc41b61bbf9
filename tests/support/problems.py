"""Random matching problems with everything that a real one has, from a seed."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.solve import NEVER_MS, Planning, SolveRequest, TaskColumns
from tests.support.build import NOW, Point, at, problem

BARRED = float("inf")


def scatter(rng: np.random.Generator, count: int, km: float) -> list[Point]:
    return [at(float(north), float(east)) for north, east in rng.uniform(-km, km, (count, 2))]


def random_problem(
    seed: int, tasks: int, drivers: int, *, stores: int = 4, expected: int = 0
) -> SolveRequest:
    """Few stores, so that orders go together; goods that are ready soon or late, tight promises, shops that close,
    shifts that end, drivers who are busy, pairs that were declined lately or long ago."""
    rng = np.random.default_rng(seed)
    shops = scatter(rng, stores, 6.0)
    declined = (
        {
            (int(rng.integers(tasks)), int(rng.integers(drivers))): BARRED
            if rng.random() < 0.5
            else rng.uniform(1, 7200)
            for _ in range(rng.integers(0, 1 + tasks * drivers // 4) if tasks * drivers < 1000 else tasks)
        }
        if tasks and drivers
        else {}
    )
    request = problem(
        [shops[i] for i in rng.integers(0, stores, tasks)],
        scatter(rng, drivers, 8.0),
        declined=[(task, driver, seconds) for (task, driver), seconds in declined.items()],
        rates=rng.uniform(0.02, 1.0, drivers).tolist(),
    )
    ahead_ms = np.where(rng.random(drivers) < 0.5, 0, rng.integers(1, 2_400_000, drivers))
    return replace(
        request,
        offer_by_ms=[NEVER_MS, NOW + 60_000, NOW + 600_000][rng.integers(3)],
        tasks=_orders(rng, request.tasks),
        drivers=replace(
            request.drivers,
            free_ms=NOW + ahead_ms,
            idle=rng.random(drivers)
            < np.where(ahead_ms == 0, 0.9, 0.4),  # some may be asked before they are free
            until_ms=_limit(rng, drivers, 60_000, 5_400_000),
            ahead=rng.normal(0, 2, drivers),
        ),
        expected=_expected(rng, shops, expected) if expected else None,
        pressure=float(rng.choice([0.0, 0.5, 3.0])),
        planning=Planning(
            bundle_delay_s=float(rng.choice([0.0, 6.0])),
            rounds_from_s=float(rng.choice([0.0, 180.0])),
            moves_from_s=float(rng.choice([0.0, 300.0])),
            sacrifice=bool(rng.random() < 0.3),
        ),
    )


def _limit(
    rng: np.random.Generator, count: int, least_ms: int, most_ms: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Times from now, never for about half of them."""
    return np.where(rng.random(count) < 0.5, NEVER_MS, NOW + rng.integers(least_ms, most_ms, count))


def _orders(rng: np.random.Generator, tasks: TaskColumns) -> TaskColumns:
    n = len(tasks.ids)
    opened_ms = NOW - rng.integers(0, 3_600_000, n)
    ready_ms = opened_ms + rng.integers(0, 4_200_000, n)
    doors = scatter(rng, n, 7.0)
    return replace(
        tasks,
        dropoff_lat=np.array([lat for lat, _ in doors]),
        dropoff_lng=np.array([lng for _, lng in doors]),
        opened_ms=opened_ms,
        ready_ms=ready_ms,
        due_ms=opened_ms + rng.integers(600_000, 3_600_000, n),
        latest_ms=_limit(rng, n, 600_000, 7_200_000),
        closes_ms=_limit(rng, n, 900_000, 7_200_000),
        refusal=rng.uniform(0, 0.5, n),
        # Whatever an earlier plan had foreseen.
        planned_ms=np.maximum(ready_ms, NOW + rng.integers(-600_000, 1_800_000, n)),
        behind=rng.integers(0, 3, n).astype(np.float64),
        until_ms=_limit(rng, n, 60_000, 5_400_000),
    )


def _expected(rng: np.random.Generator, shops: list[Point], count: int) -> TaskColumns:
    """Orders that may come within the next minutes, from the same stores."""
    columns = problem([shops[i] for i in rng.integers(0, len(shops), count)], []).tasks
    opened_ms = NOW + rng.integers(1, 1_200_000, count)
    return replace(
        columns,
        ids=[f"e{i}" for i in range(count)],
        opened_ms=opened_ms,
        ready_ms=opened_ms + 300_000,
        due_ms=opened_ms + 2_700_000,
        planned_ms=opened_ms + 300_000,
    )


@st.composite
def problems(draw: st.DrawFn, most: int = 9) -> SolveRequest:
    """Small problems, now and then with nothing to do or nobody to do it."""
    return random_problem(
        draw(st.integers(0, 10**6)),
        draw(st.integers(0, most)),
        draw(st.integers(0, most)),
        stores=draw(st.integers(1, 4)),
        expected=draw(st.sampled_from([0, 0, 3])),
    )
