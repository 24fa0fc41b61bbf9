"""The demo: an outside client that fills a running server with drivers and orders, or replays a recorded day on it.

    summary = await run_demo(DemoOptions(server="http://localhost:8000"), progress=print)

It uses the public protocol only, and follows the server's clock at whatever speed that runs.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

from msgspec import Struct, field

from sim.bot.driver_bot import DriverBot
from sim.bot.personas import CustomerShares, DriverShares, door_outcome
from sim.concurrency import Crowd, Progress, each
from sim.demo.api import Account, Api, ServerRefused
from sim.demo.audit import Auditor
from sim.demo.clock import ServerTime
from sim.demo.customers import Clerk, Shop
from sim.demo.driver import DriverClient
from sim.demo.scripts import BuiltScript, Part, ReplayScript, Script
from sim.demo.setup import Cast, find_region, set_clock
from sim.demo.summary import Summary, summarize
from sim.demo.tally import Tally

SIGN_IN_AT_ONCE = 6  # password hashing is made to be slow, and other clients want in too
PROGRESS_S = 5.0  # wall time between progress lines
SET_CLOCK_S = 10.0
LOOK_S = 8.0  # wall time between two looks for orders whose end was missed, once no more are placed
LATE_S = 90 * 60.0  # server seconds after which an order without news is asked about while the run goes on
CURTAIN_S = 15.0  # wall time for the drivers to go off duty and hang up
FIRST_DRIVERS = 20  # on duty before the first order of the built-in city


class DemoOptions(Struct, frozen=True, kw_only=True):
    """What to play. `duration_s` is wall time, None plays on until stopped; minutes are of the server's clock."""

    server: str = "http://localhost:8000"
    replay: Path | None = None  # a folder in the format of mdrplib or rappi; None plays the built-in city
    from_min: float | None = None  # window of placement times, minutes of the recorded day
    to_min: float | None = None
    drivers: int = 200  # of a replay: at most
    customers: int = 24
    orders_per_min: float | None = None  # None: as many as keep about half of the drivers busy
    duration_s: float | None = None
    settle_min: float = 120.0  # after the last placement; what is open then counts as undelivered
    seed: int = 1
    # Of the accounts, whose addresses follow from it: a later run with the same one finds them again.
    password: str = field(default_factory=secrets.token_urlsafe)
    customer_shares: CustomerShares = field(default_factory=CustomerShares)
    driver_shares: DriverShares = field(default_factory=DriverShares)


async def run_demo(
    options: DemoOptions, progress: Progress = lambda line: None, stop: asyncio.Event | None = None
) -> Summary:
    """Play until the replay or the duration has ended, or `stop` is set; drains, audits and sums up.

    `ServerRefused` when the server cannot be played with, `ValueError` for a replay folder that cannot be read.
    Cancelling it breaks off without a summary.
    """
    script = _script(options)
    api = Api(options.server)
    try:
        return await _Demo(options, api, script, progress, stop or asyncio.Event()).run()
    finally:
        await api.close()


def _script(options: DemoOptions) -> Script:
    customers, drivers = options.customer_shares, options.driver_shares
    if options.replay is None:
        return BuiltScript(options.seed, options.drivers, options.orders_per_min, customers, drivers)
    return ReplayScript(
        options.replay, options.from_min, options.to_min, options.drivers, options.seed, customers, drivers
    )


class _Demo:
    def __init__(
        self, options: DemoOptions, api: Api, script: Script, progress: Progress, stop: asyncio.Event
    ) -> None:
        self._options, self._api, self._script, self._progress, self._stop = (
            options,
            api,
            script,
            progress,
            stop,
        )
        self._run = uuid.uuid4().hex[:8]  # makes request ids that no earlier run has used
        self._clock = ServerTime()
        self._books = Tally()
        self._auditor = Auditor(api, self._clock, self._books)
        self._clerk = Clerk(api, self._clock, self._books, self._run)
        self._cast = Cast(api, options.password, progress)
        self._clients: list[DriverClient] = []
        self._driving, self._ordering, self._helping = Crowd(), Crowd(), Crowd()
        self._began_s = time.monotonic()
        self._quickest_s = 0.0
        self._notes: list[str] = []

    async def run(self) -> Summary:
        """The whole play, from sign-in to the summary."""
        options, script, clock = self._options, self._script, self._clock
        self._quickest_s = await find_region(self._api, clock)
        self._progress(f"server {options.server}, clock at {clock.speed:g}x; {script.title}")
        merchant = self._cast.account("merchant", script.name, script.merchant)
        customers = [
            self._cast.account("customer", n, f"Customer {n}") for n in range(1, options.customers + 1)
        ]
        await self._cast.sign_in([merchant, *customers], "customers")
        shops = await self._cast.open_shops(merchant, script.sites())
        try:
            await self._raise_curtain()
            self._began_s = time.monotonic()
            for helper in (self._auditor.run(), self._keep_time(), self._report()):
                self._helping.start(helper)
            await self._until_ended(self._helping.start(self._place(shops, customers)))
            return await self._drop_curtain()
        finally:
            for crowd in (self._helping, self._ordering, self._driving):
                await crowd.stop()

    # -- drivers ------------------------------------------------------------------------------------------------------

    async def _raise_curtain(self) -> None:
        """Sign the drivers in and put them on the road: all of them first, or as they come."""
        parts = self._script.parts(self._clock.now_s())
        accounts = {part.key: self._cast.account("driver", part.key, part.name) for part in parts}
        if self._script.all_on_stage:
            await self._cast.sign_in(list(accounts.values()), "drivers")
            for part in self._script.parts(self._clock.now_s()):
                self._drive(part, accounts[part.key])
            return

        async def one(part: Part) -> None:
            await self._cast.sign_in([accounts[part.key]], "")
            self._drive(part, accounts[part.key])

        casting = self._helping.start(each(SIGN_IN_AT_ONCE, parts, one))
        while True:
            if casting.done() or len(self._clients) >= FIRST_DRIVERS or self._stop.is_set():
                return
            await asyncio.sleep(0.1)

    def _drive(self, part: Part, account: Account) -> None:
        seed, shares = self._options.seed, self._options.customer_shares
        bot = DriverBot(
            name=f"{self._run}-{len(self._clients)}",
            persona=part.persona,
            rng=Random(f"{seed}:driver:{part.key}"),
            start=part.start,
            door=lambda order_id: door_outcome(seed, order_id, shares),
            speed=self._clock.speed,
            on_s=part.on_s,
            off_s=part.off_s,
            haunts=part.haunts,
        )
        client = DriverClient(
            api=self._api, clock=self._clock, account=account, bot=bot, told=self._books.told
        )
        self._clients.append(client)
        self._driving.start(client.run())

    # -- orders -------------------------------------------------------------------------------------------------------

    async def _place(self, shops: list[Shop], customers: list[Account]) -> None:
        for plan in self._script.plans(self._clock.now_s(), shops, customers):
            await self._clock.sleep_until(plan.at_s)
            if self._script.is_full(len(self._books.open)):
                self._books.count["turned_away"] += 1
            else:
                self._ordering.start(self._clerk.serve(plan))

    async def _until_ended(self, placing: asyncio.Task[None]) -> None:
        """Until asked to stop, or nothing more is placed and every order has ended or had its time."""
        began_s, duration_s = time.monotonic(), self._options.duration_s
        look_s, settle_s = began_s + LOOK_S, float("inf")
        while not self._stop.is_set():
            await asyncio.sleep(0.2)
            now_s = time.monotonic()
            if duration_s is not None and now_s >= began_s + duration_s:
                placing.cancel()
            if now_s >= look_s:
                # While more are placed, only what is long overdue is worth a question.
                await self._auditor.look_for_news(0 if placing.done() else LATE_S)
                look_s = time.monotonic() + LOOK_S
            if not placing.done():
                continue
            if settle_s == float("inf"):
                settle_s = self._clock.now_s() + self._options.settle_min * 60
                self._progress("the last order is placed; waiting for those under way")
            if not self._books.open and not self._ordering:
                return
            if self._clock.now_s() >= settle_s:
                return

    # -- beside the play ----------------------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        """Follow the server's clock, which drifts a little and may be set when the server starts anew."""
        while True:
            await asyncio.sleep(SET_CLOCK_S)
            with suppress(ServerRefused):  # a server that is away comes back, or the orders will tell
                await set_clock(self._api, self._clock, better_than_s=2 * self._quickest_s + 0.02)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            self._progress(self._line())

    def _line(self) -> str:
        count, drivers = self._books.count, self._driver_stats()
        on_line = sum(client.connected for client in self._clients)
        busy = sum(client.bot.busy for client in self._clients)
        minutes, seconds = divmod(int(time.monotonic() - self._began_s), 60)
        return (
            f"{minutes:02d}:{seconds:02d} drivers {on_line} ({busy} busy) · orders {count['orders']}: "
            f"{len(self._books.open)} open, {count['delivered']} delivered, {count['refused']} refused, "
            f"{count['returned']} returned, {count['under_age']} under age · offers {drivers['offers']}: "
            f"{drivers['accepted']} taken, of them {drivers['bundles']} bundles, {drivers['rejected']} rejected, "
            f"{drivers['expired']} expired · "
            f"dossiers {count['dossiers_verified']} sound, {count['dossiers_broken']} broken · "
            f"reconnects {drivers['reconnects']}, repeats {self._api.stats['retries'] + drivers['resent']}"
        )

    # -- the end ------------------------------------------------------------------------------------------------------

    async def _drop_curtain(self) -> Summary:
        """Off duty, a last look at what is open, the audit, the sum."""
        await self._helping.stop()
        await self._ordering.stop()
        if self._books.open:
            await self._auditor.look_for_news()
        if self._books.open and not self._stop.is_set():
            called_off = await self._auditor.call_off()
            if called_off:
                self._notes.append(f"{called_off} orders that nobody brought were called off at the end")
        for client in self._clients:
            client.end_shift()
        await self._driving.wait(1.0 if self._stop.is_set() else CURTAIN_S)
        self._progress("comparing the books with the server")
        await self._auditor.catch_up()
        failures = [
            f"a part broke off: {text}"
            for crowd in (self._helping, self._ordering, self._driving)
            for text in crowd.failures
        ]
        self._notes += [
            text.removeprefix("failed: ") for text in self._books.count if text.startswith("failed: ")
        ]
        return summarize(
            self._books,
            self._driver_stats(),
            driver_count=len(self._clients),
            retries=self._api.stats["retries"],
            wall_s=time.monotonic() - self._began_s,
            failures=failures,
            notes=self._notes,
        )

    def _driver_stats(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for client in self._clients:
            total.update(client.bot.stats)
        return total
