"""`doorstep bench soak`: the load of `bench live` for half an hour or longer, and whether anything creeps.

Rule: memory is flat when the straight line (least squares) through the server's resident memory in the second half of
the time rises by at most 5 % of its mean an hour: what is kept in bounded numbers (a region's answers, the event
streams) fills in the first half, if orders are many enough. Latency is flat when, after a warm-up of a fifth, the
median of the samples' p99 in the last third is at most 1.5 times that of the first third, or within the goals of
`bench live`.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from bench.live.job import Place, Window
from bench.live.run import GOALS, MB, Fresh, Lags, faults, usage_figures
from bench.live.stage import Crew, Stage, p99, staged, taken_ratio
from bench.live.usage import SERVER, require_files
from bench.report import Figures, Report, report
from sim.concurrency import Progress

# Shares of the run that no verdict is made from.
WARM_UP, FILLING = 0.2, 0.5
GROWTH_LIMIT_PCT_PER_H = 5.0
LATENCY_LIMIT_RATIO = 1.5
LATENCIES = ("offer_p99_ms", "accept_p99_ms")


class SoakOptions(Struct, frozen=True, kw_only=True):
    """`sample_s`: wall time between samples."""

    drivers: int = 5_000
    ping_hz: float = 1.0
    orders_per_min: float = 300.0
    minutes: float = 30.0
    sample_s: float = 10.0
    seed: int = 1


async def run_soak(
    fresh: Fresh, options: SoakOptions, *, out: Path | None = None, progress: Progress = lambda line: None
) -> Report:
    """Run it; writes `summary.json`, `samples.json` and `soak.png`. `LoadError`, `NoFiles`."""
    require_files(options.drivers)  # before the server starts: its processes inherit the limit
    crew = Crew(drivers=options.drivers, ping_hz=options.ping_hz, seed=options.seed)
    async with fresh() as target, staged(target, crew, progress) as stage:
        sampler = Sampler(stage, progress)
        stage.load.on_window = sampler.take
        pings_before = await target.pings()
        duration_s = 60 * options.minutes
        place = Place(options.orders_per_min, duration_s, options.sample_s)
        placed = await stage.load.ask(place, duration_s + 120)
        pings_after = await target.pings()
        await sampler.stop()
        found = await stage.finish(progress)
        bytes_per_driver = stage.bytes_per_driver
    names = ("offer_p50_ms", "offer_p99_ms", "accept_p50_ms", "accept_p99_ms", "order_create_p99_ms")
    figures: Figures = {
        **{name: found[name] for name in names},
        "region_lag_p99_ms": p99(sampler.lags_ms),
        "lost_count": found["lost_count"],
        "twice_count": found["twice_count"],
        "errors_count": faults(found, stage.warmed),
        "orders_count": found["orders"],
        "delivered_count": found["delivered"],
        "pings_taken_ratio": taken_ratio(pings_before, pings_after, placed),
        "bytes_per_driver": bytes_per_driver,
        **trend(sampler.samples),
    }
    notes = (
        *verdicts(figures),
        *(f"{name}: {found[name]}" for name in ("errors", "refused", "sockets", "named") if found[name]),
    )
    made = report("soak", options, figures, notes=notes)
    if out is not None:
        made.write(out)
        (out / "samples.json").write_bytes(msgspec.json.encode(sampler.samples))
        from bench.plots import soak_plot  # matplotlib is there for development alone

        title = f"{options.drivers:,} drivers, {options.orders_per_min:g} orders a minute, {options.minutes:g} minutes"
        soak_plot(sampler.samples, out / "soak.png", title)
    return made


class Sampler:
    """Puts what the server's processes use, its lag and its database's size beside each window of the load."""

    def __init__(self, stage: Stage, progress: Progress) -> None:
        self._stage, self._progress = stage, progress
        self._began_s = self._at_s = time.monotonic()
        self._before = stage.processes.look()
        self._lags = Lags(stage.target)
        self._looking: asyncio.Task[None] | None = None
        self.samples: list[dict[str, Any]] = []

    @property
    def lags_ms(self) -> list[float]:
        """Of the whole run."""
        return self._lags.values_ms

    def take(self, window: Window) -> None:
        """A window has come in."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(window))

    async def stop(self) -> None:
        """Let the last look end."""
        if self._looking is not None:
            await self._looking

    async def _look(self, window: Window) -> None:
        now_s, usage = time.monotonic(), self._stage.processes.look()
        await self._lags.look()
        size = await self._stage.target.database_bytes()
        sample: dict[str, Any] = {
            "at_min": round((now_s - self._began_s) / 60, 3),
            **window.values,
            **usage_figures(self._before, usage, now_s - self._at_s),
            "rss_server_mb": round(sum(usage.rss_bytes.get(kind, 0) for kind in SERVER) / MB, 1),
            "region_lag_p99_ms": p99(self._lags.newest_ms),
            "database_mb": round(size / MB, 1) if size is not None else None,
        }
        self._before, self._at_s = usage, now_s
        self.samples.append(sample)
        self._progress(
            f"{sample['at_min']:.1f} min: p99 offer {sample['offer_p99_ms']} ms, accept {sample['accept_p99_ms']} ms,"
            f" server {sample['rss_server_mb']:,.0f} MB, {sample['orders_open']:g} open, {sample['errors']:g} errors"
        )


def trend(samples: list[dict[str, Any]]) -> Figures:
    """What creeps: growth of memory an hour in MB and percent by kind of process, and latency at the end against the
    beginning. None where there are too few samples."""
    full, late = (samples[round(len(samples) * share) :] for share in (FILLING, WARM_UP))
    figures: Figures = {}
    for kind in ("server", *SERVER):
        points = [
            (sample["at_min"] / 60, sample[f"rss_{kind}_mb"])
            for sample in full
            if sample.get(f"rss_{kind}_mb") is not None
        ]
        slope = percent = None
        if len(points) >= 3:
            hours, mb = np.array(points).T
            slope = float(np.polyfit(hours, mb, 1)[0])
            percent = 100 * slope / float(mb.mean())
        figures[f"growth_{kind}_mb_per_h"] = None if slope is None else round(slope, 1)
        figures[f"growth_{kind}_pct_per_h"] = None if percent is None else round(percent, 2)
    third = len(late) // 3
    for name in LATENCIES:
        first, last = _median(late[:third], name), _median(late[len(late) - third :], name)
        figures[f"{name}_last"] = last
        figures[f"{name}_drift_ratio"] = round(last / first, 3) if first and last else None
    return figures


def _median(samples: list[dict[str, Any]], name: str) -> float | None:
    values = [sample[name] for sample in samples if sample.get(name) is not None]
    return round(float(np.median(values)), 2) if values else None


def verdicts(figures: Figures) -> list[str]:
    """A line each for memory and latency: flat or not, by the rule above."""
    lines = []
    growth = figures["growth_server_pct_per_h"]
    if growth is None:
        lines.append("memory: too short a run to tell")
    else:
        word = "flat" if growth <= GROWTH_LIMIT_PCT_PER_H else "NOT FLAT"
        lines.append(f"memory: {word} ({growth:+g} % an hour, limit {GROWTH_LIMIT_PCT_PER_H:g} %)")
    for name in LATENCIES:
        drift, last = figures[f"{name}_drift_ratio"], figures[f"{name}_last"]
        if drift is None or last is None:
            lines.append(f"{name}: too short a run to tell")
            continue
        flat = drift <= LATENCY_LIMIT_RATIO or last <= GOALS[name]
        lines.append(
            f"{name}: {'flat' if flat else 'NOT FLAT'} ({drift:g} times the beginning, {last:g} ms at the end)"
        )
    return lines
