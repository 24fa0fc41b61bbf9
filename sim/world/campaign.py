"""Many worlds over all cores, with progress and a summary; and for one that broke a promise, the shortest way there."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import structlog
from msgspec import Struct

from domain.orders.lifecycle import OrderEvent
from sim.world.checks.checker import Violation
from sim.world.faults import KINDS

PROGRESS_S = 5.0  # wall time between two lines
VIOLATIONS_LIMIT = 5  # after so many a campaign stops
CHUNK = 8  # seeds handed to a core at a time
ENOUGH = 300  # worlds that must have seen everything there is between them

Progress = Callable[[str], None]

# What worlds must have seen between them, or they have shown nothing: the whole life of orders, and every fault.
EVERY_WORLD = (
    *(str(event) for event in OrderEvent if event is not OrderEvent.RELEASED),
    *("bundle", "asked beside another", "tunnel", "done offline", "sent late"),
    *("by hand assign", "by hand reassign", "by hand release", "by hand resolve"),
    *("polled", "solved by batch", "solved by fast", "two markets", "two persistence actors"),
)
EVERY_FAULT = (
    *(f"fault {kind}" for kind in KINDS),
    *("died region", "died persistence", "died gateway", "twins", "repeated answer", "published again"),
    *("replayed message", "meddled", "phone resumed", "one market hurt", str(OrderEvent.RELEASED)),
)


class Order(Struct, frozen=True, kw_only=True):
    """Which worlds to run: `seeds` of them from `start` on, with these kinds of fault for at most `steps` messages."""

    seeds: int
    start: int = 1
    steps: int = 4_000
    faults: tuple[str, ...] = tuple(KINDS)


class Summary(Struct, kw_only=True):
    """What a campaign saw. `simulated_s` is server time of all worlds together, `wall_s` the time it took."""

    worlds: int = 0
    steps: int = 0
    simulated_s: float = 0.0
    wall_s: float = 0.0
    saw: Counter[str]
    violations: list[tuple[int, Violation]]

    def missed(self, order: Order) -> list[str]:
        """What so many worlds should have seen and did not."""
        wanted = set(EVERY_WORLD if self.worlds >= ENOUGH else (str(OrderEvent.DELIVERED),))
        if self.worlds >= ENOUGH and set(order.faults) == set(KINDS):
            wanted.update(EVERY_FAULT)
        return sorted(name for name in wanted if not self.saw[name])

    def table(self) -> str:
        """What happened, for people."""
        saw, lines = self.saw, []
        rows: list[tuple[str, str]] = [
            ("worlds", f"{self.worlds:,}"),
            ("simulated", f"{self.simulated_s / 86_400:,.1f} days, {self.speed:,.0f} x real time"),
            ("messages", f"{self.steps:,}"),
            ("orders placed", f"{saw[str(OrderEvent.CREATED)]:,}"),
            ("offers", f"{saw['offer OFFERED']:,}, {saw['offer ACCEPTED']:,} accepted"),
            ("bundles taken", f"{saw['bundle']:,}, broken up later {saw['bundle broken up']:,}"),
            ("delivered", f"{saw[str(OrderEvent.DELIVERED)]:,}"),
            ("refused and returned", f"{saw[str(OrderEvent.RETURN_CONFIRMED)]:,}"),
            ("called off", f"{saw[str(OrderEvent.CANCELLED)]:,}"),
            ("given, taken by hand", f"{saw['by hand assign']:,}, {saw['by hand release']:,}"),
            ("released", f"{saw[str(OrderEvent.RELEASED)]:,}"),
            ("tunnels", f"{saw['tunnel']:,}, steps done offline {saw['done offline']:,}"),
            ("processes killed", f"{saw['fault crash']:,}"),
            ("frozen", f"{saw['fault freeze']:,}, of them replaced and woken as twins {saw['twins']:,}"),
            ("region lives", f"{saw['region lives']:,}"),
            ("appends failed", f"{saw['fault store']:,} before, {saw['fault ack']:,} after the commit"),
            ("calls lost, late, twice", f"{saw['fault lose']:,}, {saw['fault delay']:,}, {saw['fault repeat']:,}"),
            ("calls without end", f"{saw['fault hang']:,}"),
            ("rows held, changed", f"{saw['fault lock']:,}, {saw['fault hand']:,}"),
            ("holds refused for good", f"{saw['fault bank']:,}"),
            ("two markets", f"{saw['two markets']:,}, one of them hurt alone in {saw['one market hurt']:,}"),
            ("sockets broken", f"{saw['fault socket']:,}, resumed {saw['phone resumed']:,}"),
            ("requests repeated", f"{saw['repeated answer']:,} got their first answer again"),
            ("violations", f"{len(self.violations):,}"),
        ]  # fmt: skip
        lines += [f"{name:<24} {value}" for name, value in rows]
        return "\n".join(lines)

    @property
    def speed(self) -> float:
        """Simulated seconds in a second of wall time."""
        return self.simulated_s / max(self.wall_s, 1e-9)


class Outcome(Struct, frozen=True, kw_only=True):
    """One world's result as it comes back from a core."""

    seed: int
    violation: Violation | None
    steps: int
    simulated_s: float
    saw: dict[str, int]


def run_campaign(order: Order, progress: Progress, *, workers: int | None = None) -> Summary:
    """Run the worlds on all cores, stopping early once `VIOLATIONS_LIMIT` of them broke a promise."""
    summary = Summary(saw=Counter(), violations=[])
    started_s = told_s = time.monotonic()
    for outcome in outcomes(order, workers):
        summary.worlds += 1
        summary.steps += outcome.steps
        summary.simulated_s += outcome.simulated_s
        summary.saw.update(outcome.saw)
        summary.wall_s = time.monotonic() - started_s
        if outcome.violation is not None:
            summary.violations.append((outcome.seed, outcome.violation))
            progress(f"seed {outcome.seed}: {outcome.violation}")
            if len(summary.violations) >= VIOLATIONS_LIMIT:
                break
        if time.monotonic() - told_s >= PROGRESS_S:
            told_s = time.monotonic()
            rate = summary.worlds / summary.wall_s
            left_s = (order.seeds - summary.worlds) / rate
            progress(
                f"{summary.worlds:,} of {order.seeds:,} worlds, {rate:.0f} a second, "
                f"{summary.speed:,.0f} x real time, {left_s / 60:.0f} min left"
            )
    return summary


def outcomes(order: Order, workers: int | None = None) -> Iterator[Outcome]:
    """The worlds' results as they come, from all cores unless told otherwise."""
    workers = workers or os.cpu_count() or 1
    seeds = range(order.start, order.start + order.seeds)
    if workers == 1 or order.seeds <= CHUNK:
        with quietly():
            yield from (_run(order, seed) for seed in seeds)
        return
    # Forked, so that the libraries are loaded once; the parent has started nothing that a fork would break.
    with multiprocessing.get_context("fork").Pool(workers, quietly().__enter__) as pool:
        jobs = ((order, seed) for seed in seeds)
        yield from pool.imap_unordered(_run_one, jobs, chunksize=CHUNK)
        pool.terminate()


def _run_one(job: tuple[Order, int]) -> Outcome:
    return _run(*job)


def _run(order: Order, seed: int) -> Outcome:
    from sim.world.world import World

    result = World(seed, faults=order.faults, steps=order.steps).run()
    if seed % 64 == 0:
        gc.collect()  # worlds are full of cycles; between them is the cheapest time
    return Outcome(
        seed=seed,
        violation=result.violation,
        steps=result.steps,
        simulated_s=result.simulated_s,
        saw=result.saw,
    )


@contextmanager
def quietly() -> Iterator[None]:
    """For running worlds: nothing is logged (thousands of errors are provoked), the garbage collector waits."""
    disabled, configured = logging.root.manager.disable, structlog.get_config()
    gc.disable()
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        gc.enable()
        logging.disable(disabled)
        structlog.configure(**configured)


class Shrunk(Struct, frozen=True, kw_only=True):
    """The least of a world that still breaks a promise: kinds of fault, and messages until faults end."""

    seed: int
    faults: tuple[str, ...]
    steps: int
    violation: Violation


def shrink(seed: int, order: Order, violation: Violation, progress: Progress) -> Shrunk:
    """Leave out kinds of fault, then end the faults as early as can be, as long as the same promise is broken."""

    def breaks(faults: Collection[str], steps: int) -> Violation | None:
        outcome = _run(Order(seeds=1, start=seed, steps=steps, faults=tuple(faults)), seed)
        found = outcome.violation
        return found if found is not None and found.rule == violation.rule else None

    best = Shrunk(seed=seed, faults=order.faults, steps=order.steps, violation=violation)
    for kind in order.faults:
        fewer = tuple(other for other in best.faults if other != kind)
        if (found := breaks(fewer, best.steps)) is not None:
            best = Shrunk(seed=seed, faults=fewer, steps=best.steps, violation=found)
            progress(f"it takes no {kind}")
    low, high = 0, best.steps
    while low < high:
        middle = (low + high) // 2
        if (found := breaks(best.faults, middle)) is not None:
            best = Shrunk(seed=seed, faults=best.faults, steps=middle, violation=found)
            high = middle
        else:
            low = middle + 1
    return best
