"""`doorstep bench plan`: time from an order's opening to the plan that has it, in a live market full of open tasks.

The market of `bench match`, on a real server. Orders come through the public interface and are ready much later, so
that they stay open and every look plans all of them again. Drivers' pings go to the region as a gateway sends them, in
batches of columns; they have no sockets. The region keeps how long each task waited; this asks for it at the end.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import numpy as np
import psutil
from msgspec import Struct

from actors.config import Limits
from bench.dispatch.match import MatchOptions, market
from bench.live.usage import Processes
from bench.report import Figures, Report, report
from domain.ground.arrays import I64
from domain.region.messages import DriversSeen
from domain.solve import DriverColumns, TaskColumns
from sim.bot.motion import Point
from sim.concurrency import Crowd, Progress
from sim.demo.api import Account, Api
from sim.demo.city import REGION_ID
from sim.demo.clock import ServerTime
from sim.demo.customers import Clerk, OrderPlan, Shop
from sim.demo.setup import Cast, Site, find_region
from sim.demo.summary import percentile
from sim.demo.tally import Tally

PING_EVERY_S = 5.0
FLUSH_S = Limits().ping_flush_s  # as a gateway collects
LINES_S = 5.0  # wall time between progress lines
FILL_LIMIT = 5.0  # times as long as filling should take
SETTLE_S = 20.0  # for the last orders to be planned
CUSTOMERS = 8
_REGION = f"region:{REGION_ID}"

# call(actor, method, *arguments), as a gateway calls
Call: TypeAlias = Callable[..., Awaitable[Any]]


class PlanOptions(Struct, frozen=True, kw_only=True):
    """Rates are orders a second of wall time, first until `tasks` are open and then for `duration_s`; their goods are
    ready after `ready_s`."""

    drivers: int = 5_000
    tasks: int = 1_000
    rate: float = 5.0
    duration_s: float = 60.0
    fill_rate: float = 20.0
    ready_s: float = 3_600.0
    tasks_per_store: float = 10.0
    seed: int = 1


async def run_plan(
    server: str,
    call: Call,
    options: PlanOptions,
    *,
    out: Path | None = None,
    progress: Progress = lambda line: None,
) -> Report:
    """Measure a fresh server, whose actors `call` reaches; writes `summary.json` into `out`. `RuntimeError` when the
    market does not fill or the server fails on the way."""
    api, pinging, ordering = Api(server), Crowd(), Crowd()
    try:
        figures = await _run(api, call, options, progress, pinging, ordering)
    finally:
        await ordering.stop()
        await pinging.stop()
        await api.close()
    made = report("plan", options, figures, notes=_NOTES)
    if out is not None:
        made.write(out)
    return made


_NOTES = (
    "task_to_plan: from the merchant's acceptance, commit included, to the first plan that has the order",
    "region_lag: how late the region's deadlines were; ping_to_step: call to the region and back, from outside",
)


async def _run(
    api: Api, call: Call, options: PlanOptions, progress: Progress, pinging: Crowd, ordering: Crowd
) -> Figures:
    stream = round(options.rate * options.duration_s)
    match = MatchOptions(seed=options.seed, tasks_per_store=options.tasks_per_store)
    problem = market(match, options.tasks + stream, options.drivers)
    desk = await Desk.open(api, problem.tasks, options, ordering, progress)
    pings = Pings(call, problem.drivers)
    pinging.start(pings.run())
    [region] = [psutil.Process(pid) for pid in Processes().pids("region")]

    async def figures() -> dict[str, Any]:
        if failures := pinging.failures + ordering.failures:
            raise RuntimeError(f"the server failed: {failures[0]}")
        stats: dict[str, Any] = await call(_REGION, "stats")
        return stats

    until_s = time.monotonic() + FILL_LIMIT * (options.tasks / options.fill_rate + SETTLE_S)
    filling = ordering.start(desk.take(options.tasks, options.fill_rate))
    line_s = 0.0
    while (stats := await figures())["tasks_open"] < options.tasks:
        if time.monotonic() > until_s:
            raise RuntimeError(
                f"{stats['tasks_open']} of {options.tasks} tasks are open: the server is too slow"
            )
        if time.monotonic() >= line_s + LINES_S:
            line_s = time.monotonic()
            progress(f"{stats['tasks_open']} of {options.tasks} tasks open, {stats['drivers']} drivers")
        await asyncio.sleep(0.5)
    await filling

    progress(f"{stats['tasks_open']} tasks open; {options.rate:g} more a second for {options.duration_s:g} s")
    began_s, cpu_s, solved = time.monotonic(), _cpu_s(region), stats["solve_count"]
    measured = len(pings.took_s)
    coming = ordering.start(desk.take(stream, options.rate))
    line_s = began_s
    while not coming.done():
        await asyncio.sleep(0.2)
        if time.monotonic() >= line_s + LINES_S:
            line_s, now = time.monotonic(), await figures()
            progress(
                f"{now['tasks_open']} open, {now['tasks_unplanned']} not planned yet: {_figures_of(now)}"
            )
    took_s, used_s, last = time.monotonic() - began_s, _cpu_s(region) - cpu_s, await figures()
    settled_s = time.monotonic() + SETTLE_S
    while last["tasks_open"] < options.tasks + stream or last["tasks_unplanned"]:
        if time.monotonic() > settled_s:
            progress(f"{options.tasks + stream - last['tasks_open']} orders were not opened")
            break
        await asyncio.sleep(0.2)
        last = await figures()
    lately: dict[str, list[float]] = await call(_REGION, "lately", time.monotonic() - began_s)
    ping_ms = [1000 * one_s for one_s in pings.took_s[measured:]]
    return {
        **quantiles("task_to_plan", lately["task_to_plan"]),
        **quantiles("solve", lately["solve"]),
        **quantiles("region_lag", lately["lag"]),
        **quantiles("ping_to_step", ping_ms),
        "region_cpu_pct": round(100 * used_s / took_s, 1),
        "open_tasks_count": stats["tasks_open"],
        "open_tasks_end_count": last["tasks_open"],
        "drivers_count": last["drivers"],
        "planned_count": len(lately["task_to_plan"]),
        "solves_count": last["solve_count"] - solved,
        "offers_count": last["offers_made"],
        "errors_count": desk.books.count["not_placed"],
    }


def _figures_of(stats: dict[str, Any]) -> str:
    names = ("task_to_plan_ms_p50", "task_to_plan_ms_p99", "solve_ms_p50", "step_ms_p99")
    return ", ".join(f"{name} {stats[name]:.0f}" for name in names)


def quantiles(name: str, values_ms: list[float]) -> Figures:
    """p50 and p99 under the names of a report; None of nothing."""
    ordered = sorted(values_ms)
    return {
        f"{name}_p{round(100 * share)}_ms": round(percentile(ordered, share), 2) if ordered else None
        for share in (0.5, 0.99)
    }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


# -- drivers ----------------------------------------------------------------------------------------------------------


def due_pings(sent: int, elapsed_s: float, drivers: int) -> I64:
    """Numbers of the pings that are due: all drivers at 0 s, then evenly each of them every `PING_EVERY_S`, at most one
    of each. Ping n is of driver n % drivers."""
    due = drivers + int(elapsed_s / PING_EVERY_S * drivers)
    return np.arange(max(sent, due - drivers), due)


class Pings:
    """All drivers on duty where they stand, one call under way at a time. `took_s`: of each call, wall seconds."""

    def __init__(self, call: Call, drivers: DriverColumns) -> None:
        self._call, self._drivers = call, drivers
        # The store's ids are UUIDs; these drivers have no accounts.
        self._ids = [str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in drivers.ids]
        self.took_s: list[float] = []

    async def run(self) -> None:
        """Ping until cancelled."""
        sent, began_s = 0, time.monotonic()
        while True:
            at_s = time.monotonic()
            due = due_pings(sent, at_s - began_s, len(self._ids))
            if len(due):
                await self._call(_REGION, "seen", self.batch(due))
                self.took_s.append(time.monotonic() - at_s)
                sent = int(due[-1]) + 1
            await asyncio.sleep(max(0.0, at_s + FLUSH_S - time.monotonic()))

    def batch(self, due: I64) -> DriversSeen:
        """These pings as a gateway sends them for drivers without a socket: session 0."""
        n, row = len(due), due % len(self._ids)
        return DriversSeen(
            gateway_id="gateway:bench",
            driver_ids=[self._ids[i] for i in row.tolist()],
            session=np.zeros(n, np.int64),
            seq=due // len(self._ids) + 1,
            lat=self._drivers.lat[row],
            lng=self._drivers.lng[row],
            on_duty=np.full(n, True),
            until_ms=np.zeros(n, np.int64),
        )


# -- orders -----------------------------------------------------------------------------------------------------------


class Desk:
    """Places the problem's tasks as orders, one after the other."""

    def __init__(
        self,
        tasks: TaskColumns,
        options: PlanOptions,
        crowd: Crowd,
        clerk: Clerk,
        books: Tally,
        clock: ServerTime,
        shops: dict[Point, Shop],
        customers: list[Account],
    ) -> None:
        self._tasks, self._options, self._crowd, self._clerk = tasks, options, crowd, clerk
        self.books, self._clock, self._shops, self._customers = books, clock, shops, customers
        self._rng = Random(options.seed)
        self._taken = 0

    @classmethod
    async def open(
        cls, api: Api, tasks: TaskColumns, options: PlanOptions, crowd: Crowd, progress: Progress
    ) -> Desk:
        """Accounts, and a store wherever a task is picked up."""
        clock, books, cast = ServerTime(), Tally(), Cast(api, secrets.token_urlsafe(), progress)
        await find_region(api, clock)
        accounts = [cast.account("customer", n, "Bench") for n in range(CUSTOMERS)]
        merchant, *customers = await cast.sign_in(
            [cast.account("merchant", 1, "Bench stores"), *accounts], "customers"
        )
        places = list(dict.fromkeys(_places(tasks.pickup_lat, tasks.pickup_lng)))
        progress(f"opening {len(places)} stores")
        sites = [
            Site(f"Bench store {n}", place, f"{n} Main St, Dallas, TX") for n, place in enumerate(places)
        ]
        shops = dict(zip(places, await cast.open_shops(merchant, sites), strict=True))
        run = f"plan-{time.time_ns() // 1_000_000:x}"
        return cls(tasks, options, crowd, Clerk(api, clock, books, run), books, clock, shops, customers)

    async def take(self, count: int, rate: float) -> None:
        """The next `count` orders, at so many a second."""
        stores = _places(self._tasks.pickup_lat, self._tasks.pickup_lng)
        doors = _places(self._tasks.dropoff_lat, self._tasks.dropoff_lng)
        began_s = time.monotonic()
        for n in range(count):
            await asyncio.sleep(max(0.0, began_s + n / rate - time.monotonic()))
            number, self._taken = self._taken, self._taken + 1
            shop, now_s = self._shops[stores[number]], self._clock.now_s()
            plan = OrderPlan(
                number=number,
                at_s=now_s,
                ready_s=now_s + self._options.ready_s,
                shop=shop,
                customer=self._rng.choice(self._customers),
                door=doors[number],
                address=f"{number} Elm St, Dallas, TX",
                items=((shop.product_ids[0], 1),),
                under_age=False,
            )
            self._crowd.start(self._clerk.serve(plan))


def _places(lat: np.ndarray[Any, Any], lng: np.ndarray[Any, Any]) -> list[Point]:
    return [Point(*place) for place in zip(lat.tolist(), lng.tolist(), strict=True)]
