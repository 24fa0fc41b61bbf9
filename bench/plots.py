"""Pictures of the benchmarks, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

_CPU = ("gateway", "region", "persistence", "solver", "postgres", "redis", "ray", "bench", "generator")
_MEMORY = ("gateway", "region", "persistence", "postgres")


def fleet_plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Latency, processor time, memory and reconnecting against the size of the fleet; a row is a run's figures."""
    rows = sorted(rows, key=lambda row: int(row["drivers"]))
    drivers = [row["drivers"] for row in rows]
    figure, [[latency, cpu], [memory, back]] = plt.subplots(2, 2, figsize=(11, 8), constrained_layout=True)
    for name, style in (
        ("offer_p50_ms", "C0--"),
        ("offer_p99_ms", "C0-"),
        ("accept_p50_ms", "C1--"),
        ("accept_p99_ms", "C1-"),
        ("order_create_p99_ms", "C2-"),
        ("region_lag_p99_ms", "C3-"),
    ):
        _line(latency, drivers, [row.get(name) for row in rows], style, name.removesuffix("_ms"))
    _finish(latency, "latency, ms", log=True)
    kinds = [kind for kind in _CPU if any(row.get(f"cpu_{kind}_pct") for row in rows)]
    shares = [[row.get(f"cpu_{kind}_pct") or 0.0 for row in rows] for kind in kinds]
    cpu.stackplot(drivers, shares, labels=kinds, alpha=0.8)
    _finish(cpu, "processor, % of a core")
    for kind in _MEMORY:
        _line(memory, drivers, [row.get(f"rss_{kind}_mb") for row in rows], "-", kind)
    _finish(memory, "resident memory, MB")
    _line(back, drivers, [row.get("reconnect_p99_s") for row in rows], "C0--", "99 % of drivers")
    _line(back, drivers, [row.get("reconnect_all_s") for row in rows], "C0-", "all drivers")
    _finish(back, "back after the loss of all sockets, s")
    for axes in (latency, cpu, memory, back):
        axes.set_xlabel("drivers")
    _save(figure, path)


def soak_plot(samples: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Latency, memory, processor time, and the size of the database over time; a sample has `at_min`."""
    at = [sample["at_min"] for sample in samples]
    figure, [[latency, memory], [cpu, rest]] = plt.subplots(2, 2, figsize=(12, 8), constrained_layout=True)
    figure.suptitle(title)
    for name, style in (
        ("offer_p50_ms", "C0--"),
        ("offer_p99_ms", "C0-"),
        ("accept_p50_ms", "C1--"),
        ("accept_p99_ms", "C1-"),
        ("order_create_p99_ms", "C2-"),
        ("region_lag_p99_ms", "C3-"),
    ):
        _line(latency, at, [sample.get(name) for sample in samples], style, name.removesuffix("_ms"))
    _finish(latency, "latency in each sample, ms", log=True)
    for kind in (*_MEMORY, "generator"):
        _line(memory, at, [sample.get(f"rss_{kind}_mb") for sample in samples], "-", kind)
    _finish(memory, "resident memory, MB")
    for kind in _CPU:
        _line(cpu, at, [sample.get(f"cpu_{kind}_pct") for sample in samples], "-", kind)
    _finish(cpu, "processor, % of a core")
    _line(rest, at, [sample.get("database_mb") for sample in samples], "C4-", "database, MB")
    _line(rest, at, [sample.get("orders_open") for sample in samples], "C5-", "orders under way")
    _finish(rest, "database and orders")
    for axes in (latency, memory, cpu, rest):
        axes.set_xlabel("minutes")
    _save(figure, path)


def _line(axes: Axes, x: Sequence[float], y: Sequence[float | None], style: str, label: str) -> None:
    points = [(at, value) for at, value in zip(x, y, strict=True) if value is not None]
    if points:
        axes.plot(*zip(*points, strict=True), style, label=label, marker="." if len(points) < 30 else "")


def _finish(axes: Axes, title: str, *, log: bool = False) -> None:
    axes.set_title(title, fontsize=10)
    if log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
