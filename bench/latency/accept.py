"""`doorstep bench accept`: wall time from a driver's accept to its durable answer, over real sockets.

Orders come at a steady rate through the public interface; drivers accept at once and do the whole delivery with a car
that is everywhere at once, so that they are soon free again and the server does all of its work meanwhile.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from pathlib import Path
from random import Random

from msgspec import Struct

from bench.report import Figures, Report, report
from sim.bot.driver_bot import DriverBot
from sim.bot.personas import Door, DriverPersona
from sim.concurrency import Crowd, Progress
from sim.demo.api import Account, Api
from sim.demo.audit import Auditor
from sim.demo.city import BuiltCity, build_city
from sim.demo.clock import ServerTime
from sim.demo.customers import Clerk, OrderPlan, Shop
from sim.demo.driver import DriverClient
from sim.demo.setup import Cast, Site, find_region
from sim.demo.summary import percentile
from sim.demo.tally import Tally

CONNECT_LIMIT_S = 60  # wall time for all drivers to be connected
LINES_S = 2.0  # wall time between progress lines
BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)
_EAGER = DriverPersona(
    think_min_s=0.0,
    think_max_s=0.0,
    speed_mps=1e6,
    detour=1.0,
    store_before_s=0.0,
    store_after_s=0.0,
    door_before_s=0.0,
    door_after_s=0.0,
    roam_after_s=float("inf"),
)


class AcceptOptions(Struct, frozen=True, kw_only=True):
    """`orders_per_s` is wall time, as are all figures."""

    drivers: int = 50
    orders: int = 300
    orders_per_s: float = 10.0
    settle_s: float = 60.0
    seed: int = 1


async def run_accept(
    server: str,
    options: AcceptOptions,
    *,
    out: Path | None = None,
    progress: Progress = lambda line: None,
) -> Report:
    """Measure a running server; writes `summary.json` into `out`."""
    api = Api(server)
    driving, ordering = Crowd(), Crowd()
    try:
        return await _run(api, options, out, progress, driving, ordering)
    finally:
        await ordering.stop()
        await driving.stop()
        await api.close()


async def _run(
    api: Api, options: AcceptOptions, out: Path | None, progress: Progress, driving: Crowd, ordering: Crowd
) -> Report:
    clock, books, city = ServerTime(), Tally(), build_city(options.seed, stores=12)
    await find_region(api, clock)
    run = f"accept-{time.time_ns() // 1_000_000:x}"
    cast = Cast(api, secrets.token_urlsafe(), progress)
    progress(f"signing in {options.drivers} drivers; passwords are hashed slowly on purpose")
    merchant, *customers = await cast.sign_in(
        [
            cast.account("merchant", 1, "Bench stores"),
            *(cast.account("customer", n, "Bench") for n in range(1, 9)),
        ],
        "customers",
    )
    shops = await cast.open_shops(merchant, [Site(s.name, s.point, s.address) for s in city.stores])
    accounts = [cast.account("driver", n, f"Bench driver {n}") for n in range(1, options.drivers + 1)]
    await cast.sign_in(accounts, "drivers")

    took_s: list[float] = []
    clients = [
        _client(api, clock, account, run, number, city, books, took_s)
        for number, account in enumerate(accounts)
    ]
    for client in clients:
        driving.start(client.run())
    for _ in range(CONNECT_LIMIT_S * 10):
        if all(client.connected for client in clients):
            break
        await asyncio.sleep(0.1)
    clerk = Clerk(api, clock, books, run)
    auditor = Auditor(api, clock, books)
    placing = ordering.start(_place(clerk, ordering, clock, options, city, shops, customers))
    began_s = line_s = time.monotonic()
    until_s = began_s + options.orders / options.orders_per_s + options.settle_s
    while (not placing.done() or books.open) and time.monotonic() < until_s:
        await asyncio.sleep(0.2)
        if time.monotonic() - line_s >= LINES_S:
            line_s = time.monotonic()
            if placing.done():  # other drivers of this server may have taken an order
                await auditor.look_for_news()
            progress(
                f"{books.count['orders']} orders, {len(took_s)} accepted, {books.count['delivered']} delivered"
            )
    stats: Counter[str] = Counter()
    for client in clients:
        stats.update(client.bot.stats)
        client.end_shift()
    await driving.wait(5)
    ordered = sorted(took_s)
    figures: Figures = {
        "accept_p50_ms": _ms(ordered, 0.50),
        "accept_p90_ms": _ms(ordered, 0.90),
        "accept_p99_ms": _ms(ordered, 0.99),
        "accept_max_ms": _ms(ordered, 1.0),
        "accepts_count": len(ordered),
        "orders_count": books.count["orders"],
        "delivered_count": books.count["delivered"],
        "errors_count": sum(n for name, n in stats.items() if name.startswith("error:"))
        + books.count["not_placed"],
        "resent_count": stats["resent"],
        "lost_count": stats["lost_frames"],
    }
    made = report("accept", options, figures, notes=tuple(histogram(ordered)))
    if out is not None:
        made.write(out)
    return made


def _client(
    api: Api,
    clock: ServerTime,
    account: Account,
    run: str,
    number: int,
    city: BuiltCity,
    books: Tally,
    took_s: list[float],
) -> DriverClient:
    rng = Random(f"{run}:{number}")
    bot = DriverBot(
        name=f"{run}-{number}",
        persona=_EAGER,
        rng=rng,
        start=city.driver_home(rng),
        door=lambda order_id: Door.PASS,
        speed=clock.speed,
    )
    return DriverClient(
        api=api, clock=clock, account=account, bot=bot, told=books.told, accept_s=took_s.append
    )


async def _place(
    clerk: Clerk,
    ordering: Crowd,
    clock: ServerTime,
    options: AcceptOptions,
    city: BuiltCity,
    shops: list[Shop],
    customers: list[Account],
) -> None:
    rng, started_s = Random(options.seed), time.monotonic()
    for number in range(options.orders):
        await asyncio.sleep(max(0.0, started_s + number / options.orders_per_s - time.monotonic()))
        store, now_s = city.pick_store(rng), clock.now_s()
        door, address = city.door_near(rng, store)
        plan = OrderPlan(
            number=number,
            at_s=now_s,
            ready_s=now_s,
            shop=shops[store],
            customer=rng.choice(customers),
            door=door,
            address=address,
            items=((shops[store].product_ids[0], 1),),
            under_age=False,
        )
        ordering.start(clerk.serve(plan))


def histogram(ordered_s: list[float]) -> list[str]:
    """Lines of a histogram over `BUCKETS_MS`, empty ends left out."""
    counts = [0] * (len(BUCKETS_MS) + 1)
    for took_s in ordered_s:
        counts[sum(took_s * 1000 > edge for edge in BUCKETS_MS)] += 1
    filled = [index for index, count in enumerate(counts) if count]
    lines = []
    for index in range(filled[0], filled[-1] + 1) if filled else ():
        label = f"<= {BUCKETS_MS[index]} ms" if index < len(BUCKETS_MS) else f"> {BUCKETS_MS[-1]} ms"
        bar = "#" * round(40 * counts[index] / len(ordered_s))
        lines.append(f"{label:>10} {counts[index]:>6} {bar}")
    return lines


def _ms(ordered_s: list[float], share: float) -> float | None:
    return round(percentile(ordered_s, share) * 1000, 2) if ordered_s else None
