"""Numbers for Prometheus as plain data, cheap to keep and to send from actor to actor.

An actor's `figures()` gives families; the gateway writes them into its page (`gateway/http/metrics.py`), and
`actors/remote.py` hands the same to Ray. Times are in seconds of wall time, and what an alert rests on is a histogram:
buckets of several actors and scrapes can be added up, quantiles cannot. No label holds the id of a driver, an order or
a request.
"""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

Labels: TypeAlias = Mapping[str, str]
Row: TypeAlias = tuple[Labels, float]
Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

# Around the goals: 100 ms for an accept, 500 ms for an offer, 1 s of lag.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
LOOP_LAG_EVERY_S = 0.25
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Sample(NamedTuple):
    """One line: the family's name with `suffix`, labels and value."""

    suffix: str
    labels: Labels
    value: float


class Family(Struct, frozen=True):
    """All samples of one name. A counter's name is without its `_total`, as its samples have it."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]


class Histogram:
    """How many values fell below each bound since the process began. For one event loop: it takes no lock."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds, self._counts, self._sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def samples(self, labels: Labels) -> list[Sample]:
        """Cumulative buckets, as Prometheus has them, and `_count` and `_sum`."""
        samples, below = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            below += count
            le = "+Inf" if bound == float("inf") else repr(bound)
            samples.append(Sample("_bucket", {**labels, "le": le}, below))
        return [*samples, Sample("_count", labels, below), Sample("_sum", labels, self._sum)]


def gauge(name: str, help_: str, *rows: Row) -> Family:
    """A number that goes up and down, for each set of labels."""
    return Family(name, "gauge", help_, tuple(Sample("", labels, value) for labels, value in rows))


def counter(name: str, help_: str, *rows: Row) -> Family:
    """A number that only rises (and begins at 0 with its process)."""
    return Family(name, "counter", help_, tuple(Sample("_total", labels, value) for labels, value in rows))


def histogram(name: str, help_: str, *rows: tuple[Labels, Histogram]) -> Family:
    """Buckets for each set of labels."""
    samples = (sample for labels, values in rows for sample in values.samples(labels))
    return Family(name, "histogram", help_, tuple(samples))


def merged(families: Iterable[Family]) -> list[Family]:
    """One family for each name, with the samples of all of them."""
    known: dict[str, Family] = {}
    for family in families:
        before = known.get(family.name)
        samples = family.samples if before is None else before.samples + family.samples
        known[family.name] = Family(family.name, family.kind, family.help, samples)
    return list(known.values())


class Process:
    """What this process takes, and how late its event loop is; `part` names its actor, such as `region:tx-dfw`."""

    def __init__(self, part: str, disk: Path | None = None) -> None:
        """`disk`: a folder whose file system is watched."""
        self._labels, self._disk = {"part": part}, disk
        self._loop_lag = Histogram()
        self._came_round_s: float | None = None
        self.replaced = 0
        self._watching: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Begin to measure how late the running loop comes to what is due."""
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch(), name="loop lag")

    def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._came_round_s = time.monotonic()
            due_s = loop.time() + LOOP_LAG_EVERY_S
            await asyncio.sleep(LOOP_LAG_EVERY_S)
            self._loop_lag.add(max(0.0, loop.time() - due_s))

    def behind_s(self) -> float:
        """How long the watched loop has not come round; may be asked from any thread."""
        if self._came_round_s is None:
            return 0.0
        return max(0.0, time.monotonic() - self._came_round_s - LOOP_LAG_EVERY_S)

    def figures(self) -> list[Family]:
        labels = self._labels
        families = [
            gauge(
                "doorstep_process_resident_bytes",
                "Memory that the process holds",
                (labels, _resident_bytes()),
            ),
            counter("doorstep_process_cpu_seconds", "Processor time taken", (labels, time.process_time())),
            counter(
                "doorstep_part_replaced",
                "Times that this part's process was ended because it or its cluster was silent",
                (labels, self.replaced),
            ),
            histogram(
                "doorstep_event_loop_lag_seconds",
                "How late the event loop came to a timer",
                (labels, self._loop_lag),
            ),
        ]
        if self._disk is not None and self._disk.exists():
            space = os.statvfs(self._disk)
            families += [
                gauge("doorstep_disk_free_bytes", "Free on the data folder's file system",
                      (labels, space.f_bavail * space.f_frsize)),
                gauge("doorstep_disk_size_bytes", "Size of the data folder's file system",
                      (labels, space.f_blocks * space.f_frsize)),
            ]  # fmt: skip
        return families


def _resident_bytes() -> float:
    """From /proc; 0 where there is none."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0.0
