"""`doorstep bench live`: a whole market at full size, on one machine with its load.

A real server with Postgres and Redis, a socket for every driver, pings, and orders at a steady rate from click to door.
The goals are those of the project's measures for 10,000 drivers and 600 orders a minute on two cores.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench.live.job import Drop, Place, Return, Window
from bench.live.stage import Crew, Stage, Target, p99, staged, taken_ratio
from bench.live.usage import KINDS, SERVER, Usage, require_files
from bench.report import Figures, Report, report
from sim.concurrency import Progress

WINDOW_S = 5.0
RECONNECT_LIMIT_S = 180.0
MB = 2**20
# figure -> the most it may be, for 10,000 drivers, 600 orders a minute and 2 cores
GOALS: dict[str, float] = {
    "offer_p99_ms": 500.0,
    "accept_p99_ms": 100.0,
    "region_lag_p99_ms": 1000.0,
    "lost_count": 0,
    "twice_count": 0,
    "errors_count": 0,
}
_NOTES = (
    "offer: from when the merchant's acceptance (commit included) was due until the first offer frame of the order",
    "accept: from the driver's frame until `offer.accepted`, sent after the commit; order_create: REST, from when due",
    "reconnect: from the loss of all sockets at once until so many drivers are welcomed again, back-off included",
    "CPU is of the time under load; Postgres' memory is without what its processes share",
)

# A server of the benchmark's own; leaving the context ends it.
Fresh = Callable[[], AbstractAsyncContextManager[Target]]


class LiveOptions(Struct, frozen=True, kw_only=True):
    """`sizes`: fleets to run one after the other, each on a fresh server; empty runs `drivers` alone."""

    drivers: int = 10_000
    ping_hz: float = 1.0
    orders_per_min: float = 600.0
    duration_s: float = 60.0
    sizes: str = ""
    seed: int = 1


def parse_sizes(text: str) -> list[int]:
    """`1000,2500` as numbers; `ValueError` for what is none or not above 0."""
    sizes = [int(part) for part in text.split(",") if part.strip()]
    if any(size < 1 for size in sizes):
        raise ValueError("a fleet has at least one driver")
    return sizes


async def run_live(
    fresh: Fresh,
    options: LiveOptions,
    *,
    out: Path | None = None,
    progress: Progress = lambda line: None,
) -> Report:
    """Run every fleet; writes `summary.json`, `windows.json` and, for several fleets, `sizes.json` and `fleet.png`.

    The figures are those of the fleet of `drivers` where it was run, else of the largest one. `LoadError`, `NoFiles`.
    """
    sizes = parse_sizes(options.sizes) or [options.drivers]
    rows: list[dict[str, Any]] = []
    notes: tuple[str, ...] = ()
    windows: dict[str, list[Window]] = {}
    main = options.drivers if options.drivers in sizes else max(sizes)
    require_files(max(sizes))  # before the server starts: its processes inherit the limit
    for size in sizes:
        async with fresh() as target:
            figures, said, windows[str(size)] = await _measure(
                target, replace(options, drivers=size, sizes=""), progress
            )
        rows.append({"drivers": size} | figures)
        if size == main:
            notes = said
    figures = {name: value for name, value in rows[sizes.index(main)].items() if name != "drivers"}
    made = report(
        "live", options, figures, notes=(*_NOTES, *notes, *goal_lines(figures), *growth_lines(rows))
    )
    if out is not None:
        made.write(out)
        (out / "windows.json").write_bytes(msgspec.json.encode(windows))
        if len(rows) > 1:
            (out / "sizes.json").write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n")
            from bench.plots import fleet_plot  # matplotlib is there for development alone

            fleet_plot(rows, out / "fleet.png")
    return made


async def _measure(
    target: Target, options: LiveOptions, progress: Progress
) -> tuple[Figures, tuple[str, ...], list[Window]]:
    crew = Crew(drivers=options.drivers, ping_hz=options.ping_hz, seed=options.seed)
    async with staged(target, crew, progress) as stage:
        load = stage.load
        progress(
            f"{options.drivers:,} drivers on duty; {options.orders_per_min:g} orders a minute from now on"
        )
        load.on_window = lambda window: progress(_line(window))
        before, pings_before, lags = stage.processes.look(), await target.pings(), Lags(target)
        watching = asyncio.create_task(lags.run())
        place = Place(options.orders_per_min, options.duration_s, WINDOW_S)
        placed = await load.ask(place, options.duration_s + 60)
        after, pings_after = stage.processes.look(), await target.pings()
        await lags.look()
        watching.cancel()
        found = await stage.finish(progress)
        progress("every socket is lost: all drivers come back")
        lost_s = time.monotonic()
        await load.ask(Drop(), 30)
        back = await load.ask(Return(lost_s, RECONNECT_LIMIT_S), RECONNECT_LIMIT_S + 30)
        progress(f"99 % of drivers were back after {back['p99_s']} s, all of them after {back['all_s']} s")
        figures: Figures = {
            **{
                name: found[name]
                for name in ("offer_p50_ms", "offer_p99_ms", "accept_p50_ms", "accept_p99_ms")
            },
            **{
                name: found[name]
                for name in ("order_create_p50_ms", "order_create_p99_ms", "task_step_p99_ms")
            },
            "region_lag_p99_ms": p99(lags.values_ms),
            "lost_count": found["lost_count"],
            "twice_count": found["twice_count"],
            "errors_count": faults(found, stage.warmed),
            "reconnect_all_s": back["all_s"],
            "reconnect_p99_s": back["p99_s"],
            "connect_all_s": stage.connected["took_s"],
            "bytes_per_driver": stage.bytes_per_driver,
            "orders_count": found["orders"],
            "accepted_count": found["accepted"],
            "delivered_count": found["delivered"],
            "pings_per_s": round(placed["pings_sent"] / placed["took_s"], 1),
            "pings_skipped_count": placed["pings_skipped"],
            "pings_taken_ratio": taken_ratio(pings_before, pings_after, placed),
            "generator_cpu_pct": placed["generator_cpu_pct"],
            "generator_late_p99_ms": placed["generator_late_p99_ms"],
        }
        if target.config is not None:  # of a server elsewhere the processes cannot be seen
            figures |= usage_figures(before, after, placed["took_s"])
        return figures, tuple(_details(found, stage)), load.windows


def faults(found: dict[str, Any], before: dict[str, Any]) -> int:
    """Everything that was refused or lost on the way although nothing was broken: answers, messages, sockets. `before`:
    the same when all had connected; a server may ask those who come in a crowd to wait."""
    sockets = {
        name: number - before["sockets"].get(name, 0)
        for name, number in found["sockets"].items()
        if name.startswith(
            ("error ", "closed ", "sockets lost", "bad ", "unreadable ", "pushes missed", "welcome too")
        )
    }
    refused = sum(found["refused"].values()) - sum(before["refused"].values())
    wrong: list[int] = [*found["errors"].values(), refused, *sockets.values(), len(found["failures"])]
    return sum(wrong)


class Lags:
    """Asks the region now and then how late it was; it remembers the newest 512 deadlines."""

    def __init__(self, target: Target) -> None:
        self._target, self._since_s = target, time.monotonic()
        self.values_ms: list[float] = []
        self.newest_ms: list[float] = []

    async def look(self) -> None:
        """Take over what came since the last look."""
        now_s = time.monotonic()
        self.newest_ms = await self._target.lags_ms(now_s - self._since_s)
        self._since_s = now_s
        self.values_ms += self.newest_ms

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(WINDOW_S)
            await self.look()


def usage_figures(before: Usage, after: Usage, wall_s: float) -> Figures:
    """Processor time by kind as a share of one core, memory by kind, and what the server's memory grew by."""
    figures: Figures = {
        f"cpu_{kind}_pct": round(100 * (after.cpu_s.get(kind, 0) - before.cpu_s.get(kind, 0)) / wall_s, 1)
        for kind in KINDS
        if kind in after.cpu_s
    }
    figures |= {
        f"rss_{kind}_mb": round(after.rss_bytes[kind] / MB, 1) for kind in KINDS if kind in after.rss_bytes
    }
    figures["cpu_all_pct"] = round(100 * (sum(after.cpu_s.values()) - sum(before.cpu_s.values())) / wall_s, 1)
    grown = sum(after.rss_bytes.get(kind, 0) - before.rss_bytes.get(kind, 0) for kind in SERVER)
    return figures | {"memory_grown_mb": round(grown / MB, 1)}


def goal_lines(figures: Figures) -> list[str]:
    """A line for each goal: met or missed."""
    lines = []
    for name, limit in GOALS.items():
        value = figures.get(name)
        if value is not None:
            lines.append(f"goal {name} <= {limit:g}: {value:g}, {'met' if value <= limit else 'MISSED'}")
    return lines


def growth_lines(rows: list[dict[str, Any]]) -> list[str]:
    """How cost grows with the fleet, a line for each; nothing for one fleet."""
    if len(rows) < 2:
        return []
    names = ("offer_p50_ms", "offer_p99_ms", "accept_p99_ms", "order_create_p99_ms", "region_lag_p99_ms")
    more = ("cpu_gateway_pct", "cpu_region_pct", "cpu_postgres_pct", "generator_cpu_pct", "bytes_per_driver")
    lines = []
    for row in rows:
        found = (
            f"{name.removesuffix('_pct')} {row.get(name)}" for name in (*names, *more, "reconnect_all_s")
        )
        lines.append(f"{row['drivers']:>6,} drivers: " + ", ".join(found))
    return lines


def _details(found: dict[str, Any], stage: Stage) -> list[str]:
    lines = [f"orders at the end: {found['at_end']}"]
    names = ("waiting", "errors", "refused", "sockets", "failures", "named")
    lines += [f"{name}: {found[name]}" for name in names if found[name]]
    lines += ["order ready -> offer frame", *found["offer_histogram"]]
    lines += ["accept -> durable answer", *found["accept_histogram"]]
    return lines


def _line(window: Window) -> str:
    value = window.values
    return (
        f"{value['pings_per_s']:,.0f} pings/s, {value['order_create_count']:g} orders, p50/p99 offer"
        f" {value['offer_p50_ms']}/{value['offer_p99_ms']} ms, accept {value['accept_p50_ms']}/{value['accept_p99_ms']}"
        f" ms, {value['orders_open']:g} open, {value['errors']:g} errors, load {value['generator_cpu_pct']} % of a core"
    )
