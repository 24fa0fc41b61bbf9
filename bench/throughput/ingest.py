"""`doorstep bench ingest`: location pings over real sockets, beside a bare socket sink and Redis GEOADD, in one run.

The load comes from a process of its own. What counts is the server's own counter, read before the flood and again until
it stands still, over the time between.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
import time
from pathlib import Path

import httpx
import msgspec
import psutil
from msgspec import Struct

from bench.counters import counted
from bench.report import Figures, Report, median, ratio, report
from bench.throughput.load import LoadJob
from sim.concurrency import Progress
from sim.demo.api import Account, Api
from sim.demo.setup import Cast

GEOADD_BATCH = 500
COUNTER = "doorstep_pings_total"  # of the gateway


class IngestOptions(Struct, frozen=True, kw_only=True):
    """`seconds`: counted wall time of each measurement. `redis_url` None leaves GEOADD out."""

    sockets: int = 200
    seconds: float = 10.0
    rounds: int = 3
    sink: bool = True


async def run_ingest(
    server: str,
    options: IngestOptions,
    *,
    redis_url: str | None = None,
    out: Path | None = None,
    progress: Progress = lambda line: None,
) -> Report:
    """Measure a running server; writes `summary.json` into `out`."""
    api = Api(server)
    try:
        accounts = await _accounts(api, options.sockets, progress)
    finally:
        await api.close()
    tokens = [account.token for account in accounts]
    pings: list[float] = []
    sinks: list[float] = []
    geoadds: list[float] = []
    per_socket: list[float] = []
    for number in range(1, options.rounds + 1):
        rate, socket_bytes = await _flood(server, tokens, options, hello=True)
        pings.append(rate)
        if socket_bytes is not None and number == 1:  # later rounds reuse memory that the first one took
            per_socket.append(socket_bytes)
        progress(f"round {number} of {options.rounds}: {rate:,.0f} pings/s into the region")
        if options.sink:
            sinks.append(await _sink_rate(tokens, options))
            progress(f"round {number} of {options.rounds}: {sinks[-1]:,.0f} frames/s into the bare sink")
        if redis_url is not None:
            geoadds.append(await _geoadd_rate(redis_url, options))
            progress(f"round {number} of {options.rounds}: {geoadds[-1]:,.0f} GEOADD/s into Redis")
    pings_per_s, sink_per_s, geoadd_per_s = median(pings), median(sinks), median(geoadds)
    per_connection = median(per_socket)
    figures: Figures = {
        "pings_per_s": pings_per_s,
        "sink_per_s": sink_per_s,
        "sink_ratio": ratio(pings_per_s, sink_per_s),
        "geoadd_per_s": geoadd_per_s,
        "geoadd_ratio": ratio(pings_per_s, geoadd_per_s),
        # A server that has held as many sockets before has the memory already: then there is nothing to see.
        "bytes_per_connection": round(per_connection) if per_connection else None,
        "sockets_count": options.sockets,
    }
    made = report("ingest", options, figures)
    if out is not None:
        made.write(out)
    return made


async def _accounts(api: Api, count: int, progress: Progress) -> list[Account]:
    cast = Cast(api, secrets.token_urlsafe(), progress)
    progress(
        f"signing in {count} drivers; passwords are hashed slowly on purpose, about 20 a second and core"
    )
    return await cast.sign_in(
        [cast.account("driver", n, f"Bench driver {n}") for n in range(1, count + 1)], "drivers"
    )


# -- the flood --------------------------------------------------------------------------------------------------------


async def _flood(
    server: str, tokens: list[str], options: IngestOptions, *, hello: bool
) -> tuple[float, float | None]:
    """Pings a second by the server's counter, and what a socket took of the memory of the listening process, bytes."""
    url = "ws" + server.rstrip("/").removeprefix("http") + "/v1/drivers/ws"
    job = LoadJob(url=url, tokens=tokens, seconds=options.seconds, hello=hello)
    before, before_bytes = await counted(server, COUNTER), await asyncio.to_thread(_listener_bytes, server)
    load = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.throughput.load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert load.stdin is not None
    assert load.stdout is not None
    try:
        load.stdin.write(msgspec.json.encode(job))
        load.stdin.close()
        while (line := await load.stdout.readline()) and line.strip() != b"ready":
            pass
        if not line:
            raise RuntimeError("the load generator ended before its sockets were open")
        after_bytes = await asyncio.to_thread(_listener_bytes, server)
        started_s = time.monotonic()
        await load.wait()
        rate = await _settled(server, before, started_s)
    finally:
        if load.returncode is None:
            load.kill()
            await load.wait()
    grown = (
        None if before_bytes is None or after_bytes is None else (after_bytes - before_bytes) / len(tokens)
    )
    return rate, grown


async def _settled(server: str, before: float, started_s: float) -> float:
    """Pings a second until the last of them was taken in.

    The page is asked for after the flood alone: under it, its own answer would be late and the figure wrong.
    """
    value, at_s = await counted(server, COUNTER), time.monotonic()
    while (again := await counted(server, COUNTER)) != value:
        value, at_s = again, time.monotonic()
    return (value - before) / (at_s - started_s)


def _listener_bytes(server: str) -> int | None:
    """Resident memory of the local process that listens on the server's port; None when it is not ours to see."""
    port = httpx.URL(server).port or 80
    try:
        pids = {
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr.port == port
            and connection.pid
        }
        return sum(psutil.Process(pid).memory_info().rss for pid in pids) or None
    except psutil.Error:
        return None


# -- the references ---------------------------------------------------------------------------------------------------


async def _sink_rate(tokens: list[str], options: IngestOptions) -> float:
    port = _free_port()
    sink = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.throughput.sink", str(port))
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            for _ in range(100):
                try:
                    await http.get("/metrics")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        rate, _ = await _flood(url, tokens, options, hello=False)
        return rate
    finally:
        sink.kill()
        await sink.wait()


async def _geoadd_rate(redis_url: str, options: IngestOptions) -> float:
    """Positions a second that one client gets into Redis by pipelined GEOADD, one command for each position."""
    from redis.asyncio import Redis

    key = "doorstep:bench:geoadd"
    client = Redis.from_url(redis_url)
    try:
        done, started_s = 0, time.monotonic()
        while time.monotonic() < started_s + options.seconds:
            pipeline = client.pipeline(transaction=False)
            for number in range(GEOADD_BATCH):
                driver = (done + number) % options.sockets
                pipeline.geoadd(key, (-96.8 + driver * 1e-4, 32.8 + number * 1e-5, f"driver-{driver}"))
            await pipeline.execute()
            done += GEOADD_BATCH
        return done / (time.monotonic() - started_s)
    finally:
        await client.delete(key)
        await client.aclose()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
