"""`doorstep bench storm`: the gateways go away under every driver's socket, killed and restarted in good order.

Orders go on meanwhile. A driver is back with a `welcome` on a new socket; that it counts is told by the region, which
has to know every one of them as on duty again, and by the orders, which all have to come to their end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from bench.live.job import Halt, Place, Return
from bench.live.run import WINDOW_S, Fresh
from bench.live.stage import Crew, Stage, staged
from bench.live.usage import require_files
from bench.report import Figures, Report, report
from doorstep.cluster.rolling import rolling_restart
from sim.concurrency import Progress

CALM_S = 5.0  # of orders before each blow
RETURN_LIMIT_S = 180.0
DUTY_LIMIT_S = 60.0
PLACE_LIMIT_S = 3600.0
GOAL_P99_S = 60.0


class StormOptions(Struct, frozen=True, kw_only=True):
    """`orders_per_min`: placed all the time."""

    drivers: int = 10_000
    ping_hz: float = 1.0
    orders_per_min: float = 120.0
    seed: int = 1


async def run_storm(
    fresh: Fresh, options: StormOptions, *, out: Path | None = None, progress: Progress = lambda line: None
) -> Report:
    """Run both blows on one server; writes `summary.json`. `LoadError`, `NoFiles`, `RestartError`."""
    require_files(options.drivers)  # before the server starts: its processes inherit the limit
    crew = Crew(drivers=options.drivers, ping_hz=options.ping_hz, seed=options.seed)
    blows: dict[str, Callable[[Stage], Coroutine[Any, Any, None]]] = {
        "kill": kill_gateways,
        "drain": drain_gateways,
    }
    figures: Figures = {}
    notes: list[str] = []
    async with fresh() as target, staged(target, crew, progress) as stage:
        place = Place(options.orders_per_min, PLACE_LIMIT_S, WINDOW_S)
        placing = asyncio.create_task(stage.load.ask(place, PLACE_LIMIT_S + 60))
        try:
            for name, blow in blows.items():
                await asyncio.sleep(CALM_S)
                progress(
                    f"{name}: {len(stage.processes.pids('gateway'))} gateways under {options.drivers:,} sockets"
                )
                figures |= await _blow(stage, name, blow, progress, notes)
            await stage.load.ask(Halt(), 10)
            await placing
        finally:
            placing.cancel()
        found = await stage.finish(progress)
    figures |= {
        "lost_count": found["lost_count"],
        "twice_count": found["twice_count"],
        # Answers that had to be asked for again are part of a storm; what failed for good is not.
        "errors_count": sum(found["errors"].values()) + len(found["failures"]),
        "asked_again_count": sum(found["refused"].values()),
        "orders_count": found["orders"],
        "accepted_count": found["accepted"],
        "delivered_count": found["delivered"],
        "offer_p99_ms": found["offer_p99_ms"],
        "accept_p99_ms": found["accept_p99_ms"],
    }
    notes += [f"orders at the end: {found['at_end']}"]
    names = ("waiting", "errors", "refused", "sockets", "failures", "named")
    notes += [f"{name}: {found[name]}" for name in names if found[name]]
    made = report("storm", options, figures, notes=tuple(notes))
    if out is not None:
        made.write(out)
        (out / "windows.json").write_bytes(msgspec.json.encode(stage.load.windows))
    return made


async def _blow(
    stage: Stage,
    name: str,
    blow: Callable[[Stage], Coroutine[Any, Any, None]],
    progress: Progress,
    notes: list[str],
) -> Figures:
    """Seconds from the blow until so many drivers were welcomed again, and until the region has all of them on duty."""
    began_s = time.monotonic()
    striking = asyncio.create_task(blow(stage))
    back = await stage.load.ask(Return(began_s, RETURN_LIMIT_S), RETURN_LIMIT_S + 30)
    await striking
    on_duty_s = await _all_on_duty(stage, began_s)
    progress(f"{name}: 99 % back after {back['p99_s']} s, all after {back['all_s']} s, on duty {on_duty_s} s")
    met = back["p99_s"] is not None and back["p99_s"] <= GOAL_P99_S
    notes.append(f"goal {name}_p99_s <= {GOAL_P99_S:g}: {back['p99_s']}, {'met' if met else 'MISSED'}")
    return {
        **{f"{name}_{share}_s": back[f"{share}_s"] for share in ("p50", "p90", "p99", "all")},
        f"{name}_on_duty_s": on_duty_s,
        f"{name}_resumed_count": back["resumed"],
    }


async def _all_on_duty(stage: Stage, began_s: float) -> float | None:
    until_s = time.monotonic() + DUTY_LIMIT_S
    while time.monotonic() < until_s:
        if ((await stage.target.on_duty()) or 0) >= stage.crew.drivers:
            return round(time.monotonic() - began_s, 3)
        await asyncio.sleep(0.25)
    return None


async def kill_gateways(stage: Stage) -> None:
    """kill -9 of every gateway's process; Ray starts new ones."""
    for pid in stage.processes.pids("gateway"):
        os.kill(pid, signal.SIGKILL)


async def drain_gateways(stage: Stage) -> None:
    """One gateway after the other, as `doorstep restart gateways` does it: it closes its sockets with 1012, ends, and
    serves again before the next one does."""
    config = stage.target.config
    assert config is not None
    await rolling_restart("gateways", config.namespace, lambda line: None)
