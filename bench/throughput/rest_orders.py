"""Orders over REST, for `bench writes`: the server, and the references beside it under the same load.

Each is measured by what it answers, and by the processor time that an answer takes in each kind of process.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import psutil
from msgspec import Struct

from bench.live.usage import Processes
from bench.report import Figures, median, ratio
from bench.throughput.ingest import _free_port
from bench.throughput.order_poster import PostJob, PostResult
from domain.ground.markets import MARKETS
from sim.bot.motion import Point
from sim.concurrency import Progress
from sim.demo.api import Account, Api
from sim.demo.setup import Cast, Site

CUSTOMERS = 8
READY_S = 20.0  # for a reference to answer
ORDERS = "order_creates"
BARE, SAME_WORK = "bare_inserts", "same_works"
REFERENCES = {
    BARE: "bench.throughput.insert",
    SAME_WORK: "bench.throughput.same_work",
}  # and the module that is run
_SERVER = ("gateway", "persistence", "postgres")


class Posted(Struct, frozen=True):
    """What `PostResult` says, and microseconds of processor time an answer by kind of process."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: dict[str, float]


class OrderPosts:
    """The load: who orders, and what."""

    def __init__(
        self, tokens: list[str], body: dict[str, Any], connections: int, warm_s: float, seconds: float
    ) -> None:
        self._tokens, self._body = tokens, msgspec.json.encode(body).decode()
        self._connections, self._warm_s, self._seconds = connections, warm_s, seconds
        self._processes = Processes()

    @classmethod
    async def open(
        cls, api: Api, connections: int, warm_s: float, seconds: float, progress: Progress
    ) -> OrderPosts:
        """With accounts and a store of the server."""
        cast = Cast(api, secrets.token_urlsafe(), progress)
        accounts: list[Account] = [cast.account("merchant", 1, "Bench")]
        accounts += [cast.account("customer", n, f"Bench {n}") for n in range(1, CUSTOMERS + 1)]
        merchant, *customers = await cast.sign_in(accounts, "")
        market = next(iter(MARKETS.values()))
        site = Site(name="Bench", address="1 Main St", point=Point(market.lat, market.lng))
        [shop] = await cast.open_shops(merchant, [site])
        body = {
            "store_id": shop.store_id,
            "items": [{"product_id": shop.product_ids[0], "quantity": 2}],
            "dropoff": {
                "lat": market.lat + 0.03,
                "lng": market.lng + 0.02,
                "address": "12 Elm St, Apartment 4",
            },
        }
        return cls([customer.token for customer in customers], body, connections, warm_s, seconds)

    async def of_server(self, server: str) -> Posted:
        """Orders of the server that runs below this process."""
        before = self._processes.look().cpu_s
        result = await self._post(server)
        after = self._processes.look().cpu_s
        return _posted(result, {kind: after.get(kind, 0.0) - before.get(kind, 0.0) for kind in _SERVER})

    async def of_reference(self, name: str, database_url: str) -> Posted:
        """The same load on a reference, started for it."""
        async with _running(REFERENCES[name], database_url) as (url, pid):
            before = self._processes.look().cpu_s.get("postgres", 0.0), _cpu_s(pid)
            result = await self._post(url)
            after = self._processes.look().cpu_s.get("postgres", 0.0), _cpu_s(pid)
        return _posted(result, {"endpoint": after[1] - before[1], "postgres": after[0] - before[0]})

    async def _post(self, server: str) -> PostResult:
        """Answers to a load generator in a process of its own."""
        url = httpx.URL(server)
        job = PostJob(
            host="127.0.0.1" if url.host == "localhost" else url.host,
            port=url.port or 80,
            path="/v1/orders",
            tokens=self._tokens,
            body=self._body,
            connections=self._connections,
            warm_s=self._warm_s,
            seconds=self._seconds,
        )
        load = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.throughput.order_poster",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await load.communicate(msgspec.json.encode(job))
        if load.returncode != 0:
            raise RuntimeError(f"the load generator failed at {server}: {said.decode()[-500:]}")
        return msgspec.json.decode(said, type=PostResult)


def order_figures(posts: dict[str, list[Posted]]) -> Figures:
    """Medians of the rounds, and what the server does of what the references do."""
    figures: Figures = {}
    for name, rounds in posts.items():
        one = name.removesuffix("s")
        figures[f"{one}_per_s"] = median([posted.per_s for posted in rounds])
        figures[f"{one}_p50_ms"] = median([posted.p50_ms for posted in rounds])
        figures[f"{one}_p99_ms"] = median([posted.p99_ms for posted in rounds])
        for kind in rounds[0].cpu_us if rounds else ():
            figures[f"{one}_{kind}_us"] = median([posted.cpu_us[kind] for posted in rounds])
    for name, of in ((BARE, "order_create_ratio"), (SAME_WORK, "same_work_ratio")):
        figures[of] = ratio(figures["order_create_per_s"], figures[f"{name.removesuffix('s')}_per_s"])
    return figures


def _posted(result: PostResult, cpu_s: dict[str, float]) -> Posted:
    cpu_us = {kind: round(1e6 * used_s / result.answered_count, 1) for kind, used_s in cpu_s.items()}
    return Posted(result.per_s, result.p50_ms, result.p99_ms, cpu_us)


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def _running(module: str, database_url: str) -> AsyncIterator[tuple[str, int]]:
    """A reference while it serves: its address and its process."""
    port = _free_port()
    # It has a password: not for the command line.
    environment = {**os.environ, "BENCH_DATABASE_URL": database_url}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, str(port), env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(READY_S), httpx.AsyncClient(base_url=url, trust_env=False) as http:
            while True:
                try:
                    await http.get("/health")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        yield url, process.pid
    except TimeoutError:
        raise RuntimeError(f"the reference {module} does not answer") from None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
