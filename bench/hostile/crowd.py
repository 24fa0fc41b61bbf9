"""A crowd at the door: half-sent requests, silent connections, heads and addresses without end, floods of status pages.

The attackers are a process of their own; what the well-behaved feel beside them is the time of an authenticated read,
each on a connection that it keeps. See docs/gateway.md, one connection.

`python -m bench.hostile.crowd ATTACK URL SECONDS CONNECTIONS` is one attack on a server; it prints what it saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from bench.counters import metrics_token
from bench.report import Figures, Report, report

Say = Callable[[str], None]
Seen: TypeAlias = dict[str, float | int | None]

ASK_EVERY_S = 0.1
FILL = 200_000_000  # bytes of a head or an address without end
PIECE = 65_536
ANSWER_TIMEOUT_S = 60.0
OPENED_PER_S = 1_000
FLOODERS = 100  # connections that ask one status page after the other
PAGES = ("/metrics", "/openapi.json", "/health/ready", "/docs")


class CrowdOptions(Struct, frozen=True, kw_only=True):
    """`neighbours` of the tokens are well-behaved; each attack lasts `attack_s`."""

    neighbours: int = 10
    halves: int = 530
    silent: int = 1_000
    calm_s: float = 5.0
    attack_s: float = 10.0
    halves_s: float = 25.0  # longer than a body may take


# -- the attacks ------------------------------------------------------------------------------------------------------


class _Door:
    """Where to knock."""

    def __init__(self, url: str, token: str, number: int) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.token, self.number = token, number

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port)

    def head(self, line: str, *headers: str) -> bytes:
        return "\r\n".join((f"{line} HTTP/1.1", f"Host: {self.host}", *headers, "", "")).encode()


async def halves(door: _Door, seconds: float) -> Seen:
    """Bodies that are begun and not ended."""
    begun = door.head("POST /v1/auth/register", "Content-Type: application/json", "Content-Length: 1000")
    return await _held(door, seconds, lambda _: begun + b'{"email": ', 0.0)


async def silent(door: _Door, seconds: float) -> Seen:
    """Connections on which nothing is said, or one byte of a head a second."""
    return await _held(door, seconds, lambda number: b"GET /"[: 5 * (number % 2)], 1.0)


async def _held(door: _Door, seconds: float, first: Callable[[int], bytes], drip_s: float) -> Seen:
    began_s, statuses, gone_s = time.monotonic(), Counter[str](), [0.0]

    async def one(number: int) -> None:
        await asyncio.sleep(number / OPENED_PER_S)
        with contextlib.suppress(OSError):
            reader, writer = await door.open()
            data = first(number)
            writer.write(data)
            reading = asyncio.create_task(reader.read())
            while not reading.done() and time.monotonic() - began_s < seconds:
                await asyncio.wait([reading], timeout=drip_s or seconds)
                if data and drip_s:
                    writer.write(b"x")
            if reading.done():
                gone_s.append(time.monotonic() - began_s)
                statuses[(reading.result() or b"HTTP/1.1 closed")[9:15].decode().split()[0]] += 1
            reading.cancel()
            writer.transport.abort()

    await asyncio.gather(*(one(number) for number in range(door.number)))
    return {f"{status}_count": n for status, n in sorted(statuses.items())} | {"gone_s": max(gone_s)}


async def heads(door: _Door, _: float) -> Seen:
    """Header lines without end."""
    return await _filled(door, door.head("GET /v1/me")[:-2], b"X-Filler: " + b"y" * 88 + b"\r\n")


async def urls(door: _Door, _: float) -> Seen:
    """An address without end."""
    return await _filled(door, b"GET /", b"a")


async def _filled(door: _Door, begin: bytes, fill: bytes) -> Seen:
    reader, writer = await door.open()
    began_s, sent, piece = time.monotonic(), 0, fill * (PIECE // len(fill))
    reading = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    writer.write(begin)
    with contextlib.suppress(OSError):
        while sent < FILL and not reading.done():
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            status = int((await reading)[9:12])
    except (TimeoutError, OSError, EOFError):
        status = 0
    writer.transport.abort()
    return {"status": status, "answer_s": time.monotonic() - began_s, "sent_mb": sent / 1e6}


async def pages(door: _Door, seconds: float) -> Seen:
    """Status pages, one after the other, on many connections."""
    until_s, answers = time.monotonic() + seconds, Counter[int]()
    headers = {"Authorization": f"Bearer {door.token}"}
    limits = httpx.Limits(max_connections=None)
    address = f"http://{door.host}:{door.port}"
    async with httpx.AsyncClient(base_url=address, headers=headers, limits=limits, trust_env=False) as http:

        async def one(number: int) -> None:
            while time.monotonic() < until_s:
                with contextlib.suppress(httpx.TransportError):
                    answer = await http.get(PAGES[number % len(PAGES)], timeout=ANSWER_TIMEOUT_S)
                    answers[answer.status_code] += 1

        await asyncio.gather(*(one(number) for number in range(door.number)))
    return {f"{status}_count": n for status, n in sorted(answers.items())}


Attack: TypeAlias = Callable[[_Door, float], Awaitable[Seen]]
ATTACKS: dict[str, Attack] = {attack.__name__: attack for attack in (halves, silent, heads, urls, pages)}


# -- beside them ------------------------------------------------------------------------------------------------------


class Neighbour:
    """Reads something of its own now and then, and notes what it waited."""

    def __init__(self, url: str, token: str) -> None:
        self.took_ms: dict[str, list[float]] = {}
        self.phase = ""
        self.failed = 0
        self._url, self._headers = url, {"Authorization": f"Bearer {token}"}

    async def run(self) -> None:
        """Until cancelled."""
        async with httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=ANSWER_TIMEOUT_S, trust_env=False
        ) as http:
            while True:
                phase, began_s = self.phase, time.perf_counter()
                try:
                    self.failed += (await http.get("/v1/me")).status_code != 200
                except httpx.TransportError:
                    self.failed += 1
                self.took_ms.setdefault(phase, []).append((time.perf_counter() - began_s) * 1000)
                await asyncio.sleep(ASK_EVERY_S)


async def run_crowd(
    server_url: str,
    tokens: list[str],
    options: CrowdOptions,
    *,
    rss_bytes: Callable[[], int] | None = None,
    out: Path | None = None,
    progress: Say = lambda line: None,
) -> Report:
    """Measure a running server. `tokens`: of the neighbours; `rss_bytes()`: the resident memory of its gateways."""
    neighbours = [Neighbour(server_url, token) for token in tokens]
    living = [asyncio.create_task(neighbour.run()) for neighbour in neighbours]
    figures: Figures = {}

    async def phase(name: str, seconds: float) -> None:
        progress(name)
        for neighbour in neighbours:
            neighbour.phase = name
        await asyncio.sleep(seconds)

    try:
        await phase("warm", options.calm_s)
        await phase("calm", options.calm_s)
        for name, number, seconds in (
            ("halves", options.halves, options.halves_s),
            ("silent", options.silent, options.attack_s),
            ("heads", 1, options.attack_s),
            ("urls", 1, options.attack_s),
            ("pages", FLOODERS, options.attack_s),
        ):
            before = rss_bytes() if rss_bytes is not None else None
            attack = await _begin(name, server_url, seconds, number)
            await phase(name, seconds)
            said, _ = await attack.communicate()
            seen: Seen = json.loads(said)
            figures |= {f"{name}_{what}": value for what, value in seen.items()}
            if rss_bytes is not None and before is not None:
                figures[f"{name}_grown_mb"] = (rss_bytes() - before) / 1e6
        await phase("after", options.calm_s)
    finally:
        for task in living:
            task.cancel()
        await asyncio.gather(*living, return_exceptions=True)
    for name in ("calm", *ATTACKS, "after"):
        took = sorted(ms for neighbour in neighbours for ms in neighbour.took_ms.get(name, ()))
        for quantile, share in (("p50", 0.5), ("p99", 0.99)):
            figures[f"{name}_{quantile}_ms"] = (
                took[min(len(took) - 1, int(share * len(took)))] if took else None
            )
    figures["neighbours_failed_count"] = sum(neighbour.failed for neighbour in neighbours)
    made = report("crowd", options, figures)
    if out is not None:
        made.write(out)
    return made


async def _begin(name: str, url: str, seconds: float, number: int) -> asyncio.subprocess.Process:
    """Begin an attack, once its process has started: to start one takes as much as some attacks."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.hostile.crowd", name, url, str(seconds), str(number)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdout.readline()
    process.stdin.write(metrics_token(url).encode())
    process.stdin.close()
    return process


def main(arguments: list[str]) -> None:
    """One attack, begun when its standard input ends, which is the token of the metrics page."""
    name, url, seconds, number = arguments
    print("ready", flush=True)
    door = _Door(url, sys.stdin.read().strip(), int(number))

    async def attack() -> Seen:
        return await ATTACKS[name](door, float(seconds))

    print(json.dumps(asyncio.run(attack())))


if __name__ == "__main__":
    main(sys.argv[1:])
